from __future__ import annotations

import io
import json
import threading
from collections.abc import Mapping

import pytest

from sbkube.cli.console import ASCII, UNICODE, Console, Narration, clock, duration
from sbkube.engine.events import StepFinished
from sbkube.engine.state import StepStatus

from .helpers import ESCAPE, Pipe, Terminal, data, written

LIVE, LINES, SILENT = Narration.LIVE, Narration.LINES, Narration.SILENT
UTF8 = {"TERM": "xterm-256color", "LANG": "en_US.UTF-8"}


@pytest.mark.parametrize(
    ("out", "err", "environ", "options", "expected"),
    [
        (Terminal, Terminal, {}, {}, LIVE),
        (Pipe, Terminal, {}, {}, LIVE),
        (Terminal, Pipe, {}, {}, LINES),
        (Terminal, Terminal, {}, {"progress": False}, LINES),
        (Terminal, Terminal, {"TERM": "dumb"}, {}, LINES),
        (Terminal, Terminal, {"CI": "true"}, {}, LINES),
        (Terminal, Terminal, {"CI": "false"}, {}, LIVE),
        (Terminal, Terminal, {"NO_COLOR": "1"}, {}, LIVE),
        (Terminal, Terminal, {}, {"output": "json"}, SILENT),
        (Pipe, Pipe, {}, {"output": "ndjson"}, SILENT),
        (Pipe, Terminal, {}, {"output": "ndjson"}, LIVE),
        (Pipe, Terminal, {}, {"output": "json", "progress": False}, SILENT),
    ],
)
def test_what_narrates_a_run_follows_from_streams_environment_and_flags(
    out: type[io.StringIO],
    err: type[io.StringIO],
    environ: Mapping[str, str],
    options: Mapping[str, object],
    expected: Narration,
) -> None:
    console = Console.of({**UTF8, **environ}, out(), err(), **options)  # type: ignore[arg-type]
    assert console.narration is expected


@pytest.mark.parametrize(
    ("err", "environ", "colored"),
    [
        (Terminal, {}, True),
        (Pipe, {}, False),
        (Terminal, {"NO_COLOR": "1"}, False),
        (Terminal, {"TERM": "dumb"}, False),
        (Pipe, {"FORCE_COLOR": "1"}, True),
        (Pipe, {"FORCE_COLOR": "1", "NO_COLOR": "1"}, False),
    ],
)
def test_colour_is_for_terminals_that_want_it(
    err: type[io.StringIO], environ: Mapping[str, str], colored: bool
) -> None:
    console = Console.of({**UTF8, **environ}, Pipe(), err())
    console.say("a word", "bad")
    assert (ESCAPE in written(console)) is colored


@pytest.mark.parametrize(
    ("environ", "marks"),
    [
        ({}, UNICODE),
        ({"LANG": "de_DE.UTF-8"}, UNICODE),
        ({"LANG": "C.UTF-8"}, UNICODE),
        ({"LANG": "C"}, ASCII),
        ({"LANG": "C", "LC_CTYPE": "C.UTF-8"}, ASCII),
        ({"LANG": "C", "LC_ALL": "C.UTF-8"}, UNICODE),
        ({"LANG": "de_DE.UTF-8", "LC_ALL": "POSIX"}, ASCII),
    ],
)
def test_marks_are_ascii_where_the_locale_is_plain_c(environ: Mapping[str, str], marks: object) -> None:
    assert Console.of(environ, Pipe(), Pipe()).marks is marks


def test_a_stream_that_lacks_a_letter_gets_it_spelled_out() -> None:
    raw = io.BytesIO()
    err = io.TextIOWrapper(raw, encoding="latin-1")
    console = Console.of({"LANG": "de_DE.UTF-8"}, Pipe(), err)
    console.say("ü ✓")
    assert console.marks is ASCII
    assert raw.getvalue() == b"\xfc \\u2713\n"


def test_a_terminal_that_went_away_does_not_raise() -> None:
    class Gone(Terminal):
        def write(self, text: str) -> int:
            raise OSError(5, "Input/output error")

    console = Console(Pipe(), Gone())
    console.say("a word")
    console.error("another")


def test_a_reader_who_pauses_holds_up_no_run_and_misses_nothing() -> None:
    reads = threading.Event()

    class Slow(Pipe):
        def write(self, text: str) -> int:
            reads.wait()
            return super().write(text)

    console = Console(Slow(), Slow(), output="ndjson", narration=LINES)
    with console.listener({}, {}) as listener:
        for number in range(100):
            listener(StepFinished(f"app{number:02d}:deploy", StepStatus.COMPLETED, 1, 1.0))
        assert written(console) == data(console) == ""
        reads.set()
    told = [line.split()[1] for line in written(console).splitlines()]
    assert told == [f"app{number:02d}:deploy" for number in range(100)]
    assert [json.loads(line)["step"] for line in data(console).splitlines()] == told


def test_a_stream_without_a_terminal_has_the_usual_size() -> None:
    assert Console(Pipe(), Pipe()).size() == (80, 24)


def test_durations_are_short_at_every_scale() -> None:
    told = [duration(s) for s in (0, 0.24, 42.06, 59.94, 59.96, 64, 3599.6, 7380, 90000)]
    assert told == ["0.0s", "0.2s", "42.1s", "59.9s", "1m00s", "1m04s", "1h00m", "2h03m", "25h00m"]
    assert [clock(s) for s in (0, 42.9, 725, 3723)] == ["0:00", "0:42", "12:05", "1:02:03"]
