"""One process at a time: `flock`, which the kernel gives back on any death, so there is nothing to unlock.

Readers never lock: a shared lock held for a moment makes starters fail for no reason. They look whether the
holder's process id still belongs to the process that started then.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
import sys
import weakref
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from ...errors import RunLocked, StateNotWritable
from ...state import now

_TEXT_LIMIT = 4096


@dataclass(frozen=True, slots=True)
class Holder:
    """A process, told apart from a later one with the same id by when it started."""

    pid: int
    start: str
    host: str
    since: str
    command: str = ""

    @classmethod
    def this_process(cls) -> Self:
        return cls(os.getpid(), start_of(os.getpid()) or "", _host(), now(), _command(sys.argv))

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self:
        names = ("pid", "start", "host", "since", "command")
        return cls(**{name: record[name] for name in names if name in record})

    def to_record(self) -> dict[str, Any]:
        return {
            "pid": self.pid,
            "start": self.start,
            "host": self.host,
            "since": self.since,
            "command": self.command,
        }

    @property
    def is_alive(self) -> bool:
        """True also where it cannot be known: on another host."""
        if self.host != _host():
            return True
        start = start_of(self.pid)
        return start is not None and (not self.start or not start or start == self.start)

    def __str__(self) -> str:
        what = f" ({self.command})" if self.command else ""
        return f"process {self.pid}{what} on {self.host} since {self.since}"


def _command(argv: list[str]) -> str:
    """The program and its subcommand; what follows may be a secret."""
    words = [os.path.basename(word) for word in argv[:1]] + [word for word in argv[1:2] if word.isalpha()]
    return " ".join(words)[:200]


def start_of(pid: int) -> str | None:
    """A token that changes when the id is used again; "" if unknown, None if there is no such process."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None if os.path.exists("/proc/self") else _is_there(pid)
    except OSError:
        return ""
    fields = stat[stat.rindex(")") + 2 :].split()
    # A zombie holds no lock any more; its parent just has not looked.
    return None if fields[0] in "ZX" else f"{_boot()}:{fields[19]}"


def _is_there(pid: int) -> str | None:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        return ""
    return ""


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()[:8]
    except OSError:
        return ""


def _host() -> str:
    return socket.gethostname()


_held: weakref.WeakSet[RunLock] = weakref.WeakSet()


class RunLock:
    """The lock file is never removed: a lock on a file that is gone would lock nobody out."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd: int | None = None

    def try_take(self, holder: Holder) -> bool:
        """Whether it is ours now; raises `StateNotWritable` where it cannot be had at all."""
        try:
            fd = os.open(self._path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise StateNotWritable(self._path, error.strerror or str(error)) from error
        try:
            taken = self._flock(fd) and self._is_the_file_at_the_path(fd)
        except BaseException:
            os.close(fd)
            raise
        if not taken:
            os.close(fd)
            return False
        self._fd = fd
        _held.add(self)
        with suppress(OSError):
            # For people only: a full disk must not keep the lock from being held.
            os.ftruncate(fd, 0)
            os.pwrite(fd, f"{json.dumps(holder.to_record())}\n".encode(), 0)
        return True

    def _flock(self, fd: int) -> bool:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES, errno.EINTR):
                raise StateNotWritable(self._path, f"it cannot be locked: {error.strerror}") from error
            return False
        return True

    def _is_the_file_at_the_path(self, fd: int) -> bool:
        # Somebody may have removed the folder between opening and locking: that lock locks nobody out.
        try:
            return os.path.samestat(os.fstat(fd), os.stat(self._path))
        except FileNotFoundError:
            return False

    def held_by(self) -> RunLocked:
        return RunLocked(self._path, read_holder(self._path))

    def give_back(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


def read_holder(path: Path) -> str | None:
    """What the lock file says, for people; None if nothing can be made of it."""
    try:
        with path.open("rb") as file:
            return str(Holder.from_record(json.loads(file.read(_TEXT_LIMIT))))
    except (OSError, ValueError, TypeError, RecursionError):
        return None


def _close_in_child() -> None:
    # A forked child shares the open file, and with it the lock, for as long as it lives.
    for lock in list(_held):
        lock.give_back()


os.register_at_fork(after_in_child=_close_in_child)
