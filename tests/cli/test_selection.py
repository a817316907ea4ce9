"""A selection limits what a process runs, never what the run is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from .project import ProjectFolder, chart, manifest

CHAIN = """
db: {type: exec, labels: {team: data}, commands: ['echo db >> ledger']}
api: {type: exec, labels: {team: shop, tier: back}, depends_on: [db], commands: ['echo api >> ledger']}
web: {type: exec, labels: {team: shop}, depends_on: [api], commands: ['echo web >> ledger']}
apart: {type: exec, commands: ['echo apart >> ledger']}
"""


@pytest.fixture
def chain(project: ProjectFolder) -> ProjectFolder:
    project.config(CHAIN)
    return project


@pytest.fixture
def ran(chain: ProjectFolder) -> ProjectFolder:
    assert chain("run").code == 0
    chain.new_effects()
    return chain


def test_one_app_after_a_full_run_leaves_nothing_pending(ran: ProjectFolder) -> None:
    ended = ran("run", "--app", "web")
    assert ended.code == 0
    assert "run 2: 1 of 4 steps" in ended.err
    assert ran.new_effects() == ["web"]
    assert ran.view["status"] == "completed"
    assert ran.view["steps"]["db:deploy"]["metadata"]["reused_from"] == 1


def test_several_apps_and_labels_choose_what_all_of_them_allow(ran: ProjectFolder) -> None:
    for args, effects in (
        (["--app", "web", "--app", "db"], ["db", "web"]),
        (["-l", "team=shop"], ["api", "web"]),
        (["--label", "team=shop", "-l", "tier=back"], ["api"]),
        (["-l", "team=shop,tier"], ["api"]),
        (["-l", "team!=shop"], ["apart", "db"]),
        (["-l", "team==data"], ["db"]),
        (["-l", "team=shop", "--app", "web", "--app", "apart"], ["web"]),
    ):
        assert ran("run", *args).code == 0
        assert sorted(ran.new_effects()) == effects, args


def test_what_a_selected_app_needs_and_never_ran_is_named_with_the_command_that_runs_it(
    chain: ProjectFolder,
) -> None:
    ended = chain("run", "--app", "web", "--target", "out")
    assert ended.code == 2
    assert "web:deploy needs api:deploy" in ended.err
    command = "sbkube run --app web --with-needs --target out"
    assert f"hint: `{command}` runs them too" in ended.err
    assert chain("run", "--app", "web", "--dry-run").code == 2
    assert chain.new_effects() == []
    assert chain(*command.split()[1:]).code == 0
    assert chain.new_effects() == ["db", "api", "web"]


def test_a_refused_selection_leaves_no_run(ran: ProjectFolder) -> None:
    ran.config(CHAIN + "new: {type: exec, commands: ['true']}\nlast: {type: noop, depends_on: [new]}\n")
    before = ran.view
    assert ran("run", "--app", "last").code == 2
    assert ran.view == before


def test_apply_of_an_app_brings_what_it_needs_and_nothing_that_is_there(chain: ProjectFolder) -> None:
    assert chain("apply", "--app", "api").code == 0
    assert chain.new_effects() == ["db", "api"]
    assert chain("apply", "--app", "web").code == 0
    assert chain.new_effects() == ["web"]
    assert chain("apply").code == 0
    assert len(chain.new_effects()) == 4


def test_what_an_app_comes_after_counts_whatever_became_of_its_inputs(ran: ProjectFolder) -> None:
    ran.config(CHAIN.replace("echo api", "echo api anew"))
    ended = ran("run", "--app", "web")
    assert ended.code == 0
    assert ran.new_effects() == ["web"]
    assert ran.statuses("api:deploy", "db:deploy") == ["pending", "completed"]
    assert "left for later: api:deploy" in ended.err
    assert ran("run", "--resume").code == 0
    assert ran.new_effects() == ["api anew"]


def test_failures_outside_the_selection_stay_and_do_not_count(project: ProjectFolder) -> None:
    project.config("a: {type: exec, commands: ['exit 1']}\nb: {type: exec, commands: ['echo b >> ledger']}\n")
    assert project("run").code == 1
    project.new_effects()
    ended = project("run", "--app", "b")
    assert ended.code == 0
    assert project.statuses("a:deploy", "b:deploy") == ["failed", "completed"]
    assert "did not complete earlier and not asked for now: a:deploy" in ended.err
    assert project("run", "--retry-failed", "--app", "b").code == 0
    assert project.statuses("a:deploy") == ["failed"]


# Stages


@pytest.fixture
def charts(project: ProjectFolder) -> ProjectFolder:
    project.config(
        """
        web: {type: helm, chart: ./charts/web}
        objects: {type: yaml, manifests: [objects.yaml], depends_on: [web]}
        run: {type: exec, commands: ['echo run >> ledger'], depends_on: [objects]}
        all: {type: noop, depends_on: [run]}
        """
    )
    project.write({**chart("web"), "objects.yaml": manifest("objects")})
    return project


@pytest.mark.parametrize(
    ("args", "steps"),
    [
        ("--only prepare", "web:prepare"),
        ("--only template --with-needs", "objects:template web:build web:prepare web:template"),
        ("--to-step build", "web:build web:prepare"),
        ("--to-step template --app objects", "objects:template"),
        ("--to-step template --app web", "web:build web:prepare web:template"),
        ("--from-step prepare --to-step prepare", "web:prepare"),
    ],
)
def test_a_range_of_stages_runs_those_and_leaves_later_ones_pending(
    charts: ProjectFolder, args: str, steps: str
) -> None:
    assert charts.runs(*args.split()) == steps.split()
    assert charts.view["status"] == "unfinished"
    assert charts.statuses("run:deploy", "all:done") == ["pending", "pending"]


def test_from_a_stage_on_includes_the_gates_and_commands_behind(charts: ProjectFolder) -> None:
    charts("run")
    assert charts.runs("--from-step", "deploy") == [
        *("all:done", "objects:deploy", "run:deploy", "web:deploy"),
    ]
    assert charts.runs("--from-step", "template", "--app", "web") == ["web:deploy", "web:template"]
    assert charts.view["status"] == "completed"


def test_a_selection_of_stages_that_holds_nothing_says_so(project: ProjectFolder) -> None:
    project.config("a: {type: exec, commands: ['echo a >> ledger']}")
    ended = project("run", "--only", "prepare")
    assert ended.code == 0
    assert "run 1: 0 of 1 step" in ended.err
    assert "left for later: a:deploy" in ended.err
    assert project.runs("--resume") == ["a:deploy"]


# Disabled, optional, gates


def test_a_disabled_app_is_skipped_and_a_need_on_it_is_met_with_one_warning(project: ProjectFolder) -> None:
    project.config(
        """
        db: {type: exec, commands: ['echo db >> ledger']}
        off: {type: exec, enabled: false, depends_on: [db], commands: ['echo off >> ledger']}
        web: {type: exec, depends_on: [off], commands: ['echo web >> ledger']}
        """
    )
    ended = project("run")
    assert ended.code == 0
    assert ended.err.count("'off', which is disabled") == 1
    assert project.new_effects() == ["db", "web"]
    assert project.statuses("off:deploy") == ["skipped"]
    assert "1 disabled" in ended.err
    ended = project("run", "--app", "off")
    assert ended.code == 0
    assert "app 'off' is disabled, so nothing of it runs" in ended.err
    assert project.new_effects() == []


def test_what_a_disabled_app_needs_still_comes_before(project: ProjectFolder) -> None:
    project.config(
        """
        db: {type: exec, commands: ['exit 1']}
        off: {type: exec, enabled: false, depends_on: [db], commands: ['true']}
        web: {type: exec, depends_on: [off], commands: ['echo web >> ledger']}
        """
    )
    assert project("run").code == 1
    assert project.statuses("web:deploy") == ["blocked"]
    assert project.view["steps"]["web:deploy"]["blocked_by"] == "db:deploy"


def test_an_optional_need_may_be_absent_or_disabled_without_a_word(project: ProjectFolder) -> None:
    project.config(
        """
        off: {type: exec, enabled: false, commands: ['true']}
        web:
          type: exec
          depends_on: [{app: off, optional: true}, {app: nowhere, optional: true}]
          commands: ['echo web >> ledger']
        """
    )
    ended = project("run")
    assert ended.code == 0
    assert "note" not in ended.err
    assert "warning" not in ended.err


def test_an_app_that_was_enabled_again_runs(project: ProjectFolder) -> None:
    config = "a: {type: exec, enabled: false, commands: ['echo a >> ledger']}\n"
    project.config(config + "b: {type: exec, commands: ['echo b >> ledger']}\n")
    project("run")
    project.new_effects()
    project.edit("config.yaml", "enabled: false", "enabled: true")
    assert project.runs("--resume") == ["a:deploy"]


def test_a_need_on_a_stage_waits_for_that_stage_alone(project: ProjectFolder) -> None:
    project.config(
        """
        web: {type: yaml, manifests: [web.yaml]}
        early: {type: exec, depends_on: [{app: web, stage: template}], commands: ['test ! -e rendered/web']}
        """
    )
    project.write({"web.yaml": manifest("web")})
    assert "comes after: web:template" in (project("run"), project("explain", "early:deploy"))[1].out
    project.edit("config.yaml", "stage: template", "stage: build")
    ended = project("run")
    assert ended.code == 2
    assert "config.yaml:5" in ended.err
    assert "stages are: template, deploy" in ended.err


def test_a_gate_completes_when_what_it_waits_for_has(project: ProjectFolder) -> None:
    project.config(
        """
        a: {type: exec, commands: ['test -e ok']}
        gate: {type: noop, depends_on: [a]}
        b: {type: exec, depends_on: [gate], commands: ['echo b >> ledger']}
        """
    )
    assert project("run").code == 1
    assert project.statuses("gate:done", "b:deploy") == ["blocked", "blocked"]
    (project.root / "ok").touch()
    assert project("run", "--resume").code == 0
    assert project.statuses("gate:done") == ["completed"]
    assert project.new_effects() == ["b"]
    assert project.runs("--resume") == []


def test_a_command_behind_a_gate_does_not_run_again_because_the_one_before_did(ran: ProjectFolder) -> None:
    ran.config(CHAIN.replace("echo db", "echo db anew"))
    assert ran("run", "--resume").code == 0
    assert ran.new_effects() == ["db anew"]


# A preview is what the run then does

SCENARIOS: dict[str, list[str]] = {
    "everything": [],
    "resume": ["--resume"],
    "retry-failed": ["--retry-failed"],
    "continue from a stage": ["--continue-from", "template"],
    "continue from an app": ["--continue-from", "web"],
    "one stage": ["--only", "template"],
    "one app": ["--app", "web"],
    "an app with needs": ["--app", "late", "--with-needs"],
    "a part of the last run": ["--resume", "--to-step", "build"],
}


def prepared(project: ProjectFolder, edit: str) -> None:
    project.config(
        """
        web: {type: helm, chart: ./charts/web, values: [web.yaml]}
        broken: {type: exec, commands: ['test -e ok']}
        late: {type: exec, depends_on: [broken, web], commands: ['true']}
        objects: {type: yaml, manifests: [objects.yaml]}
        """
    )
    project.write({**chart("web"), "web.yaml": "greeting: web\n", "objects.yaml": manifest("objects")})
    assert project("run").code == 1
    (project.root / "ok").touch()
    if edit == "values":
        project.write({"web.yaml": "greeting: changed\n", "objects.yaml": manifest("other")})
    elif edit == "config":
        project.edit("config.yaml", "test -e ok", "test -e ok || exit 2")


@pytest.mark.parametrize("edit", ["none", "values", "config"])
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_dry_run_tells_what_the_run_then_does(project: ProjectFolder, scenario: str, edit: str) -> None:
    prepared(project, edit)
    args = SCENARIOS[scenario]
    before = _bytes(project.root)
    told = project("run", *args, "--dry-run", "--output", "json")
    plan = project("plan", *args, "--output", "json")
    assert (plan.code, plan.err) == (told.code, told.err)
    assert _bytes(project.root) == before
    ended = project("run", *args, "--output", "ndjson")
    if told.code:
        assert (ended.code, ended.err) == (told.code, told.err)
        return
    assert plan.out == told.out
    rows: list[dict[str, Any]] = told.document["steps"]
    certain = {row["step"] for row in rows if row["action"] == "run"}
    possible = {row["step"] for row in rows if row["action"].startswith("run")}
    assert certain <= set(ended.started) <= possible
    assert told.document["new_run"] == (ended.events[0]["run"] == 2)


def _bytes(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
