"""`latest.json`: the state as JSON for `cat`, `jq` and other tools; generated from what is durable.

Rewritten by a thread of its own, from the rendered bytes of each step, of which only the changed ones are
made anew; the next rewrite waits at least 20 times as long as the last one took, so the cost of all of them
stays a small part of the run however many steps it has.
"""

from __future__ import annotations

import re
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from pydantic_core import to_json

from ...state import FORMAT, ExecutionState, RunStatus, StepExecution, StepStatus
from .disk import Disk, write_atomically

_SUM = len(b',"sum":"00000000"}\n')
_SHOWN = re.compile(rb',"journal":(\d+),"seq":(\d+),')
_AT_MOST_EVERY = 0.1
_SHARE = 20


def shown(step: StepExecution) -> bytes:
    """A step for people and their tools; fingerprints and the last completion are the journal's."""
    fields = {
        "name": step.name,
        "status": step.status.value,
        "started_at": step.started_at,
        "completed_at": step.completed_at,
        "duration": step.duration,
        "error": step.error,
        "output": step.output,
        "metadata": step.metadata,
        "attempt": step.attempt,
        "reason": step.reason,
    }
    if step.error_type is not None:
        fields["error_type"] = step.error_type
    if step.blocked_by is not None:
        fields["blocked_by"] = step.blocked_by
    return to_json(fields)


class View:
    """The rendered state of one run; used by its writer's thread alone."""

    def __init__(self, state: ExecutionState, holder: Mapping[str, Any]) -> None:
        self._state = state
        self._holder = holder
        self._steps = {id: shown(step) for id, step in state.steps.items()}
        self._status = {id: step.status for id, step in state.steps.items()}
        self.journal = state.journal
        self.seq = state.seq

    def update(self, changed: Iterable[StepExecution]) -> None:
        for step in changed:
            self._steps[step.name] = shown(step)
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
    # The last ones are its own: what stands behind them has no such keys. Parsing all of it would be slow.
    shown = _SHOWN.match(data, data.rfind(b',"journal":'))
    return Witness(int(shown[1]), int(shown[2])) if shown else None


@dataclass(slots=True)
class _Pending:
    changed: dict[str, StepExecution] = field(default_factory=dict)
    journal: int = 0
    seq: int = -1


@dataclass(frozen=True, slots=True)
class Ending:
    """What the exact view says at the end, and the file that keeps it for its run."""

    status: RunStatus
    at: str
    journal: int
    seq: int
    also: Path


class ViewWriter:
    """The thread that keeps `latest.json` up to date; nothing else writes it."""

    def __init__(self, disk: Disk, path: Path, view: View) -> None:
        self._disk = disk
        self._path = path
        self._view = view
        self._pending = _Pending()
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._stopped = threading.Event()
        self._ending: Ending | None = None
        self._thread = threading.Thread(target=self._work, name="sbkube view", daemon=True)
        self.failure: OSError | None = None

    def start(self) -> None:
        self._wake.set()
        self._thread.start()

    def changed(self, steps: Mapping[str, StepExecution], journal: int, seq: int) -> None:
        """Called with what is durable, in order."""
        with self._lock:
            pending = self._pending
            pending.changed.update(steps)
            pending.journal, pending.seq = journal, seq
        if not self._wake.is_set():
            self._wake.set()

    def stop(self, ending: Ending | None, wait: float) -> OSError | None:
        """Blocking; writes the exact view if there is an ending, and returns what went wrong with that."""
        self._ending = ending
        self._stopped.set()
        self._wake.set()
        self._thread.join(timeout=wait)
        if self._thread.is_alive():
            return TimeoutError(f"the disk did not answer for {wait:g} s")
        return self.failure

    def _work(self) -> None:
        while not self._stopped.is_set():
            self._wake.wait()
            if not self._stopped.is_set():
                self._wake.clear()
                began = time.monotonic()
                self._try(self._write)
                self._stopped.wait(max(_AT_MOST_EVERY, _SHARE * (time.monotonic() - began)))
        self.failure = None
        if self._ending is not None:
            self._try(partial(self._write_last, self._ending))

    def _try(self, write: Callable[[], None]) -> None:
        try:
            write()
            self.failure = None
        except OSError as error:
            # The journal decides whether state is saved; a view that is behind is only behind.
            self.failure = error

    def _write(self) -> None:
        self._take()
        data = self._view.render(RunStatus.IN_PROGRESS, None)
        write_atomically(self._disk, self._path, data, sync_folder=False)

    def _write_last(self, ending: Ending) -> None:
        self._take()
        self._view.journal, self._view.seq = ending.journal, ending.seq
        data = self._view.render(ending.status, ending.at)
        write_atomically(self._disk, ending.also, data, sync_folder=False)
        write_atomically(self._disk, self._path, data)

    def _take(self) -> None:
        with self._lock:
            pending, self._pending = self._pending, _Pending()
        if pending.changed:
            self._view.update(pending.changed.values())
            self._view.journal, self._view.seq = pending.journal, pending.seq
