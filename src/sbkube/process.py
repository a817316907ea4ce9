"""Child processes: each in a process group of its own, output line by line, ended as a whole group.

What does not work: killing the leader alone (`sh -c` leaves its children behind), `killpg(pgid, 0)` as the question
whether a group still lives (it succeeds while only zombies are left, in a container perhaps for ever), and waiting
for the end of the output after the leader has ended (a child in the background may hold the pipe open).
"""

from __future__ import annotations

import codecs
import errno
import inspect
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import anyio
from anyio.lowlevel import checkpoint

from .errors import SbkubeError

OnLine = Callable[[str], Awaitable[None] | None]
OnPause = Callable[[], Awaitable[None]]
OnGroup = Callable[[int], None]

LONGEST_LINE = 64 * 1024
PIPE_PATIENCE = 0.2  # seconds for the output after the leader has ended
LOOK = 0.05  # seconds between two looks whether a silent leader still lives
LAST_WAIT = 5.0  # seconds for a killed group to vanish


class CannotStart(SbkubeError):
    """A command could not be started at all."""


class CommandNotFound(CannotStart):
    def __init__(self, command: str) -> None:
        super().__init__(f"command {command!r} was not found", hint="install it, or put its folder on PATH")
        self.command = command


class CommandNotExecutable(CannotStart):
    def __init__(self, command: str, reason: str) -> None:
        super().__init__(
            f"command {command!r} cannot be executed: {reason}", hint=f"try `chmod +x {command}`"
        )
        self.command = command


class WorkingFolderMissing(CannotStart):
    def __init__(self, folder: Path) -> None:
        super().__init__(f"the working folder {str(folder)!r} is missing or cannot be entered")
        self.folder = folder


class CommandTimedOut(SbkubeError, TimeoutError):
    def __init__(self, seconds: float) -> None:
        super().__init__(f"the command ran longer than its time limit of {seconds:g} s and was stopped")
        self.seconds = seconds


@dataclass(frozen=True, slots=True)
class Exit:
    """How a command ended; a negative code is the signal that killed it."""

    code: int
    seconds: float

    @property
    def ok(self) -> bool:
        return self.code == 0

    def __str__(self) -> str:
        if self.code >= 0:
            return f"exit code {self.code}"
        with suppress(ValueError):
            return f"killed by {signal.Signals(-self.code).name}"
        return f"killed by signal {-self.code}"


async def run_process(
    command: str | Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str],
    on_line: OnLine,
    on_pause: OnPause | None = None,
    time_limit: float | None = None,
    grace: float = 10.0,
    stdin: bytes | None = None,
    keeps_open: Sequence[int] = (),
) -> Exit:
    """Run a command to its end; a string goes through `sh -c`. Standard error is merged into the output.

    `on_pause` is called when there are no further lines yet: who passes them on may do so for many at once.
    On the time limit, on cancellation and when `on_line` raises, the whole group is stopped: TERM, `grace`, KILL;
    without grace by KILL alone, so that it has no time to undo anything by halves.
    What a command leaves in the background after its own end is its own affair.
    `keeps_open`: descriptors that it inherits, so that a lock on one holds as long as it lives, even if we do not.
    """
    begun = time.monotonic()
    child = _Child(command, cwd, env, on_line, on_pause, stdin, keeps_open)
    try:
        with anyio.move_on_after(time_limit):
            code = await child.follow()
            return Exit(code, time.monotonic() - begun)
        raise CommandTimedOut(time_limit or 0.0)
    except BaseException:
        await child.stop(grace)
        raise
    finally:
        child.close()


# By its path, since no shell need take a descriptor of two digits; one that cannot open it ends, and the rest goes on.
END_WITH_LIFELINE = '(exec <"/dev/fd/$1" || exit; read -r end; kill -9 0) >/dev/null 2>&1 &'
"""For `sh`, whose first argument is a lifeline: its group is killed when that ends."""


@contextmanager
def lifeline() -> Iterator[int]:
    """Ends for who inherits it when this does, or when we are gone."""
    inherited, held = os.pipe()
    try:
        yield inherited
    finally:
        os.close(held)
        os.close(inherited)


# --- process groups -------------------------------------------------------

