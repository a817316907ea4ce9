"""What holds for every graph, every outcome and every moment of death."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint
from hypothesis import given, settings
from hypothesis import strategies as st

from sbkube.engine import (
    Event,
    ExecutionState,
    Limits,
    MemoryStore,
    NeedsNotMet,
    Retry,
    RunStatus,
    Step,
    StepContext,
    StepFinished,
    StepGraph,
    StepStatus,
    run_graph,
)
from sbkube.engine.scheduler import Scheduler

from .helpers import MortalStore, statuses
from .pasts import decided, past, played

thorough = settings(max_examples=60, deadline=None)
on_both = pytest.mark.parametrize("backend", ["asyncio", "trio"])

POOLS = {"x": 1, "y": 2, "z": 3}


@dataclass(frozen=True)
class Node:
    """A step as drawn: what it waits for, what it draws from, what it does."""

    id: str
    needs: tuple[str, ...]
    after: tuple[str, ...]
    pools: tuple[str, ...]
    outcome: str
    gives: int | None


@st.composite
def dags(draw: st.DrawFn, outcomes: tuple[str, ...] = ("completed",), largest: int = 30) -> list[Node]:
    """In an order that has nothing to do with what waits for what."""
    nodes: list[Node] = []
    for n in range(draw(st.integers(1, largest))):
        earlier = st.lists(st.sampled_from([node.id for node in nodes] or [""]), max_size=3, unique=True)
        nodes.append(
            Node(
                id=f"s{n}",
                needs=tuple(filter(None, draw(earlier))),
                after=tuple(filter(None, draw(earlier))),
                pools=tuple(draw(st.lists(st.sampled_from(sorted(POOLS)), max_size=2))),
                outcome=draw(st.sampled_from(outcomes)),
                gives=draw(st.none() | st.integers(0, 2)),
            )
        )
    draw(st.randoms(use_true_random=False)).shuffle(nodes)
    return nodes


def waits_for(node: Node) -> set[str]:
    return {*node.needs, *node.after}


def brute_force(nodes: list[Node]) -> dict[str, str]:
    """How each step must end in a new run that keeps going."""
    by_id, ends = {node.id: node for node in nodes}, dict[str, str]()

    def end(id: str) -> str:
        if id not in ends:
            node = by_id[id]
            met = all(end(before) == "completed" for before in waits_for(node))
            ends[id] = ("failed" if node.outcome == "failed" else "completed") if met else "blocked"
        return ends[id]

    return {node.id: end(node.id) for node in nodes}


class Bodies:
    """Carries out what was drawn, and watches that nothing happens that must not."""

    def __init__(self, nodes: list[Node], dies_at: int = 10**9) -> None:
        self.nodes = {node.id: node for node in nodes}
        self.ran = Counter[str]()
        self.completed: set[str] = set()
        self.taken = Counter[str]()
        self.dies_at = dies_at
        self.dying = anyio.Event()

    def graph(self, inputs: Mapping[str, int] | None = None) -> StepGraph:
        return StepGraph(
            Step(
                node.id,
                self.carry_out,
                needs=node.needs,
                after=node.after,
                pools=node.pools,
                inputs=(inputs or {}).get(node.id),
                retry=Retry(retries=1, base=0),
            )
            for node in self.nodes.values()
        )

    async def carry_out(self, step: StepContext) -> object:
        node = self.nodes[step.id]
        missing = waits_for(node) - self.completed
        assert not missing, f"{step.id} began before {missing} completed"
        self.ran[step.id] += 1
        if sum(self.ran.values()) == self.dies_at:
            self.dying.set()
            await anyio.sleep_forever()
        self.take(node, 1)
        await checkpoint()
        self.take(node, -1)
        if node.outcome == "failed" or (node.outcome == "flaky" and self.ran[step.id] == 1):
            raise ValueError(step.id)
        return node.gives

    def take(self, node: Node, count: int) -> None:
        self.taken["total"] += count
        for pool in set(node.pools):
            self.taken[pool] += count
            assert 0 <= self.taken[pool] <= POOLS[pool]
        assert 0 <= self.taken["total"] <= 5

    def listen(self, event: Event) -> None:
        if isinstance(event, StepFinished) and event.status is StepStatus.COMPLETED:
            self.completed.add(event.step)

    async def run(self, store: MemoryStore, **options: Any) -> ExecutionState:
        limits = Limits(total=5, pools=POOLS)
        graph = options.pop("graph", None) or self.graph()
        return await run_graph(graph, store=store, limits=limits, on_event=self.listen, **options)


@on_both
@thorough
@given(nodes=dags(("completed", "completed", "completed", "failed", "flaky")))
def test_every_step_ends_as_the_definition_says_and_none_runs_more_often_than_it_may(
    backend: str, nodes: list[Node]
) -> None:
    bodies = Bodies(nodes)
    state = anyio.run(partial(bodies.run, MemoryStore()), backend=backend)
    expected = brute_force(nodes)

    assert statuses(state) == expected
    attempts = {"completed": 1, "failed": 2, "flaky": 2}
    assert dict(bodies.ran) == {
        id: attempts[bodies.nodes[id].outcome] for id, status in expected.items() if status != "blocked"
    }
    for step in state.with_status(StepStatus.BLOCKED):
        cause = str(step.blocked_by)
        assert expected[cause] == "failed"
        assert step.name in bodies.graph().all_behind([cause])
    assert not +bodies.taken


async def until_death(bodies: Bodies, store: MortalStore) -> None:
    """One process, killed when its body number `dies_at` runs; or it ends before."""
    async with anyio.create_task_group() as tasks:

        async def process() -> None:
            await bodies.run(store, resume="always")
            bodies.dying.set()

        tasks.start_soon(process)
        await bodies.dying.wait()
        store.die()
        tasks.cancel_scope.cancel()
    store.revive()


@on_both
@thorough
@given(
    nodes=dags(("completed", "completed", "failed")),
    deaths=st.lists(st.integers(1, 20), min_size=1, max_size=3),
)
def test_after_any_failures_and_deaths_a_resume_completes_and_repeats_nothing_that_was_acknowledged(
    backend: str, nodes: list[Node], deaths: list[int]
) -> None:
    async def processes() -> ExecutionState:
        store, acknowledged = MortalStore(), set[str]()
        for dies_at in deaths:
            bodies = Bodies(nodes, dies_at)
            bodies.completed = set(acknowledged)
            await until_death(bodies, store)
            assert not acknowledged & set(bodies.ran)
            acknowledged |= bodies.completed
        mended = Bodies([replace(node, outcome="completed") for node in nodes])
        mended.completed = set(acknowledged)
        state = await mended.run(store, resume="always")
        assert set(mended.ran) == {node.id for node in nodes} - acknowledged
        assert set(mended.ran.values()) <= {1}
        return state

    state = anyio.run(processes, backend=backend)

    assert set(statuses(state).values()) == {"completed"}
    assert state.status is RunStatus.COMPLETED


@on_both
@thorough
@given(nodes=dags(), data=st.data())
def test_a_changed_input_runs_that_step_and_who_uses_an_output_that_changed_and_nobody_else(
    backend: str, nodes: list[Node], data: st.DataObject
) -> None:
    changed = data.draw(st.sets(st.sampled_from([node.id for node in nodes])))
    bodies, store = Bodies(nodes), MemoryStore()
    before = anyio.run(partial(bodies.run, store), backend=backend)
    bodies.ran.clear()
    graph = bodies.graph(dict.fromkeys(changed, 1))
    after = anyio.run(partial(bodies.run, store, graph=graph, resume="always"), backend=backend)

    # What gives a number gives the same again; what gives nothing counts as new each time it runs.
    expected = set[str]()
    for step in graph:
        new_needs = [
            need for need in graph.needs[step.id] if need in expected and bodies.nodes[need].gives is None
        ]
        if step.id in changed or new_needs:
            expected.add(step.id)
    assert set(bodies.ran) == expected
    assert after.status is RunStatus.COMPLETED
    assert after.run == before.run + bool(changed)


@thorough
@given(nodes=dags(), data=st.data())
def test_pools_are_never_exceeded_and_no_order_of_ends_is_a_dead_end(
    nodes: list[Node], data: st.DataObject
) -> None:
    graph = Bodies(nodes).graph()
    scheduler = Scheduler(graph, graph.steps, limits=Limits(total=3, pools=POOLS))
    scheduler.start()
    running, ended = list[Step](), set[str]()
    while not scheduler.is_done:
        while (step := scheduler.next()) is not None:
            assert step.id not in ended
            running.append(step)
            taken = Counter(pool for one in running for pool in set(one.pools))
            assert len(running) <= 3
            assert all(taken[pool] <= size for pool, size in POOLS.items())
        assert running, "nothing runs, nothing may start, and not all is done"
        step = running.pop(data.draw(st.integers(0, len(running) - 1)))
        scheduler.release(step)
        end = data.draw(st.sampled_from(["completed", "failed", "again"]))
        if end == "again":
            scheduler.again(step.id)
            continue
        ended.add(step.id)
        ended.update(id for id, _ in scheduler.failed(step.id)) if end == "failed" else scheduler.completed(
            step.id
        )
    assert ended == set(graph.steps)
    assert not running


ENDS = ("completed", "completed", "completed", "failed", "cancelled", "interrupted", "blocked", "pending")


@st.composite
def pasts(draw: st.DrawFn) -> tuple[StepGraph, ExecutionState]:
    """A graph, and any earlier run of it in which what completed had what it waits for."""
    graph = Bodies(draw(dags(largest=12))).graph()
    ends: dict[str, Any] = {}
    for step in graph:
        met = all(ends[before] == "completed" for before in graph.waits_for(step.id))
        end = draw(st.sampled_from(ENDS if met else ENDS[-2:]))
        ends[step.id] = f"{end} somebody" if end == "blocked" else end
    return graph, past(graph, **ends)


def selections(graph: StepGraph) -> st.SearchStrategy[dict[str, Any]]:
    some = st.sets(st.sampled_from(list(graph.steps)), min_size=1)
    return st.fixed_dictionaries(
        {"with_needs": st.booleans(), "resume": st.sampled_from(["no", "always"])},
        optional={"steps": some, "continue_from": some, "retry_failed": st.booleans()},
    )


@thorough
@given(pasts(), st.data())
def test_who_runs_what_was_decided_and_decides_again_finds_nothing_left(
    found: tuple[StepGraph, ExecutionState], data: st.DataObject
) -> None:
    graph, before = found
    asked = data.draw(selections(graph))
    try:
        decision = decided(graph, before, **asked)
    except NeedsNotMet:
        assert not asked["with_needs"], "what was missing could have been run"
        return
    after = played(graph, before, decision)

    assert not decided(graph, after, steps=decision.asked).to_run


@thorough
@given(pasts())
def test_a_resume_runs_exactly_what_is_not_completed(found: tuple[StepGraph, ExecutionState]) -> None:
    graph, before = found
    expected = [id for id in graph.steps if before.steps[id].status is not StepStatus.COMPLETED]

    assert list(decided(graph, before).to_run) == expected


@thorough
@given(pasts(), st.data())
def test_a_selection_is_the_intersection_of_its_parts(
    found: tuple[StepGraph, ExecutionState], data: st.DataObject
) -> None:
    graph, before = found
    asked = data.draw(selections(graph))
    try:
        decision = decided(graph, before, **{**asked, "with_needs": False})
    except NeedsNotMet:
        return
    expected = set(asked.get("steps", graph.steps))
    if "continue_from" in asked:
        expected &= graph.all_behind(asked["continue_from"])
    if asked.get("retry_failed"):
        kept = {"failed", "cancelled", "interrupted", "blocked"}
        broken = {id for id, step in before.steps.items() if step.status.value in kept}
        todo = list(broken)
        while todo:
            for before_it in graph.waits_for(todo.pop()):
                if before.steps[before_it].status is not StepStatus.COMPLETED and before_it not in broken:
                    broken.add(before_it)
                    todo.append(before_it)
        expected &= broken
    assert decision.asked == expected
    goes_on = asked["resume"] == "always" or "continue_from" in asked or asked.get("retry_failed")
    again = graph.all_behind(asked.get("continue_from", [])) if goes_on else set(graph.steps)
    not_done = {id for id, step in before.steps.items() if step.status is not StepStatus.COMPLETED}
    assert set(decision.to_run) == expected & (again | not_done)


KEPT = {StepStatus.FAILED, StepStatus.CANCELLED, StepStatus.INTERRUPTED, StepStatus.BLOCKED}


@dataclass(frozen=True)
class Edited:
    """What lies between two processes: edits, and steps that were completed before something blocked them."""

    graph: StepGraph
    before: ExecutionState
    holding: frozenset[str]
    """Whose last completion is still right."""


@st.composite
def edited_pasts(draw: st.DrawFn) -> Edited:
    graph, before = draw(pasts())
    some = st.sets(st.sampled_from(list(graph.steps)))
    edits, asking = draw(some), draw(some)
    then = past(graph).steps
    steps = {
        id: replace(then[id], status=step.status, blocked_by="somebody")
        if step.status is StepStatus.BLOCKED and draw(st.booleans())
        else step
        for id, step in before.steps.items()
    }
    now = StepGraph(
        replace(
            step,
            inputs="edited" if step.id in edits else step.inputs,
            on_interrupt="ask" if step.id in asking else "rerun",
        )
        for step in graph
    )
    holding = set[str]()
    for id in now.steps:
        if steps[id].completion and id not in edits and all(need in holding for need in now.needs[id]):
            holding.add(id)
    return Edited(now, replace(before, steps=steps), frozenset(holding))


def needed_by(graph: StepGraph, ids: Collection[str]) -> set[str]:
    direct = {need for id in ids for need in graph.needs[id]}
    return direct | needed_by(graph, direct) if direct else direct


@settings(max_examples=200, deadline=None)
@given(edited_pasts(), st.data())
def test_no_selection_forgets_a_failure_or_an_open_question_of_what_it_does_not_run(
    found: Edited, data: st.DataObject
) -> None:
    graph, before = found.graph, found.before
    some = st.sets(st.sampled_from(list(graph.steps)))
    asked = data.draw(selections(graph))
    if data.draw(st.booleans()):
        # As `--only prepare` does: a part, and what is behind it left for later.
        asked["steps"] = data.draw(some)
        asked["left_pending"] = set(graph.steps) - asked["steps"]
    if data.draw(st.booleans()):
        asked["rerun_interrupted"] = data.draw(some | st.booleans())
    try:
        decision = decided(graph, before, **asked)
    except NeedsNotMet:
        return
    again, told = asked.get("continue_from", ()), asked.get("rerun_interrupted", ())
    answered = set(graph.steps) if told is True else {*again, *(told or ())}
    goes_on = asked["resume"] == "always" or bool(again) or asked.get("retry_failed", False)
    for id, step in before.steps.items():
        if step.status not in KEPT:
            continue
        runs = id in decision.asked
        asks = step.status is StepStatus.INTERRUPTED and graph[id].on_interrupt == "ask"
        is_open = runs and goes_on and asks and id not in answered
        assert (id in decision.undecided) == is_open
        assert (id in decision.to_run) == (runs and not is_open)
        if runs and not goes_on:
            assert decision.steps[id].status is StepStatus.PENDING
        elif not runs and id in found.holding and id in needed_by(graph, decision.asked):
            # Taken over for its result, unless what it was made from is itself run or left.
            assert decision.steps[id].status in (StepStatus.COMPLETED, step.status)
        else:
            assert decision.steps[id].status is step.status


@settings(max_examples=200, deadline=None)
@given(edited_pasts(), st.data())
def test_no_selection_starts_what_still_runs_and_everything_else_is_as_if_it_did_not(
    found: Edited, data: st.DataObject
) -> None:
    graph, before = found.graph, found.before
    some = st.sets(st.sampled_from(list(graph.steps)))
    asked = data.draw(selections(graph))
    asked["left_pending"] = data.draw(some) - set(asked.get("steps", graph.steps))
    asked["rerun_interrupted"] = data.draw(some | st.booleans())
    living = data.draw(some)
    try:
        decision = decided(graph, before, **asked, still_running=living)
        other = decided(graph, before, **asked)
    except NeedsNotMet:
        return
    running = {id for id in living if before.steps[id].status is StepStatus.INTERRUPTED}

    assert decision.still_running == running
    assert set(decision.undecided) == (set(other.undecided) - running) | (running & decision.asked)
    assert list(decision.to_run) == [id for id in other.to_run if id not in running]
    for id, step in decision.steps.items():
        known = before.steps[id]
        if id in running:
            # By these two it is found again, however often this is decided.
            assert (step.status, step.key, step.attempt) == (known.status, known.key, known.attempt)
        else:
            assert step.status is other.steps[id].status


@thorough
@given(pasts(), st.data())
def test_with_needs_is_refused_nothing_that_could_be_run(
    found: tuple[StepGraph, ExecutionState], data: st.DataObject
) -> None:
    graph, before = found
    asked = {**data.draw(selections(graph)), "with_needs": True}
    decision = decided(graph, before, **asked)

    for id in decision.to_run:
        for before_it in graph.waits_for(id):
            assert before_it in decision.to_run or decision.steps[before_it].completion is not None


@thorough
@given(nodes=dags(largest=12), data=st.data())
def test_the_order_of_declaration_changes_neither_the_plan_nor_how_it_ends(
    nodes: list[Node], data: st.DataObject
) -> None:
    other = list(data.draw(st.permutations(nodes)))
    one, two = Bodies(nodes).graph(), Bodies(other).graph()

    assert one.plan_hash(one.planned()) == two.plan_hash(two.planned())
    assert brute_force(nodes) == brute_force(other)
