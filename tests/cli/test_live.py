from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterable, Mapping
from itertools import pairwise

import pytest
from rich.cells import cell_len

from sbkube.cli.console import ASCII, UNICODE, Console, Marks, Narration
from sbkube.cli.live import LiveTable
from sbkube.cli.table import frame
from sbkube.engine.events import (
    Event,
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
    STAGES,
    STEPS,
    STORY,
    Clock,
    Terminal,
    check_golden,
    tell,
    written,
)
from .screen import Screen


class Stage:
    """A live table that is drawn by hand, at the times and in the size that a test says."""

    def __init__(
        self,
        columns: int = 80,
        height: int = 24,
        steps: Mapping[str, tuple[str, str]] = STEPS,
        initial: Mapping[str, StepStatus] = INITIAL,
        marks: Marks = UNICODE,
        color: bool = False,
    ) -> None:
        self.size = (columns, height)
        self.clock = Clock()
        self.marks = marks
        self.console = Console(Terminal(), Terminal(), narration=Narration.LIVE, marks=marks, color=color)
        self.table = LiveTable(steps, initial, self.console, clock=self.clock, size=lambda: self.size)
        self.screen = Screen(columns)
        self._seen = 0

    def told(self, *events: Event) -> Stage:
        for event in events:
            self.table(event)
        return self

    def frame(self, *, last: bool = False) -> list[str]:
        columns, height = self.size
        rows = frame(self.table.progress, self.clock(), columns, height, self.marks, last=last)
        return [row.plain for row in rows]

    def paint(self, *, last: bool = False) -> str:
        """What the terminal shows after one more frame."""
        self.table.paint(last=last)
        return self.look()

    def look(self) -> str:
        text = written(self.console)
        self.screen.write(text[self._seen :])
        self._seen = len(text)
        return self.screen.text


def story_frames(stage: Stage, times: Iterable[float]) -> str:
    """Frames at some seconds of the story."""
    shown = []
    for at in times:
        fresh = Stage(*stage.size, marks=stage.marks)
        tell(fresh.table, fresh.clock, until=at)
        shown.append(f"--- {at} s\n" + "\n".join(fresh.frame()))
    return "\n".join(shown)


TIMES = (0.0, 0.3, 1.5, 2.9, 4.1, 4.5, 5.0)


@pytest.mark.parametrize("columns", [80, 140])
def test_the_table_at_seconds_of_a_run(columns: int) -> None:
    check_golden(f"live-{columns}", story_frames(Stage(columns), TIMES))


def test_the_table_in_ascii() -> None:
    text = story_frames(Stage(marks=ASCII), TIMES)
    assert text.isascii()
    check_golden("live-ascii", text)


def test_what_stands_in_the_terminal_when_a_run_is_over() -> None:
    stage = Stage()
    for since, at in pairwise((-1.0, *TIMES)):
        tell(stage.table, stage.clock, since, at)
        stage.paint()
    check_golden("live-over", stage.paint(last=True))


# Many apps


def many(count: int) -> dict[str, tuple[str, str]]:
    return {f"app{n:03d}:{stage}": (f"app{n:03d}", stage) for n in range(count) for stage in STAGES}


def busy(columns: int, height: int, count: int = 200) -> Stage:
    """40 apps are done, two failed, three run, one is blocked, the rest wait."""
    steps = many(count)
    stage = Stage(columns, height, steps, dict.fromkeys(steps, StepStatus.PENDING))
    stage.told(RunStarted(1, "a-run", False, None, tuple(steps), len(steps)))
    for n in range(40):
        stage.clock.time += 1
        for name in STAGES:
            stage.told(StepStarted(f"app{n:03d}:{name}", 1), StepFinished(f"app{n:03d}:{name}", DONE, 1, 1.0))
    for n in (50, 51):
        stage.told(
            StepStarted(f"app{n:03d}:build", 1), StepFinished(f"app{n:03d}:build", FAILED, 1, 1.0, "no")
        )
    stage.told(StepBlocked("app060:prepare", "app050:build"))
    for n in (72, 71, 70):
        stage.clock.time += 1
        stage.told(StepStarted(f"app{n:03d}:template", 1), StepLogged(f"app{n:03d}:template", 1, "at it"))
    stage.clock.time += 1
    return stage


def test_with_more_apps_than_rows_running_ones_come_first_then_failed_then_just_done() -> None:
    check_golden("live-many", "\n".join(busy(80, 12).frame()))