_live: set[int] = set()
_watchers: list[tuple[OnGroup, OnGroup]] = []
_marks: dict[str, str] = {}


def register_group(pgid: int) -> None:
    _live.add(pgid)
    for started, _ in tuple(_watchers):
        started(pgid)


def forget_group(pgid: int) -> None:
    """To be called before the leader is reaped or right after: its number may then be given to another."""
    if pgid in _live:
        _live.discard(pgid)
        for _, ended in tuple(_watchers):
            ended(pgid)


@contextmanager
def watch_groups(started: OnGroup, ended: OnGroup, marks: Mapping[str, str]) -> Iterator[None]:
    """Tells of every group there is or will be, and of its end. `marks` join the environment of later ones."""
    watcher = started, ended
    _watchers.append(watcher)
    _marks.update(marks)
    try:
        for pgid in tuple(_live):
            started(pgid)
        yield
    finally:
        _watchers.remove(watcher)
        for name in marks:
            _marks.pop(name, None)


def marked(env: Mapping[str, str]) -> dict[str, str]:
    """The environment that a child gets."""
    return {**env, **_marks}


def kill_all_groups() -> None:
    """KILL to every group that still runs, at once and without waiting; for the last Ctrl-C."""
    for pgid in tuple(_live):
        signal_group(pgid, signal.SIGKILL)


def signal_group(pgid: int, number: signal.Signals) -> None:
    # PermissionError: macOS says so when only zombies are left, Linux for a child that changed its user.
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pgid, number)


