"""What the tracker asks of a store. Both stores pass one contract suite."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from ..fingerprints import Json, Planned
from ..graph import StepGraph
from ..state import ExecutionState, StepExecution


@dataclass(frozen=True, slots=True)
class PlannedStep:
    needs: tuple[str, ...]
    after: tuple[str, ...]
    fingerprint: str
    components: Mapping[str, str]
    """Digests, by the name under which a change is told."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The graph of a run and what each step was planned from; written once, never changed."""

    hash: str
    steps: Mapping[str, PlannedStep]

    @classmethod
    def of(cls, graph: StepGraph, fingerprints: Mapping[str, Planned], hash: str) -> Plan:
        return cls(
            hash,
            {
                id: PlannedStep(
                    tuple(graph.needs[id]),
                    tuple(graph.after[id]),
                    fingerprints[id].fingerprint,
                    fingerprints[id].components,
                )
                for id in graph.steps
            },
        )

    def changed(self, step: str, now: Mapping[str, str]) -> list[str]:
        """The components of a step that differ now."""
        then = self.steps[step].components if step in self.steps else {}
        return [name for name in dict.fromkeys((*then, *now)) if then.get(name) != now.get(name)]


@dataclass(frozen=True, slots=True)
class Opening:
    """What a process writes before it does anything: the whole state after its decision."""

    run_id: str
    profile: str | None
    namespace: str | None
    started_at: str
    config_hash: str
    plan: Plan
    steps: Mapping[str, StepExecution]
    run: int | None = None
    """The run it goes on with; None for a new one."""
    resumed_from: int | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    command: Json = None
    """The selection and arguments, for people."""


class StateMoved(Exception):
    """Another process wrote between `recover` and `open_execution`."""


class StateReader(Protocol):
    async def latest(self, profile: str | None = None, *, any_profile: bool = False) -> ExecutionState | None:
        """The newest run of a profile (None is one too), as it stands; no lock is taken."""
        ...

    async def history(self, limit: int | None = None) -> list[ExecutionState]:
        """Newest first."""
        ...

    async def plan(self, run: int) -> Plan | None: ...


class Store(StateReader, Protocol):
    """Carries one execution at a time."""

    async def recover(self, profile: str | None) -> ExecutionState | None:
        """The newest run of the profile, settled: what was in progress is interrupted."""
        ...

    async def open_execution(self, opening: Opening) -> ExecutionState:
        """Durable when it returns; raises `StateMoved` if what `recover` gave is no longer the newest."""
        ...

    @property
    def opened(self) -> ExecutionState | None:
        """What `open_execution` returned last."""
        ...

    def append(
        self, step: StepExecution, change: Mapping[str, Any], at: str, on_durable: Callable[[], None] | None
    ) -> None:
        """Queues a change; `on_durable` is called in the event loop, in the order of appending.

        Once the store has failed nothing is taken any more, and no further `on_durable` is called.
        """
        ...

    async def flush(self) -> None:
        """Returns when all that was appended is durable; raises `StateNotSaved` or `Fenced`."""
        ...

    def on_failure(self, tell: Callable[[], None]) -> None:
        """`tell` is called once in the event loop if the store fails."""
        ...

    @property
    def failure(self) -> Exception | None: ...

    async def close_execution(self) -> ExecutionState | None:
        """Records that the process ended its work and brings the views up to date; None if none is open."""
        ...

    async def remove_runs(self, keep: int) -> list[int]:
        """Deletes all but the newest runs, the newest of each profile and the open one; returns their numbers."""
        ...
