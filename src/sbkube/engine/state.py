"""What is known of a run: one immutable record per step, and the table of legal moves between statuses."""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from functools import cache
from typing import TYPE_CHECKING, Any

from pydantic_core import to_json

from .errors import IllegalMove, StepsFailed
from .fingerprints import Json
from .frozen import quickly_made

if TYPE_CHECKING:
    from pydantic import TypeAdapter

FORMAT = 1
"""The version of everything written under the state folder."""


class StepStatus(StrEnum):
    """How a step stands; the values are those of the JSON views."""

    PENDING = "pending"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    FAILED = "failed"
    SKIPPED = "skipped"
    """It is disabled."""
    INTERRUPTED = "interrupted"
    """It was in progress when its process died; only recovery says so. What it did is unknown."""
    BLOCKED = "blocked"
    """Something it needs did not complete."""
    CANCELLED = "cancelled"
    """We stopped it."""


class RunStatus(StrEnum):
    """How a run stands: of several that are true, the first."""

    IN_PROGRESS = "in_progress"
    """Its process lives."""
    INTERRUPTED = "interrupted"
    """Its process died."""
    FAILED = "failed"
    CANCELLED = "cancelled"
    UNFINISHED = "unfinished"
    """A step is pending, in doubt, or blocked by one that is."""
    COMPLETED = "completed"


_S = StepStatus
# COMPLETED leaves its status only by a decision made before a run, or by `rerun`: then it is PENDING first.
MOVES: Mapping[StepStatus, frozenset[StepStatus]] = {
    _S.PENDING: frozenset({_S.IN_PROGRESS, _S.BLOCKED, _S.COMPLETED}),
    _S.IN_PROGRESS: frozenset({_S.COMPLETED, _S.FAILED, _S.CANCELLED, _S.PENDING, _S.INTERRUPTED}),
    _S.COMPLETED: frozenset({_S.PENDING}),
    _S.FAILED: frozenset({_S.IN_PROGRESS}),
    _S.CANCELLED: frozenset({_S.IN_PROGRESS}),
    _S.INTERRUPTED: frozenset({_S.IN_PROGRESS}),
    _S.BLOCKED: frozenset({_S.IN_PROGRESS, _S.COMPLETED, _S.BLOCKED}),
    _S.SKIPPED: frozenset(),
}
DONE = frozenset({_S.COMPLETED, _S.SKIPPED})
FAILURES = frozenset({_S.FAILED, _S.CANCELLED, _S.INTERRUPTED})


@quickly_made
@dataclass(frozen=True, slots=True)
class Completion:
    """The last time a step completed: by it a later run knows whether that still holds."""

    run: int
    planned: str
    full: str
    digest: str
    """Of what the step returned; new each time where it returned nothing."""
    late: str | None = None


@quickly_made
@dataclass(frozen=True, slots=True)
class StepExecution:
    """One step of one run.

    Times are RFC 3339 (UTC), for display; `duration` is in seconds, by the monotonic clock. `output` is
    what the step returned when it last completed; it stays, with `completion`, until the step starts again.
    """

    name: str
    status: StepStatus = StepStatus.PENDING
    started_at: str | None = None
    completed_at: str | None = None
    duration: float | None = None
    error: str | None = None
    output: Json = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    error_type: str | None = None
    attempt: int = 0
    reason: str | None = None
    """Why it must run, was not run, or was taken over."""
    blocked_by: str | None = None
    key: str | None = None
    """The idempotency key of its last start."""
    planned: str = ""
    full: str | None = None
    late: str | None = None
    fresh: bool = False
    """Left to run by a command that takes nothing over, so an equal fingerprint does not spare it."""
    completion: Completion | None = None

    @property
    def is_done(self) -> bool:
        """COMPLETED or SKIPPED."""
        return self.status in DONE

    def to_record(self) -> dict[str, Any]:
        """Without the name and whatever has its default."""
        record = {}
        for name, default in _DEFAULTS:
            value = getattr(self, name)
            if value != default:
                record[name] = value
        if self.completion is not None:
            record["completion"] = self._completion_record(self.completion)
        return record

    def _completion_record(self, done: Completion) -> list[Any]:
        """None stands for what the step itself says, which is nearly always the same."""
        return [
            done.run,
            None if done.planned == self.planned and done.planned else done.planned,
            None if done.full == self.full else done.full,
            None if done.digest == self.key else done.digest,
            done.late,
        ]

    @classmethod
    def from_record(cls, name: str, record: Mapping[str, Any]) -> StepExecution:
        values = {key: record[key] for key in record if key in _FIELD_NAMES}
        if "status" in values:
            values["status"] = StepStatus(values["status"])
        if "completion" in values:
            values["completion"] = _completion(values)
        return cls(name, **values)


