"""A folder that several processes change, held by one at a time for a moment."""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sbkube.errors import SbkubeError

_PATIENCE = 10.0
_POLL = 0.002
_NO_LOCKS_HERE = {errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.ENOLCK, errno.EINVAL}


class TargetBusy(SbkubeError):
    """Another process has been changing the folder for too long."""

    def __init__(self, folder: Path, seconds: float) -> None:
        super().__init__(
            f"`{folder}` is held by another run: waited {seconds:g} s",
            hint="let the other run end, or stop it, and repeat",
        )
        self.folder = folder


@contextmanager
def holding(folder: Path, patience: float = _PATIENCE) -> Iterator[None]:
    """The lock is on the folder itself, so nothing is added to it; the kernel gives it back on any death."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        _wait_for(descriptor, folder, patience)
        yield
    finally:
        os.close(descriptor)


def _wait_for(descriptor: int, folder: Path, patience: float) -> None:
    """Polls: a thread that the kernel holds up could not be stopped if the holder hangs."""
    until = time.monotonic() + patience
    while not _try_to_take(descriptor):
        if time.monotonic() >= until:
            raise TargetBusy(folder, patience)
        time.sleep(_POLL)


def _try_to_take(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        # Two runs at once are rare, and this place cannot keep them apart: better than no run at all.
        if error.errno not in _NO_LOCKS_HERE:
            raise
    return True
