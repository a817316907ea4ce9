"""The fields of every type of app, today's and older spellings."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from sbkube.apps.action import ActionApp
from sbkube.apps.base import STAGES, App, Dependency
from sbkube.apps.exec import ExecApp
from sbkube.apps.fields import FromEnv, Spellings, seconds
from sbkube.apps.git import GitApp
from sbkube.apps.helm import HelmApp
from sbkube.apps.hook import HookApp
from sbkube.apps.hooks import CommandTask, InlineTask, ManifestsTask
from sbkube.apps.http import HttpApp
from sbkube.apps.noop import NoopApp
from sbkube.apps.types import APP_TYPES, FORMER_TYPES
from sbkube.apps.yaml import YamlApp


def helm(**fields: Any) -> HelmApp:
    return HelmApp.model_validate({"type": "helm", "chart": "./chart", **fields})


def refusals(model: type[App], **fields: Any) -> list[str]:
    with pytest.raises(ValidationError) as caught:
        model.model_validate(fields)
    return [str(error["ctx"]["error"]) for error in caught.value.errors() if "error" in error.get("ctx", {})]


def test_every_type_goes_through_its_stages_in_order() -> None:
    assert {name: model.stages for name, model in APP_TYPES.items()} == {
        "helm": STAGES,
        "yaml": ("template", "deploy"),
        "kustomize": ("template", "deploy"),
        "git": ("prepare",),
        "http": ("prepare",),
        "action": ("deploy",),
        "exec": ("deploy",),
        "noop": (),
        "hook": ("deploy",),
    }


def test_every_former_type_became_one_that_exists() -> None:
    assert set(FORMER_TYPES.values()) <= APP_TYPES.keys()


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("2s", 2.0),
        ("10m", 600.0),
        ("1h30m", 5400.0),
        ("1.5h", 5400.0),
        ("500ms", 0.5),
        ("100us", 0.0001),
        ("1d", 86400.0),
        ("90", 90.0),
        (90, 90.0),
        (0.5, 0.5),
        (0, 0.0),
        (" 5m ", 300.0),
    ],
)
def test_a_duration_is_text_with_units_or_seconds(written: object, value: float) -> None:
    assert seconds(written) == pytest.approx(value)


@pytest.mark.parametrize(
    "written", ["", "5 m", "m", "5x", "-1s", -1, True, None, [1], math.nan, math.inf, "1e999"]
)
def test_what_is_no_duration_is_refused(written: object) -> None:
    with pytest.raises(ValueError, match=r"^must be text such as `90s` or `1h30m`, or seconds, not "):
        seconds(written)


@settings(deadline=None)
@given(st.integers(0, 100), st.integers(0, 59), st.integers(0, 59))
def test_hours_minutes_and_seconds_add_up(hours: int, minutes: int, rest: int) -> None:
    assert seconds(f"{hours}h{minutes}m{rest}s") == hours * 3600 + minutes * 60 + rest


def test_what_all_apps_have_is_taken_and_given_defaults() -> None:
    app = NoopApp.model_validate(
        {
            "type": "noop",
            "depends_on": ["db", {"app": "cache", "stage": "deploy", "optional": True}],
            "enabled": False,
            "notes": "mind the gap",
            "labels": {"team": "shop"},
            "annotations": {"a": "b"},
            "namespace": "x",
            "context": "c",
            "retry": {"retries": 2, "base": "2s", "factor": 2, "cap": "60s", "jitter": 0.3},
            "time_limit": {"template": "30s", "deploy": "10m"},
            "on_interrupt": "verify",
        }
    )
    assert app.depends_on == (Dependency(app="db"), Dependency(app="cache", stage="deploy", optional=True))
    assert app.retry is not None
    assert (app.retry.retries, app.retry.base, app.retry.cap) == (2, 2.0, 60.0)
    assert [app.time_limit_of(stage) for stage in STAGES] == [None, None, 30.0, 600.0]
    bare = NoopApp(type="noop")
    assert (bare.enabled, bare.namespace, bare.retry, bare.time_limit, bare.on_interrupt) == (
        True,
        *[None] * 4,
    )


def test_a_time_limit_holds_for_every_stage_unless_it_names_some() -> None:
    app = helm(time_limit="10m")
    assert [app.time_limit_of(stage) for stage in STAGES] == [600.0] * 4


def test_a_time_limit_of_nothing_is_refused() -> None:
    assert refusals(NoopApp, type="noop", time_limit=0) == ["must be more than 0 seconds"]
    assert refusals(NoopApp, type="noop", time_limit={"deploy": "0s"}) == ["must be more than 0 seconds"]


@pytest.mark.parametrize(
    "fields",
    [
        {"time_limit": {"install": "5s"}},
        {"retry": {"retries": -1}},
        {"retry": {"jitter": 2}},
        {"retry": {"factor": 0.5}},
        {"depends_on": "db"},
        {"depends_on": [{"stage": "deploy"}]},
        {"depends_on": [{"app": "db", "stage": "install"}]},
        {"on_interrupt": "maybe"},
        {"unknown": 1},
    ],
)
def test_what_no_app_has_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        NoopApp.model_validate({"type": "noop", **fields})


def test_a_key_without_a_value_counts_as_absent() -> None:
    app = helm(labels=None, depends_on=None, wait=None, values=None)
    assert (app.labels, app.depends_on, app.wait, app.values) == ({}, (), True, ())
    with pytest.raises(ValidationError, match="Field required"):
        helm(chart=None)


def test_apps_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        helm().chart = "other"


def test_a_helm_app_has_the_defaults_users_know() -> None:
    app = helm()
    assert (app.wait, app.timeout, app.atomic, app.adopt) == (True, 300.0, False, False)
    assert app.create_namespace, "0.11 creates it whatever the file says"
    assert (app.helm_label_injection, app.force_conflicts, app.crd_policy) == (True, False, "install")


def test_values_are_files_and_mappings_in_their_order() -> None:
    assert helm(values=["a.yaml", {"b": 1}, "c.yaml"]).values == ("a.yaml", {"b": 1}, "c.yaml")
    assert helm(values={"b": 1}).values == ({"b": 1},)
    assert helm(values="a.yaml").values == ("a.yaml",)


def test_set_values_are_a_mapping_or_a_list() -> None:
    assert helm(set_values={"a.b": True, "c": 1}).set_values == {"a.b": True, "c": 1}
    assert helm(set_values=["a.b=true", "c="]).set_values == ("a.b=true", "c=")
    assert refusals(HelmApp, type="helm", chart="x", set_values=["ab"]) == [
        "must hold items of the form `key=value`, not 'ab'"
    ]


def test_overrides_are_paths_or_the_mapping_of_0_4() -> None:
    assert helm(overrides=["files/*.conf"]).overrides == ("files/*.conf",)
    assert helm(overrides={"templates/a.yaml": "a.yaml"}).overrides == ({"templates/a.yaml": "a.yaml"},)


def test_crds_are_skipped_by_either_spelling_but_not_skipped_and_upgraded() -> None:
    assert helm(skip_crds=True).crd_policy == helm(crds="skip").crd_policy == "skip"
    assert helm(crds="upgrade").crd_policy == "upgrade"
    assert refusals(HelmApp, type="helm", chart="x", crds="upgrade", skip_crds=True) == [
        "has `skip_crds: true` and `crds: upgrade`, which contradict each other"
    ]


@pytest.mark.parametrize(
    "chart", ["bitnami/redis", "oci://ghcr.io/x/y", "https://x/y.tgz", "git+https://x/y"]
)
def test_a_chart_with_a_repository_is_remote(chart: str) -> None:
    assert helm(chart=chart).is_remote


@pytest.mark.parametrize(
    "chart", ["./charts/redis", "../redis", "/srv/redis", "~/redis", "redis", "redis-1.2.tgz"]
)
def test_a_path_or_a_bare_name_is_local(chart: str) -> None:
    assert not helm(chart=chart).is_remote


def test_repo_and_chart_are_one() -> None:
    spellings = Spellings()
    raw = {"type": "helm", "repo": "grafana", "chart": "loki"}
    app = HelmApp.model_validate(raw, context=spellings)
    assert app.chart == "grafana/loki"
    assert spellings.hints == [(("repo",), "`repo` and `chart` are one now: `chart: grafana/loki`")]


def test_specs_stand_for_the_fields_in_them() -> None:
    spellings = Spellings()
    raw = {"type": "helm", "specs": {"chart": "bitnami/redis", "version": "1.0", "values": ["a.yaml"]}}
    app = HelmApp.model_validate(raw, context=spellings)
    assert (app.chart, app.version, app.values) == ("bitnami/redis", "1.0", ("a.yaml",))
    assert spellings.written(("values", 0)) == ("specs", "values", 0)
    assert spellings.written(("labels", "x")) == ("labels", "x")


def test_a_field_both_in_specs_and_beside_it_is_refused() -> None:
    with pytest.raises(ValidationError):
        helm(specs={"chart": "x"})


@pytest.mark.parametrize("spelling", ["manifests", "files", "path"])
@pytest.mark.parametrize("value", [["a.yaml"], "a.yaml"])
def test_manifests_have_three_spellings(spelling: str, value: object) -> None:
    app = YamlApp.model_validate({"type": "yaml", spelling: value})
    assert app.manifests == ("a.yaml",)


def test_two_spellings_of_one_field_are_refused_and_known_to_be_one() -> None:
    spellings = Spellings()
    with pytest.raises(ValidationError):
        YamlApp.model_validate({"type": "yaml", "files": ["a"], "manifests": ["b"]}, context=spellings)
    assert spellings.doubled == {"files": "manifests"}


def test_manifests_may_not_be_empty() -> None:
    for manifests in ([], [""]):
        with pytest.raises(ValidationError):
            YamlApp.model_validate({"type": "yaml", "manifests": manifests})


def test_a_description_is_kept_by_noop_and_is_the_notes_of_others() -> None:
    assert NoopApp.model_validate({"type": "noop", "description": "x"}).description == "x"
    assert helm(description="x").notes == "x"


def test_force_adopt_is_adopt() -> None:
    assert helm(force_adopt=True).adopt


def test_commands_are_shell_texts_or_argument_lists() -> None:
    app = ExecApp.model_validate(
        {
            "type": "exec",
            "commands": ["echo a | cat", ["echo", "a b"]],
            "env": {"MODE": "fast", "TOKEN": {"from_env": "DEPLOY_TOKEN"}},
        }
    )
    assert app.commands == ("echo a | cat", ("echo", "a b"))
    assert app.env == {"MODE": "fast", "TOKEN": FromEnv(from_env="DEPLOY_TOKEN")}


@pytest.mark.parametrize("commands", [[], [""], [[]], [{"a": 1}], "echo"])
def test_no_command_is_no_exec_app(commands: object) -> None:
    with pytest.raises(ValidationError):
        ExecApp.model_validate({"type": "exec", "commands": commands})


def test_actions_apply_unless_they_say_otherwise() -> None:
    app = ActionApp.model_validate(
        {
            "type": "action",
            "actions": [{"path": "a.yaml"}, {"type": "delete", "path": "b.yaml", "namespace": "n"}],
        }
    )
    assert [(action.type, action.path, action.namespace) for action in app.actions] == [
        ("apply", "a.yaml", None),
        ("delete", "b.yaml", "n"),
    ]


def test_a_clone_leaves_its_branch_to_the_repository() -> None:
    app = GitApp.model_validate({"type": "git", "repo": "charts", "ref": "v1"})
    assert (app.branch, app.ref) == (None, "v1")


def test_a_download_is_over_http_and_its_headers_may_be_secrets() -> None:
    raw = {
        "type": "http",
        "url": "https://x/y",
        "dest": "y",
        "headers": {"A": "b", "T": {"from_env": "TOKEN"}},
    }
    assert HttpApp.model_validate(raw).headers["T"] == FromEnv(from_env="TOKEN")
    assert refusals(HttpApp, type="http", url="ftp://x", dest="y") == [
        "must start with http:// or https://, not be 'ftp://x'"
    ]


def test_tasks_are_told_apart_by_their_type() -> None:
    app = HookApp.model_validate(
        {
            "type": "hook",
            "tasks": [
                {
                    "type": "manifests",
                    "name": "a",
                    "files": ["a.yaml"],
                    "validation": {"kind": "Pod", "timeout": 120},
                },
                {"type": "inline", "name": "b", "content": {"kind": "ConfigMap", "data": None}},
                {
                    "type": "command",
                    "name": "c",
                    "command": "true",
                    "retry": {"max_attempts": 3, "delay": 10},
                    "on_failure": "warn",
                    "dependency": {
                        "depends_on": ["a"],
                        "wait_for": [{"kind": "Pod", "label_selector": "app=x"}],
                    },
                    "rollback": {"enabled": True, "on_failure": "manual", "commands": ["false"]},
                },
            ],
            "validation": {"kind": "Certificate"},
        }
    )
    assert [type(task) for task in app.tasks] == [ManifestsTask, InlineTask, CommandTask]
    inline = app.tasks[1]
    assert isinstance(inline, InlineTask)
    assert inline.content == {"kind": "ConfigMap", "data": None}


def test_hooks_of_an_app_are_commands_manifests_and_tasks() -> None:
    hooks = helm(
        hooks={
            "pre_deploy": ["echo a"],
            "post_deploy_manifests": ["a.yaml"],
            "post_deploy_tasks": [{"type": "command", "name": "x", "command": "true"}],
        }
    ).hooks
    assert hooks is not None
    assert (hooks.pre_deploy, hooks.post_deploy_manifests, hooks.post_build) == (("echo a",), ("a.yaml",), ())


def test_a_hook_app_has_tasks_and_no_hooks_of_its_own() -> None:
    assert refusals(HookApp, type="hook", tasks=[], hooks={}) == [
        "is a hook itself and cannot have `hooks`: write them as `tasks`"
    ]


def test_two_tasks_of_one_list_have_two_names() -> None:
    task = {"type": "command", "name": "x", "command": "true"}
    assert refusals(HookApp, type="hook", tasks=[task, task]) == ["has two tasks named 'x'"]
    assert refusals(HelmApp, type="helm", chart="x", hooks={"pre_deploy_tasks": [task, task]}) == [
        "has two tasks named 'x'"
    ]
