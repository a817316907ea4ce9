"""`sbkube` is killed with -9 and a command of it goes on: no second copy is started beside it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from sbkube.engine import StepStatus

from .cli_project import (
    WAITS,
    CliProject,
    Ended,
    command,
    ended,
    gated,
    quick,
    runs,
    says,
    seen_on,
    tells,
)

RERUN = {"on_interrupt": "rerun"}
BEGINS = tells("begin").replace("begin", "begin $$")


@pytest.fixture
def project(tmp_path: Path) -> Iterator[CliProject]:
    with closing(CliProject(tmp_path / "project")) as project:
        yield project


def outlived(project: CliProject, **more: object) -> int:
    """The process id of the command of a, which waits at the gate without its `sbkube`."""
    project.config({"a": {**command(BEGINS, WAITS, tells("end")), **more}, "b": quick("a"), "c": quick()})
    child = project.start("run")
    lines = {project.next_told() for _ in range(3)}
    says(child, "c:deploy completed")
    child.kill()
    ended(child)
    pid = int(next(line for line in lines if line.endswith(" a")).split()[1])
    assert runs(pid)
    return pid


def begun(project: CliProject, app: str) -> int:
    return sum(1 for line in project.ledger() if line.startswith("begin") and line.endswith(f" {app}"))


def is_held_back(told: Ended, project: CliProject, pid: int) -> None:
    assert told.code == 6, told
    assert f"a:deploy still runs, left by a run that died: process {pid};" in told.err
    assert f"`kill -- -{pid}`" in told.err
    assert "waits for what still runs" in told.err
    assert project.statuses()["a:deploy"] is StepStatus.INTERRUPTED
    assert begun(project, "b") == 0
    assert runs(pid)
    assert begun(project, "a") == 1


@pytest.mark.parametrize(
    "words",
    [
        "--resume --rerun-interrupted",
        "",
        *(
            pytest.param(words, marks=pytest.mark.slow)
            for words in (
                "--resume",
                "--retry-failed",
                "--continue-from a",
                "--resume --app b --with-needs",
                "--app a --app b",
            )
        ),
    ],
)
def test_no_second_copy_is_started_beside_a_command_that_outlived_its_sbkube(
    project: CliProject, words: str
) -> None:
    pid = outlived(project, **RERUN)
    told = project.run("run", *words.split())
    is_held_back(told, project, pid)
    is_held_back(project.run("run", *words.split()), project, pid)

    assert project.shell(f"kill -- -{pid}").code == 0
    project.until_nothing_runs()
    project.let_go()
    assert "--rerun-interrupted" not in told.commands[0]
    told = project.shell(told.commands[0])
    assert told.code == 0, told
    assert project.run("run", "--resume").code == 0
    assert set(project.statuses().values()) == {StepStatus.COMPLETED}
    assert (begun(project, "a"), begun(project, "b")) == (2, 1)


def test_the_other_branches_of_a_new_run_go_on(project: CliProject) -> None:
    pid = outlived(project, **RERUN)
    before = begun(project, "c")
    is_held_back(project.run("run"), project, pid)
    assert project.recorded.run == 2
    assert project.statuses()["b:deploy"] is StepStatus.BLOCKED
    assert begun(project, "c") == before + 1
    assert project.statuses()["c:deploy"] is StepStatus.COMPLETED


def test_a_command_that_was_let_end_is_started_again_by_the_next_resume(project: CliProject) -> None:
    pid = outlived(project, **RERUN)
    is_held_back(project.run("run", "--resume"), project, pid)
    project.let_go()
    project.until_nothing_runs()
    project.let_go()
    assert project.run("run", "--resume").code == 0
    assert project.ledger().count("end a") == 2


def test_a_command_that_asks_is_asked_about_once_it_has_ended(project: CliProject) -> None:
    pid = outlived(project)
    told = project.run("run", "--resume")
    is_held_back(told, project, pid)
    assert told.commands == ["sbkube run --resume --rerun-interrupted"]
    project.let_go()
    project.until_nothing_runs()
    asked = project.run("run", "--resume")
    assert asked.code == 6
    assert "a:deploy was running when its process died" in asked.err
    project.let_go()
    assert project.shell(told.commands[0]).code == 0


def test_what_a_later_run_was_not_asked_for_is_still_not_started_twice(project: CliProject) -> None:
    """Each of these once made another state of the step, without a word of the attempt that goes on."""
    pid = outlived(project, **RERUN)
    for words in (["run", "--app", "c"], ["run", "--only", "prepare"], ["run", "--resume", "--app", "c"]):
        assert project.run(*words).code == 0, words
        assert project.statuses()["a:deploy"] is StepStatus.INTERRUPTED
        is_held_back(project.run("run", "--resume"), project, pid)


def test_a_plan_shows_what_waits_for_a_command_to_end(project: CliProject) -> None:
    pid = outlived(project, **RERUN)
    for words in (["plan", "--resume"], ["plan"], ["run", "--resume", "--dry-run"]):
        row = next(line for line in project.run(*words).out.splitlines() if "a:deploy" in line)
        assert row.split()[:2] == ["wait", "a:deploy"]
        assert f"process {pid};" in row
    shown = json.loads(project.run("plan", "--resume", "--output", "json").out)["steps"]
    assert [step["action"] for step in shown] == ["wait", "run", "keep"]
    assert f"would wait: still runs, left by a run that died: process {pid}" in (
        project.run("explain", "a:deploy").out
    )


def test_nobody_is_asked_at_a_terminal_about_a_command_that_still_runs(project: CliProject) -> None:
    pid = outlived(project)
    shown, code = at_a_terminal(project, "run", "--resume", "--no-progress")
    assert code == 6
    assert f"a:deploy still runs, left by a run that died: process {pid};" in shown
    assert "run it again?" not in shown
    assert begun(project, "a") == 1


def at_a_terminal(project: CliProject, *words: str) -> tuple[str, int]:
    master, slave = os.openpty()
    child = project.start(
        *words, stdin=slave, stdout=slave, stderr=slave, preexec_fn=lambda: os.login_tty(slave)
    )
    os.close(slave)
    try:
        shown = seen_on(master, None).decode()
    finally:
        os.close(master)
    return " ".join(shown.split()), child.wait(40)


def test_what_an_attempt_that_ended_left_in_the_background_stops_nothing(project: CliProject) -> None:
    """A daemon is its own affair; the attempt is known to be over."""
    stays = f"({WAITS}) > /dev/null 2>&1 & {tells('end')}; test -e mended"
    project.config({"a": {**command(stays), **RERUN}, "b": quick("a")})
    assert project.run("run").code == 1
    assert project.left_running()
    (project.root / "mended").touch()
    assert project.run("run", "--resume").code == 0


def test_sbkube_run_by_a_command_that_outlived_another_goes_on(project: CliProject) -> None:
    """The command, its shell and the inner `sbkube` all bear the marks of the step that is looked for."""
    again = "test $SBKUBE_ATTEMPT = 2 || { sbkube run --resume; echo code $? >> ledger; echo over > told; }"
    project.config({"a": {**command(tells("begin"), WAITS, again), **RERUN}, "b": quick("a")})
    child = project.start("run")
    project.wait_for("begin a")
    child.kill()
    ended(child)
    project.let_go(2)
    project.wait_for("over")
    assert "code 0" in project.ledger()
    assert set(project.statuses().values()) == {StepStatus.COMPLETED}


def test_two_commands_that_still_run_are_both_named(project: CliProject) -> None:
    project.config({"a": {**gated(), **RERUN}, "d": {**gated(), **RERUN}})
    child = project.start("run")
    project.wait_for("begin a", "begin d")
    child.kill()
    ended(child)
    told = project.run("run", "--resume")
    assert told.code == 6
    assert told.err.count(" still runs, left by") == 2
    assert "# once a:deploy, d:deploy has ended: runs a:deploy, d:deploy again" in told.err
