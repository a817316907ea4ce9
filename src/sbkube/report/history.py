"""Runs and steps as rows, for whoever shows them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from sbkube.engine import ExecutionState, StepExecution, StepStatus


@dataclass(frozen=True, slots=True)
class RunRow:
    """One run of a list of runs."""

    run: str
    """Its number; its id where an older version gave none."""
    profile: str
    status: str
    started_at: str
    seconds: float | None
    counts: str
    resumed_from: str

    @classmethod
    def of(cls, state: ExecutionState) -> RunRow:
        return cls(
            str(state.run) if state.run else state.run_id,
            state.profile or "",
            state.status.value,
            state.started_at,
            seconds_between(state.started_at, state.completed_at),
            ", ".join(f"{count} {status}" for status, count in state.counts.items()),
            str(state.resumed_from) if state.resumed_from else "",
        )


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