@pytest.mark.parametrize("columns", [20, 39, 80, 140])
@pytest.mark.parametrize("height", [1, 2, 4, 5, 10, 24, 500])
def test_a_frame_never_reaches_the_last_row_or_column(columns: int, height: int) -> None:
    stage = busy(columns, height)
    shown = stage.frame()
    assert len(shown) <= max(2, height - 1)
    assert all(cell_len(row) < columns for row in shown)


def test_wide_characters_do_not_break_a_row() -> None:
    stage = Stage(60).told(RunStarted(1, "a-run", False, None, tuple(STEPS), len(STEPS)))
    stage.told(StepStarted("web:template", 1), StepLogged("web:template", 1, "日本語" * 40))
    assert all(cell_len(row) < 60 for row in stage.frame())
    assert "日本語" in "\n".join(stage.frame())


def test_apps_keep_their_rows_while_they_run() -> None:
    stage = busy(80, 12)
    before = [row.split()[0] for row in stage.frame()[1:4]]
    stage.told(StepFinished("app072:template", DONE, 1, 1.0), StepStarted("app072:deploy", 1))
    assert [row.split()[0] for row in stage.frame()[1:4]] == before == ["app072", "app071", "app070"]


def test_only_apps_with_something_to_run_have_a_row() -> None:
    stage = Stage().told(RunStarted(2, "a-run", True, 1, ("web:deploy",), len(STEPS)))
    apps = [row.split()[0] for row in stage.frame()[1:-1]]
    assert apps == ["web"]
    assert stage.frame()[-1] == "0/1 steps · 4 kept · 0:00"


def test_a_gate_has_no_row_unless_it_takes_its_time_or_fails() -> None:
    def apps(stage: Stage) -> list[str]:
        return [row.split()[0] for row in stage.frame()[1:-1]]

    stage = Stage().told(RunStarted(1, "a-run", False, None, ("@p1:done", "web:deploy"), len(STEPS)))
    stage.told(StepStarted("@p1:done", 1))
    assert apps(stage) == ["web"]
    stage.clock.time += 1
    assert apps(stage) == ["web", "@p1"]
    stage.told(StepFinished("@p1:done", FAILED, 1, 0.0, "no"))
    assert apps(stage) == ["web", "@p1"]


def test_what_is_left_of_a_table_too_large_is_nothing() -> None:
    assert busy(80, 12).frame(last=True) == []
    assert len(busy(80, 500).frame(last=True)) == 201


LONG = "'./migrate.sh --database orders --user shop --and-more' failed: exit code 1"


@pytest.mark.parametrize("columns", [60, 80, 140])
@pytest.mark.parametrize(
    "error", [f"config.yaml:5: {LONG}", LONG.replace("failed", "(command 2 of 9) failed")]
)
def test_a_long_command_gives_way_to_how_it_failed(columns: int, error: str) -> None:
    stage = Stage(columns).told(StepStarted("postgres:deploy", 1))
    stage.told(StepFinished("postgres:deploy", FAILED, 1, 1.0, error))
    (row,) = (row for row in stage.frame() if "postgres" in row)
    assert row.endswith("exit code 1")
    assert cell_len(row) < columns
    assert ("./migrate.sh --database" in row) == (columns > 80)


def test_an_error_that_is_no_commands_is_cut_at_its_end() -> None:
    error = "config.yaml:5: values file 'values/web/prod.yaml' is missing (looked at: /a/b/c, /a/b/d)"
    stage = Stage(80).told(StepStarted("postgres:deploy", 1))
    stage.told(StepFinished("postgres:deploy", FAILED, 1, 1.0, error))
    (row,) = (row for row in stage.frame() if "postgres" in row)
    assert row.endswith("config.yaml:5: values file 'values…")


def test_time_spent_waiting_for_others_is_not_the_apps_own() -> None:
    stage = Stage().told(RunStarted(1, "a-run", False, None, tuple(STEPS), len(STEPS)))
    stage.told(StepStarted("web:template", 1), StepFinished("web:template", DONE, 1, 0.6))
    stage.clock.time += 100
    stage.told(StepStarted("web:deploy", 1))
    stage.clock.time += 2
    (row,) = [row for row in stage.frame() if "web" in row]
    assert "2.6s" in row


