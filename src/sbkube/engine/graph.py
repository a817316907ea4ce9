"""The graph of a run: checked once when built, then never changed."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from types import MappingProxyType

from .errors import CyclicGraph, DuplicateStep, UnknownStep, UnusableStepId
from .fingerprints import Json, Planned, digest, planned_of
from .step import Step


class StepGraph:
    """Steps in an order where each comes after what it waits for, else as declared.

    `needs` and `after` see through disabled steps: who needs one needs what it needs. Raises `DuplicateStep`,
    `UnusableStepId`, `UnknownStep` and `CyclicGraph`; `graph["x"]` raises `UnknownStep`.
    """

    def __init__(self, steps: Iterable[Step]) -> None:
        by_id: dict[str, Step] = {}
        for step in steps:
            if step.id in by_id:
                raise DuplicateStep(step.id)
            _refuse_unusable(step.id)
            by_id[step.id] = step
        _refuse_unknown(by_id)
        order = _ordered(by_id)
        self._steps = {id: by_id[id] for id in order}
        self.needs, self.after = _effective_edges(self._steps)
        """By step, what it waits for: with results, without."""
        behind: dict[str, list[str]] = {id: [] for id in order}
        for id in order:
            for before in (*self.waits_for(id), *_disabled_before(self._steps, id)):
                behind[before].append(id)
        self._behind = behind

    def __iter__(self) -> Iterator[Step]:
        return iter(self._steps.values())

    def __len__(self) -> int:
        return len(self._steps)

    def __contains__(self, id: object) -> bool:
        return id in self._steps

    def __getitem__(self, id: str) -> Step:
        try:
            return self._steps[id]
        except KeyError:
            raise UnknownStep(id) from None

    @property
    def steps(self) -> Mapping[str, Step]:
        """By id, in graph order."""
        return MappingProxyType(self._steps)

    def behind(self, id: str) -> Sequence[str]:
        """What waits for this step, over both kinds of edge; of a disabled one, what would wait for it."""
        return self._behind[id]

    def waits_for(self, id: str) -> Sequence[str]:
        """What it needs, then what it only comes after."""
        needs, after = self.needs[id], self.after[id]
        return (*needs, *after) if after else needs

    def all_behind(self, ids: Iterable[str]) -> set[str]:
        """The steps themselves and everything behind them."""
        return _closure(ids, self._behind)

    def planned(self, config: Json = None) -> dict[str, Planned]:
        """The planned fingerprint of each step. Raises `InputsNotJson`."""
        nothing = planned_of("", None, config)
        return {
            step.id: nothing if step.inputs is None else planned_of(step.id, step.inputs, config)
            for step in self
        }

    def plan_hash(self, fingerprints: Mapping[str, Planned]) -> str:
        """Covers ids, what each waits for, and planned fingerprints; nothing else."""
        steps = [
            [id, _in_order(self.needs[id]), _in_order(self.after[id]), fingerprints[id].fingerprint]
            for id in sorted(self._steps)
        ]
        return digest(steps)


def _in_order(ids: Sequence[str]) -> Sequence[str]:
    return ids if len(ids) < 2 else sorted(ids)


def _refuse_unusable(id: str) -> None:
    try:
        id.encode()
    except UnicodeEncodeError as error:
        raise UnusableStepId(id, str(error)) from None


def _refuse_unknown(by_id: Mapping[str, Step]) -> None:
    for step in by_id.values():
        for before in (*step.needs, *step.after):
            if before not in by_id:
                raise UnknownStep(before, needed_by=step.id)


def _ordered(by_id: Mapping[str, Step]) -> list[str]:
    """Topological, and among the steps that could come next the first declared (Kahn 1962)."""
    place = {id: n for n, id in enumerate(by_id)}
    names = list(by_id)
    before = {id: set(step.needs) | set(step.after) for id, step in by_id.items()}
    behind: dict[str, list[str]] = {id: [] for id in by_id}
    for id, ids in before.items():
        for other in ids:
            behind[other].append(id)
    unmet = {id: len(ids) for id, ids in before.items()}
    ready = [place[id] for id, count in unmet.items() if count == 0]
    order = []
    while ready:
        id = names[heapq.heappop(ready)]
        order.append(id)
        for other in behind[id]:
            unmet[other] -= 1
            if unmet[other] == 0:
                heapq.heappush(ready, place[other])
    if len(order) < len(by_id):
        raise CyclicGraph(_cycle(before))
    return order


def _cycle(before: Mapping[str, set[str]]) -> list[str]:
    try:
        TopologicalSorter(before).prepare()
    except CycleError as error:
        # graphlib walks from what is needed to what needs it; people read it the other way round.
        return list(reversed(error.args[1]))
    raise AssertionError("no cycle")


def _effective_edges(
    steps: Mapping[str, Step],
) -> tuple[dict[str, tuple[str, ...]], dict[str, tuple[str, ...]]]:
    needs: dict[str, tuple[str, ...]] = {}
    after: dict[str, tuple[str, ...]] = {}
    for id, step in steps.items():
        if all(steps[before].enabled for before in (*step.needs, *step.after)):
            needs[id] = tuple(dict.fromkeys(step.needs))
            after[id] = tuple(before for before in dict.fromkeys(step.after) if before not in needs[id])
            continue
        # In graph order, so what a disabled step waits for is enabled already.
        mine, order_only = dict[str, None](), dict[str, None]()
        for before in step.needs:
            if steps[before].enabled:
                mine[before] = None
            else:
                mine |= dict.fromkeys(needs[before])
                order_only |= dict.fromkeys(after[before])
        for before in step.after:
            order_only |= (
                {before: None} if steps[before].enabled else dict.fromkeys((*needs[before], *after[before]))
            )
        needs[id] = tuple(mine)
        after[id] = tuple(before for before in order_only if before not in mine)
    return needs, after


def _disabled_before(steps: Mapping[str, Step], id: str) -> list[str]:
    step = steps[id]
    return [before for before in dict.fromkeys((*step.needs, *step.after)) if not steps[before].enabled]


def _closure(ids: Iterable[str], edges: Mapping[str, Sequence[str]]) -> set[str]:
    found, todo = set[str](), list(ids)
    while todo:
        id = todo.pop()
        if id not in found:
            found.add(id)
            todo += edges[id]
    return found
