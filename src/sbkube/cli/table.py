"""What one frame of the live table shows: functions of the progress, the time and the size of the terminal."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .console import Marks, Style, clock, duration
from .progress import SETTLED, STAGES, AppProgress, Look, Progress, StepProgress

if TYPE_CHECKING:
    from rich.text import Text

_NAME = 20

RICH: dict[Style, str] = {
    "": "",
    "good": "green",
    "bad": "red",
    "warn": "yellow",
    "run": "cyan",
    "dim": "dim",
    "strong": "bold",
}
_STYLES: dict[Look, Style] = {
    Look.PENDING: "dim",
    Look.RUNNING: "run",
    Look.RETRYING: "warn",
    Look.DONE: "good",
    Look.KEPT: "dim",
    Look.FAILED: "bad",
    Look.BLOCKED: "warn",
    Look.CANCELLED: "warn",
    Look.INTERRUPTED: "warn",
    Look.SKIPPED: "dim",
}

Part = tuple[str, Style]
_SPACE: Part = (" ", "")


def frame(
    progress: Progress, now: float, columns: int, height: int, marks: Marks, *, last: bool = False
) -> list[Text]:
    """At most `height - 1` rows, none wider than `columns - 1`; the last frame stays, so it only has what ended."""
    apps = [app for app in progress.apps.values() if app.is_shown(now)]
    room = max(1, height - 3)  # the header, the counts, and one row of what was there before
    fits = len(apps) <= room
    if last and not fits:
        return []
    longest = max((len(app.name) for app in apps), default=0)
    layout = _Layout(columns, min(longest, max(_NAME, columns // 4)), marks, now)
    rows = [layout.app(app) for app in (apps if fits else _most_telling(apps)[:room])]
    head = [layout.header()] if fits else [layout.overview(apps)]
    foot = [] if last else [layout.counts(progress)]
    return [*(head if apps and height > 4 else ()), *rows, *foot]


def _most_telling(apps: Sequence[AppProgress]) -> list[AppProgress]:
    """Running first, the longest on top, so that rows keep their places; then failed, then just finished."""
    return sorted(apps, key=lambda app: (_RANK[_state(app)], _within(app)))


def _within(app: AppProgress) -> float:
    if _state(app) is Look.DONE:
        return -max(step.ended for step in app.steps)
    return app.began if app.began is not None else float("inf")


_RANK = {
    Look.RUNNING: 0,
    Look.RETRYING: 0,
    Look.FAILED: 1,
    Look.CANCELLED: 2,
    Look.INTERRUPTED: 2,
    Look.DONE: 3,
    Look.BLOCKED: 4,
    Look.PENDING: 5,
}


def _state(app: AppProgress) -> Look:
    telling = app.now()
    if telling is not None:
        return telling.look
    return Look.DONE if all(step.look in SETTLED for step in app.steps) else Look.PENDING


@dataclass(frozen=True, slots=True)
class _Layout:
    columns: int
    name: int
    marks: Marks
    now: float

    def header(self) -> Text:
        stages = " ".join(stage[0] for stage in STAGES)
        return self._row(("  " + " " * self.name + "  " + stages, "dim"))

    def app(self, app: AppProgress) -> Text:
        telling = app.now()
        name = _fit(app.name, self.name, self.marks.more)
        style: Style = "bad" if telling is not None and telling.look is Look.FAILED else ""
        spent = app.spent(self.now)
        seconds = duration(spent) if app.began is not None else ""
        stands: list[Part] = [(f"  {name}  ", style), *self._stages(app), (f"{seconds:>8}  ", "")]
        room = self.columns - 1 - sum(_width(text) for text, _ in stands)
        return self._row(*stands, *self._telling(telling, room))

    def _stages(self, app: AppProgress) -> list[Part]:
        by_column: dict[str, StepProgress] = {}
        for step in app.steps:
            by_column.setdefault(step.stage if step.stage in STAGES else STAGES[-1], step)
        found = [by_column.get(stage) for stage in STAGES]
        return [part for step in found for part in (self._stage(step), _SPACE)][:-1]

    def _stage(self, step: StepProgress | None) -> Part:
        return _SPACE if step is None else (self._mark(step.look), _STYLES[step.look])

    def _mark(self, look: Look) -> str:
        marks = self.marks
        if look is Look.RUNNING:
            return marks.spinner[int(self.now * 10) % len(marks.spinner)]
        return {
            Look.RETRYING: marks.retry,
            Look.DONE: marks.done,
            Look.KEPT: marks.kept,
            Look.FAILED: marks.failed,
            Look.BLOCKED: marks.blocked,
            Look.CANCELLED: marks.cancelled,
            Look.INTERRUPTED: marks.question,
        }.get(look, marks.pending)

    def _telling(self, step: StepProgress | None, room: int) -> list[Part]:
        if step is None:
            return []
        if step.look is Look.RUNNING:
            again = f" (attempt {step.attempt})" if step.attempt > 1 else ""
            return [(step.stage + again, "run"), (f"  {step.note}", "dim")]
        if step.look is Look.RETRYING:
            wait = max(0.0, step.again_at - self.now)
            return self._with_error(step, f"{step.stage} again in {wait:.0f}s", room)
        if step.look is Look.BLOCKED:
            return [(step.note or "blocked", "dim")]
        return self._with_error(step, f"{step.stage} {_ENDS[step.look]}", room)

    def _with_error(self, step: StepProgress, what: str, room: int) -> list[Part]:
        note = shortened(step.note, room - len(what) - 2, self.marks.more)
        return [(what, _STYLES[step.look]), (f"  {note}", "dim")]

    def overview(self, apps: Sequence[AppProgress]) -> Text:
        found = Counter(_state(app) for app in apps)
        parts = [f"{found[look]} {word}" for look, word in _APP_WORDS if found[look]]
        return self._row((f"{len(apps)} apps: ", "strong"), (self.marks.dot.join(parts), ""))

    def counts(self, progress: Progress) -> Text:
        steps, *rest = progress.counts()
        told = self.marks.dot.join(("", *rest, clock(self.now - progress.began)))
        return self._row((steps, "strong"), (told, ""))

    def _row(self, *parts: Part) -> Text:
        from rich.text import Text

        row = Text.assemble(*((text, RICH[style]) for text, style in parts))
        row.rstrip()
        if row.cell_len >= self.columns:
            row.truncate(max(1, self.columns - 1 - len(self.marks.more)))
            row.append(self.marks.more, "dim")
        return row


_ENDS = {Look.FAILED: "failed", Look.CANCELLED: "cancelled", Look.INTERRUPTED: "needs a decision"}
_APP_WORDS = (
    (Look.RUNNING, "running"),
    (Look.RETRYING, "retrying"),
    (Look.FAILED, "failed"),
    (Look.CANCELLED, "cancelled"),
    (Look.INTERRUPTED, "in doubt"),
    (Look.DONE, "done"),
    (Look.BLOCKED, "blocked"),
    (Look.PENDING, "waiting"),
)


def _fit(name: str, width: int, more: str) -> str:
    from rich.cells import set_cell_size

    return (
        set_cell_size(name, width) if _width(name) <= width else set_cell_size(name, width - len(more)) + more
    )


def shortened(error: str, room: int, more: str) -> str:
    """The command in an error gives way: how it failed stands behind it."""
    command = _COMMAND.fullmatch(error)
    if command is None or _width(error) <= room:
        return error
    from rich.cells import set_cell_size

    before, quote, what, place, how, why = command.groups()
    begun = _width(before)
    for start, end, least in (
        (before + quote + what, quote + place + how + why, begun + 2),
        (before + what, how + why, begun + 1),
        (before, how + why, 0),
    ):
        left = room - _width(end) - len(more)
        if left >= least:
            return f"{set_cell_size(start, left).rstrip()}{more}{end}"
    return why


_COMMAND = re.compile(
    r"""([^'"]*)(['"])(.*)\2((?: …)?(?: \(command \d+ of \d+\))?)( (?:failed|was stopped|cannot be started): )(.*)"""
)


def _width(text: str) -> int:
    from rich.cells import cell_len

    return cell_len(text)
