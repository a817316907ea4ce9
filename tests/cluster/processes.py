"""Processes that never outlive their starter: one process group with a watchdog as its leader.

The watchdog reads from a pipe whose other end the starter holds. However the starter ends (also by `kill -9`), the read
ends, and the watchdog kills the group. A parent-death signal would do this on Linux only, and fires when the *thread*
that started a process ends. Each process also inherits a file lock, so the lock is free exactly when all are gone.
"""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

LOOK = 0.02  # seconds between two looks whether something has come true
WATCHDOG = "read -r stay || kill -9 0; while :; do sleep 3600; done"


class AlreadyRunning(Exception):
    """Processes that were started for this folder still run."""


class DidNotStart(Exception):
    """A process ended, or time ran out, before it was of use."""


class Group:
    """The processes started for one folder."""

    def __init__(self, folder: Path) -> None:
        self._lock = (folder / "lock").open("a+")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._lock.close()
            raise AlreadyRunning(
                f"a control plane already runs in {folder}; `python -m tests.cluster down` ends it"
            ) from None
        self._leader = 0  # a group of its own
        self._watchdog = self.start(["sh", "-c", WATCHDOG], stdin=subprocess.PIPE)
        self._leader = self._watchdog.pid
        self._lock.truncate(0)
        self._lock.write(str(self._leader))
        self._lock.flush()

    def start(
        self,
        command: Sequence[str],
        *,
        stdin: int = subprocess.DEVNULL,
        output: IO[bytes] | int = subprocess.DEVNULL,
    ) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            command,
            stdin=stdin,
            stdout=output,
            stderr=subprocess.STDOUT,
            process_group=self._leader,
            pass_fds=[self._lock.fileno()],
        )

    def release(self) -> None:
        """Let the processes go on when the starter ends; `end(folder)` ends them."""
        assert self._watchdog.stdin
        self._watchdog.stdin.write(b"stay\n")
        self._watchdog.stdin.flush()

    def end(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._leader, signal.SIGKILL)
        self._watchdog.communicate()
        self._lock.close()


def end(folder: Path) -> bool:
    """End what runs for this folder, whoever started it; tell whether there was anything."""
    try:
        lock = (folder / "lock").open()
    except FileNotFoundError:
        return False
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            # the lock is held by members of this group only, so its number cannot be another's by now
            os.killpg(int(lock.read()), signal.SIGKILL)
            fcntl.flock(lock, fcntl.LOCK_EX)
            return True
    return False


class Process:
    """One program of a group, with a log of its own; started again it has the same command."""

    def __init__(
        self, group: Group, command: Sequence[str], log: Path, ready: Callable[[], bool] | None = None
    ) -> None:
        self._group = group
        self._command = command
        self._ready = ready or (lambda: True)
        self._process: subprocess.Popen[bytes] | None = None
        self.name = Path(command[0]).name
        self.log = log

    @property
    def pid(self) -> int:
        assert self._process
        return self._process.pid

    def start(self) -> None:
        with self.log.open("ab") as output:
            self._process = self._group.start(self._command, output=output)

    def kill(self) -> None:
        """End it as a crash does, and return when it is gone."""
        if self._process:
            self._process.kill()
            self._process.wait()

    def restart(self) -> None:
        self.kill()
        self.start()

    def wait_ready(self, seconds: float = 60) -> None:
        assert self._process
        limit = time.monotonic() + seconds
        while not self._ready():
            with suppress(subprocess.TimeoutExpired):
                code = self._process.wait(LOOK)
                raise DidNotStart(f"{self.name} ended with {code}\n{self._last_words()}")
            if time.monotonic() > limit:
                raise DidNotStart(f"{self.name} was not ready in {seconds:g} s\n{self._last_words()}")

    def _last_words(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-15:])
