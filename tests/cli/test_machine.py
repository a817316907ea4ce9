from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from sbkube.cli.console import Console, Narration
from sbkube.cli.ending import end_report
from sbkube.cli.machine import EventStream, document, ending_line, error_line
from sbkube.engine.errors import RunLocked
from sbkube.engine.events import StepFinished, StepLogged
from sbkube.engine.state import StepStatus

from .helpers import (
    DONE,
    FAILED,
    INITIAL,
    STEPS,
    STORY,
    Clock,
    Pipe,
    data,
    decision,
    plain_console,
    run,
    step,
    tell,
    written,
)


def streamed(*events: Any) -> list[dict[str, Any]]:
    console = plain_console()
    with EventStream(STEPS, INITIAL, console) as stream:
        for event in events:
            stream(event)
    assert written(console) == ""
    return [json.loads(line) for line in data(console).splitlines()]


def test_each_event_is_one_line_with_its_type_first_and_the_time() -> None:
    console = plain_console()
    with EventStream(STEPS, INITIAL, console) as stream:
        tell(stream, Clock())
    lines = data(console).splitlines()
    assert len(lines) == len(STORY)
    for line, (_, event) in zip(lines, STORY, strict=True):
        told = json.loads(line)
        assert list(told)[:2] == ["type", "at"]
        assert told["type"].replace("_", "") == type(event).__name__.lower()
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", told["at"])


def test_the_fields_of_an_event_stand_beside_its_type() -> None:
    (told,) = streamed(StepFinished("db:deploy", FAILED, 2, 1.5, "exit code 3", "Exit", output={"a": [1]}))
    del told["at"]
    assert told == {
        "type": "step_finished",
        "step": "db:deploy",
        "status": "failed",
        "attempt": 2,
        "seconds": 1.5,
        "error": "exit code 3",
        "error_type": "Exit",
        "reused_from": None,
        "output": {"a": [1]},
        "metadata": None,
    }


def test_any_bytes_that_a_step_prints_stay_one_line_of_json() -> None:
    line = 'a "quoted"\nnew line \udcff \x1b[31m 日本語 \u2028'
    (told,) = streamed(StepLogged("db:deploy", 1, line))
    assert told["line"] == line


def test_a_reader_that_went_away_does_not_fail_the_run() -> None:
    class Gone(Pipe):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    console = Console(Gone(), Pipe())
    stream = EventStream(STEPS, INITIAL, console)
    stream(StepLogged("db:deploy", 1, "a line"))
    assert (stream.is_broken, console.lost, written(console)) == (False, None, "")


def test_data_that_the_disk_did_not_take_is_remembered() -> None:
    class Full(Pipe):
        def write(self, text: str) -> int:
            raise OSError(28, "No space left on device")

    console = Console(Full(), Pipe())
    console.data("{}")
    assert console.lost is not None
    assert console.lost.errno == 28


def test_a_stream_and_a_document_end_with_the_exit_code_and_the_commands() -> None:
    state = run(step("db:deploy", FAILED, error="no", attempt=1))
    report = end_report(state, decision(state), seconds=1.0)
    for text in (ending_line(report), document({"run": 12}, report)):
        told = json.loads(text)
        assert told["exit_code"] == 1
        assert told["commands"] == ["sbkube run --resume"]
    assert json.loads(document({"run": 12}, report))["run"] == 12


def test_a_command_that_cannot_run_says_why_as_data() -> None:
    error = RunLocked(Path(".sbkube"), "process 4711")
    told = json.loads(error_line(error, str(error), error.hint, 3))
    assert told["error"]["kind"] == "run_locked"
    assert "4711" in told["error"]["message"]
    assert told["exit_code"] == 3


def test_narration_beside_a_stream_is_silent_and_errors_are_not() -> None:
    console = plain_console(output="ndjson", narration=Narration.SILENT)
    with console.listener(STEPS, INITIAL) as listener:
        tell(listener, Clock())
    console.say("nobody reads this")
    assert written(console) == ""
    assert len(data(console).splitlines()) == len(STORY)
    console.error("no", "do")
    assert written(console) == "error: no\nhint: do\n"


def test_the_last_lines_of_a_failed_step_are_known_whatever_the_output() -> None:
    console = plain_console(output="ndjson", narration=Narration.SILENT)
    with console.listener(STEPS, INITIAL) as listener:
        for number in range(50):
            listener(StepLogged("api:build", 1, f"line {number}"))
        listener(StepLogged("web:template", 1, "a line"))
        listener(StepFinished("api:build", FAILED, 1, 1.0, "no"))
        listener(StepFinished("web:template", DONE, 1, 1.0))
    assert listener.tail("api:build")[-1] == "line 49"
    assert listener.tail("web:template") == ()
    assert listener.tail("unknown") == ()


def test_a_status_is_written_as_in_the_state() -> None:
    (told,) = streamed(StepFinished("db:deploy", StepStatus.CANCELLED, 1))
    assert told["status"] == "cancelled"
