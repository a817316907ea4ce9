"""Ctrl-C and its relatives, sent to a real `sbkube run`: what it says, records and leaves running."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from sbkube.engine import StepStatus

from .cli_project import (
    WAITS,
    CliProject,
    children_of,
    command,
    ended,
    gated,
    interrupt,
    marked,
    processor_time,
    quick,
    runs,
    says,
    seen_on,
    tells,
    until,
)

ENDLESS = Path(__file__).parents[1] / "contract" / "charts" / "endless"
DRAINS, STOPS = "starting nothing more", "stopping"


@pytest.fixture
def project(tmp_path: Path) -> Iterator[CliProject]:
    with closing(CliProject(tmp_path / "project")) as project:
        project.env["MARK"] = str(tmp_path)
        yield project
    left = marked(f"MARK={tmp_path}")
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert left == []


def left_behind(project: CliProject) -> list[int]:
    return marked(f"MARK={project.env['MARK']}")


# `sh` waits for a background child, which waits for another; all of them, for ever, in one group.
TREE = f"(sh -c 'sleep 1000' & sleep 1000) & {WAITS}"
STUBBORN = f"trap '' TERM INT HUP; {TREE}; {WAITS}"


def busy(how: str = TREE) -> dict[str, object]:
    return command(tells("begin"), how)


def test_never_more_steps_at_once_than_max_parallel_and_never_fewer_while_there_are_some(
    project: CliProject,
) -> None:
    project.config({f"a{n}": gated() for n in range(40)})
    child = project.start("run", "--max-parallel", "20")
    first = [project.next_told() for _ in range(20)]
    assert all(line.startswith("begin") for line in first)
    assert len(project.ledger()) == 20
    project.let_go(40)
    assert ended(child).code == 0
    most = now = 0
    for line in project.ledger():
        now += 1 if line.startswith("begin") else -1
        most = max(most, now)
    assert (most, now) == (20, 0)


def test_one_ctrl_c_lets_running_steps_finish_and_resume_goes_on(project: CliProject) -> None:
    project.config({"a": gated(), "b": gated(), "c": quick("a"), "d": quick("c")})
    child = project.start("run")
    project.wait_for("begin a", "begin b")
    interrupt(child)
    assert "2 steps still run: a:deploy, b:deploy" in says(child, DRAINS)
    assert says(child, "Ctrl-C again stops it, a third one ends at once")
    project.let_go(2)
    told = ended(child)
    assert told.code == 130
    assert told.commands == ["sbkube run --resume"]
    done, waiting = StepStatus.COMPLETED, StepStatus.PENDING
    assert list(project.statuses().values()) == [done, done, waiting, waiting]
    before = len(project.ledger())
    assert project.shell(told.commands[0]).code == 0
    assert project.ledger()[before:] == ["begin c", "end c", "begin d", "end d"]


def test_the_first_ctrl_c_is_answered_also_where_nothing_more_was_started_anyway(project: CliProject) -> None:
    project.config({"a": command(tells("begin"), "exit 3"), "b": gated(), "c": quick("b")})
    child = project.start("run", "--fail-fast")
    project.wait_for("begin a", "begin b")
    says(child, DRAINS)
    interrupt(child)
    says(child, "what runs may finish; Ctrl-C again stops it")
    project.let_go()
    assert ended(child).code == 130
    done, waiting = StepStatus.COMPLETED, StepStatus.PENDING
    assert list(project.statuses().values()) == [StepStatus.FAILED, done, waiting]


def test_a_step_that_fails_while_draining_is_recorded_as_failed(project: CliProject) -> None:
    project.config({"a": command(tells("begin"), WAITS, "exit 3")})
    child = project.start("run")
    project.wait_for("begin a")
    interrupt(child)
    says(child, DRAINS)
    project.let_go()
    assert ended(child).code == 130
    assert project.statuses() == {"a:deploy": StepStatus.FAILED}


def test_a_second_ctrl_c_ends_whole_process_groups(project: CliProject) -> None:
    project.config({"a": busy(), "b": quick("a"), "c": command(tells("begin"), TREE)})
    child = project.start("run")
    project.wait_for("begin a", "begin c")
    interrupt(child)
    says(child, DRAINS)
    interrupt(child)
    told = ended(child)
    assert left_behind(project) == []
    assert told.code == 130
    assert "stopped while they ran: a:deploy, c:deploy" in told.err
    stopped = StepStatus.CANCELLED
    assert project.statuses() == {
        "a:deploy": stopped,
        "b:deploy": StepStatus.PENDING,
        "c:deploy": stopped,
    }


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_that_ends_a_process_stops_the_steps_at_once(
    project: CliProject, number: signal.Signals
) -> None:
    project.config({"a": busy(), "b": quick("a")})
    child = project.start("run")
    project.wait_for("begin a")
    child.send_signal(number)
    told = ended(child)
    assert left_behind(project) == []
    assert told.code == 128 + number
    assert f"was ended by {number.name}" in told.err
    assert list(project.statuses().values()) == [StepStatus.CANCELLED, StepStatus.PENDING]


def test_a_stopped_command_may_clean_up_and_what_it_says_is_in_its_log(project: CliProject) -> None:
    project.config({"a": command("trap 'echo tidied; exit 1' TERM", tells("begin"), WAITS)})
    child = project.start("run")
    project.wait_for("begin a")
    child.send_signal(signal.SIGTERM)
    assert ended(child).code == 143
    assert project.run("logs", "a:deploy").out == "tidied\n"


def test_a_third_ctrl_c_kills_what_will_not_end_and_loses_nothing(project: CliProject) -> None:
    project.config({"a": busy(STUBBORN), "b": quick(), "c": quick("b"), "d": quick("a")})
    child = project.start("run")
    project.wait_for("begin a", "end c")
    says(child, "c:deploy completed")
    interrupt(child)
    says(child, DRAINS)
    interrupt(child)
    says(child, STOPS)
    interrupt(child)
    told = ended(child)
    assert told.code == 130
    assert "a run with `--resume` goes on" in told.err
    until(lambda: left_behind(project) == [], "something survived")
    found = project.statuses()
    assert found["b:deploy"] is found["c:deploy"] is StepStatus.COMPLETED
    assert found["a:deploy"] is StepStatus.INTERRUPTED


@pytest.mark.slow
def test_what_ignores_being_told_to_end_is_killed_after_a_while_and_recorded(project: CliProject) -> None:
    project.config({"a": busy(STUBBORN), "b": busy(STUBBORN)})
    child = project.start("run")
    project.wait_for("begin a", "begin b")
    child.send_signal(signal.SIGTERM)
    assert ended(child).code == 143
    assert left_behind(project) == []
    assert set(project.statuses().values()) == {StepStatus.CANCELLED}


@pytest.mark.parametrize("options", [[], ["--output", "ndjson"]])
def test_the_third_ctrl_c_also_ends_a_run_whose_output_nobody_takes(
    project: CliProject, options: list[str]
) -> None:
    loud = "i=0; while [ $i -lt 200 ]; do head -c 4000 /dev/zero | tr '\\0' x; echo; i=$((i+1)); done"
    project.config({"a": command(loud, tells("begin")), "b": {**busy(STUBBORN), "depends_on": ["a"]}})
    child = project.start("run", *options)
    project.wait_for("begin a", "begin b")
    # Nothing of what it says can be seen, and two signals that come together count as one.
    until(lambda: interrupt(child) or child.poll() is not None)
    assert child.wait(40) == 130
    until(lambda: left_behind(project) == [], "something survived")


# Before the run


def test_ctrl_c_while_a_file_is_read_that_has_no_end_ends_before_anything_runs(project: CliProject) -> None:
    endless = project.root / "slow.yaml"
    endless.touch()
    os.truncate(endless, 1 << 42)
    project.config({"a": quick(), "b": {"type": "yaml", "manifests": ["slow.yaml"]}})
    child = project.start("run")
    until(lambda: str(endless) in opened_by(child.pid), "it is not read")
    interrupt(child)
    told = ended(child)
    assert (told.code, told.err.count("Traceback")) == (130, 0)
    assert "interrupted before anything ran" in told.err
    assert not project.state.exists()


def opened_by(pid: int) -> list[str]:
    files = []
    for number in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            files.append(os.readlink(number))
    return files


def test_ctrl_c_while_another_run_is_waited_for_leaves_that_run_alone(project: CliProject) -> None:
    project.config({"a": gated()})
    holder = project.start("run")
    project.wait_for("begin a")
    second = project.start("run")
    interrupt(second)
    assert ended(second).code in (130, -2)
    project.let_go()
    assert ended(holder).code == 0


# Helm


def rendering(child: subprocess.Popen[str]) -> None:
    """Until a worker of Helm has worked for longer than it takes to start."""
    until(lambda: any(processor_time(pid) > 150 for pid in children_of(child.pid)), "nothing renders")


def endless() -> dict[str, object]:
    return {"type": "helm", "chart": str(ENDLESS)}


def test_a_second_ctrl_c_ends_a_render_that_never_would(project: CliProject) -> None:
    project.config({"a": endless()})
    child = project.start("run", "--helm", "embedded")
    rendering(child)
    interrupt(child)
    assert "a:template" in says(child, DRAINS)
    interrupt(child)
    assert ended(child).code == 130
    assert left_behind(project) == []
    assert project.statuses()["a:template"] is StepStatus.CANCELLED


def test_a_chart_without_an_end_is_stopped_at_its_limit_and_the_run_goes_on(project: CliProject) -> None:
    project.config(
        {
            "a": {**endless(), "time_limit": {"template": "2s"}, "retry": {"retries": 0}},
            "b": quick("a"),
            "c": {**quick(), "commands": [f"{tells('begin')}; {WAITS}", tells("end")]},
        }
    )
    child = project.start("run", "--helm", "embedded")
    project.wait_for("begin c")
    assert "time limit of 2 s" in says(child, "a:template failed")
    assert left_behind(project) != []
    project.let_go()
    told = ended(child)
    assert told.code == 1
    assert left_behind(project) == []
    assert "blocked by a:template: a:deploy, b:deploy" in told.err
    found = project.statuses()
    assert found["c:deploy"] is StepStatus.COMPLETED
    assert found["b:deploy"] is StepStatus.BLOCKED


# How it was started


@pytest.mark.parametrize("name", ["INT", "HUP"])
def test_a_signal_that_was_ignored_at_the_start_stays_ignored(project: CliProject, name: str) -> None:
    project.config({"a": gated(), "b": quick("a")})
    inner = "exec sbkube run"
    child = project.start("-c", f"trap '' {name}; {inner}", program=("/bin/sh",))
    project.wait_for("begin a")
    child.send_signal(signal.Signals[f"SIG{name}"])
    project.let_go()
    assert ended(child).code == 0
    assert set(project.statuses().values()) == {StepStatus.COMPLETED}


def test_ctrl_c_typed_at_a_terminal_reaches_no_command(project: CliProject) -> None:
    noticed = "trap 'echo \"signal $SBKUBE_APP_NAME\" >> ledger' INT"
    project.config({"a": command(noticed, tells("begin"), WAITS, tells("end")), "b": quick("a")})
    master, slave = os.openpty()
    child = project.start(
        "run", stdin=slave, stdout=slave, stderr=slave, preexec_fn=lambda: os.login_tty(slave)
    )
    os.close(slave)
    try:
        project.wait_for("begin a")
        os.write(master, b"\x03")
        shown = seen_on(master, DRAINS)
        project.let_go()
        seen_on(master, None)
    finally:
        os.close(master)
    assert child.wait(40) == 130
    assert b"a:deploy" in shown
    assert project.ledger() == ["begin a", "end a"]


def test_the_time_of_the_whole_run_stops_it_like_a_signal(project: CliProject) -> None:
    project.config({"a": busy(), "b": quick("a"), "c": quick()})
    told = project.run("run", "--timeout", "1s")
    assert left_behind(project) == []
    assert told.code == 1
    assert "stopped at its deadline" in told.err
    stopped, waits, done = StepStatus.CANCELLED, StepStatus.PENDING, StepStatus.COMPLETED
    assert list(project.statuses().values()) == [stopped, waits, done]


@pytest.mark.parametrize(
    "line",
    [
        "{ sbkube run --output ndjson; echo $? > code; } | head -1",
        "{ sbkube run 2>&1; echo $? > code; } | head -1",
        "{ sbkube run --output ndjson 2>&1; echo $? > code; } | :",
        "sbkube run >&- 2>&-; echo $? > code",
        "sbkube run --output json <&- >&-; echo $? > code",
    ],
)
def test_a_reader_that_goes_away_does_not_end_the_run(project: CliProject, line: str) -> None:
    project.config({"a": quick(), "b": quick("a"), "c": command("echo said", "exit 1"), "d": quick("b")})
    told = project.shell(line)
    assert "Traceback" not in told.err + told.out
    assert (project.root / "code").read_text() == "1\n"
    assert project.ledger() == ["begin a", "end a", "begin b", "end b", "begin d", "end d"]


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("sbkube history", 1),
        ("sbkube status --output json", 1),
        ("sbkube version", 1),
        ("sbkube run --output json", 1),
        ("sbkube run --output ndjson", 1),
        ("sbkube run --output ndjson --app none", 2),
    ],
)
def test_data_that_cannot_be_written_is_told_and_is_no_success(
    project: CliProject, line: str, code: int
) -> None:
    project.config({"a": quick()})
    assert project.run("run").code == 0
    told = project.shell(f"{line} > /dev/full")
    assert told.code == code, told
    lost = "error: what goes to stdout could not be written: no space left on device"
    assert (lost in told.err) == (code == 1)
    assert list(project.statuses().values()) == [StepStatus.COMPLETED]


@pytest.mark.parametrize(
    ("line", "code"), [("history", 0), ("status", 0), ("--help", 0), ("run --help", 0), ("nope", 2)]
)
def test_a_reader_that_has_seen_enough_is_no_error(project: CliProject, line: str, code: int) -> None:
    project.config({"a": quick()})
    assert project.run("run").code == 0
    nobody, end = os.pipe()
    os.close(nobody)
    child = project.start(*line.split(), stdout=end, stderr=end)
    os.close(end)
    assert child.wait(40) == code


def test_no_command_is_left_with_a_parent_of_its_own(project: CliProject) -> None:
    """Holds the helpers to their word: they find a process that was put into the background."""
    project.config({"a": busy()})
    child = project.start("run")
    project.wait_for("begin a")
    until(lambda: len(left_behind(project)) >= 5)
    assert all(runs(pid) for pid in left_behind(project))
    child.send_signal(signal.SIGTERM)
    assert ended(child).code == 143
