"""Any history of processes, edits and deaths against a model that is a few dicts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

import anyio
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from sbkube.engine import (
    ExecutionTracker,
    NeedsNotMet,
    NothingToResume,
    Selection,
    Step,
    StepAlreadyCompleted,
    StepGraph,
    StepStatus,
)

from .helpers import MortalStore, statuses

NAMES = "abcdefgh"
KEPT = {"failed", "cancelled", "interrupted", "blocked"}

names = st.sampled_from(NAMES)
sets_of_names = st.sets(names, min_size=1, max_size=4)


def run(act: Callable[..., Awaitable[Any]], *args: Any, **options: Any) -> Any:
    return anyio.run(partial(act, *args, **options), backend="trio")


@dataclass
class Declared:
    """A step of the graph, as a person edits it between two processes."""

    needs: set[str]
    after: set[str]
    inputs: int = 0


@dataclass(frozen=True)
class Made:
    """What a completion was made from."""

    inputs: int
    outputs: tuple[tuple[str, object], ...]


@dataclass(frozen=True)
class Done:
    made: Made
    output: object


class Histories(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.store = MortalStore()
        self.tracker: ExecutionTracker | None = None
        self.graph: dict[str, Declared] = {}
        # The model: of the latest run, by step.
        self.has_run = False
        self.status: dict[str, str] = {}
        self.done: dict[str, Done] = {}
        self.fresh: set[str] = set()
        # And of the process that is open.
        self.to_run: list[str] = []
        self.begun: dict[str, Made] = {}
        self.waiting: set[str] = set()
        self.outputs = 0

    # The graph, edited while no process is open

    @initialize(edges=st.lists(st.tuples(names, names, st.booleans()), max_size=14))
    def first_graph(self, edges: list[tuple[str, str, bool]]) -> None:
        self.graph = {name: Declared(set(), set()) for name in NAMES[:6]}
        for one, other, is_need in edges:
            self.connect(one, other, is_need)

    def connect(self, one: str, other: str, is_need: bool) -> None:
        before, behind = sorted((one, other))
        if before != behind and {before, behind} <= self.graph.keys():
            step = self.graph[behind]
            (step.needs if is_need else step.after).add(before)
            step.after -= step.needs

    @precondition(lambda self: self.tracker is None)
    @rule(name=names, inputs=st.integers(0, 1))
    def edit_inputs(self, name: str, inputs: int) -> None:
        if name in self.graph:
            self.graph[name].inputs = inputs

    @precondition(lambda self: self.tracker is None)
    @rule(one=names, other=names, is_need=st.booleans())
    def add_step_or_edge(self, one: str, other: str, is_need: bool) -> None:
        self.graph.setdefault(one, Declared(set(), set()))
        self.graph = dict(sorted(self.graph.items()))
        self.connect(one, other, is_need)

    @precondition(lambda self: self.tracker is None and len(self.graph) > 1)
    @rule(name=names)
    def remove_step(self, name: str) -> None:
        self.graph.pop(name, None)
        for step in self.graph.values():
            step.needs.discard(name)
            step.after.discard(name)

    # The definition

    def waits_for(self, name: str) -> set[str]:
        return self.graph[name].needs | self.graph[name].after

    def behind(self, ids: Iterable[str]) -> set[str]:
        found = set(ids)
        for name in self.graph:
            if self.waits_for(name) & found:
                found.add(name)
        return found

    def made_now(self, name: str) -> Made:
        step = self.graph[name]
        outputs = tuple((need, self.done[need].output) for need in sorted(step.needs) if need in self.done)
        return Made(step.inputs, outputs)

    def holds(self, name: str) -> bool:
        done = self.done.get(name)
        return (
            done is not None
            and all(self.holds(need) for need in self.graph[name].needs)
            and done.made == self.made_now(name)
        )

    def retried(self) -> set[str]:
        found = {name for name in self.graph if self.status.get(name) in KEPT}
        todo = list(found)
        while todo:
            step = self.graph[todo.pop()]
            unmet = {need for need in step.needs if not self.holds(need)}
            unmet |= {before for before in step.after if before not in self.done}
            todo += unmet - found
            found |= unmet
        return found

    def expect(self, goes_on: bool, asked: set[str], again: set[str]) -> tuple[dict[str, str], list[str]]:
        """The status of each step after the decision, and what is run."""
        needed, todo = set[str](), list(asked)
        while todo:
            new = self.graph[todo.pop()].needs - needed
            needed |= new
            todo += new
        status, to_run = dict[str, str](), list[str]()
        for name, step in self.graph.items():
            was = self.status.get(name, "pending")
            unsettled = any(status[need] != "completed" for need in step.needs)
            stands = self.holds(name) and not unsettled
            if name in asked:
                if goes_on and name not in again and was == "completed" and stands:
                    status[name] = was
                else:
                    to_run.append(name)
                    status[name] = was if goes_on and was in KEPT else "pending"
            elif stands and (was == "completed" or name in needed):
                status[name] = "completed"
            else:
                status[name] = was if was in KEPT else "pending"
        return status, to_run

    def is_unmet(self, status: dict[str, str], asked: set[str], to_run: list[str]) -> bool:
        return any(
            any(need not in asked and status[need] != "completed" for need in self.graph[name].needs)
            or any(before not in asked and before not in self.done for before in self.graph[name].after)
            for name in to_run
        )

    # Processes

    @precondition(lambda self: self.tracker is None)
    @rule(resume=st.sampled_from(["no", "unfinished", "always"]))
    def open(self, resume: str) -> None:
        self.open_with(resume, set(self.graph), Selection(), needs_a_run=False)

    @precondition(lambda self: self.tracker is None)
    @rule(resume=st.sampled_from(["no", "always"]), chosen=sets_of_names)
    def open_selection(self, resume: str, chosen: set[str]) -> None:
        chosen &= self.graph.keys()
        self.open_with(resume, chosen, Selection(steps=sorted(chosen)), needs_a_run=False)

    @precondition(lambda self: self.tracker is None)
    @rule()
    def open_to_retry(self) -> None:
        self.open_with("no", self.retried(), Selection(retry_failed=True), needs_a_run=True)

    @precondition(lambda self: self.tracker is None)
    @rule(first=names)
    def open_to_continue_from(self, first: str) -> None:
        if first in self.graph:
            again = self.behind([first])
            self.open_with("no", again, Selection(continue_from=[first]), needs_a_run=True, again=again)

    def open_with(
        self,
        resume: str,
        asked: set[str],
        select: Selection,
        *,
        needs_a_run: bool,
        again: set[str] = frozenset(),  # type: ignore[assignment]
    ) -> None:
        complete = self.has_run and set(self.status.values()) <= {"completed"}
        goes_on = self.has_run and (
            needs_a_run or resume == "always" or (resume == "unfinished" and not complete)
        )
        status, to_run = self.expect(goes_on, asked, again)
        tracker = ExecutionTracker(self.store)
        begin = partial(run, tracker.start_execution, self.as_graph(), resume=resume, select=select)
        if needs_a_run and not self.has_run:
            with pytest.raises(NothingToResume):
                begin()
            return
        if self.is_unmet(status, asked, to_run):
            with pytest.raises(NeedsNotMet):
                begin()
            return
        begin()
        assert list(tracker.decision.to_run) == to_run
        self.tracker, self.has_run = tracker, True
        self.fresh = {
            name
            for name in self.graph
            if status[name] != "completed"
            and (name in self.fresh or (name in to_run and (not goes_on or name in again)))
        }
        self.status, self.to_run, self.waiting = status, to_run, set(to_run)
        self.done = {name: done for name, done in self.done.items() if name in self.graph}

    def as_graph(self) -> StepGraph:
        return StepGraph(
            Step(name, needs=sorted(step.needs), after=sorted(step.after), inputs=step.inputs)
            for name, step in self.graph.items()
        )

    def is_ready(self, name: str) -> bool:
        step = self.graph[name]
        return all(self.status[need] == "completed" for need in step.needs) and all(
            self.status[before] == "completed" if before in self.to_run else before in self.done
            for before in step.after
        )

    def startable(self) -> list[str]:
        return [
            name
            for name in self.to_run
            if self.status[name] not in ("completed", "in_progress") and self.is_ready(name)
        ]

    @precondition(lambda self: self.tracker is not None and self.startable())
    @rule(data=st.data())
    def start(self, data: st.DataObject) -> None:
        self.start_step(data.draw(st.sampled_from(self.startable())))

    def start_step(self, name: str) -> None:
        tracker = self.open_tracker
        self.waiting.discard(name)
        made = self.made_now(name)
        may_be_spared = name not in self.fresh and name in self.done and self.done[name].made == made
        known = tracker.step(name)
        print_now = known.completion is not None and known.completion.full == tracker.full_fingerprint(name)
        assert may_be_spared == (print_now and not known.fresh)
        if may_be_spared:
            tracker.take_over(name)
            self.status[name] = "completed"
            return
        run(tracker.begin, name)
        self.status[name] = "in_progress"
        self.begun[name] = made
        self.done.pop(name, None)
        self.fresh.discard(name)

    @property
    def open_tracker(self) -> ExecutionTracker:
        assert self.tracker is not None
        return self.tracker

    def running(self) -> list[str]:
        return [name for name, status in self.status.items() if status == "in_progress"]

    @precondition(lambda self: self.tracker is not None and self.startable())
    @rule(results=st.lists(st.none() | st.integers(0, 1), min_size=2, max_size=8))
    def work_off(self, results: list[int | None]) -> None:
        for result in results:
            if startable := self.startable():
                self.start_step(startable[0])
                if self.status[startable[0]] == "in_progress":
                    self.finish_step(startable[0], result)

    @precondition(lambda self: self.tracker is not None and self.running())
    @rule(data=st.data(), result=st.none() | st.integers(0, 1))
    def finish(self, data: st.DataObject, result: int | None) -> None:
        self.finish_step(data.draw(st.sampled_from(self.running())), result)

    def finish_step(self, name: str, result: int | None) -> None:
        self.open_tracker.complete(name, result)
        self.outputs += 1
        output = ("new", self.outputs) if result is None else ("value", result)
        self.done[name] = Done(self.begun.pop(name), output)
        self.status[name] = "completed"

    @precondition(lambda self: self.tracker is not None and self.running())
    @rule(data=st.data(), status=st.sampled_from([StepStatus.FAILED, StepStatus.CANCELLED]))
    def fail(self, data: st.DataObject, status: StepStatus) -> None:
        name = data.draw(st.sampled_from(self.running()))
        self.open_tracker.fail(name, status, ValueError("no") if status is StepStatus.FAILED else None)
        self.status[name] = status.value
        held_back = {name}
        for other in self.to_run:
            if other in self.waiting and self.waits_for(other) & held_back:
                held_back.add(other)
                self.open_tracker.block(other, name)
                if self.status[other] in ("pending", "blocked"):
                    self.status[other] = "blocked"

    @precondition(lambda self: self.tracker is not None and self.running())
    @rule(data=st.data())
    def repeat(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(self.running()))
        self.open_tracker.retry_later(name, ValueError("once more"), 1.0, None)
        self.status[name] = "pending"

    @precondition(lambda self: self.tracker is not None)
    @rule(data=st.data())
    def a_completed_step_does_not_start(self, data: st.DataObject) -> None:
        completed = [name for name, status in self.status.items() if status == "completed"]
        if completed:
            with pytest.raises(StepAlreadyCompleted):
                run(self.open_tracker.begin, data.draw(st.sampled_from(completed)))

    @precondition(lambda self: self.tracker is not None)
    @rule()
    def end(self) -> None:
        run(self.open_tracker.end_execution)
        self.is_gone()

    @precondition(lambda self: self.tracker is not None)
    @rule()
    def crash(self) -> None:
        self.store.die()
        self.store.revive()
        self.is_gone()

    def is_gone(self) -> None:
        self.tracker = None
        for name in self.running():
            self.status[name] = "interrupted"

    # What must hold after each of them

    @invariant()
    def the_state_is_what_the_model_says(self) -> None:
        if self.tracker is not None:
            state = self.tracker.state
        elif self.has_run:
            state = run(self.store.recover, None)
        else:
            return
        assert statuses(state) == self.status
        assert {name for name, step in state.steps.items() if step.completion} == set(self.done)
        assert {name for name, step in state.steps.items() if step.fresh} == self.fresh

    @invariant()
    def unfinished_is_what_was_to_run_and_is_not_completed(self) -> None:
        if self.tracker is not None:
            left = [name for name in self.to_run if self.status[name] != "completed"]
            assert self.tracker.unfinished() == left
            assert self.tracker.get_restart_point() == next(iter(left), None)


TestHistories = Histories.TestCase
TestHistories.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