def test_a_step_that_was_cancelled_says_so_and_a_late_retry_waits_no_more() -> None:
    stage = Stage()
    tell(stage.table, stage.clock, until=2.9)
    stage.told(RunDraining(("postgres:deploy",)), RunStopping(("postgres:deploy",)))
    stage.told(StepFinished("postgres:deploy", CANCELLED, 1, 1.0))
    text = "\n".join(stage.frame())
    assert "deploy cancelled" in text
    assert "again in" not in text
    assert text.endswith("1 cancelled · 4 kept · stopping · 0:02")


# On the terminal


def test_a_failure_stands_above_the_table_for_good() -> None:
    stage = Stage()
    tell(stage.table, stage.clock, until=4.4)
    first = stage.paint()
    stage.clock.time += 1
    again = stage.paint()
    for text in (first, again):
        assert text.startswith(
            "✗ postgres:deploy  exit code 3: initdb failed (after 3.2s)\n    see pod postgres-0"
        )
    assert again.count("✗ postgres:deploy") == 1


def test_frames_of_any_height_leave_no_trace_of_those_before() -> None:
    stage = Stage(60, 24)
    for since, at in pairwise((-1.0, 0.0, 1.5, 4.5)):
        tell(stage.table, stage.clock, since, at)
        for height in (24, 6, 3, 12):
            stage.size = (60, height)
            text = stage.paint()
            below = [line for line in text.splitlines() if not line.startswith(("✗", "    see"))]
            assert below == stage.frame()


def test_a_terminal_made_narrower_keeps_what_stands_above() -> None:
    stage = Stage(100)
    stage.screen.write("$ sbkube run\r\n")
    tell(stage.table, stage.clock, until=1.5)
    stage.paint()
    stage.size = (40, 24)
    stage.screen.narrow(40)
    assert stage.paint().splitlines() == ["$ sbkube run", *stage.frame()]


def test_what_is_said_during_the_run_stands_above_the_table() -> None:
    stage = Stage()
    stage.table._say_above("a word\nand another")
    stage.told(*(event for _, event in STORY[:3]))
    assert stage.paint().splitlines() == ["a word", "and another", *stage.frame()]


def test_the_cursor_is_never_left_hidden() -> None:
    stage = Stage(color=True)
    tell(stage.table, stage.clock, until=4.5)
    stage.paint()
    assert stage.screen.cursor_shown
    assert ESCAPE in written(stage.console)


def test_a_table_in_a_terminal_draws_itself_and_ends_below() -> None:
    stage = Stage()
    with stage.table:
        tell(stage.table, stage.clock)
        stage.console.say("between")
    stage.console.say("after")
    lines = stage.look().splitlines()
    assert lines[-1] == "after"
    assert "between" in lines
    assert any(line.split()[:1] == ["migrate"] for line in lines)
    assert stage.console.above is None


def test_a_terminal_that_takes_no_output_does_not_hold_up_events(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sbkube.cli.live._PATIENCE", 0.01)
    stuck, free = threading.Event(), threading.Event()

    class Stuck(Terminal):
        def write(self, text: str) -> int:
            stuck.set()
            free.wait()
            return len(text)

    console = Console(Terminal(), Stuck(), narration=Narration.LIVE)
    table = LiveTable(STEPS, INITIAL, console, size=lambda: (80, 24))
    with table:
        stuck.wait()
        tell(table, Clock())
    assert table.progress.step("postgres:deploy").note == "exit code 3: initdb failed"
    free.set()
    table._thread.join()


def test_a_display_that_fails_leaves_plain_narration(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(100)
    tell(stage.table, stage.clock, until=1.5)
    stage.paint()
    stage.console.above = stage.table._say_above
    stage.console.say("said before")
    monkeypatch.setattr(stage.table, "_size", lambda: 1 / 0)
    stage.table.guard(stage.table.paint)
    tell(stage.table, stage.clock, since=1.5)
    stage.console.say("said after")
    assert stage.look().splitlines()[-4:] == [
        "6/12 steps · 2 running · 4 kept · 0:01",
        "said before",
        "warning: the display failed, the run goes on: ZeroDivisionError: division by zero",
        "said after",
    ]


def test_rich_is_loaded_only_where_something_is_drawn() -> None:
    code = (
        "import sys, io, sbkube.cli.console, sbkube.cli.lines, sbkube.cli.machine, sbkube.cli.ending;"
        "import sbkube.cli.live; sys.exit('rich' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
