from __future__ import annotations

import errno
import signal
from pathlib import Path

import asyncclick
import pytest

from sbkube.cli.console import ASCII
from sbkube.cli.ending import Report, end_report
from sbkube.cli.failures import describe_error, exit_code_of, is_bug
from sbkube.engine import errors as engine
from sbkube.engine.state import ExecutionState, StepStatus
from sbkube.errors import ConfigError, NotYet, Position, SbkubeError
from sbkube.leftovers import Leftover
from sbkube.targets.cluster.lease import Lease, LeasePlace, LockHeld, LockLost

from .helpers import (
    CANCELLED,
    DONE,
    ESCAPE,
    FAILED,
    check_golden,
    data,
    decision,
    log_path,
    plain_console,
    run,
    step,
    written,
)

PENDING, BLOCKED, INTERRUPTED = StepStatus.PENDING, StepStatus.BLOCKED, StepStatus.INTERRUPTED
LOCKED = engine.RunLocked(Path(".sbkube"), "process 4711")
FENCED = engine.Fenced(".sbkube/journal/000002.jsonl")
PLACE = LeasePlace("shop", "sbkube", 30)
HELD = LockHeld(PLACE, Lease("7", "uid", "bob", 30.0, 0, "2026-11-24T12:00:00Z", "process 7 of bob on ci-2"))
TAKEN_OVER = LockLost(PLACE, "it was removed")
LOST = engine.StateNotSaved("no space left on device", ["db:deploy"])
CORRUPT = engine.StateCorrupt("000001.jsonl", 7, 900, "bad checksum")


def full_disk() -> OSError:
    return OSError(errno.ENOSPC, "No space left on device", "/data/x")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (engine.StepsFailed({"a": "no"}), 1),
        (TypeError("a bug"), 1),
        (ConfigError("no"), 2),
        (NotYet("`git`"), 2),
        (SbkubeError("no"), 2),
        (engine.NothingToResume(), 2),
        (engine.NeedsNotMet({"a": ["b"]}), 2),
        (engine.UnknownStep("a"), 2),
        (asyncclick.UsageError("no such option"), 2),
        (FileNotFoundError(errno.ENOENT, "No such file or directory", "x"), 2),
        (PermissionError(errno.EACCES, "Permission denied", "x"), 2),
        (LOCKED, 3),
        (HELD, 3),
        (CORRUPT, 4),
        (engine.StateTooNew("000001.jsonl", 2, "sbkube 9"), 4),
        (engine.StateNotWritable(Path("x"), "read-only file system"), 5),
        (LOST, 5),
        (full_disk(), 5),
        (FENCED, 7),
        (TAKEN_OVER, 7),
        (KeyboardInterrupt(), 130),
        (asyncclick.Abort(), 130),
        (asyncclick.exceptions.Exit(0), 0),
        (SystemExit(3), 3),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else str(value),
)
def test_each_error_has_its_exit_code(error: BaseException, code: int) -> None:
    assert exit_code_of(error) == code
    assert exit_code_of(BaseExceptionGroup("tasks", [BaseExceptionGroup("more", [error])])) == code


@pytest.mark.parametrize(
    ("errors", "code"),
    [
        ([TypeError("no"), LOST, KeyboardInterrupt()], 130),
        ([FENCED, LOST], 5),
        ([CORRUPT, FENCED], 7),
        ([engine.StepsFailed({}), CORRUPT], 4),
        ([TypeError("no"), ConfigError("no")], 2),
    ],
)
def test_of_several_errors_the_gravest_gives_the_exit_code(errors: list[BaseException], code: int) -> None:
    group = BaseExceptionGroup("tasks", errors)
    assert exit_code_of(group) == code
    assert exit_code_of(BaseExceptionGroup("tasks", errors[::-1])) == code
    gravest = next(error for error in errors if exit_code_of(error) == code)
    assert describe_error(group) == describe_error(gravest)


def test_an_error_of_ours_is_told_with_its_place_and_its_hint() -> None:
    error = ConfigError(
        "'helmm' is no type", hint="did you mean 'helm'?", where=Position(Path("config.yaml"), 7)
    )
    assert describe_error(error) == ("config.yaml:7: 'helmm' is no type", "did you mean 'helm'?")
    assert describe_error(LOCKED)[0] == ".sbkube is locked by process 4711"


def test_an_error_of_the_system_names_the_file() -> None:
    assert describe_error(full_disk()) == (
        "/data/x: no space left on device",
        "free some space, then run again",
    )
    assert describe_error(OSError("odd")) == ("odd", None)


