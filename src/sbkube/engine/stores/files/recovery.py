"""Reading state back: a pure function of the files. Nothing is truncated, repaired or deleted.

Order matters on both sides. Who takes over: claim the next number, then read, then write the head. Who is
taken over: append, sync, look for a newer number, and only then acknowledge. So whatever was acknowledged
was there when the new process read; all interleavings hold with no lock at all (`tests/faults/test_fence.py`).
"""

from __future__ import annotations

import gc
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ...errors import IllegalMove, StateCorrupt, StateTooNew
from ...fingerprints import Json
from ...state import FORMAT, ExecutionState, RunStatus, StepExecution, apply_change, run_status, settled
from .disk import Disk
from .folder import JournalFolder
from .journal import read_lines, whole
from .lock import Holder
from .view import read_witness


@dataclass(frozen=True, slots=True)
class Witnesses:
    """Views show only what was durable: a journal that ends before one of them has lost records."""

    disk: Disk
    runs: Path

    def seq(self, journal: int, run: int) -> int:
        """How far the journal was durable, as far as a view that nobody edited tells; else -1."""
        views = (self.runs / "latest.json", self.runs / f"{run:06}.json")
        told = (read_witness(self.disk, view) for view in views)
        return max((one.seq for one in told if one is not None and one.journal == journal), default=-1)


@dataclass(frozen=True, slots=True)
class Recovered:
    """One journal as it can be read; `state` is not settled."""

    state: ExecutionState
    ended: bool
    holder: Holder
    size: int

    def settled(self) -> ExecutionState:
        """As it stands if its process is gone."""
        steps = {id: settled(step) for id, step in self.state.steps.items()}
        return replace(
            self.state, steps=steps, status=run_status(steps.values(), alive=False, ended=self.ended)
        )

    def as_it_stands(self) -> ExecutionState:
        return self.state if not self.ended and self.holder.is_alive else self.settled()


def recover(disk: Disk, folder: JournalFolder, runs: Path, profile: str | None) -> Recovered | None:
    """The newest journal of a profile that was born: one whose head is whole."""
    return next((found for found in born(disk, folder, runs) if found.state.profile == profile), None)


def born(disk: Disk, folder: JournalFolder, runs: Path) -> Iterator[Recovered]:
    """Newest first."""
    for number in folder.numbers(disk):
        found = read_numbered(disk, folder, runs, number)
        if found is not None:
            yield found


def read_numbered(disk: Disk, folder: JournalFolder, runs: Path, number: int) -> Recovered | None:
    try:
        data = disk.read(folder.path(number))
    except FileNotFoundError:
        return None
    return read_journal(data, folder.path(number), number, Witnesses(disk, runs))


def read_journal(
    data: bytes, file: Path, number: int, witnesses: Witnesses | None = None
) -> Recovered | None:
    """None if the journal was never born; then nothing depended on it."""
    with _nothing_collected():
        return _read_journal(data, file, number, witnesses)


@contextmanager
def _nothing_collected() -> Iterator[None]:
    """All that is read stays, so looking for garbage between a million new objects only costs."""
    is_collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if is_collecting:
            gc.enable()


def _read_journal(data: bytes, file: Path, number: int, witnesses: Witnesses | None) -> Recovered | None:
    head = head_of(data, file)
    try:
        witnessed = -1 if witnesses is None or head is None else witnesses.seq(number, head["run"])
        contents = read_lines(data, file, witnessed=witnessed)
        if head is None or contents.head is None:
            return None
        return _folded(head, contents.records, file, number, len(data))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise StateCorrupt(file, 0, 0, f"the head cannot be understood ({error!r})") from error


def head_of(data: bytes, file: Path) -> dict[str, Any] | None:
    """The head if it is whole; raises `StateTooNew` before anything else of the file is judged."""
    head = whole(data[: data.find(b"\n") + 1])
    if head is None or head["t"] != "head":
        return None
    format = head.get("format")
    if type(format) is not int:
        raise StateCorrupt(file, 0, 0, f"the head has no format but {format!r}")
    if format > FORMAT:
        raise StateTooNew(file, format, str(head.get("writer", "an unknown version")))
    return head


def _folded(
    head: Mapping[str, Any], records: list[dict[str, Any]], file: Path, number: int, size: int
) -> Recovered:
    steps = {id: StepExecution.from_record(id, record) for id, record in head["steps"].items()}
    ended_at = head.get("ended_at")
    for seq, record in enumerate(records[1:], start=1):
        if record["t"] == "step":
            _fold(steps, record, head["run"], file, seq)
        elif record["t"] == "end":
            ended_at = record["at"]
    state = _state(head, steps, ended_at, number, len(records) - 1)
    return Recovered(state, ended_at is not None, Holder.from_record(head["holder"]), size)


def _fold(steps: dict[str, StepExecution], record: Mapping[str, Any], run: int, file: Path, seq: int) -> None:
    try:
        name = record["s"]
        steps[name] = apply_change(steps[name], record, record["at"], run)
    except (IllegalMove, KeyError, TypeError, ValueError, AssertionError) as error:
        raise StateCorrupt(file, seq, 0, f"it does not follow from what came before ({error})") from None


def _state(
    head: Mapping[str, Json], steps: dict[str, StepExecution], ended_at: str | None, number: int, seq: int
) -> ExecutionState:
    return ExecutionState(
        run_id=head["run_id"],
        profile=head["profile"],
        namespace=head["namespace"],
        started_at=head["started_at"],
        completed_at=ended_at,
        status=RunStatus.IN_PROGRESS,
        steps=steps,
        config_hash=head["config_hash"],
        metadata=head["metadata"],
        run=head["run"],
        journal=number,
        seq=seq,
        plan_hash=head["plan"],
        resumed_from=head["resumed_from"],
    )
