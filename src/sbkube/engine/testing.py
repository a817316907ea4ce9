"""Disks for tests of whatever keeps its state through the engine's store: one that crashes, one that fails.

`SimulatedDisk` lives in memory and knows of each byte and each name whether a power cut would keep it.
`FaultyDisk` stands before any disk and makes one of its operations fail, or all from one on.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Any

from .state import ExecutionState
from .stores.files.disk import Disk

Contents = Mapping[Path, bytes | None]
"""What is on a disk; None is a folder."""


@dataclass(frozen=True, slots=True)
class _Change:
    """A change of names that its folder was not synced after."""

    folder: Path
    gone: Path | None = None
    there: Path | None = None
    inode: int = 0

    def apply(self, names: dict[Path, int]) -> None:
        if self.gone is not None:
            names.pop(self.gone, None)
        if self.there is not None:
            names[self.there] = self.inode


@dataclass(frozen=True, slots=True)
class Moment:
    """The disk after one operation or mark."""

    what: str
    marks: int
    """How many marks had been set."""
    names: Mapping[Path, int] = field(repr=False)
    """The durable ones."""
    pending: tuple[_Change, ...] = field(repr=False)
    data: Mapping[int, bytes | None] = field(repr=False)
    durable: Mapping[int, int] = field(repr=False)
    """By file, how many of its first bytes are durable."""


class SimulatedDisk(Disk):
    """Records what a power cut after each operation could leave.

    Bytes that were not synced may be missing, cut anywhere, zero or garbage, page by page in any order;
    names in a folder that was not synced may be missing each for itself. Safe for threads.
    """

    def __init__(self, root: Path, contents: Contents | None = None, *, page: int = 64) -> None:
        self.trace: list[Moment] = []
        self.marks: list[str] = []
        self._page = page
        self._lock = threading.RLock()
        self._data: dict[int, bytes | None] = {}
        self._durable: dict[int, int] = {}
        self._names: dict[Path, int] = {}
        self._pending: list[_Change] = []
        self._open: dict[int, int] = {}
        self._opened = 1000
        self._root = root
        for path, data in {root: None, **(contents or {})}.items():
            self._names[path] = self._new(data)
            self._durable[self._names[path]] = len(data or b"")
        self._kept = dict(self._names)

    # What tests ask

    def mark(self, what: str) -> None:
        """Notes in the trace that something happened outside of the disk."""
        with self._lock:
            self.marks.append(what)
            self._record(what)

    @property
    def contents(self) -> Contents:
        """As processes see it now."""
        with self._lock:
            return {path: self._data[inode] for path, inode in self._names.items()}

    @property
    def open_files(self) -> int:
        return len(self._open)

    def after_power_cut(self, moment: Moment, chance: Random, many: int) -> Iterator[Contents]:
        """Some of what a power cut at that moment may leave: first the least, then `many` drawn at random."""
        for changes in self._subsets(moment.pending, chance):
            names = dict(moment.names)
            for change in changes:
                change.apply(names)
            reachable = {path: inode for path, inode in names.items() if self._is_reachable(path, names)}
            yield {p: _least(moment.data[i], moment.durable[i]) for p, i in reachable.items()}
            for _ in range(many):
                yield {p: self._left(moment.data[i], moment.durable[i], chance) for p, i in reachable.items()}

    @staticmethod
    def _subsets(pending: tuple[_Change, ...], chance: Random) -> list[tuple[_Change, ...]]:
        drawn = [tuple(change for change in pending if chance.random() < 0.5) for _ in range(2)]
        return list(dict.fromkeys([(), pending, *drawn]))

    def _is_reachable(self, path: Path, names: Mapping[Path, int]) -> bool:
        return path == self._root or (path.parent in names and self._is_reachable(path.parent, names))

    def _left(self, data: bytes | None, durable: int, chance: Random) -> bytes | None:
        if data is None or len(data) == durable:
            return data
        cut = chance.choice([len(data), len(data), chance.randint(durable, len(data))])
        left = bytearray(data[:cut])
        fill: Callable[[], int] = chance.choice([lambda: 0, lambda: chance.randrange(256)])
        holes = chance.choice([0.0, 0.45])
        for start in range(durable - durable % self._page, cut, self._page):
            if chance.random() < holes:
                for at in range(max(start, durable), min(start + self._page, cut)):
                    left[at] = fill()
        return bytes(left)

    def _record(self, what: str) -> None:
        self.trace.append(
            Moment(
                what,
                len(self.marks),
                dict(self._kept),
                tuple(self._pending),
                dict(self._data),
                dict(self._durable),
            )
        )

    def _new(self, data: bytes | None) -> int:
        inode = len(self._data) + 1
        self._data[inode], self._durable[inode] = data, 0
        return inode

    def _change(self, change: _Change) -> None:
        change.apply(self._names)
        self._pending.append(change)

    # The operations of a disk

    def make_folder(self, path: Path) -> None:
        with self._lock:
            self._link(path, None)
            self._record(f"make_folder {path.name}")

    def create(self, path: Path) -> int:
        with self._lock:
            self._opened += 1
            self._open[self._opened] = self._link(path, b"")
            self._record(f"create {path.name}")
            return self._opened

    def _link(self, path: Path, data: bytes | None) -> int:
        if path in self._names:
            raise _error(errno.EEXIST, path)
        if path.parent not in self._names:
            raise _error(errno.ENOENT, path)
        inode = self._new(data)
        self._change(_Change(path.parent, there=path, inode=inode))
        return inode

    def write(self, fd: int, data: bytes) -> int:
        with self._lock:
            inode = self._open[fd]
            self._data[inode] = (self._data[inode] or b"") + data
            self._record("write")
            return len(data)

    def sync(self, fd: int) -> None:
        with self._lock:
            inode = self._open[fd]
            self._durable[inode] = len(self._data[inode] or b"")
            self._record("sync")

    def close(self, fd: int) -> None:
        with self._lock:
            del self._open[fd]

    def replace(self, source: Path, target: Path) -> None:
        with self._lock:
            inode = self._names[source]
            self._change(_Change(source.parent, gone=source, there=target, inode=inode))
            self._record(f"replace {target.name}")

    def remove(self, path: Path) -> None:
        with self._lock:
            if path in self._names:
                self._change(_Change(path.parent, gone=path))
                self._record(f"remove {path.name}")

    def remove_folder(self, path: Path) -> None:
        with self._lock:
            inside = [name for name in self._names if path in name.parents]
            for gone in (*sorted(inside, reverse=True), path):
                self.remove(gone)

    def sync_folder(self, path: Path) -> None:
        with self._lock:
            synced = [change for change in self._pending if change.folder == path]
            for change in synced:
                change.apply(self._kept)
            self._pending = [change for change in self._pending if change.folder != path]
            self._record(f"sync_folder {path.name}")

    def names(self, path: Path) -> list[str]:
        with self._lock:
            return [name.name for name in self._names if name.parent == path and name != path]

    def read(self, path: Path, at_most: int = -1) -> bytes:
        with self._lock:
            data = self._data[self._names[path]] if path in self._names else None
        if data is None:
            raise _error(errno.ENOENT, path)
        return data if at_most < 0 else data[:at_most]

    def is_folder(self, path: Path) -> bool:
        with self._lock:
            return path in self._names and self._data[self._names[path]] is None

    def exists(self, path: Path) -> bool:
        with self._lock:
            return path in self._names


CHANGING = ("make_folder", "create", "write", "sync", "replace", "remove", "sync_folder")


@dataclass(slots=True)
class FaultyDisk(Disk):
    """Fails operation `fail_at` (from 1) of those in `ops`, and all later ones if it stays broken."""

    disk: Disk
    fail_at: int = 0
    """0: none."""
    error: int = errno.EIO
    stays_broken: bool = False
    ops: Collection[str] = CHANGING
    short_writes: bool = False
    """A write takes at most half of what it is given; one that fails has taken half before."""
    hangs: bool = False
    """The operation that would fail waits for `let_go` instead, then goes on."""
    let_go: threading.Event = field(default_factory=threading.Event)
    done: int = 0
    """How many operations of `ops` were asked for."""
    failed: list[str] = field(default_factory=list)

    def _meet(self, op: str, path: Path | None = None) -> None:
        if op not in self.ops:
            return
        self.done += 1
        if not self.fail_at or not (
            self.done == self.fail_at or (self.stays_broken and self.done > self.fail_at)
        ):
            return
        self.failed.append(op)
        if self.hangs:
            self.let_go.wait()
        else:
            raise _error(self.error, path)

    def make_folder(self, path: Path) -> None:
        self._meet("make_folder", path)
        self.disk.make_folder(path)

    def remove_folder(self, path: Path) -> None:
        self._meet("remove_folder", path)
        self.disk.remove_folder(path)

    def create(self, path: Path) -> int:
        self._meet("create", path)
        return self.disk.create(path)

    def write(self, fd: int, data: bytes) -> int:
        part = data[: max(1, len(data) // 2)] if self.short_writes else data
        try:
            self._meet("write")
        except OSError:
            if self.short_writes:
                self.disk.write(fd, part)
            raise
        return self.disk.write(fd, part)

    def sync(self, fd: int) -> None:
        self._meet("sync")
        self.disk.sync(fd)

    def close(self, fd: int) -> None:
        self._meet("close")
        self.disk.close(fd)

    def replace(self, source: Path, target: Path) -> None:
        self._meet("replace", target)
        self.disk.replace(source, target)

    def remove(self, path: Path) -> None:
        self._meet("remove", path)
        self.disk.remove(path)

    def sync_folder(self, path: Path) -> None:
        self._meet("sync_folder", path)
        self.disk.sync_folder(path)

    def names(self, path: Path) -> list[str]:
        self._meet("names", path)
        return self.disk.names(path)

    def read(self, path: Path, at_most: int = -1) -> bytes:
        self._meet("read", path)
        return self.disk.read(path, at_most)

    def is_folder(self, path: Path) -> bool:
        return self.disk.is_folder(path)

    def exists(self, path: Path) -> bool:
        return self.disk.exists(path)


def _least(data: bytes | None, durable: int) -> bytes | None:
    return None if data is None else data[:durable]


def _error(number: int, path: Path | None) -> OSError:
    return OSError(number, os.strerror(number), None if path is None else str(path))


def as_shown(state: ExecutionState) -> ExecutionState:
    """A state as its views show it: without fingerprints, keys and last completions, which are the journal's."""
    hidden: dict[str, Any] = {
        "planned": "",
        "full": None,
        "late": None,
        "key": None,
        "fresh": False,
        "completion": None,
    }
    return replace(state, steps={id: replace(step, **hidden) for id, step in state.steps.items()})