def test_what_nobody_meant_to_raise_is_called_a_bug() -> None:
    assert describe_error(TypeError("no"))[0] == "internal error: TypeError: no"
    assert is_bug(ExceptionGroup("tasks", [TypeError("no")]))
    assert not is_bug(LOCKED)
    assert not is_bug(asyncclick.UsageError("no such option"))
    assert describe_error(asyncclick.UsageError("no such option")) == ("no such option", None)


def test_an_error_is_printed_with_its_hint_on_a_line_of_its_own() -> None:
    console = plain_console()
    console.error("no", "do")
    console.error("no hint here")
    assert (written(console), data(console)) == ("error: no\nhint: do\nerror: no hint here\n", "")


# Reports


def ended(state: ExecutionState, **options: object) -> Report:
    chosen = {
        key: options.pop(key)
        for key in ("asked", "to_run", "undecided", "asks", "still_running")
        if key in options
    }
    return end_report(state, decision(state, **chosen), seconds=42.1, **options)  # type: ignore[arg-type]


def failed_run() -> ExecutionState:
    """postgres and the build of api fail, one after three attempts; what waits for them is blocked."""
    held = [step(f"app{n}:deploy", BLOCKED, blocked_by="postgres:deploy") for n in range(5)]
    return run(
        step("postgres:template", DONE),
        step(
            "postgres:deploy",
            FAILED,
            attempt=3,
            duration=3.2,
            error="exit code 3: initdb failed\nsee the pod",
        ),
        *held,
        step("api:build", FAILED, attempt=1, duration=0.1, error="overrides/api/\x1b[31mx.yaml is missing"),
        step("api:template", BLOCKED, blocked_by="api:build"),
        step("loki:deploy", CANCELLED, attempt=1, duration=9.0),
        step("web:deploy", PENDING),
    )


def last_lines(name: str) -> list[str]:
    return ["creating the cluster", "initdb: error: no space"] if name == "postgres:deploy" else []


def test_a_failed_run_tells_root_causes_then_what_they_held_back_then_how_to_go_on() -> None:
    report = ended(failed_run(), flags=["--profile", "prod eu"], log_path=log_path, tail=last_lines)
    check_golden("report-failed", report.text)
    assert report.exit_code == 1
    assert report.commands == (
        "sbkube run --resume --profile 'prod eu'",
        "sbkube logs postgres:deploy --profile 'prod eu'",
        "sbkube logs api:build --profile 'prod eu'",
    )


def test_a_report_is_ascii_where_marks_are() -> None:
    assert ended(failed_run(), log_path=log_path, marks=ASCII).text.isascii()


def test_many_failures_are_told_briefly() -> None:
    state = run(*(step(f"app{n:02d}:deploy", FAILED, attempt=1, error=f"no {n}\nmore") for n in range(60)))
    report = ended(state, tail=lambda name: ["a line"])
    check_golden("report-many", report.text)


def test_a_completed_run_is_one_line() -> None:
    kept = [step(f"app{n}:deploy", DONE, metadata={"reused_from": 11}) for n in range(63)]
    ran = [step(f"new{n}:deploy", DONE) for n in range(5)]
    report = ended(run(*kept, *ran), to_run=[*(s.name for s in ran), "app0:deploy"])
    assert report.text == "completed run 12: 68 steps in 42.1s (5 ran, 63 kept)"
    assert (report.exit_code, report.commands) == (0, ())


def test_disabled_steps_are_not_counted_as_completed() -> None:
    report = ended(run(step("a:deploy", DONE), step("b:deploy", StepStatus.SKIPPED)), asked=["a:deploy"])
    assert report.text == "completed run 12: 1 step in 42.1s (1 ran, 1 disabled)"


def test_nothing_left_to_do_is_said() -> None:
    report = ended(run(step("a:deploy", DONE)), to_run=[])
    assert report.text == "nothing left to do: all 1 step of run 12 are completed"


def test_steps_left_for_later_are_no_failure() -> None:
    state = run(step("a:prepare", DONE), step("a:build", PENDING), step("b:deploy", FAILED, error="no"))
    report = ended(state, asked=["a:prepare"])
    check_golden("report-later", report.text)
    assert report.exit_code == 0
    assert report.commands == ("sbkube run --resume",)


