"""Commands that a killed `sbkube` left running: found by what their environment says of them.

Every command has the idempotency key and the attempt of its step in its environment, and hands both on to what it
starts. A list of process ids on disk would be behind when its writer is killed, and names strangers once ids are
given anew. Not found is what was given another environment (`env -i`), and what another user or host runs.

Nothing is missed that was just being started: until a child has become its command, it holds the run lock.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

from .process import stat_of

_MARK = b"SBKUBE_IDEMPOTENCY_KEY="
_LOOKS = 5
_PS = ("/bin/ps", "-axwwE", "-o", "pid=,ppid=,pgid=,stat=,command=")
_PATIENCE = 10.0
_TOLD = 6
_PAUSES = (0.001, 0.001, 0.002, 0.004)
"""Seconds before each further look at what has no environment."""


class Attempt(NamedTuple):
    """One attempt of one step, whichever it is."""

    key: str
    number: int

    @property
    def marks(self) -> dict[str, str]:
        """The variables by which its processes are known."""
        return {"SBKUBE_IDEMPOTENCY_KEY": self.key, "SBKUBE_ATTEMPT": str(self.number)}


@dataclass(frozen=True, slots=True)
class Process:
    pid: int
    parent: int
    group: int
    environ: bytes
    """NAME=value, each ended by a NUL."""


@dataclass(frozen=True, slots=True)
class Leftover:
    """What still runs of an attempt."""

    pids: tuple[int, ...]
    """Leaders of process groups first."""
    kill: str
    """The command that ends all of it."""

    def __str__(self) -> str:
        told = ", ".join(map(str, islice(self.pids, _TOLD)))
        more = f" and {len(self.pids) - _TOLD} more" if len(self.pids) > _TOLD else ""
        return f"{'process' if len(self.pids) == 1 else 'processes'} {told}{more}"


def find_leftovers(attempts: Mapping[str, Attempt]) -> dict[str, Leftover]:
    """Of these attempts, by step, those of which something still runs; to be called off the event loop."""
    return sort_out(attempts, _processes(), os.getpid(), os.getpgrp())


def sort_out(
    attempts: Mapping[str, Attempt], processes: Iterable[Process], own: int, own_group: int
) -> dict[str, Leftover]:
    """Who asks may run inside a command itself, so neither it nor who started it counts."""
    parents, found = dict[int, int](), dict[str, list[Process]]()
    wanted = {step: _as_written(attempt) for step, attempt in attempts.items()}
    for process in processes:
        parents[process.pid] = process.parent
        if _MARK not in process.environ:
            continue
        given = set(process.environ.split(b"\0"))
        for step in (step for step, marks in wanted.items() if marks <= given):
            found.setdefault(step, []).append(process)
    spared = set(_line_of(own, parents))
    others = {step: [p for p in its if p.pid not in spared] for step, its in found.items()}
    return {step: _leftover(its, own_group) for step, its in others.items() if its}


def _as_written(attempt: Attempt) -> set[bytes]:
    return {f"{name}={value}".encode() for name, value in attempt.marks.items()}


def _line_of(pid: int, parents: Mapping[int, int]) -> Iterator[int]:
    """The process, its parent, and so on."""
    seen = set[int]()
    while pid not in seen:
        yield pid
        seen.add(pid)
        pid = parents.get(pid, pid)


def _leftover(processes: Iterable[Process], own_group: int) -> Leftover:
    ordered = sorted(processes, key=lambda p: (p.pid != p.group, p.pid))
    # No group of ours, and none whose number is not known here (0): `kill -- -0` would hit who types it.
    targets = [p.pid if p.group in (0, own_group) else -p.group for p in ordered]
    words = " ".join(map(str, dict.fromkeys(targets)))
    return Leftover(tuple(p.pid for p in ordered), f"kill -- {words}")


# --- all processes there are ----------------------------------------------


def _processes() -> Iterable[Process]:
    return _by_proc() if sys.platform == "linux" else from_ps(_ps())


def _by_proc() -> Iterator[Process]:
    bare = list[Process]()
    for pid in _pids():
        if (found := _process(pid)) is not None:
            if found.environ:
                yield found
            else:
                bare.append(found)
    # Threads of the kernel have no environment; what becomes another program has none for a moment.
    for pause in _PAUSES:
        time.sleep(pause)
        again = [found for one in bare if (found := _process(str(one.pid))) is not None]
        yield from (found for found in again if found.environ)
        bare = [found for found in again if not found.environ]
    yield from bare


def _process(pid: str) -> Process | None:
    stat = stat_of(pid)
    return None if stat is None else Process(int(pid), *stat, _environ(pid))


def _pids() -> Iterator[str]:
    """Each once, and who was started while we looked: who started it may have ended before its turn."""
    seen = set[str]()
    for _ in range(_LOOKS):
        with suppress(OSError):
            yield from (fresh := {name for name in os.listdir("/proc") if name.isdigit()} - seen)
            seen |= fresh


def _environ(pid: str) -> bytes:
    """As it was given at the start; empty where we may not read it."""
    with suppress(OSError), open(f"/proc/{pid}/environ", "rb") as environ:
        return environ.read()
    return b""


def _ps() -> str:
    try:
        ended = subprocess.run(_PS, capture_output=True, timeout=_PATIENCE, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return ended.stdout.decode("utf-8", "replace")


def from_ps(text: str) -> Iterator[Process]:
    """macOS shows the environment behind the command, parted by spaces, and not of programs of its own (`/bin/sh`)."""
    for line in text.splitlines():
        pid, parent, group, state, *words = line.split()
        if not state.startswith("Z"):
            yield Process(int(pid), int(parent), int(group), "\0".join(words).encode())
