"""From a project to steps."""

from __future__ import annotations

from pathlib import Path

import pytest
from planned import APPS, planned, project

from sbkube.engine.stores.base import Plan, PlannedStep
from sbkube.fetch.errors import FetchError, NotThere, Unreachable
from sbkube.helm.base import HelmCrashed, RenderError
from sbkube.helm.releases import (
    ClusterUnreachable,
    Forbidden,
    NotAuthenticated,
    NotReady,
    WebhookUnreachable,
)
from sbkube.planning import AppPlace, missing_files, readings, unsuited


def test_each_type_has_its_stages_in_the_order_of_the_file(tmp_path: Path) -> None:
    assert list(planned(project(tmp_path))) == [
        "db:deploy",
        *("web:prepare", "web:build", "web:template", "web:deploy"),
        *("objects:template", "objects:deploy"),
        "gate:done",
        "off:deploy",
    ]


def test_stages_need_each_other_and_only_the_deploy_comes_after_other_apps(tmp_path: Path) -> None:
    stages = planned(project(tmp_path))
    assert stages["web:build"].needs == ("web:prepare",)
    assert [stages[f"web:{s}"].after for s in ("prepare", "build", "template")] == [(), (), ()]
    assert stages["web:deploy"].after == ("db:deploy",)
    assert stages["objects:deploy"].after == ("web:template",)
    assert stages["gate:done"].after == ("objects:deploy", "web:deploy")
    assert stages["gate:done"].needs == ()


