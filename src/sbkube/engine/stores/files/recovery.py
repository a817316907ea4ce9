"""Reading state back: a pure function of the files. Nothing is truncated, repaired or deleted.

Order matters on both sides. Who takes over: claim the next number, then read, then write the head. Who is
taken over: append, sync, look for a newer number, and only then acknowledge. So whatever was acknowledged
was there when the new process read; all interleavings hold with no lock at all (`tests/faults/test_fence.py`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import IllegalMove, StateCorrupt, StateTooNew
from ...fingerprints import Json
from ...state import FORMAT, ExecutionState, RunStatus, StepExecution, apply_change, run_status, settled
from .disk import Disk
from .journal import Encoder, read_lines
from .lock import Holder
from .view import Witness, read_witness

if TYPE_CHECKING:
    from .writer import OpenJournal

_JOURNAL = re.compile(r"(\d{6,})\.jsonl")


@dataclass(frozen=True, slots=True)
class JournalFolder:
    folder: Path

    def path(self, number: int) -> Path:
        return self.folder / f"{number:06}.jsonl"

    def numbers(self, disk: Disk) -> list[int]:
        """Newest first."""
        found = (_JOURNAL.fullmatch(name) for name in disk.names(self.folder))
        return sorted((int(match[1]) for match in found if match), reverse=True)

    def claim(self, disk: Disk, above: int = 0) -> OpenJournal:
        """The next number, exclusively; whoever creates it fences off all lower ones."""
        from .writer import OpenJournal

        number = max(above, *self.numbers(disk), 0) + 1
        while True:
            try:
                fd = disk.create(self.path(number))
            except FileExistsError:
                number += 1
                continue
            disk.sync_folder(self.folder)
            return OpenJournal(number, fd, Encoder())


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


def recover(
    disk: Disk, folder: JournalFolder, latest_view: Path, profile: str | None, *, any_profile: bool = False
) -> Recovered | None:
    """The newest journal of a profile that was born: one whose head is whole."""
    return next(born(disk, folder, latest_view, profile, any_profile=any_profile), None)


def born(
    disk: Disk,
    folder: JournalFolder,
    latest_view: Path,
    profile: str | None = None,
    *,
    any_profile: bool = False,
) -> Iterator[Recovered]:
    """Newest first."""
    witness = read_witness(disk, latest_view)
    for number in folder.numbers(disk):
        try:
            data = disk.read(folder.path(number))
        except FileNotFoundError:
            continue
        found = read_journal(data, folder.path(number), number, witness)
        if found is not None and (any_profile or found.state.profile == profile):
            yield found


def read_journal(data: bytes, file: Path, number: int, witness: Witness | None = None) -> Recovered | None:
    """None if the journal was never born; then nothing depended on it."""
    witnessed = witness.seq if witness is not None and witness.journal == number else -1
    contents = read_lines(data, file, witnessed=witnessed)
    head = contents.head
    if head is None:
        return None
    if head["format"] > FORMAT:
        raise StateTooNew(file, head["format"], head.get("writer", "an unknown version"))
    steps = {id: StepExecution.from_record(id, record) for id, record in head["steps"].items()}
    ended_at = head.get("ended_at")
    for seq, record in enumerate(contents.records[1:], start=1):
        if record["t"] == "step":
            _fold(steps, record, head["run"], file, seq)
        elif record["t"] == "end":
            ended_at = record["at"]
    return Recovered(
        _state(head, steps, ended_at, number, contents.seq),
        ended_at is not None,
        Holder.from_record(head["holder"]),
        len(data),
    )


def _fold(steps: dict[str, StepExecution], record: Mapping[str, Any], run: int, file: Path, seq: int) -> None:
    name = record["s"]
    try:
        steps[name] = apply_change(steps[name], record, record["at"], run)
    except (IllegalMove, KeyError, ValueError) as error:
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