def group_alive(pgid: int) -> bool:
    """Whether a member of the group still runs; zombies do not count."""
    try:
        os.killpg(pgid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return sys.platform == "linux" and _has_running_member(pgid)
    return sys.platform != "linux" or _has_running_member(pgid)


def _has_running_member(pgid: int) -> bool:
    return any(found[1] == pgid for pid in os.listdir("/proc") if pid.isdigit() and (found := stat_of(pid)))


def stat_of(pid: str) -> tuple[int, int] | None:
    """Parent and group by Linux's /proc; None for a zombie and for who is gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:
            # "pid (name) state ppid pgrp …": the name may hold spaces and brackets
            state, parent, group = stat.read().rpartition(b")")[2].split()[:3]
    except OSError:
        return None
    return None if state in (b"Z", b"X") else (int(parent), int(group))


# --- one child ------------------------------------------------------------


class _Child:
    def __init__(
        self,
        command: str | Sequence[str],
        cwd: Path,
        env: Mapping[str, str],
        on_line: OnLine,
        on_pause: OnPause | None,
        stdin: bytes | None,
        keeps_open: Sequence[int],
    ) -> None:
        read_end, write_end = os.pipe()
        try:
            self._process = _start(command, cwd, env, stdin, write_end, keeps_open)
        except BaseException:
            os.close(read_end)
            raise
        finally:
            os.close(write_end)
        os.set_blocking(read_end, False)
        self._pipe = read_end
        self._pgid = self._process.pid
        register_group(self._pgid)
        self._on_line = on_line
        self._on_pause = on_pause
        self._lines = _Lines()

    async def follow(self) -> int:
        """The exit code, once the leader has ended and its output was passed on."""
        ended: float | None = None
        while ended is None or time.monotonic() < ended + PIPE_PATIENCE:
            if await self._readable():
                if (data := self._read()) is None:
                    break
                await self._pass_on(data)
            if ended is None and self._poll() is not None:
                ended = time.monotonic()
        await self._pass_on(b"", final=True)
        return await self._exit_code()

    async def stop(self, grace: float) -> None:
        """TERM, `grace`, KILL to the whole group; returns when it is gone, or after a bounded wait."""
        if grace and self._alive():
            signal_group(self._pgid, signal.SIGTERM)
            await self._drain(grace)
        if self._alive():
            signal_group(self._pgid, signal.SIGKILL)
            await self._drain(LAST_WAIT)

    def close(self) -> None:
        os.close(self._pipe)
        if self._poll() is None:
            _unreaped.append(self._process)
        forget_group(self._pgid)

    async def _exit_code(self) -> int:
        pause = 0.001
        while (code := self._poll()) is None:
            await anyio.sleep(pause)
            pause = min(pause * 2, LOOK)
        return code

    async def _drain(self, seconds: float) -> None:
        """Keep the pipe flowing while the group ends: a child that says goodbye must not block on it."""
        pause = 0.002
        with anyio.move_on_after(seconds, shield=True):
            while self._alive():
                if await self._swallow():
                    continue
                await anyio.sleep(pause)
                pause = min(pause * 2, LOOK)
            while await self._swallow():
                pass

    async def _swallow(self) -> bool:
        """Pass on what is there; whether there was something."""
        data = self._read()
        with suppress(Exception):  # the log may be what failed; the group has to go all the same
            await self._pass_on(data or b"", final=data is None)
        await checkpoint()
        return bool(data)

    def _poll(self) -> int | None:
        return self._process.poll()

    def _alive(self) -> bool:
        # a leader whose other threads are still ending is a zombie in /proc, but not to be reaped yet
        return self._poll() is None or group_alive(self._pgid)

    async def _readable(self) -> bool:
        with anyio.move_on_after(LOOK):
            await anyio.wait_readable(self._pipe)
            return True
        return False

    def _read(self) -> bytes | None:
        """What is there now; None at the end of the output."""
        try:
            return os.read(self._pipe, LONGEST_LINE) or None
        except BlockingIOError:
            return b""

    async def _pass_on(self, data: bytes, *, final: bool = False) -> None:
        self._lines.feed(data, final=final)
        for line in self._lines.taken():
            waiting = self._on_line(line)
            if inspect.isawaitable(waiting):
                await waiting
        if self._on_pause is not None:
            await self._on_pause()


_unreaped: list[subprocess.Popen[bytes]] = []


def _start(
    command: str | Sequence[str],
    cwd: Path,
    env: Mapping[str, str],
    stdin: bytes | None,
    output: int,
    keeps_open: Sequence[int],
) -> subprocess.Popen[bytes]:
    _unreaped[:] = [process for process in _unreaped if process.poll() is None]
    arguments = ["/bin/sh", "-c", command] if isinstance(command, str) else list(command)
    if not arguments:
        raise CannotStart("an empty command cannot be started")
    source = _as_file(stdin)
    try:
        return subprocess.Popen(
            arguments,
            cwd=cwd,
            env=marked(env),
            stdin=source if source is not None else subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            pass_fds=tuple(keeps_open),
        )
    except (OSError, ValueError) as error:
        raise _why_not(error, arguments[0], cwd) from error
    finally:
        if source is not None:
            source.close()


def _as_file(data: bytes | None) -> IO[bytes] | None:
    # A nameless file: a pipe would need a writer of its own once the child stops reading.
    if data is None:
        return None
    file: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed by the caller
    file.write(data)
    file.seek(0)
    return file


def _why_not(error: Exception, command: str, cwd: Path) -> CannotStart:
    if not (cwd.is_dir() and os.access(cwd, os.X_OK)):
        return WorkingFolderMissing(cwd)
    if isinstance(error, FileNotFoundError):
        return CommandNotFound(command)
    if isinstance(error, PermissionError):
        return CommandNotExecutable(command, "permission denied")
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    if isinstance(error, OSError) and error.errno == errno.ENOEXEC:
        return CommandNotExecutable(command, reason)
    return CannotStart(f"command {command!r} cannot be started: {reason}")


class _Lines:
    """Bytes in, lines out; a line that is too long comes in pieces, so memory stays bounded."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._begun = ""
        self._ready: deque[str] = deque()

    def feed(self, data: bytes, *, final: bool = False) -> None:
        *whole, self._begun = (self._begun + self._decoder.decode(data, final)).split("\n")
        for line in whole:
            self._ready.append(self._cut(line).removesuffix("\r"))
        self._begun = self._cut(self._begun)
        if final and self._begun:
            self._ready.append(self._begun)

    def taken(self) -> Iterator[str]:
        """The lines that are ready; one that was taken is not given again, also after a cancellation."""
        while self._ready:
            yield self._ready.popleft()

    def _cut(self, line: str) -> str:
        while len(line) > LONGEST_LINE:
            self._ready.append(line[:LONGEST_LINE])
            line = line[LONGEST_LINE:]
        return line
