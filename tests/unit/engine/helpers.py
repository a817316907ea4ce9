"""Small graphs, bodies that leave a trace, and a store that dies as a process does."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import anyio
import pytest
from anyio import create_task_group, sleep_forever
from anyio.lowlevel import checkpoint

from sbkube.engine import ExecutionState, MemoryStore, Step, StepContext, StepExecution, StepGraph, run_graph
from sbkube.engine.state import Completion

in_virtual_time = pytest.mark.parametrize("anyio_backend", ["virtual-time"], indirect=True)


async def nothing(step: StepContext) -> None:
    await checkpoint()


class Trace(list[str]):
    """A body for many steps: writes down who ran, fails for those in `broken`, returns what `gives` says."""

    def __init__(self, broken: str = "", gives: Mapping[str, Any] | None = None) -> None:
        super().__init__()
        self.broken = set(broken.split())
        self.gives = dict(gives or {})

    async def __call__(self, step: StepContext) -> Any:
        self.append(step.id)
        await checkpoint()
        if step.id in self.broken:
            raise ValueError(f"{step.id} is broken")
        return self.gives.get(step.id, {"made by": step.id})

    def taken(self) -> list[str]:
        """What ran since the last time this was asked."""
        ran, self[:] = list(self), []
        return ran


def graph_of(body: Any = nothing, /, *, inputs: Mapping[str, Any] | None = None, **waits: str) -> StepGraph:
    """`graph_of(a="", b="a", c="a ~b")`: b needs a; c needs a and comes after b."""
    return StepGraph(_step(id, body, words.split(), (inputs or {}).get(id)) for id, words in waits.items())


def _step(id: str, body: Any, words: list[str], inputs: Any) -> Step:
    needs = [word for word in words if not word.startswith("~")]
    after = [word[1:] for word in words if word.startswith("~")]
    return Step(id, body, needs=needs, after=after, inputs=inputs)


def statuses(state: ExecutionState) -> dict[str, str]:
    return {name: step.status.value for name, step in state.steps.items()}


class MortalStore(MemoryStore):
    """Memory that outlives its process: after `die` nothing is taken or acknowledged, until `revive`."""

    def __init__(self) -> None:
        super().__init__()
        self.is_dead = False

    def die(self) -> None:
        self.is_dead = True

    def revive(self) -> None:
        """What the next process finds: whoever wrote is gone, and did not say goodbye."""
        self.is_dead = False
        if self._current is not None:
            self._current.open = False
            self._current = None

    def append(
        self,
        step: StepExecution,
        change: Mapping[str, Any],
        at: str,
        on_durable: Callable[[], None] | None,
    ) -> None:
        if not self.is_dead:
            super().append(step, change, at, on_durable)

    async def close_execution(self) -> ExecutionState | None:
        return None if self.is_dead else await super().close_execution()


class FailingStore(MemoryStore):
    """Memory whose disk gives up: from then on nothing is taken, and who waits is told."""

    def __init__(self) -> None:
        super().__init__()
        self._failure: Exception | None = None
        self._tell: list[Callable[[], None]] = []

    def fail(self, error: Exception) -> None:
        self._failure = error
        for tell in self._tell:
            tell()

    def append(
        self,
        step: StepExecution,
        change: Mapping[str, Any],
        at: str,
        on_durable: Callable[[], None] | None,
    ) -> None:
        if self._failure is None:
            super().append(step, change, at, on_durable)

    async def flush(self) -> None:
        await super().flush()
        if self._failure is not None:
            raise self._failure

    def on_failure(self, tell: Callable[[], None]) -> None:
        self._tell.append(tell)

    @property
    def failure(self) -> Exception | None:
        return self._failure


def completion(run: int = 1, planned: str = "", full: str | None = None, digest: str = "") -> Completion:
    return Completion(run, planned, planned if full is None else full, digest)


async def run_once(*steps: Step, **options: Any) -> ExecutionState:
    return await run_graph(StepGraph(steps), **{"store": MemoryStore(), **options})


async def hang(step: StepContext) -> None:
    await sleep_forever()


class Hanging:
    """A body that says when it hangs."""

    def __init__(self) -> None:
        self.started = anyio.Event()

    async def __call__(self, step: StepContext) -> None:
        self.started.set()
        await sleep_forever()


class Dying:
    """Runs a graph until its process dies: nothing that happens after `die` is ever recorded."""

    def __init__(self) -> None:
        self.store = MortalStore()

    async def until_killed(self, graph: StepGraph, at: Hanging) -> None:
        async with create_task_group() as tasks:
            tasks.start_soon(partial(run_graph, graph, store=self.store))
            await at.started.wait()
            self.store.die()
            tasks.cancel_scope.cancel()
        self.store.revive()
