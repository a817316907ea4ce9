"""A run as data on stdout: each event as one JSON object per line, or one document at the end."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any, Protocol

from ..engine.events import Event
from ..engine.state import now
from .listener import Renderer


class Ending(Protocol):
    """What is known when all is over."""

    @property
    def exit_code(self) -> int: ...

    @property
    def commands(self) -> Sequence[str]: ...


class EventStream(Renderer):
    """One JSON object per line: `type` (`step_finished`), `at` (RFC 3339), then the event's own fields."""

    def show(self, event: Event) -> None:
        self.console.data(event_line(event, now()))


def event_line(event: Event, at: str) -> str:
    told = {field.name: getattr(event, field.name) for field in fields(event)}
    return _line({"type": snake_case(type(event).__name__), "at": at, **told})


def ending_line(ending: Ending, pruned: Sequence[str] = ()) -> str:
    """The last line of a stream."""
    return _line({"type": "run_ended", "at": now(), **_told(ending, pruned)})


def plan_lines(document: Mapping[str, Any]) -> Iterator[str]:
    """A preview as a stream: a line for each step, then one with all else that is known."""
    rest = dict(document)
    for step in rest.pop("steps"):
        yield _line({"type": "step_planned", "at": now(), **step})
    yield _line({"type": "run_planned", "at": now(), **rest})


def document(view: Mapping[str, Any], ending: Ending, pruned: Sequence[str] = ()) -> str:
    """The one document of `--output json`: what `status --output json` prints, what was pruned, how to go on."""
    return _line({**view, **_told(ending, pruned)})


def error_line(error: BaseException, message: str, hint: str | None, exit_code: int) -> str:
    """What a command that could not run prints in place of a document; in a stream, its last line."""
    kind = snake_case(type(error).__name__)
    what = {"kind": kind, "message": message, "hint": hint}
    return _line({"type": "error", "at": now(), "error": what, "exit_code": exit_code})


def _told(ending: Ending, pruned: Sequence[str]) -> dict[str, Any]:
    return {"exit_code": ending.exit_code, "commands": list(ending.commands), "pruned": list(pruned)}


def _line(value: Mapping[str, Any]) -> str:
    # ASCII: stands on any stream, with any bytes in a step's output.
    return json.dumps(value, separators=(",", ":"), default=str)


def snake_case(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