def _completion(values: Mapping[str, Any]) -> Completion:
    run, planned, full, digest, late = values["completion"]
    own = (values["planned"] if planned is None else planned, values["full"] if full is None else full)
    return Completion(run, *own, values["key"] if digest is None else digest, late)


_DEFAULTS = [
    (f.name, {} if f.name == "metadata" else f.default)
    for f in fields(StepExecution)
    if f.name not in ("name", "completion")
]
_FIELD_NAMES = frozenset(name for name, _ in _DEFAULTS) | {"completion"}


@dataclass(frozen=True, slots=True)
class ExecutionState:
    """One run: which it is, how it stands, and each of its steps in graph order."""

    run_id: str
    """A UUID; for people and other tools. `run` is the number that orders runs."""
    profile: str | None
    namespace: str | None
    started_at: str
    completed_at: str | None
    status: RunStatus
    steps: Mapping[str, StepExecution]
    config_hash: str
    metadata: Mapping[str, Any] = field(default_factory=dict)
    run: int = 0
    journal: int = 0
    seq: int = 0
    plan_hash: str = ""
    resumed_from: int | None = None

    @property
    def counts(self) -> dict[str, int]:
        """How many steps have each status that occurs."""
        found = Counter(step.status for step in self.steps.values())
        return {status.value: found[status] for status in StepStatus if found[status]}

    @property
    def is_complete(self) -> bool:
        return self.status is RunStatus.COMPLETED

    def with_status(self, *statuses: StepStatus) -> list[StepExecution]:
        """In graph order."""
        return [step for step in self.steps.values() if step.status in statuses]

    def raise_for_failures(self) -> None:
        """Raises `StepsFailed` naming each step that failed, was cancelled or is in doubt."""
        causes = {step.name: step.error for step in self.with_status(*FAILURES)}
        if causes:
            raise StepsFailed(causes)

    def to_json(self) -> bytes:
        """UTF-8; `from_json` reads it back."""
        return to_json(self)

    @classmethod
    def from_json(cls, text: bytes | str) -> ExecutionState:
        """Raises pydantic's `ValidationError` for what is no such state. The first call loads pydantic."""
        return _adapter().validate_json(text)


@cache
def _adapter() -> TypeAdapter[ExecutionState]:
    # Here and not above: pydantic costs 90 ms to import, and only who reads a view needs it.
    from pydantic import TypeAdapter

    return TypeAdapter(ExecutionState)


_second = (0, "")


def now() -> str:
    """RFC 3339, UTC, milliseconds; the wall clock is for display only."""
    global _second
    wall = time.time()
    whole = int(wall)
    if whole != _second[0]:
        _second = (whole, time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole)))
    return f"{_second[1]}.{int((wall - whole) * 1000):03d}Z"


def check_move(step: str, before: StepStatus, after: StepStatus) -> None:
    if after not in MOVES[before]:
        raise IllegalMove(step, before.value, after.value)


def apply_change(step: StepExecution, change: Mapping[str, Any], at: str, run: int) -> StepExecution:
    """The step after a change; the one way a status moves, live and when a journal is read.

    `change` has `to` and what belongs to that status; raises `IllegalMove`.
    """
    after = _BY_VALUE.get(change["to"]) or StepStatus(change["to"])
    check_move(step.name, step.status, after)
    return _APPLY[after](step, change, at, run)


