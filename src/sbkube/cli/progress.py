"""How a run stands, folded from its events: what the live table and the plain lines both show.

Pure: it is told the time. Times are those of one clock that never goes back.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto

from ..engine.events import (
    Event,
    RunDraining,
    RunStarted,
    RunStopping,
    StepBlocked,
    StepFinished,
    StepLogged,
    StepRetrying,
    StepStarted,
)
from ..engine.state import StepStatus
from .console import clean

STAGES = ("prepare", "build", "template", "deploy")
TAIL = 10
_LONGEST = 2000


class Look(Enum):
    """What a step looks like; a step that is kept was completed before and did not run."""

    PENDING = auto()
    RUNNING = auto()
    RETRYING = auto()
    DONE = auto()
    KEPT = auto()
    FAILED = auto()
    BLOCKED = auto()
    CANCELLED = auto()
    INTERRUPTED = auto()
    SKIPPED = auto()


_LOOKS = {
    StepStatus.PENDING: Look.PENDING,
    StepStatus.IN_PROGRESS: Look.RUNNING,
    StepStatus.COMPLETED: Look.KEPT,
    StepStatus.FAILED: Look.FAILED,
    StepStatus.SKIPPED: Look.SKIPPED,
    StepStatus.INTERRUPTED: Look.INTERRUPTED,
    StepStatus.BLOCKED: Look.BLOCKED,
    StepStatus.CANCELLED: Look.CANCELLED,
}
_LOUD = frozenset({Look.FAILED, Look.CANCELLED, Look.INTERRUPTED, Look.RETRYING})
_A_MOMENT = 0.5
SETTLED = frozenset(Look) - {Look.PENDING, Look.RUNNING, Look.RETRYING}


@dataclass(slots=True)
class StepProgress:
    id: str
    app: str
    stage: str
    look: Look
    counts: bool = False
    """This process is to run it, or it was blocked or held back here."""
    attempt: int = 0
    began: float | None = None
    seconds: float = 0.0
    """Spent in attempts that ended."""
    again_at: float = 0.0
    note: str = ""
    """Its last log line, its error, or what blocks it."""
    ended: float = 0.0
    tail: deque[str] = field(default_factory=lambda: deque(maxlen=TAIL))

    def spent(self, now: float) -> float:
        return self.seconds + (now - self.began if self.began is not None else 0.0)

    def is_quiet(self, now: float) -> bool:
        """A gate, which does nothing; what takes its time or goes wrong is none."""
        return self.stage not in STAGES and self.look not in _LOUD and self.spent(now) < _A_MOMENT


@dataclass(slots=True)
class AppProgress:
    name: str
    steps: list[StepProgress] = field(default_factory=list)
    began: float | None = None

    def is_shown(self, now: float) -> bool:
        """Apps of which nothing is to run would only push away those that matter, and so would gates."""
        return any(step.counts and not step.is_quiet(now) for step in self.steps)

    def spent(self, now: float) -> float:
        return sum(step.spent(now) for step in self.steps)

    def now(self) -> StepProgress | None:
        """The step that says most about the app: what runs, else what went wrong, else nothing."""
        found = {step.look: step for step in reversed(self.steps)}
        return next((found[look] for look in _TELLING if look in found), None)


_TELLING = (Look.RUNNING, Look.RETRYING, Look.FAILED, Look.CANCELLED, Look.INTERRUPTED, Look.BLOCKED)


class Progress:
    """Every step and app of one run, in the order of the graph."""

    def __init__(
        self, steps: Mapping[str, tuple[str, str]], initial: Mapping[str, StepStatus], now: float
    ) -> None:
        self.steps: dict[str, StepProgress] = {}
        self.apps: dict[str, AppProgress] = {}
        self.began = now
        self.state = ""
        """What the whole run does, where that is not simply to run."""
        for id, (app, stage) in steps.items():
            self._add(id, app, stage, initial.get(id, StepStatus.PENDING))

    def _add(self, id: str, app: str, stage: str, status: StepStatus) -> StepProgress:
        step = StepProgress(id, app, stage, _LOOKS[status])
        self.steps[id] = step
        self.apps.setdefault(app, AppProgress(app)).steps.append(step)
        return step

    def step(self, id: str) -> StepProgress:
        known = self.steps.get(id)
        if known is not None:
            return known
        app, _, stage = id.rpartition(":")
        return self._add(id, app or id, stage, StepStatus.PENDING)

    # What it is told

    def apply(self, event: Event, now: float) -> None:
        match event:
            case StepLogged():
                self._logged(self.step(event.step), event.line)
            case StepStarted():
                self._started(self.step(event.step), event.attempt, now)
            case StepFinished():
                self._finished(self.step(event.step), event, now)
            case StepRetrying():
                self._retrying(self.step(event.step), event, now)
            case StepBlocked():
                step = self.step(event.step)
                step.look, step.note, step.counts = Look.BLOCKED, f"blocked by {event.by}", True
            case RunStarted():
                self._run_started(event, now)
            case RunDraining():
                self._draining("starting nothing more")
            case RunStopping():
                self._draining("stopping")

    def _run_started(self, event: RunStarted, now: float) -> None:
        self.began = now
        for id in event.to_run:
            step = self.step(id)
            step.look, step.counts = Look.PENDING, True

    def _started(self, step: StepProgress, attempt: int, now: float) -> None:
        step.attempt = attempt
        step.look, step.began, step.note, step.counts = Look.RUNNING, now, "", True
        step.tail.clear()
        app = self.apps[step.app]
        app.began = app.began if app.began is not None else now

    def _logged(self, step: StepProgress, line: str) -> None:
        told = clean(line[:_LONGEST])
        if told.strip():
            step.tail.append(told)
            step.note = told.strip()

    def _ended(self, step: StepProgress, look: Look, seconds: float | None, now: float) -> None:
        if step.began is not None:
            step.seconds += now - step.began if seconds is None else seconds
        step.look, step.began, step.ended, step.note = look, None, now, ""

    def _finished(self, step: StepProgress, event: StepFinished, now: float) -> None:
        look = Look.KEPT if event.reused_from is not None else Look.DONE
        if event.status is not StepStatus.COMPLETED:
            look = _LOOKS[event.status]
        self._ended(step, look, event.seconds, now)
        step.note = _first_line(event.error)
        if event.status is StepStatus.COMPLETED:
            step.tail.clear()
        for line in [line for line in step.tail if is_said_by(event.error, line)]:
            step.tail.remove(line)

    def _retrying(self, step: StepProgress, event: StepRetrying, now: float) -> None:
        self._ended(step, Look.RETRYING, None, now)
        step.again_at, step.note = now + event.delay, _first_line(event.error)

    def _draining(self, state: str) -> None:
        self.state = state
        for step in self.steps.values():
            if step.look is Look.RETRYING:
                step.look = Look.PENDING

    # What it answers

    def with_look(self, *looks: Look) -> list[StepProgress]:
        return [step for step in self.steps.values() if step.counts and step.look in looks]

    def running(self) -> list[StepProgress]:
        """The longest first."""
        return sorted(self.with_look(Look.RUNNING), key=lambda step: step.began or 0.0)

    def counts(self) -> tuple[str, ...]:
        """`23/68 steps`, `5 running`, …: only what there is."""
        found = Counter(step.look for step in self.steps.values() if step.counts)
        kept = sum(1 for step in self.steps.values() if step.look is Look.KEPT and not step.counts)
        done = found[Look.DONE] + found[Look.KEPT]
        parts = [f"{done}/{found.total()} steps"]
        parts += [f"{found[look]} {word}" for look, word in _WORDS if found[look]]
        if kept:
            parts.append(f"{kept} kept")
        return (*parts, self.state) if self.state else tuple(parts)


_WORDS = (
    (Look.RUNNING, "running"),
    (Look.RETRYING, "retrying"),
    (Look.FAILED, "failed"),
    (Look.BLOCKED, "blocked"),
    (Look.CANCELLED, "cancelled"),
    (Look.INTERRUPTED, "in doubt"),
)


def _first_line(text: str | None) -> str:
    lines = (text or "").strip().splitlines()
    return clean(lines[0]) if lines else ""


def error_lines(text: str | None, most: int) -> list[str]:
    """An error as lines fit to print, at most so many."""
    lines = [clean(line) for line in (text or "no reason given").strip().splitlines()]
    return lines if len(lines) <= most else [*lines[: most - 1], f"and {len(lines) - most + 1} more lines"]


def is_said_by(error: str | None, line: str) -> bool:
    """Whether an error says what a line of the log said before, perhaps after `not ready: `."""
    said = {part.strip() for part in (error or "").splitlines()}
    return line.strip().removeprefix("not ready: ") in said


def names(ids: Sequence[str], most: int = 3) -> str:
    """`a, b and 3 more`."""
    if len(ids) <= most:
        return ", ".join(ids)
    return f"{', '.join(ids[: most - 1])} and {len(ids) - most + 1} more"
