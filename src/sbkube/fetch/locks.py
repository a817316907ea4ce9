"""One at a time, across the tasks of a process and the processes of a machine."""

from __future__ import annotations

import fcntl
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import anyio

_FIRST_LOOK, _LAST_LOOK = 0.01, 0.5


@asynccontextmanager
async def held(
    file: Path, *, shared: bool = False, on_wait: Callable[[], Awaitable[None]] | None = None
) -> AsyncIterator[int]:
    """Its descriptor: a child that inherits it holds the lock too, and keeps it when we are killed.

    Asked for again and again, since a thread that waits in `flock` could not be cancelled. When it was last held is the
    time of the file.
    """
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        pause = _FIRST_LOOK
        while not _taken(descriptor, shared):
            if on_wait is not None and pause == _FIRST_LOOK:
                await on_wait()
            await anyio.sleep(pause)
            pause = min(pause * 2, _LAST_LOOK)
        os.utime(descriptor)
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def held_if_free(file: Path) -> Iterator[bool]:
    """Whether it is held now: not if another does."""
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        yield _taken(descriptor, shared=False)
    finally:
        os.close(descriptor)


def _taken(descriptor: int, shared: bool) -> bool:
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
