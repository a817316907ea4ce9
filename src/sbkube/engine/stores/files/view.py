"""`latest.json`: the state as JSON for `cat`, `jq` and other tools; generated from what is durable.

Rewritten by a thread of its own, from the rendered bytes of each step, of which only the changed ones are
made anew; the next rewrite waits at least 20 times as long as the last one took, so the cost of all of them
stays a small part of the run however many steps it has.
"""

from __future__ import annotations

import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic_core import from_json, to_json

from ...state import FORMAT, ExecutionState, RunStatus, StepExecution, StepStatus
from .disk import Disk, write_atomically

_SUM = len(b',"sum":"00000000"}\n')
_AT_MOST_EVERY = 0.1
_SHARE = 20


class View:
    """The rendered state of one run; not shared between threads without `_ViewThread`'s lock."""

    def __init__(self, state: ExecutionState, holder: Mapping[str, Any]) -> None:
        self._state = state
        self._holder = holder
        self._steps = {id: to_json(step) for id, step in state.steps.items()}
        self._status = {id: step.status for id, step in state.steps.items()}
        self.journal = state.journal
        self.seq = state.seq

    def update(self, changed: Iterable[StepExecution]) -> None:
        for step in changed:
            self._steps[step.name] = to_json(step)
            self._status[step.name] = step.status

    def render(self, status: RunStatus, completed_at: str | None) -> bytes:
        state = self._state
        counts = Counter(self._status.values())
        head = {
            "run_id": state.run_id,
            "profile": state.profile,
            "namespace": state.namespace,
            "started_at": state.started_at,
            "completed_at": completed_at,
            "status": status,
        }
        tail = {
            "config_hash": state.config_hash,
            "metadata": state.metadata,
            "run": state.run,
            "plan_hash": state.plan_hash,
            "resumed_from": state.resumed_from,
            "format": FORMAT,
            "journal": self.journal,
            "seq": self.seq,
            "holder": self._holder if status is RunStatus.IN_PROGRESS else None,
            "counts": {one.value: counts[one] for one in StepStatus if counts[one]},
            "next": self._next(),
        }
        steps = b",\n".join(b"%b:%b" % (to_json(id), step) for id, step in self._steps.items())
        body = b'%b,"steps":{\n%b\n},%b' % (to_json(head)[:-1], steps, to_json(tail)[1:-1])
        return b'%b,"sum":"%08x"}\n' % (body, zlib.crc32(body))

    def _next(self) -> str | None:
        done = (StepStatus.COMPLETED, StepStatus.SKIPPED)
        return next((id for id, status in self._status.items() if status not in done), None)


@dataclass(frozen=True, slots=True)
class Witness:
    """A view that is as we wrote it: what it shows was durable."""

    journal: int
    seq: int


def is_ours(data: bytes) -> bool:
    """Whether the bytes are a view that nobody edited."""
    if data[-_SUM : -_SUM + 8] != b',"sum":"':
        return False
    return data[-_SUM + 8 :] == b'%08x"}\n' % zlib.crc32(data[:-_SUM])


def read_witness(disk: Disk, path: Path) -> Witness | None:
    try:
        data = disk.read(path)
    except OSError:
        return None
    if not is_ours(data):
        return None
    view = from_json(data)
    return Witness(view["journal"], view["seq"])


@dataclass(slots=True)
class _Pending:
    changed: dict[str, StepExecution] = field(default_factory=dict)
    journal: int = 0
    seq: int = -1


class ViewWriter:
    """Keeps `latest.json` up to date, and watches that the journal's disk answers."""

    def __init__(self, disk: Disk, path: Path, view: View, watch: Callable[[], None]) -> None:
        self._disk = disk
        self._path = path
        self._view = view
        self._watch = watch
        self._pending = _Pending()
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._work, name="sbkube view", daemon=True)
        self.failure: OSError | None = None

    def start(self) -> None:
        self._thread.start()

    def changed(self, step: StepExecution, journal: int, seq: int) -> None:
        """Called with what is durable, in order."""
        with self._lock:
            pending = self._pending
            pending.changed[step.name] = step
            pending.journal, pending.seq = journal, seq
        if not self._wake.is_set():
            self._wake.set()

    def wake(self) -> None:
        """Writes the view as it is."""
        self._wake.set()

    def stop(self) -> bool:
        """False if the thread hangs in the disk; then nobody else may write the view."""
        self._stopped.set()
        self._wake.set()
        self._thread.join(timeout=5.0)
        return not self._thread.is_alive()

    def last(self, status: RunStatus, at: str | None, journal: int, seq: int, also: Path) -> None:
        """Blocking, after `stop`: the exact view, as the latest one and as that of the run."""
        self._take()
        self._view.journal, self._view.seq = journal, seq
        data = self._view.render(status, at)
        write_atomically(self._disk, also, data, sync_folder=False)
        write_atomically(self._disk, self._path, data)

    def _work(self) -> None:
        while not self._stopped.is_set():
            self._wake.wait(timeout=1.0)
            self._watch()
            if self._wake.is_set() and not self._stopped.is_set():
                self._wake.clear()
                began = time.monotonic()
                self._write()
                self._rest(max(_AT_MOST_EVERY, _SHARE * (time.monotonic() - began)))

    def _rest(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0 and not self._stopped.wait(min(1.0, left)):
            self._watch()

    def _write(self) -> None:
        self._take()
        try:
            write_atomically(
                self._disk, self._path, self._view.render(RunStatus.IN_PROGRESS, None), sync_folder=False
            )
            self.failure = None
        except OSError as error:
            # The journal decides whether state is saved; a view that is behind is only behind.
            self.failure = error

    def _take(self) -> None:
        with self._lock:
            pending, self._pending = self._pending, _Pending()
        if pending.changed:
            self._view.update(pending.changed.values())
            self._view.journal, self._view.seq = pending.journal, pending.seq
