from __future__ import annotations

import asyncio

import pytest

from sbkube.cli.console import ASCII, Console
from sbkube.cli.lines import FIRST, LAST, Lines
from sbkube.engine.events import (
    RunDraining,
    RunStarted,
    RunStopping,
    StepBlocked,
    StepFinished,
    StepLogged,
    StepStarted,
)
from sbkube.engine.state import StepStatus

from .helpers import (
    CANCELLED,
    DONE,
    ESCAPE,
    FAILED,
    INITIAL,
    STEPS,
    Clock,
    check_golden,
    log_path,
    plain_console,
    tell,
    written,
)


@pytest.fixture
def console() -> Console:
    return plain_console()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def lines(console: Console, clock: Clock) -> Lines:
    return Lines(STEPS, INITIAL, console, log_path=log_path, clock=clock)


def test_a_run_reads_as_one_block_per_attempt(lines: Lines, clock: Clock, console: Console) -> None:
    with lines:
        tell(lines, clock)
    check_golden("lines", written(console))


def test_a_run_reads_in_ascii_where_the_locale_is_plain_c(clock: Clock) -> None:
    console = plain_console(marks=ASCII)
    with Lines(STEPS, INITIAL, console, clock=clock) as lines:
        tell(lines, clock)
    assert written(console).isascii()


def test_the_output_of_two_steps_is_never_mixed(lines: Lines, console: Console) -> None:
    for event in (StepStarted("api:build", 1), StepStarted("web:template", 1)):
        lines(event)
    for number in range(3):
        lines(StepLogged("api:build", 1, f"api {number}"))
        lines(StepLogged("web:template", 1, f"web {number}"))
    assert written(console) == ""
    lines(StepFinished("web:template", DONE, 1, 0.5))
    lines(StepFinished("api:build", DONE, 1, 0.5))
    told = [line.split()[1] for line in written(console).splitlines()]
    assert told == ["web:template", "web", "web", "web", "api:build", "api", "api", "api"]


def test_of_long_output_the_first_and_last_lines_stand_and_the_log_is_named(
    lines: Lines, console: Console
) -> None:
    lines(StepStarted("api:build", 2))
    for number in range(1000):
        lines(StepLogged("api:build", 2, f"line {number}"))
    lines(StepFinished("api:build", FAILED, 2, 1.0, "exit code 1"))
    told = written(console).splitlines()
    assert told[FIRST] == f"  | line {FIRST - 1}"
    left_out = 1000 - FIRST - LAST
    assert told[FIRST + 1] == f"  | [{left_out} lines left out, all of them in {log_path('api:build', 2)}]"
    assert told[FIRST + 2] == f"  | line {1000 - LAST}"
    assert told[-1] == "  | line 999"


def test_one_endless_line_is_cut(lines: Lines, console: Console) -> None:
    lines(StepLogged("api:build", 1, "x" * 1_000_000))
    lines(StepFinished("api:build", DONE, 1, 1.0))
    assert len(written(console)) < 5000
    assert "[cut]" in written(console)


def test_a_failure_before_many_steps_takes_one_line_for_all_it_blocks(lines: Lines, console: Console) -> None:
    for number in range(200):
        lines(StepBlocked(f"app{number}:deploy", "postgres:deploy"))
    lines.tick()
    assert written(console) == "⊘ blocked by postgres:deploy: app0:deploy, app1:deploy and 198 more\n"


def test_output_of_a_stranger_moves_no_cursor(lines: Lines, console: Console) -> None:
    lines(StepLogged("api:build", 1, "\x1b]0;title\x07\x1b[2J10%\r55%\r100%\x9b1m\x00 done\r\n"))
    lines(StepFinished("api:build", FAILED, 1, 1.0, "\x1b[31mred\x1b[0m"))
    assert written(console) == "✗ api:build failed after 1.0s: red\n  | 100%1m done\n"


def test_what_could_not_be_verified_is_still_in_doubt_and_not_called_failed(
    lines: Lines, console: Console
) -> None:
    lines(StepFinished("api:build", StepStatus.INTERRUPTED, error="could not be verified: no route"))
    assert written(console) == "? api:build is still in doubt: could not be verified: no route\n"


