"""State that ends with the process: for tests, and for hosts that want the engine without files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Self

from anyio.lowlevel import checkpoint

from ..state import ExecutionState, RunStatus, StepExecution, now, run_status, settled
from .base import Opening, Plan


@dataclass(slots=True)
class _Execution:
    state: ExecutionState
    steps: dict[str, StepExecution]
    plan: Plan
    open: bool = True
    ended: bool = False

    def as_it_stands(self) -> ExecutionState:
        status = run_status(self.steps.values(), alive=self.open, ended=self.ended)
        return replace(self.state, status=status, steps=dict(self.steps))

    def settled(self) -> ExecutionState:
        steps = {id: settled(step) for id, step in self.steps.items()}
        status = run_status(steps.values(), alive=False, ended=self.ended)
        return replace(self.state, status=status, steps=steps)


class MemoryStore:
    """Keeps every run until the object goes."""

    def __init__(self) -> None:
        self._executions: list[_Execution] = []
        self._current: _Execution | None = None
        self._opened: ExecutionState | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close_execution()

    async def latest(self, profile: str | None = None, *, any_profile: bool = False) -> ExecutionState | None:
        found = self._newest(profile, any_profile)
        return None if found is None else found.as_it_stands()

    async def recover(self, profile: str | None) -> ExecutionState | None:
        found = self._newest(profile, False)
        return None if found is None else found.settled()

    def _newest(self, profile: str | None, any_profile: bool) -> _Execution | None:
        for execution in reversed(self._executions):
            if any_profile or execution.state.profile == profile:
                return execution
        return None

    async def history(self, limit: int | None = None) -> list[ExecutionState]:
        newest: dict[int, _Execution] = {}
        for execution in self._executions:
            newest[execution.state.run] = execution
        runs = sorted(newest, reverse=True)[:limit]
        return [newest[run].as_it_stands() for run in runs]

    async def plan(self, run: int) -> Plan | None:
        return next((e.plan for e in reversed(self._executions) if e.state.run == run), None)

    async def open_execution(self, opening: Opening) -> ExecutionState:
        await self.close_execution()
        run = opening.run or max((e.state.run for e in self._executions), default=0) + 1
        state = ExecutionState(
            run_id=opening.run_id,
            profile=opening.profile,
            namespace=opening.namespace,
            started_at=opening.started_at,
            completed_at=None,
            status=RunStatus.IN_PROGRESS,
            steps=opening.steps,
            config_hash=opening.config_hash,
            metadata=opening.metadata,
            run=run,
            journal=len(self._executions) + 1,
            plan_hash=opening.plan.hash,
            resumed_from=opening.resumed_from,
        )
        self._current, self._opened = _Execution(state, dict(opening.steps), opening.plan), state
        self._executions.append(self._current)
        await checkpoint()
        return state

    @property
    def opened(self) -> ExecutionState | None:
        return self._opened

    def append(
        self, step: StepExecution, change: Mapping[str, Any], at: str, on_durable: Callable[[], None] | None
    ) -> None:
        assert self._current is not None, "no execution is open"
        self._current.steps[step.name] = step
        if on_durable is not None:
            on_durable()

    async def flush(self) -> None:
        await checkpoint()

    def on_failure(self, tell: Callable[[], None]) -> None:
        """Memory does not fail."""

    @property
    def failure(self) -> Exception | None:
        return None

    async def close_execution(self) -> ExecutionState | None:
        closing, self._current = self._current, None
        if closing is None:
            return None
        closing.open, closing.ended = False, True
        closing.state = replace(closing.state, completed_at=now())
        await checkpoint()
        return closing.as_it_stands()

    async def remove_runs(self, keep: int) -> list[int]:
        """Deletes all but the newest runs; the newest of each profile and the open one stay too."""
        runs = {e.state.run for e in self._executions}
        newest = {e.state.profile: e.state.run for e in self._executions}
        kept = {*newest.values(), *sorted(runs, reverse=True)[: max(keep, 1)]}
        if self._current is not None:
            kept.add(self._current.state.run)
        self._executions = [e for e in self._executions if e.state.run in kept]
        await checkpoint()
        return sorted(runs - kept)
