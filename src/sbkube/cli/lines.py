"""Plain lines for pipes, files and CI: what a step printed stands together, under how it ended."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from ..engine.events import (
    Event,
    RunDraining,
    RunStopping,
    StepBlocked,
    StepFinished,
    StepLogged,
    StepRetrying,
    StepStarted,
)
from ..engine.state import StepStatus
from .console import Style, clean, clock, duration, plural
from .listener import Renderer
from .progress import error_lines, is_said_by, names

FIRST, LAST = 20, 200
_LONGEST = 4000
HEARTBEAT = 30.0
_LOOK_AGAIN = 1.0


@dataclass(slots=True)
class _Printed:
    """What one attempt printed: its first and its last lines."""

    attempt: int = 0
    first: list[str] = field(default_factory=list)
    last: deque[str] = field(default_factory=lambda: deque(maxlen=LAST))
    count: int = 0

    def add(self, line: str) -> None:
        self.count += 1
        told = clean(line if len(line) <= _LONGEST else line[:_LONGEST] + " [cut]")
        if len(self.first) < FIRST:
            self.first.append(told)
        else:
            self.last.append(told)

    def lines(self, log: str | None) -> list[str]:
        left_out = self.count - len(self.first) - len(self.last)
        if not left_out:
            return [*self.first, *self.last]
        where = f", all of them in {log}" if log else ""
        return [*self.first, f"[{plural(left_out, 'line')} left out{where}]", *self.last]


class Lines(Renderer):
    """Prints each attempt when it ends; in between, at most every 30 s, what still runs."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._printed: dict[str, _Printed] = {}
        self._blocked: dict[str, list[str]] = {}
        self._spoke = self.clock()
        self._timer: asyncio.TimerHandle | None = None

    def show(self, event: Event) -> None:
        super().show(event)
        if not isinstance(event, StepBlocked | StepLogged):
            self._tell_blocked()
        match event:
            case StepStarted():
                self._printed[event.step] = _Printed(event.attempt)
            case StepLogged():
                self._printed.setdefault(event.step, _Printed(event.attempt)).add(event.line)
            case StepFinished():
                self._finished(event)
            case StepRetrying():
                self._retrying(event)
            case StepBlocked():
                self._blocked.setdefault(event.by, []).append(event.step)
            case RunDraining(running) if running:
                self._say(f"starting nothing more; {_still(running)}: {names(running, 5)}", "warn")
            case RunStopping(running) if running:
                self._say(f"stopping {plural(len(running), 'step')}: {names(running, 5)}", "warn")

    def _say(self, text: str, style: Style = "") -> None:
        self._spoke = self.clock()
        self.console.say(text, style)

    def _finished(self, event: StepFinished) -> None:
        marks, seconds = self.console.marks, duration(event.seconds or 0.0)
        if event.reused_from is not None:
            self._printed.pop(event.step, None)
            self._say(f"{marks.kept} {event.step} unchanged, kept from run {event.reused_from}", "dim")
        elif event.status is StepStatus.COMPLETED:
            if not self.progress.step(event.step).is_quiet(self.clock()):
                self._ended(event.step, f"{marks.done} {event.step} completed in {seconds}", "good")
        elif event.status is StepStatus.CANCELLED:
            self._ended(event.step, f"{marks.cancelled} {event.step} cancelled after {seconds}", "warn")
        elif event.status is StepStatus.INTERRUPTED:
            self._ended(event.step, f"{marks.question} {event.step} is still in doubt", "warn", event.error)
        else:
            again = f" (attempt {event.attempt})" if event.attempt > 1 else ""
            head = f"{marks.failed} {event.step} {event.status.value} after {seconds}{again}"
            self._ended(event.step, head, "bad", event.error)

    def _retrying(self, event: StepRetrying) -> None:
        head = f"{self.console.marks.retry} {event.step} attempt {event.attempt} failed, "
        self._ended(event.step, f"{head}again in {duration(event.delay)}", "warn", event.error)

    def _ended(self, step: str, head: str, style: Style, error: str | None = None) -> None:
        why = error_lines(error, 20) if error else []
        if len(why) == 1:
            head, why = f"{head}: {why[0]}", []
        self._say(head, style)
        for line in why:
            self._say(f"  {line}")
        printed = self._printed.pop(step, None)
        if printed is not None and printed.count:
            for line in printed.lines(self.log_path(step, printed.attempt)):
                if not is_said_by(error, line):
                    self._say(f"  | {line}", "dim")

    def _tell_blocked(self) -> None:
        """Together, so that a failure before 200 apps is one line."""
        blocked, self._blocked = self._blocked, {}
        for cause, steps in blocked.items():
            self._say(f"{self.console.marks.blocked} blocked by {cause}: {names(steps)}", "warn")

    # While nothing happens

    def tick(self) -> None:
        """To be called now and then; says what runs if nothing was said for 30 s."""
        self._tell_blocked()
        now = self.clock()
        if now - self._spoke < HEARTBEAT:
            return
        running = [f"{step.id} {duration(step.spent(now))}" for step in self.progress.running()]
        told = ", ".join((*self.progress.counts(), clock(now - self.progress.began)))
        self._say(f"{told}{': ' + names(running, 5) if running else ''}", "dim")

    def open(self) -> None:
        self._wait()

    def _wait(self) -> None:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # who has no loop calls `tick`
            return
        self._timer = loop.call_later(_LOOK_AGAIN, self._tick_and_wait)

    def _tick_and_wait(self) -> None:
        self.guard(self.tick)
        if not self.is_broken:
            self._wait()

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._tell_blocked()


def _still(running: tuple[str, ...]) -> str:
    return f"{plural(len(running), 'step')} still {'runs' if len(running) == 1 else 'run'}"
