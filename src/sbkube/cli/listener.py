"""What shows a run while it runs: takes its events, and never fails it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Self

from ..engine.events import Event
from ..engine.state import StepStatus
from .console import Console, Narration
from .progress import Progress

LogPath = Callable[[str, int], str | None]
"""Given a step and an attempt: the file its output is in."""


class Renderer:
    """Base of the renderers: a context manager that takes events. Its own errors it tells once, then it is silent."""

    def __init__(
        self,
        steps: Mapping[str, tuple[str, str]],
        initial: Mapping[str, StepStatus],
        console: Console,
        *,
        log_path: LogPath | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.console = console
        self.log_path = log_path or (lambda step, attempt: None)
        self.clock = clock
        self.progress = Progress(steps, initial, clock())
        self.is_broken = False

    def __call__(self, event: Event) -> None:
        if not self.is_broken:
            self.guard(lambda: self.show(event))

    def show(self, event: Event) -> None:
        self.progress.apply(event, self.clock())

    def guard(self, act: Callable[[], None]) -> None:
        try:
            act()
        except Exception as error:  # noqa: BLE001 - a display that fails must not fail a deployment
            if not self.is_broken:
                self.is_broken = True
                self.give_up()
                self.console.warn(f"the display failed, the run goes on: {type(error).__name__}: {error}")

    def give_up(self) -> None:
        """Leaves the terminal to plain narration."""

    def tail(self, step: str) -> Sequence[str]:
        """The last lines that a step which did not complete has logged in this process."""
        known = self.progress.steps.get(step)
        return tuple(known.tail) if known is not None else ()

    def __enter__(self) -> Self:
        self.guard(self.open)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.guard(self.close)

    def open(self) -> None:
        pass

    def close(self) -> None:
        pass


class Listener:
    """All that shows one run: the narration, and the events as data where they are asked for."""

    def __init__(
        self,
        console: Console,
        steps: Mapping[str, tuple[str, str]],
        initial: Mapping[str, StepStatus],
        *,
        log_path: LogPath | None = None,
    ) -> None:
        self._renderers = [_narrator(console)(steps, initial, console, log_path=log_path)]
        if console.output == "ndjson":
            from .machine import EventStream

            self._renderers.append(EventStream(steps, initial, console))
        self._console = console
        self._open = ExitStack()

    def __call__(self, event: Event) -> None:
        for renderer in self._renderers:
            renderer(event)

    @property
    def is_busy(self) -> bool:
        """Steps run now."""
        return bool(self._renderers[0].progress.running())

    def tail(self, step: str) -> Sequence[str]:
        return self._renderers[0].tail(step)

    def __enter__(self) -> Self:
        self._open.enter_context(self._console.without_waiting())
        for renderer in self._renderers:
            self._open.enter_context(renderer)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()


def _narrator(console: Console) -> type[Renderer]:
    if console.narration is Narration.LIVE:
        from .live import LiveTable

        return LiveTable
    if console.narration is Narration.LINES:
        from .lines import Lines

        return Lines
    return Renderer
