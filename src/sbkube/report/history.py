"""Runs and steps as rows, for whoever shows them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from sbkube.engine import ExecutionState, StepExecution, StepStatus


@dataclass(frozen=True, slots=True)
class RunRow:
    """One run of a list of runs, by the names that its view has; None is what an older version did not record."""

    run: int | None
    run_id: str
    journal: int | None
    profile: str | None
    status: str
    started_at: str
    completed_at: str | None
    seconds: float | None
    counts: Mapping[str, int]
    resumed_from: int | None

    @classmethod
    def of(cls, state: ExecutionState) -> RunRow:
        return cls(
            run=state.run or None,
            run_id=state.run_id,
            journal=state.journal or None,
            profile=state.profile,
            status=state.status.value,
            started_at=state.started_at,
            completed_at=state.completed_at,
            seconds=seconds_between(state.started_at, state.completed_at),
            counts=state.counts,
            resumed_from=state.resumed_from,
        )

    @property
    def name(self) -> str:
        """For people: its number; its id where an older version gave none."""
        return self.run_id if self.run is None else str(self.run)

    @property
    def counted(self) -> str:
        return ", ".join(f"{count} {status}" for status, count in self.counts.items())


def seconds_between(start: str | None, end: str | None) -> float | None:
    """By the wall clock, so for display only; None if either is unknown."""
    try:
        began, ended = datetime.fromisoformat(start or ""), datetime.fromisoformat(end or "")
        return max(0.0, (ended - began).total_seconds())
    except (ValueError, TypeError):
        return None


def by_app(steps: Iterable[StepExecution]) -> dict[str, dict[str, StepExecution]]:
    """Steps named `app:stage`, by app in the order of their first step."""
    apps: dict[str, dict[str, StepExecution]] = {}
    for step in steps:
        app, _, stage = step.name.rpartition(":")
        apps.setdefault(app or step.name, {})[stage] = step
    return apps


def in_a_word(step: StepExecution) -> str:
    if step.status is StepStatus.COMPLETED:
        return "kept" if step.metadata.get("reused_from") else "done"
    return step.status.value.replace("_", " ")