def test_what_was_cancelled_is_not_called_failed(lines: Lines, console: Console) -> None:
    lines(StepStarted("api:build", 1))
    lines(StepFinished("api:build", CANCELLED, 1, 61.0))
    assert written(console) == "■ api:build cancelled after 1m01s\n"


def test_draining_and_stopping_name_what_runs(lines: Lines, console: Console) -> None:
    lines(RunDraining(("api:build", "web:template")))
    lines(RunStopping(("api:build",)))
    assert written(console).splitlines() == [
        "starting nothing more; 2 steps still run: api:build, web:template",
        "stopping 1 step: api:build",
    ]


def test_with_nothing_running_an_early_end_is_not_announced(lines: Lines, console: Console) -> None:
    lines(RunDraining(()))
    lines(RunStopping(()))
    assert written(console) == ""


def test_a_silence_of_30_s_is_broken_once_by_naming_what_runs(
    lines: Lines, console: Console, clock: Clock
) -> None:
    lines(RunStarted(12, "a-run", False, None, tuple(STEPS), len(STEPS)))
    lines(StepStarted("postgres:deploy", 1))
    clock.time += 29.5
    lines.tick()
    assert written(console) == ""
    clock.time += 12.5
    lines(StepStarted("api:build", 1))
    lines.tick()
    clock.time += 29.0
    lines.tick()
    assert written(console) == "0/16 steps, 2 running, 0:42: postgres:deploy 42.0s, api:build 0.0s\n"


def test_only_steps_that_are_to_run_are_counted(lines: Lines, console: Console, clock: Clock) -> None:
    lines(RunStarted(12, "a-run", True, 11, ("web:template", "web:deploy"), len(STEPS)))
    clock.time += 31
    lines.tick()
    assert written(console) == "0/2 steps, 4 kept, 0:31\n"


def test_a_gate_that_completes_is_no_news(lines: Lines, console: Console) -> None:
    lines(StepStarted("@p1:done", 1))
    lines(StepFinished("@p1:done", DONE, 1, 0.0))
    assert written(console) == ""


def test_colours_come_only_where_they_are_wanted(clock: Clock) -> None:
    told = {}
    for color in (False, True):
        console = plain_console(color=color)
        with Lines(STEPS, INITIAL, console, clock=clock) as lines:
            tell(lines, clock)
        told[color] = ESCAPE in written(console)
    assert told == {False: False, True: True}


def test_a_step_that_nobody_announced_is_shown_all_the_same(lines: Lines, console: Console) -> None:
    lines(StepFinished("new:deploy", DONE, 1, 1.0))
    lines(StepFinished("odd", StepStatus.FAILED, 1, 1.0, "no"))
    assert written(console) == "✓ new:deploy completed in 1.0s\n✗ odd failed after 1.0s: no\n"


def test_a_display_that_fails_says_so_once_and_the_run_goes_on(
    lines: Lines, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines, "_finished", lambda event: 1 / 0)
    with lines:
        for _ in range(3):
            lines(StepFinished("api:build", DONE, 1, 1.0))
    assert written(console) == (
        "warning: the display failed, the run goes on: ZeroDivisionError: division by zero\n"
    )


@pytest.mark.anyio
async def test_what_is_blocked_is_told_without_another_event(
    console: Console, anyio_backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sbkube.cli.lines._LOOK_AGAIN", 0.0)
    with Lines(STEPS, INITIAL, console) as lines:
        lines(StepBlocked("web:deploy", "postgres:deploy"))
        for _ in range(10):
            await asyncio.sleep(0)
        assert written(console) == "⊘ blocked by postgres:deploy: web:deploy\n"


@pytest.mark.anyio
async def test_no_timer_is_left_behind(console: Console, anyio_backend: str) -> None:
    with Lines(STEPS, INITIAL, console) as lines:
        assert lines._timer is not None
        timer = lines._timer
    assert timer.cancelled()


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