def _start(step: StepExecution, change: Mapping[str, Any], at: str, run: int) -> StepExecution:
    return StepExecution(
        step.name,
        StepStatus.IN_PROGRESS,
        started_at=at,
        attempt=change["attempt"],
        key=change["key"],
        planned=step.planned,
        full=change.get("full", step.planned),
        late=change.get("late"),
        reason=step.reason,
    )


def _complete(step: StepExecution, change: Mapping[str, Any], at: str, run: int) -> StepExecution:
    if step.status is not StepStatus.IN_PROGRESS:
        return _take_over(step, change, at)
    full = step.full or step.planned
    return StepExecution(
        step.name,
        StepStatus.COMPLETED,
        started_at=step.started_at,
        completed_at=at,
        duration=change["seconds"],
        output=change.get("output"),
        metadata=change.get("metadata", {}),
        attempt=step.attempt,
        key=step.key,
        planned=step.planned,
        full=full,
        late=step.late,
        reason=step.reason,
        # Without a digest nothing was returned, which counts as a new output each time, as the key is.
        completion=Completion(run, step.planned, full, change.get("digest", step.key), step.late),
    )


def _take_over(step: StepExecution, change: Mapping[str, Any], at: str) -> StepExecution:
    """`full`: made from other outputs, of which the step reads the same."""
    assert step.completion is not None, f"{step.name!r} has no completion to take over"
    metadata = {**step.metadata, "reused_from": step.completion.run}
    completion = replace(step.completion, full=change["full"]) if "full" in change else step.completion
    return replace(
        step,
        status=StepStatus.COMPLETED,
        completed_at=at,
        metadata=metadata,
        blocked_by=None,
        fresh=False,
        full=completion.full if "full" in change else step.full,
        completion=completion,
    )


def _end(step: StepExecution, change: Mapping[str, Any], at: str, run: int) -> StepExecution:
    return replace(
        step,
        status=StepStatus(change["to"]),
        completed_at=at,
        duration=change.get("seconds"),
        error=change.get("error"),
        error_type=change.get("error_type"),
        metadata=change.get("metadata", {}),
    )


def _back_to_pending(step: StepExecution, change: Mapping[str, Any], at: str, run: int) -> StepExecution:
    if step.status is StepStatus.COMPLETED:
        return replace(step, status=StepStatus.PENDING, key=None, reason=change.get("reason"))
    return replace(_end(step, change, at, run), reason=change.get("reason"))


def _block(step: StepExecution, change: Mapping[str, Any], at: str, run: int) -> StepExecution:
    return replace(step, status=StepStatus.BLOCKED, blocked_by=change["by"])


_APPLY = {
    StepStatus.IN_PROGRESS: _start,
    StepStatus.COMPLETED: _complete,
    StepStatus.FAILED: _end,
    StepStatus.CANCELLED: _end,
    StepStatus.INTERRUPTED: _end,
    StepStatus.PENDING: _back_to_pending,
    StepStatus.BLOCKED: _block,
}


_BY_VALUE = {status.value: status for status in StepStatus}


def settled(step: StepExecution) -> StepExecution:
    """What recovery makes of a step whose process is gone."""
    if step.status is not StepStatus.IN_PROGRESS:
        return step
    return replace(step, status=StepStatus.INTERRUPTED, error="the process ended while it ran")


def run_status(steps: Iterable[StepExecution], *, alive: bool, ended: bool) -> RunStatus:
    """A run whose process died is interrupted, unless nothing was left to do."""
    found = {step.status for step in steps}
    if alive and not ended:
        return RunStatus.IN_PROGRESS
    if found <= DONE:
        return RunStatus.COMPLETED
    if not ended:
        return RunStatus.INTERRUPTED
    if StepStatus.FAILED in found:
        return RunStatus.FAILED
    if StepStatus.CANCELLED in found:
        return RunStatus.CANCELLED
    # Blocked by nothing that failed here: by a step that waits for a decision.
    return RunStatus.UNFINISHED


def first_key(run_id: str, step: str, attempt: int) -> str:
    """The idempotency key of a step that starts afresh."""
    return hashlib.sha256(f"{run_id}/{step}/{attempt}".encode()).hexdigest()[:32]