def test_the_first_place_where_a_values_file_is_wins_and_a_folder_is_none(tmp_path: Path) -> None:
    def read() -> Path | None:
        files = readings(project(tmp_path))["web", "template"].files
        return next(file.path for file in files if file.component.startswith("values file"))

    assert read() is None
    for name in ("values/common/v.yaml", "values/v.yaml"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
        assert read() == tmp_path / name
    (tmp_path / "v.yaml").mkdir()
    assert read() == tmp_path / "values/v.yaml"


def test_steps_draw_from_one_pool_each(tmp_path: Path) -> None:
    stages = planned(project(tmp_path))
    pools = {id: stage.pools for id, stage in stages.items()}
    assert pools["web:prepare"] == pools["web:build"] == pools["db:deploy"] == ("work",)
    assert pools["web:template"] == pools["objects:template"] == ("render",)
    assert pools["web:deploy"] == ("deploy",)
    assert pools["gate:done"] == ()


def test_limits_and_retries_are_not_inputs(tmp_path: Path) -> None:
    before = planned(project(tmp_path))
    edited = APPS.replace("time_limit: 5s", "time_limit: 9s, retry: {retries: 7}, on_interrupt: ask")
    after = planned(project(tmp_path, edited))
    assert {id: stage.inputs for id, stage in before.items()} == {
        id: stage.inputs for id, stage in after.items()
    }
    assert (before["web:deploy"].time_limit, after["web:deploy"].time_limit) == (5.0, 9.0)
    assert after["web:deploy"].retry.retries == 7


@pytest.mark.parametrize(
    ("old", "new", "changed"),
    [
        ("labels: {team: shop}", "labels: {team: x}", ["web:template"]),
        ("values: [v.yaml]", "values: [v.yaml, {a: 1}]", ["web:template"]),
        ("chart: ./web", "chart: ./other", ["web:prepare"]),
        ("chart: ./web,", "chart: ./web, removes: [x],", ["web:build"]),
        ("chart: ./web,", "chart: ./web, release_name: x,", ["web:deploy", "web:template"]),
        ("chart: ./web,", "chart: ./web, namespace: x,", ["web:deploy", "web:template"]),
        ("commands: ['true'], labels", "commands: [['true']], labels", ["db:deploy"]),
        ("commands: ['true'], labels", "env: {A: b}, commands: ['true'], labels", ["db:deploy"]),
        ("labels: {team: data}", "labels: {team: other}", []),
        ("depends_on: [objects, web]", "depends_on: [objects]", []),
    ],
)
def test_an_edit_changes_the_inputs_of_the_stage_that_reads_it(
    tmp_path: Path, old: str, new: str, changed: list[str]
) -> None:
    assert old in APPS
    before = planned(project(tmp_path))
    after = planned(project(tmp_path, APPS.replace(old, new, 1)))
    assert sorted(id for id in before if before[id].inputs != after[id].inputs) == changed


def test_a_file_and_a_target_are_inputs_of_what_reads_them(tmp_path: Path) -> None:
    own = project(tmp_path)
    before = planned(own)
    after = planned(own, {"o.yaml": "another"})
    assert [id for id in before if before[id].inputs != after[id].inputs] == ["objects:template"]
    after = planned(own, target="elsewhere")
    changed = [id for id in before if before[id].inputs != after[id].inputs]
    assert changed == ["db:deploy", "web:deploy", "objects:deploy", "off:deploy"]


def test_a_secret_is_an_input_by_its_digest(tmp_path: Path) -> None:
    own = project(tmp_path, "  a: {type: exec, env: {T: {from_env: X}}, commands: ['true']}\n")
    assert planned(own, secrets={"X": "digest"})["a:deploy"].inputs["environment variable X"] == "digest"
    assert planned(own)["a:deploy"].inputs["environment variable X"] is None


# Files that commands make


def test_a_missing_file_comes_from_a_command_that_the_app_depends_on(tmp_path: Path) -> None:
    stages = planned(project(tmp_path))
    assert stages["web:template"].needs == ("web:build", "db:deploy")
    assert stages["web:template"].late == {"values file v.yaml"}
    assert "values file v.yaml" not in stages["web:template"].inputs
    assert stages["objects:template"].late == frozenset()


def test_a_file_that_came_from_a_command_still_does_when_it_is_there(tmp_path: Path) -> None:
    first = planned(project(tmp_path))
    earlier = Plan(
        "hash",
        {
            id: PlannedStep(stage.needs, stage.after, "planned", dict.fromkeys(stage.inputs, "x"))
            for id, stage in first.items()
        },
    )
    (tmp_path / "v.yaml").write_text("a: b\n")
    again = planned(project(tmp_path), earlier=earlier)
    assert again["web:template"].inputs == first["web:template"].inputs
    assert again["web:template"].needs == first["web:template"].needs
    assert planned(project(tmp_path))["web:template"].late == frozenset()


def test_missing_files_are_those_that_nothing_makes(tmp_path: Path) -> None:
    own = project(tmp_path, APPS.replace("[o.yaml]", "[o.yaml, none.yaml]"))
    stages = planned(own)
    digests = {
        file.path: "x" for s in stages.values() for file in s.files if file.path and file.name == "o.yaml"
    }
    found = [(stage.id, file.name) for stage, file in missing_files(stages.values(), digests)]
    assert found == [("objects:template", "none.yaml")]


# Retries


def test_only_what_may_pass_is_repeated_unless_a_command_asks_for_it(tmp_path: Path) -> None:
    stages = planned(project(tmp_path, APPS.replace("labels: {team: data}", "retry: {retries: 3}")))
    crash, refusal = HelmCrashed("gone"), RenderError("no")
    assert stages["web:template"].retry.wants(1, crash)
    assert not stages["web:template"].retry.wants(1, refusal)
    assert stages["db:deploy"].retry.wants(3, refusal)
    assert not stages["off:deploy"].retry.wants(1, refusal)


def test_a_deploy_outlasts_half_a_minute_without_a_server_but_no_refusal(tmp_path: Path) -> None:
    retry = planned(project(tmp_path))["web:deploy"].retry
    for error in (ClusterUnreachable("gone"), WebhookUnreachable("web", "shop", "gone"), HelmCrashed("gone")):
        repeated = [failures for failures in range(1, 100) if retry.wants(failures, error)]
        assert sum(retry.delay(failures, 0.0) for failures in repeated) > 30
        assert sum(retry.delay(failures, 1.0) for failures in repeated) < 90
    for refusal in (NotAuthenticated("who?"), Forbidden("web", "shop", "no"), NotReady("web", "shop", "no")):
        assert not retry.wants(1, refusal)


def test_an_error_that_knows_how_long_it_takes_is_not_tried_again_before(tmp_path: Path) -> None:
    stages = planned(project(tmp_path))
    webhook = WebhookUnreachable("web", "shop", "gone")
    assert stages["web:deploy"].retry.delay(1, 0.0, webhook) == 10
    busy = FetchError("answered 429", transient=True, after=50.0)
    assert stages["web:prepare"].retry.delay(1, 0.0, busy) == 50
    busy.after = 3600.0
    assert stages["web:prepare"].retry.delay(1, 0.0, busy) == 120
    own = planned(project(tmp_path, APPS.replace("time_limit: 5s", "retry: {retries: 1, base: 2}")))
    assert own["web:deploy"].retry.delay(1, 0.5, webhook) == 2


def test_what_is_fetched_is_tried_again_only_if_that_may_help(tmp_path: Path) -> None:
    retry = planned(project(tmp_path))["web:prepare"].retry
    assert retry.wants(1, Unreachable("connection reset"))
    assert retry.wants(1, FetchError("answered 503", transient=True))
    assert not retry.wants(1, NotThere("no such chart"))


def test_what_needs_a_cluster_is_refused_for_a_folder_with_its_line(tmp_path: Path) -> None:
    apps = "  a:\n    type: action\n    actions: [{path: x}]\n  off: {type: action, enabled: false, actions: [{path: x}]}\n"
    own = project(tmp_path, apps)
    assert list(unsuited(own, {"kind": "cluster", "context": "x"})) == []
    (refused,) = unsuited(own, {"kind": "directory", "path": "out"})
    told = "app 'a' of type action needs a cluster, and the target is a folder"
    assert str(refused) == f"{tmp_path}/config.yaml:4: {told}"


def test_actions_draw_from_the_pool_of_commands_and_ask_only_about_what_they_create(tmp_path: Path) -> None:
    apps = (
        "  a: {type: action, actions: [{path: x}]}\n  b: {type: action, actions: [{type: create, path: x}]}\n"
    )
    stages = planned(project(tmp_path, apps))
    assert stages["a:deploy"].pools == ("work",)
    assert [stages[f"{app}:deploy"].on_interrupt for app in "ab"] == ["rerun", "ask"]


LABELLED = """\
  a: {type: helm, chart: ./charts/a, labels: {team: shop}}
  off: {type: helm, chart: ./charts/a, labels: {team: shop}, helm_label_injection: false}
  b: {type: helm, chart: ./charts/b, labels: {team: shop}}
  y: {type: yaml, manifests: [o.yaml], labels: {team: shop}}
"""


@pytest.mark.parametrize(
    ("settings", "labelled"),
    [
        ("", "a b y"),
        ("helm_label_injection: false", "y"),
        ("incompatible_charts: [b]", "a y"),
        ("incompatible_charts: [./charts/a, c]", "b y"),
        ("helm_label_injection: false\nforce_label_injection: [a]", "a off y"),
    ],
)
def test_labels_are_kept_from_the_objects_of_charts_that_are_to_be_left_alone(
    tmp_path: Path, settings: str, labelled: str
) -> None:
    (tmp_path / "sources.yaml").write_text(settings)
    own = project(tmp_path, LABELLED)
    places = [AppPlace(own, name) for name in own.apps]
    assert [place.name for place in places if place.object_labels] == labelled.split()


# What other apps fetch

FETCHING = """\
  base: {type: git, repo: 'https://example.com/base'}
  crds: {type: http, url: 'https://example.com/crds.yaml', dest: manifests/crds.yaml}
  off: {type: git, repo: 'https://example.com/off', enabled: false}
"""


@pytest.mark.parametrize(
    ("app", "stages"),
    [
        ("{type: yaml, manifests: ['${repos.base}/a.yaml', o.yaml]}", {"template": "base"}),
        ("{type: yaml, manifests: [./repos/base/a.yaml]}", {"template": "base"}),
        ("{type: yaml, manifests: [.sbkube/repos/base]}", {"template": "base"}),
        ("{type: yaml, manifests: [manifests/../manifests/crds.yaml]}", {"template": "crds"}),
        ("{type: yaml, manifests: [manifests]}", {"template": "crds"}),
        ("{type: yaml, manifests: ['**/*.yaml']}", {"template": "crds"}),
        ("{type: yaml, manifests: [manifests/other.yaml]}", {}),
        ("{type: yaml, manifests: ['${repos.off}/a.yaml', '${repos.none}/a.yaml']}", {}),
        ("{type: kustomize, path: '${repos.base}/k'}", {"template": "base"}),
        ("{type: helm, chart: '${repos.base}/c'}", {"prepare": "base"}),
        ("{type: helm, chart: ./c, values: [repos/base/v.yaml]}", {"template": "base"}),
        ("{type: helm, chart: ./c, values: [crds.yaml, '${repos.base}/v']}", {"template": "base"}),
        ("{type: helm, chart: ./c, overrides: [{a: '${repos.base}/a'}]}", {"build": "base"}),
        ("{type: action, actions: [{path: '${repos.base}/a.yaml'}]}", {"deploy": "base"}),
    ],
)
def test_only_the_stage_that_reads_what_is_fetched_needs_it(
    tmp_path: Path, app: str, stages: dict[str, str]
) -> None:
    stages_of = planned(project(tmp_path, f"{FETCHING}  web: {app}\n"))
    found = {
        stage.stage: [need for need in stage.needs if not need.startswith("web:")]
        for stage in stages_of.values()
        if stage.app == "web"
    }
    assert {stage: needs for stage, needs in found.items() if needs} == {
        stage: [f"{source}:prepare"] for stage, source in stages.items()
    }
    for stage, source in stages.items():
        assert stages_of[f"web:{stage}"].reads == (f"{source}:prepare",)


def test_commands_use_the_whole_of_what_they_depend_on(tmp_path: Path) -> None:
    apps = f"{FETCHING}  go: {{type: exec, commands: ['true'], depends_on: [base, off]}}\n"
    go = planned(project(tmp_path, apps))["go:deploy"]
    assert (go.needs, go.reads) == (("base:prepare",), ())


def test_what_is_asked_for_is_an_input_and_what_opens_it_is_not(tmp_path: Path) -> None:
    def inputs(app: str, sources: str) -> object:
        (tmp_path / "sources.yaml").write_text(f"git_repos: {{ours: {sources}}}\n")
        return planned(project(tmp_path, f"  base: {app}\n"))["base:prepare"].inputs

    app, url = "{type: git, repo: ours}", "https://example.com/base"
    first = inputs(app, f"{{url: '{url}'}}")
    assert inputs(app, "{url: 'https://me:secret@example.com/base', password: other}") == first
    assert inputs(f"{{type: git, repo: '{url}'}}", f"{{url: '{url}'}}") == first
    others = [
        inputs(app, f"{{url: '{url}', branch: next}}"),
        inputs("{type: git, repo: ours, branch: other}", f"{{url: '{url}', branch: next}}"),
        inputs("{type: git, repo: ours, ref: v1, branch: other}", f"{{url: '{url}'}}"),
        inputs("{type: git, repo: ours, path: deploy}", f"{{url: '{url}'}}"),
    ]
    assert all(other != first for other in others)
    assert len({str(other) for other in others}) == len(others)
    again = inputs("{type: git, repo: ours, ref: v1, branch: third}", f"{{url: '{url}', branch: next}}")
    assert again == others[2]  # `ref` wins, so it does not matter which branch there is