def test_a_step_in_doubt_needs_a_decision_and_gets_the_exact_command() -> None:
    state = run(
        step("seed:deploy", INTERRUPTED, attempt=1, started_at="2026-03-01T03:00:00.000Z"),
        step("web:deploy", BLOCKED, blocked_by="seed:deploy"),
        step("db:deploy", DONE),
    )
    report = ended(state, undecided=["seed:deploy"], flags=["--state-dir", "/var/state"])
    check_golden("report-undecided", report.text)
    assert report.exit_code == 6
    assert report.commands == ("sbkube run --resume --rerun-interrupted --state-dir /var/state",)


def test_a_step_that_could_not_be_verified_is_in_doubt_with_the_reason_and_is_verified_once_more() -> None:
    state = run(step("web:deploy", INTERRUPTED), step("db:deploy", DONE))
    report = ended(state, doubts={"web:deploy": "could not be verified: connection refused"})
    assert report.exit_code == 6
    assert "? web:deploy was running when its process died; what it did is not known" in report.text
    assert "    could not be verified: connection refused" in report.text
    assert report.commands == ("sbkube run --resume", "sbkube run --resume --rerun-interrupted")


def still_running(**options: object) -> Report:
    state = run(
        step("seed:deploy", INTERRUPTED, attempt=1),
        step("web:deploy", BLOCKED, blocked_by="seed:deploy"),
        step("mail:deploy", INTERRUPTED, attempt=1, started_at="2026-03-01T03:00:00.000Z"),
    )
    left = Leftover((4711, 4713), "kill -- -4711")
    return ended(state, still_running=["seed:deploy"], leftovers={"seed:deploy": left}, **options)


def test_a_command_that_still_runs_is_named_with_its_processes_and_what_ends_it() -> None:
    report = still_running(undecided=["seed:deploy"], asks=[], asked=["seed:deploy", "web:deploy"])
    check_golden("report-still-running", report.text)
    assert report.exit_code == 6
    assert report.commands == ("sbkube run --resume",)


def test_a_command_that_still_runs_and_one_in_doubt_are_told_apart() -> None:
    report = still_running(undecided=["seed:deploy", "mail:deploy"])
    assert report.text.startswith("run 12 needs a decision")
    assert "? seed:deploy still runs" in report.text
    assert "? mail:deploy was running when its process died" in report.text
    assert report.text.count("was running") == report.text.count("still runs") == 1
    assert report.commands == ("sbkube run --resume --rerun-interrupted",)


def test_a_failure_outweighs_a_decision_and_both_are_told() -> None:
    state = run(step("seed:deploy", INTERRUPTED), step("db:deploy", FAILED, error="no"))
    report = ended(state, undecided=["seed:deploy"])
    assert report.exit_code == 1
    assert "✗ db:deploy failed" in report.text
    assert "? seed:deploy was running" in report.text
    assert report.commands[0] == "sbkube run --resume --rerun-interrupted"


def test_a_signal_outweighs_everything() -> None:
    for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)):
        report = ended(failed_run(), signal=number, why="asked")
        assert report.exit_code == code
        assert report.text.startswith(
            f"run 12 was ended by {number.name} after 42.1s: 1 of 11 steps completed"
        )


def test_a_run_drained_by_a_signal_ends_with_130_though_nothing_failed() -> None:
    again = step("c:deploy", PENDING, attempt=1, error="connection reset by peer")
    state = run(step("a:deploy", DONE), step("b:deploy", PENDING), again)
    report = ended(state, signal=signal.SIGINT, why="asked")
    check_golden("report-drained", report.text)
    assert report.exit_code == 130
    assert report.commands == ("sbkube run --resume",)


def test_a_deadline_is_a_failure_even_if_it_struck_between_two_steps() -> None:
    report = ended(run(step("a:deploy", DONE), step("b:deploy", PENDING)), why="deadline")
    assert report.exit_code == 1
    assert report.text.startswith("run 12 was stopped at its deadline after 42.1s")


def test_a_step_stopped_without_a_signal_did_not_succeed() -> None:
    assert ended(run(step("a:deploy", CANCELLED))).exit_code == 1


def test_state_that_was_not_saved_outweighs_a_failed_step() -> None:
    assert ended(failed_run(), why="state").exit_code == 5


def test_a_report_is_coloured_on_a_terminal_and_plain_elsewhere() -> None:
    for color in (False, True):
        console = plain_console(color=color)
        ended(failed_run()).print(console)
        assert (ESCAPE in written(console)) is color
        assert data(console) == ""
