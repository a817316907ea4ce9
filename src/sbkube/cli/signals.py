"""Ctrl-C and its relatives: the first drains, the second stops, the third ends at once."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio
from anyio.abc import TaskStatus

from sbkube.engine import RunControl
from sbkube.process import kill_all_groups

_STOPPING = (signal.SIGTERM, signal.SIGHUP)


@dataclass(slots=True)
class Caught:
    """What a run was told from outside."""

    control: RunControl
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    """Of the work before the run: cancelled by the first signal."""
    has_started: bool = False
    number: int | None = None

    def __call__(self, number: signal.Signals) -> None:
        first, self.number = self.number is None, self.number or int(number)
        if not self.has_started:
            self.scope.cancel()
        elif number in _STOPPING and not self.control.is_stopping:
            self.control.stop()
        elif first and not self.control.is_draining:
            self.control.drain()
        elif not self.control.is_stopping:
            self.control.stop()
        else:
            _end_at_once(self.number)


@asynccontextmanager
async def signals_to(control: RunControl) -> AsyncIterator[Caught]:
    """Catches signals until after the state is closed; one that was ignored at the start stays so (`nohup`)."""
    caught = Caught(control)
    async with anyio.create_task_group() as tasks:
        await tasks.start(_listen, caught)
        try:
            yield caught
        finally:
            tasks.cancel_scope.cancel()


async def _listen(tell: Callable[[signal.Signals], None], *, task_status: TaskStatus[None]) -> None:
    wanted = [s for s in (signal.SIGINT, *_STOPPING) if signal.getsignal(s) is not signal.SIG_IGN]
    if not wanted:
        task_status.started()
        return
    with anyio.open_signal_receiver(*wanted) as received:
        task_status.started()
        async for number in received:
            tell(number)


def _end_at_once(number: int) -> None:
    """Nothing that was acknowledged is lost: what is not synced was not acknowledged."""
    kill_all_groups()
    sys.stderr.flush()
    os._exit(128 + number)
