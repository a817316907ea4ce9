"""The commands besides `run`: what they print, and that they change nothing. And projects in older dialects."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from .helpers import check_golden
from .project import ProjectFolder, chart, effect, manifest


@pytest.fixture
def failed(project: ProjectFolder) -> ProjectFolder:
    """A run in which one of two branches failed."""
    project.config(
        """
        db: {type: exec, commands: ['echo starting; exit 3']}
        web: {type: helm, chart: ./charts/web, values: [web.yaml], depends_on: [db]}
        off: {type: exec, enabled: false, commands: ['true']}
        apart: {type: exec, commands: ['echo apart']}
        all: {type: noop, depends_on: [web, apart]}
        """
    )
    project.write({**chart("web"), "web.yaml": "greeting: hi\n"})
    assert project("run", "--max-parallel", "1").code == 1
    return project


def steady(text: str) -> str:
    """Without what differs from run to run."""
    text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "2026-01-02 03:04:05", text)
    return re.sub(r"\b\d+\.\ds", "0.1s", text)


# Golden


def test_the_text_of_each_command_is_as_it_was(failed: ProjectFolder) -> None:
    commands = (
        ["status"],
        ["history"],
        ["explain", "db:deploy"],
        ["explain", "web:deploy"],
        ["explain", "off:deploy"],
        ["logs", "db:deploy"],
        ["plan"],
        ["plan", "--resume"],
        ["plan", "--retry-failed"],
        ["plan", "--app", "apart"],
        ["validate"],
        ["run", "--max-parallel", "1", "--resume"],
    )
    told = []
    for args in commands:
        ended = failed(*args)
        told.append(f"$ sbkube {' '.join(args)}\n{ended.out}{ended.err}[{ended.code}]\n")
    check_golden("commands", steady("\n".join(told)))


# Data


def test_status_as_data_is_the_view_that_lies_on_disk(failed: ProjectFolder) -> None:
    assert failed("status", "--output", "json").document == failed.view
    shutil.rmtree(failed.state / "runs")
    assert failed("status", "--output", "json").document["steps"]["db:deploy"]["status"] == "failed"


def test_a_view_edited_by_hand_is_ignored_with_a_warning(failed: ProjectFolder) -> None:
    view = failed.state / "runs/latest.json"
    view.write_text(view.read_text().replace('"failed"', '"completed"'))
    ended = failed("status")
    assert "was edited by hand; such edits are not read" in ended.err
    assert "1 failed" in ended.out


def test_plan_as_data_has_each_step_with_what_would_become_of_it(failed: ProjectFolder) -> None:
    failed.edit("web.yaml", "hi", "changed")
    plan = failed("plan", "--resume", "--output", "json").document
    assert plan["new_run"] is True
    assert plan["resumed_from"] == 1
    steps = {row["step"]: row for row in plan["steps"]}
    assert steps["web:template"]["changed"] == ["values file web.yaml"]
    assert {step: row["action"] for step, row in steps.items()} == {
        "db:deploy": "run",
        "web:prepare": "keep",
        "web:build": "keep",
        "web:template": "run",
        "web:deploy": "run",
        "off:deploy": "skip",
        "apart:deploy": "keep",
        "all:done": "run",
    }


def test_a_dry_run_as_data_is_the_plan(failed: ProjectFolder) -> None:
    for options in ([], ["--resume"], ["--app", "web", "--only", "template", "--with-needs"]):
        plan = failed("plan", *options, "--output", "json")
        assert failed("run", *options, "--dry-run", "--output", "json") == plan
        assert plan.code == 0
        assert plan.err == ""


def test_a_plan_as_a_stream_is_a_line_for_each_step_and_one_for_the_rest(failed: ProjectFolder) -> None:
    document = failed("plan", "--resume", "--output", "json").document
    for args in (["plan", "--resume"], ["run", "--resume", "--dry-run"]):
        *steps, summary = failed(*args, "--output", "ndjson").events
        assert [step.pop("type") for step in steps] == ["step_planned"] * len(document["steps"])
        assert all(step.pop("at") for step in steps)
        assert steps == document["steps"]
        assert (summary.pop("type"), bool(summary.pop("at"))) == ("run_planned", True)
        assert summary == {key: value for key, value in document.items() if key != "steps"}
        assert summary["counts"] == {"run": 3, "run_if": 0, "steps": 7}


# Dialects

DIALECTS: dict[str, tuple[dict[str, str], str]] = {
    "0.3, config and sources": (
        {
            "config.yaml": """
                namespace: shop
                apps:
                  web: {type: helm, chart: ./charts/web, values: [web.yaml]}
                  objects: {type: yaml, files: [objects.yaml], depends_on: [web]}
                """,
            "sources.yaml": "kubeconfig: ~/.kube/config\nkubeconfig_context: k3s\nhelm_repos: {}\n",
            "values/web.yaml": "greeting: of 0.3\n",
        },
        "of 0.3",
    ),
    "0.4, specs, override mapping and a list of repositories": (
        {
            "config.yaml": """
                namespace: shop
                apps:
                  web:
                    type: helm
                    specs:
                      chart: ./charts/web
                      values: [web.yaml]
                      overrides: [{values.yaml: mine.yaml}]
                  objects: {type: yaml, path: objects.yaml, depends_on: [web]}
                """,
            "sources.yaml": "cluster: k3s\nrepos: [{name: x, url: 'https://example.org'}]\n",
            "web.yaml": "other: 1\n",
            "mine.yaml": "greeting: of 0.4\n",
        },
        "of 0.4",
    ),
    "0.7, global values and labels": (
        {
            "config.yaml": """
                namespace: shop
                global_labels: {team: shop}
                apps:
                  web: {type: helm, chart: ./charts/web}
                  objects: {type: yaml, manifests: [objects.yaml], depends_on: [web], notes: text}
                """,
            "sources.yaml": "cluster: k3s\nkubeconfig_context: k3s\nglobal_values: {greeting: of 0.7}\n",
        },
        "team: shop",
    ),
    "0.10, one file": (
        {
            "sbkube.yaml": """
                apiVersion: sbkube/v1
                metadata: {name: shop}
                settings: {namespace: shop, kubeconfig_context: k3s, parallel: true, max_workers: 4}
                apps:
                  web: {type: helm, chart: ./charts/web, set_values: [greeting=of 0.10]}
                  objects: {type: yaml, manifests: [objects.yaml], depends_on: [web]}
                """,
        },
        "of 0.10",
    ),
    "0.11, half converted": (
        {
            "sbkube.yaml": """
                apiVersion: sbkube/v1
                namespace: shop
                apps:
                  web: {type: helm, chart: ./charts/web, values: {greeting: of 0.11}}
                  objects: {type: yaml, files: [objects.yaml], depends_on: [web]}
                """,
        },
        "of 0.11",
    ),
}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_project_of_an_older_version_runs_as_it_is(project: ProjectFolder, dialect: str) -> None:
    files, told = DIALECTS[dialect]
    project.write({**chart("web"), "objects.yaml": manifest("objects"), **files})
    ended = project("run", "--target", "out")
    assert ended.code == 0, ended.err
    assert told in (project.root / "out/web/manifests.yaml").read_text()
    assert (project.root / "out/objects/manifests.yaml").exists()
    assert project.view["namespace"] == "shop"


@pytest.mark.parametrize("top", ["", "target: cluster\n"])
def test_a_project_without_a_target_means_the_cluster(project: ProjectFolder, top: str) -> None:
    project.config(effect("a"), target=top)
    for command in ("run", "plan", "validate"):
        ended = project(command)
        assert ended.code == 2
        assert f"there is no kubeconfig: {project.root.parent}/.kube/config does not exist" in ended.err
        assert "name one with `kubeconfig` in sources.yaml or KUBECONFIG, or deploy to a folder" in ended.err
        assert project(command, "--target", "out").code == 0


def test_a_profile_as_users_know_it_takes_its_sources_and_values(project: ProjectFolder) -> None:
    project.config("web: {type: helm, chart: ./charts/web, values: [web.yaml]}\n")
    project.write(
        {
            **chart("web"),
            "sources.yaml": "cluster: usual\nglobal_values: {greeting: usual}\n",
            "sources-prod.yaml": "cluster: prod\n",
            "values/common/web.yaml": "greeting: common\n",
            "values/prod/web.yaml": "greeting: prod\n",
        }
    )
    for args, greeting in (([], "common"), (["--profile", "prod"], "prod")):
        assert project("run", *args).code == 0
        assert f'greeting: "{greeting}"' in (project.root / "rendered/web/manifests.yaml").read_text()
    assert project("run", "--sources", "sources-prod.yaml").code == 0
    assert project("--source", "sources-prod", "run").code == 0


def test_the_example_runs_resumes_and_looks_as_its_readers_are_told(tmp_path: Path) -> None:
    example = Path(__file__).parents[2] / "examples/shop"
    shutil.copytree(example, tmp_path / "shop", ignore=shutil.ignore_patterns(".sbkube", "rendered"))
    shop = ProjectFolder(tmp_path / "shop")
    assert shop("validate").code == 0
    assert shop("run").code == 0
    assert "nothing left to do" in shop("run", "--resume").err
    assert json.loads((shop.state / "runs/latest.json").read_text())["status"] == "completed"
    for profile in ("dev", "prod"):
        assert shop("run", "--profile", profile).code == 0, profile
