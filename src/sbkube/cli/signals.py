"""Ctrl-C and its relatives: the first drains, the second stops, the third ends at once.

The event loop's own way to take signals does nothing while the loop does not turn, which it does not while the last
output waits for whoever reads it. So a plain handler counts, the loop acts, and where it does not come to the last
of them a thread does.
"""

from __future__ import annotations

import os
import signal
from asyncio import get_running_loop
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from select import select
from threading import Timer

import anyio

from sbkube.engine import RunControl
from sbkube.process import kill_all_groups

_STOPPING = (signal.SIGTERM, signal.SIGHUP)
_DRAIN, _STOP = 1, 2
_PATIENCE = 0.2  # seconds for the loop to end the process: it is never in the middle of starting a child


@dataclass(slots=True)
class Caught:
    """What a run was told from outside."""

    control: RunControl
    on_drain: Callable[[], None]
    """Called when the first Ctrl-C has told the run to start nothing more, though it may have known that."""
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    """Of the work before the run: cancelled by the first signal."""
    has_started: bool = False
    number: int | None = None
    """Of the first signal."""
    _level: int = 0

    def __call__(self, number: int, frame: object = None) -> None:
        """Only counts: it may come in the middle of anything the main thread does."""
        self.number = self.number or number
        self._level = max(self._level, self._level_without()) + 1
        if number in _STOPPING:
            self._level = max(self._level, _STOP)
        if self._level > _STOP:
            timer = Timer(_PATIENCE, _end_at_once, (self.number,))
            timer.daemon = True
            timer.start()

    def _level_without(self) -> int:
        """A run may also be ended by its deadline, or because its state cannot be saved."""
        if self.control.is_stopping:
            return _STOP
        return _DRAIN if self.control.is_draining or not self.has_started else 0

    def act(self) -> None:
        if self._level > _STOP:
            kill_all_groups()
            _say("ended at once; a run with `--resume` goes on and says what was in flight")
            _end_at_once(self.number or signal.SIGINT)
        elif not self.has_started:
            self.scope.cancel()
        elif self._level == _STOP:
            self.control.stop()
        else:
            self.control.drain()
            self.on_drain()


@contextmanager
def signals_to(control: RunControl, on_drain: Callable[[], None]) -> Iterator[Caught]:
    """Catches signals until after the state is closed; one that was ignored at the start stays so (`nohup`)."""
    caught, loop = Caught(control, on_drain), get_running_loop()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, *_STOPPING)}
    wanted = [number for number, handler in before.items() if handler is not signal.SIG_IGN]
    try:
        for number in wanted:
            # The loop's own handler wakes it, also where the signal comes just before it falls asleep.
            loop.add_signal_handler(number, caught.act)
            signal.signal(number, caught)
        yield caught
    finally:
        for number in wanted:
            loop.remove_signal_handler(number)
            signal.signal(number, before[number] or signal.SIG_DFL)


def _end_at_once(number: int) -> None:
    """Nothing that was acknowledged is lost: what is not synced was not acknowledged."""
    kill_all_groups()
    # No stream is flushed: that would wait for whoever does not read it.
    os._exit(128 + number)


def _say(text: str) -> None:
    """Below what stands there, if standard error takes it now."""
    with suppress(OSError):
        if select([], [2], [], 0)[1]:
            os.write(2, f"\r\n{text}\r\n".encode())
