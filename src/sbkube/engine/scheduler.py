"""Which steps may start, and what a failure means for the rest.

No clock, no tasks, no I/O. Each report returns its consequence, so every ordering question can be
tested without an event loop.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto

from .errors import UnknownPool
from .graph import StepGraph
from .step import Step


class FailurePolicy(Enum):
    """What a failed step means for those that do not wait for it."""

    KEEP_GOING = auto()
    """Independent branches go on."""
    FAIL_FAST = auto()
    """Nothing more starts; what runs may finish."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How many steps run at once: together (None: no limit), and of each named pool. Raises ValueError below 1."""

    total: int | None = 32
    pools: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.total is not None and self.total < 1:
            raise ValueError(f"the limit 'total' is at least 1, got {self.total}")
        for name, limit in self.pools.items():
            if not isinstance(limit, int) or limit < 1:
                raise ValueError(f"the limit {name!r} is at least 1, got {limit}")


def longest_remaining_path(
    graph: StepGraph, ids: Collection[str], weight: Callable[[Step], float]
) -> dict[str, float]:
    """For each step, the weight of the heaviest chain that starts with it."""
    path: dict[str, float] = {}
    for step in reversed(list(graph)):
        if step.id in ids:
            path[step.id] = weight(step) + max(
                (path[b] for b in graph.behind(step.id) if b in ids), default=0.0
            )
    return path


def own_weight(step: Step) -> float:
    return step.weight


Pools = tuple[str, ...]
Ready = tuple[float, int, str]
"""Its place in the order, and the step."""


def pools_of(step: Step) -> Pools:
    return tuple(dict.fromkeys(step.pools)) if step.pools else ()


class Scheduler:
    """Hands out the steps of one process, longest remaining path first, then as declared.

    A step takes one of the total and one of each pool it names, all in one turn, until `release`.
    """

    def __init__(
        self,
        graph: StepGraph,
        to_run: Collection[str],
        *,
        limits: Limits,
        held_back: Collection[str] = (),
        weight: Callable[[Step], float] = own_weight,
    ) -> None:
        """`held_back` are asked for and will not run, so what waits for them is blocked."""
        refuse_unknown_pools(graph, limits)
        self._graph = graph
        self._waiting = {id: None for id in graph.steps if id in to_run}
        self._held_back = frozenset(held_back)
        self._free_total = limits.total
        self._free = dict(limits.pools)
        self._unmet = {
            id: sum(1 for b in graph.waits_for(id) if b in self._waiting or b in self._held_back)
            for id in self._waiting
        }
        path = longest_remaining_path(graph, self._waiting, weight)
        self._rank = {id: (-path[id], n) for n, id in enumerate(self._waiting)}
        self._ready: dict[Pools, list[Ready]] = {}
        self._left = len(self._waiting)
        self._stopped = False

    def start(self) -> list[tuple[str, str]]:
        """To be called once: makes ready what waits for nothing; returns what is blocked, and by what."""
        for id in [id for id, unmet in self._unmet.items() if unmet == 0]:
            self._make_ready(id)
        return [
            blocked for id in self._graph.steps if id in self._held_back for blocked in self._block_behind(id)
        ]

    @property
    def is_done(self) -> bool:
        """Every step has ended or was blocked."""
        return self._left == 0

    def next(self) -> Step | None:
        """Takes the step that should start now, and its slots; None if none may."""
        if self._stopped or self._free_total == 0:
            return None
        best: Pools | None = None
        for pools, ready in self._ready.items():
            if (
                ready
                and all(self._free[pool] for pool in pools)
                and (best is None or ready[0] < self._ready[best][0])
            ):
                best = pools
        if best is None:
            return None
        id = heapq.heappop(self._ready[best])[2]
        if self._free_total is not None:
            self._free_total -= 1
        for pool in best:
            self._free[pool] -= 1
        return self._graph[id]

    def release(self, step: Step) -> None:
        """Gives the slots of a step back."""
        if self._free_total is not None:
            self._free_total += 1
        for pool in pools_of(step):
            self._free[pool] += 1

    def completed(self, id: str) -> int:
        """Makes ready what waited only for this step; returns how many steps that are."""
        self._left -= 1
        freed = 0
        for behind in self._graph.behind(id):
            if behind in self._waiting:
                self._unmet[behind] -= 1
                if self._unmet[behind] == 0:
                    self._make_ready(behind)
                    freed += 1
        return freed

    def failed(self, id: str) -> list[tuple[str, str]]:
        """The steps that can no longer run, each with the cause; nearest first."""
        self._left -= 1
        return self._block_behind(id)

    def again(self, id: str) -> None:
        """A step that failed and waited may start once more."""
        self._make_ready(id)

    def stop(self) -> None:
        """`next` gives nothing from now on."""
        self._stopped = True

    def _make_ready(self, id: str) -> None:
        self._waiting.pop(id, None)
        pools = pools_of(self._graph[id])
        heapq.heappush(self._ready.setdefault(pools, []), (*self._rank[id], id))

    def _block_behind(self, cause: str) -> list[tuple[str, str]]:
        blocked, todo = [], list(self._graph.behind(cause))
        while todo:
            behind, todo = todo, []
            for id in behind:
                if id in self._waiting:
                    del self._waiting[id]
                    self._left -= 1
                    blocked.append((id, cause))
                    todo += self._graph.behind(id)
        return blocked


def refuse_unknown_pools(graph: StepGraph, limits: Limits) -> None:
    for step in graph:
        for pool in step.pools:
            if pool not in limits.pools:
                raise UnknownPool(step.id, pool, limits.pools)
