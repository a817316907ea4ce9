"""What a step is asked beside its body: late inputs, whether it happened after all, whether its output is there."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio import create_task_group, fail_after, sleep_forever
from anyio.lowlevel import checkpoint

from sbkube.engine import (
    Event,
    ExecutionState,
    FailurePolicy,
    FileStore,
    InputsChanged,
    MemoryStore,
    Retry,
    RunControl,
    RunStatus,
    Selection,
    Step,
    StepContext,
    StepExecution,
    StepFinished,
    StepGraph,
    StepRetrying,
    StepStatus,
    TimeLimitExceeded,
    Transient,
    run_graph,
)

from .helpers import Dying, Hanging, MortalStore, Trace, hang, in_virtual_time, nothing, run_once, statuses

pytestmark = pytest.mark.anyio


class Never:
    """An answer that does not come, and says when it is awaited."""

    def __init__(self) -> None:
        self.asked = anyio.Event()

    async def __call__(self, *anything: object) -> Any:
        self.asked.set()
        await sleep_forever()


async def cancel_itself(*anything: object) -> Any:
    """As asyncio lets code do: raises the cancellation of a task that it waited for."""
    import asyncio

    task = asyncio.create_task(asyncio.sleep(3600))
    task.cancel()
    await task


async def stopped_at(asked: anyio.Event, control: RunControl, run: Callable[[], Awaitable[Any]]) -> Any:
    """What a run returns that is stopped once something of it is asked."""
    ended: list[Any] = []

    async def host() -> None:
        ended.append(await run())

    with fail_after(10):
        async with create_task_group() as tasks:
            tasks.start_soon(host)
            await asked.wait()
            control.stop()
    return ended[0]


# late inputs


async def test_a_step_whose_late_inputs_changed_runs_when_what_it_needs_ran() -> None:
    store, trace, digest = MemoryStore(), Trace(), "one"

    async def late(results: object) -> object:
        return {"file": digest}

    def graph(version: int) -> StepGraph:
        return StepGraph(
            [
                Step("fetch", trace, inputs=version),
                Step("same", trace, needs=["fetch"]),
                Step("reads", trace, needs=["fetch"], late_inputs=late),
            ]
        )

    await run_graph(graph(1), store=store)
    assert sorted(trace.taken()) == ["fetch", "reads", "same"]
    await run_graph(graph(2), store=store, resume="always")
    assert trace.taken() == ["fetch"]
    digest = "two"
    await run_graph(graph(3), store=store, resume="always")
    assert trace.taken() == ["fetch", "reads"]


class Whole:
    """What `fetch` returns, of which `reads` sees the part `a`; `also` needs something else too."""

    def __init__(self) -> None:
        self.store: MemoryStore | FileStore = MemoryStore()
        self.trace = Trace()
        self.files, self.other = {"a": 1, "b": 1}, 1

    def graph(self, **more: int) -> StepGraph:
        async def fetch(step: StepContext) -> object:
            return self.files

        async def other(step: StepContext) -> object:
            return self.other

        async def part(results: Mapping[str, Any]) -> object:
            return results["fetch"].get("a")

        inputs = [self.files, self.other, more]
        return StepGraph(
            [
                Step("fetch", fetch, inputs=inputs),
                Step("other", other, inputs=inputs),
                Step(
                    "reads",
                    self.trace,
                    needs=["fetch", "other"],
                    reads=["fetch"],
                    late_inputs=part,
                    inputs=more,
                ),
                Step("behind", self.trace, needs=["reads"]),
            ]
        )

    async def resumed(self, **more: int) -> list[str]:
        await run_graph(self.graph(**more), store=self.store, resume="always")
        return sorted(self.trace.taken())


async def test_a_step_that_reads_a_part_of_an_output_runs_only_if_that_part_changes() -> None:
    whole = Whole()
    assert await whole.resumed() == ["behind", "reads"]
    whole.files = {"a": 1, "b": 2}
    assert await whole.resumed() == []
    whole.files = {"a": 2, "b": 2}
    assert "reads" in await whole.resumed()


async def test_a_step_that_reads_a_part_runs_if_anything_else_of_it_changes() -> None:
    whole = Whole()
    await whole.resumed()
    whole.files, whole.other = {"a": 1, "b": 2}, 2
    assert "reads" in await whole.resumed()
    whole.files = {"a": 1, "b": 3}
    assert "reads" in await whole.resumed(own=1)


async def test_what_was_made_from_the_same_part_of_another_output_holds_from_then_on(tmp_path: Path) -> None:
    whole = Whole()
    async with FileStore.open(tmp_path) as whole.store:
        await whole.resumed()
        whole.files = {"a": 1, "b": 2}
        await whole.resumed()
    async with FileStore.open(tmp_path) as whole.store:
        assert await whole.resumed() == []
        # What it needs is taken over only if it was made from what is there now.
        chosen = Selection(steps=["behind"])
        assert (await run_graph(whole.graph(), store=whole.store, select=chosen)).is_complete
        assert whole.trace.taken() == ["behind"]


async def test_inputs_that_changed_between_planning_and_start_fail_the_step_without_running_it() -> None:
    trace = Trace()

    async def changed(results: object) -> object:
        raise InputsChanged(["values.yaml"])

    state = await run_once(
        Step("a", trace, late_inputs=changed, retry=Retry(retries=3)), Step("b", trace, needs=["a"])
    )

    assert trace == []
    assert statuses(state) == {"a": "failed", "b": "blocked"}
    assert (state.steps["a"].error or "").startswith("inputs changed during the run: values.yaml")


@in_virtual_time
async def test_a_step_that_hangs_at_its_late_inputs_is_ended_by_the_deadline() -> None:
    async def never(results: object) -> object:
        await sleep_forever()
        return None

    state = await run_once(Step("a", nothing, late_inputs=never), deadline=10)

    assert statuses(state) == {"a": "pending"}


@in_virtual_time
async def test_late_inputs_that_hang_fail_the_step_at_its_time_limit_as_its_body_would() -> None:
    began, trace = anyio.current_time(), Trace()
    state = await run_once(
        Step("a", trace, late_inputs=Never(), time_limit=7200), Step("b", nothing, needs=["a"])
    )

    assert anyio.current_time() - began == pytest.approx(7200)
    assert trace == []
    assert statuses(state) == {"a": "failed", "b": "blocked"}
    assert (state.steps["a"].error_type, state.steps["a"].error) == (
        "TimeLimitExceeded",
        "reading its inputs took longer than its time limit of 7200 s",
    )


async def test_late_inputs_that_are_no_json_fail_the_step_once_and_say_so() -> None:
    asked = list[int]()

    async def late(results: object) -> object:
        asked.append(1)
        return object()

    state = await run_once(Step("a", nothing, late_inputs=late, retry=Retry(retries=3)))

    assert len(asked) == 1
    assert (state.steps["a"].error or "").startswith("the late inputs cannot be recorded")


async def test_late_inputs_that_hung_once_are_read_again_by_the_next_attempt() -> None:
    never, asked = Never(), list[int]()

    async def at_first_never(results: object) -> object:
        asked.append(1)
        return await never() if len(asked) == 1 else "there"

    with fail_after(10):
        state = await run_once(
            Step("a", nothing, late_inputs=at_first_never, time_limit=0.01, retry=Retry(retries=1, base=0))
        )

    assert len(asked) == 2
    assert (state.status, state.steps["a"].attempt) == (RunStatus.COMPLETED, 2)


async def test_a_step_that_is_stopped_at_its_late_inputs_has_not_started() -> None:
    control, never = RunControl(), Never()
    run = partial(run_once, Step("a", nothing, late_inputs=never), control=control)
    state = await stopped_at(never.asked, control, run)

    assert statuses(state) == {"a": "pending"}


@in_virtual_time
async def test_the_time_limit_counts_for_the_late_inputs_and_for_the_body_each() -> None:
    async def late(results: object) -> object:
        await anyio.sleep(8)
        return 1

    async def body(step: StepContext) -> None:
        await anyio.sleep(8)

    assert (await run_once(Step("a", body, late_inputs=late, time_limit=10))).is_complete


# verify


def to_verify(body: Any, verify: Any, *behind: Step, **options: Any) -> StepGraph:
    return StepGraph([Step("a", body, on_interrupt="verify", verify=verify, **options), *behind])


async def never_asked(step: StepContext) -> bool:
    raise AssertionError("only an interrupted step is verified")


async def interrupted() -> MortalStore:
    """A process died while `a` ran."""
    dying, hanging = Dying(), Hanging()
    await dying.until_killed(to_verify(hanging, never_asked), hanging)
    return dying.store


async def resumed(store: MemoryStore, graph: StepGraph, **options: Any) -> ExecutionState:
    with fail_after(10):
        return await run_graph(graph, store=store, resume="unfinished", **options)


@pytest.mark.parametrize("is_there", [True, False])
async def test_an_interrupted_step_that_can_be_verified_runs_only_if_it_did_not_happen(
    is_there: bool,
) -> None:
    dying, hanging, trace = Dying(), Hanging(), Trace()

    async def verify(step: StepContext) -> bool:
        step.result = "found"
        return is_there

    async def never(step: StepContext) -> bool:
        raise AssertionError("only an interrupted step is verified")

    await dying.until_killed(StepGraph([Step("a", hanging, on_interrupt="verify", verify=never)]), hanging)
    state = await run_graph(
        StepGraph([Step("a", trace, on_interrupt="verify", verify=verify)]),
        store=dying.store,
        resume="unfinished",
    )

    assert trace == ([] if is_there else ["a"])
    assert state.steps["a"].output == ("found" if is_there else {"made by": "a"})


@in_virtual_time
async def test_a_verification_that_could_not_be_made_is_made_again_and_the_body_waits_for_it() -> None:
    dying, hanging, trace, asked = Dying(), Hanging(), Trace(), list[int]()

    async def verify(step: StepContext) -> bool:
        asked.append(step.attempt)
        if len(asked) == 1:
            raise Transient("cannot tell")
        return True

    def step(body: Any) -> Step:
        return Step("a", body, on_interrupt="verify", verify=verify, retry=Retry(retries=1))

    await dying.until_killed(StepGraph([step(hanging)]), hanging)
    state = await run_graph(StepGraph([step(trace)]), store=dying.store, resume="unfinished")

    assert len(asked) == 2
    assert trace == []
    assert state.status is RunStatus.COMPLETED


class CannotTell:
    """A verification that fails so often, then says what it found."""

    def __init__(
        self, failures: int = 10**9, *, found: bool = True, error: type[Exception] = ValueError
    ) -> None:
        self.failures, self.found, self.error = failures, found, error
        self.asked: list[tuple[int, str]] = []

    async def __call__(self, step: StepContext) -> bool:
        self.asked.append((step.attempt, step.key))
        await checkpoint()
        if len(self.asked) <= self.failures:
            raise self.error("connection refused")
        return self.found


async def test_a_step_that_cannot_be_verified_stays_in_doubt_and_holds_back_what_is_behind_it() -> None:
    store, trace, told = await interrupted(), Trace(), list[Event]()
    behind, beside = Step("behind", trace, needs=["a"]), Step("beside", trace)
    state = await resumed(store, to_verify(trace, CannotTell(), behind, beside), on_event=told.append)

    assert trace == ["beside"]
    assert statuses(state) == {"a": "interrupted", "behind": "blocked", "beside": "completed"}
    assert state.steps["behind"].blocked_by == "a"
    assert state.status is RunStatus.UNFINISHED
    ends = [event for event in told if isinstance(event, StepFinished) and event.step == "a"]
    assert [(end.status, end.error, end.error_type) for end in ends] == [
        (StepStatus.INTERRUPTED, "could not be verified: connection refused", "ValueError")
    ]


async def test_the_next_resume_verifies_what_could_not_be_verified_and_completes_it() -> None:
    store, trace = await interrupted(), Trace()
    behind = Step("behind", trace, needs=["a"])
    await resumed(store, to_verify(trace, CannotTell(), behind))
    state = await resumed(store, to_verify(trace, CannotTell(0), behind))

    assert trace == ["behind"]
    assert state.status is RunStatus.COMPLETED


async def test_a_verification_is_told_of_the_attempt_that_was_interrupted() -> None:
    dying, keys = Dying(), list[str]()
    body = Hanging()

    async def note(step: StepContext) -> None:
        keys.append(step.key)
        await body(step)

    await dying.until_killed(to_verify(note, never_asked), body)
    verify = CannotTell(1)
    await resumed(dying.store, to_verify(nothing, verify))
    await resumed(dying.store, to_verify(nothing, verify))

    assert verify.asked == [(1, keys[0])] * 2


@in_virtual_time
async def test_a_verification_is_repeated_as_the_step_would_be_and_the_body_has_all_its_retries_left() -> (
    None
):
    store, verify, told = await interrupted(), CannotTell(2, found=False, error=Transient), list[Event]()
    body = Trace(broken="a")
    retry = Retry(retries=2, base=10, factor=2, jitter=0)
    graph = to_verify(body, verify, retry=retry)
    began = anyio.current_time()
    state = await run_graph(graph, store=store, resume="unfinished", on_event=told.append)

    assert len(verify.asked) == 3
    assert body == ["a"] * 3
    assert state.steps["a"].status is StepStatus.FAILED
    assert anyio.current_time() - began == pytest.approx(2 * (10 + 20))
    assert [(e.attempt, e.error, e.delay) for e in told if isinstance(e, StepRetrying)][:2] == [
        (1, "connection refused", 10),
        (1, "connection refused", 20),
    ]


@in_virtual_time
async def test_a_verification_that_hangs_leaves_the_step_in_doubt_at_its_time_limit() -> None:
    store, trace, told, began = await interrupted(), Trace(), list[Event](), anyio.current_time()
    graph = to_verify(trace, Never(), Step("behind", trace, needs=["a"]), time_limit=7200)
    state = await run_graph(graph, store=store, resume="unfinished", on_event=told.append)

    assert anyio.current_time() - began == pytest.approx(7200)
    assert statuses(state) == {"a": "interrupted", "behind": "blocked"}
    why = "could not be verified: verifying it took longer than its time limit of 7200 s"
    assert why in [event.error for event in told if isinstance(event, StepFinished)]


async def test_a_step_that_is_stopped_while_it_is_verified_is_still_in_doubt_afterwards() -> None:
    store, control, never, trace = await interrupted(), RunControl(), Never(), Trace()
    run = partial(resumed, store, to_verify(trace, never), control=control)
    state = await stopped_at(never.asked, control, run)
    again = CannotTell(0)

    assert statuses(state) == {"a": "interrupted"}
    assert (await resumed(store, to_verify(trace, again))).is_complete
    assert (len(again.asked), trace) == (1, [])


async def test_a_host_that_is_cancelled_while_a_step_is_verified_leaves_it_in_doubt() -> None:
    store, never = await interrupted(), Never()
    with fail_after(10):
        async with create_task_group() as tasks:
            tasks.start_soon(partial(run_graph, to_verify(nothing, never), store=store, resume="unfinished"))
            await never.asked.wait()
            tasks.cancel_scope.cancel()

    latest = await store.latest()
    assert latest is not None
    assert statuses(latest) == {"a": "interrupted"}


async def test_clean_up_of_a_verification_that_fails_while_it_is_stopped_does_not_break_the_run() -> None:
    store, control, never = await interrupted(), RunControl(), Never()

    async def verify(step: StepContext) -> bool:
        async with create_task_group() as tasks:
            tasks.start_soon(never)
            try:
                await sleep_forever()
            finally:
                raise ValueError("clean-up failed")
        return True

    run = partial(resumed, store, to_verify(nothing, verify), control=control)
    state = await stopped_at(never.asked, control, run)

    assert statuses(state) == {"a": "interrupted"}


async def test_who_is_told_to_runs_what_cannot_be_verified_and_nothing_that_is_found_completed() -> None:
    store, trace = await interrupted(), Trace()
    told = Selection(rerun_interrupted=["a"])
    assert (await resumed(store, to_verify(trace, CannotTell()), select=told)).is_complete
    assert trace == ["a"]

    store, trace = await interrupted(), Trace()
    assert (await resumed(store, to_verify(trace, CannotTell(0)), select=told)).is_complete
    assert trace == []


async def test_a_step_that_stays_in_doubt_is_no_failure_that_stops_the_others() -> None:
    store, trace, asked = await interrupted(), Trace(), CannotTell()

    async def later(step: StepContext) -> None:
        while not asked.asked:
            await checkpoint()
        for _ in range(10):
            await checkpoint()

    graph = to_verify(trace, asked, Step("later", later), Step("last", trace, needs=["later"]))
    state = await resumed(store, graph, policy=FailurePolicy.FAIL_FAST)

    assert statuses(state) == {"a": "interrupted", "later": "completed", "last": "completed"}


@pytest.mark.parametrize(("result", "note"), [(object(), "a note"), ("a result", object())])
async def test_what_was_found_and_cannot_be_recorded_leaves_the_step_in_doubt(
    result: object, note: object
) -> None:
    store, trace = await interrupted(), Trace()

    async def verify(step: StepContext) -> bool:
        step.result, step.metadata["note"] = result, note
        return True

    state = await resumed(store, to_verify(trace, verify, retry=Retry(retries=3)))

    assert (statuses(state), trace) == ({"a": "interrupted"}, [])


async def test_a_step_in_doubt_whose_inputs_change_under_it_stays_in_doubt_and_is_not_asked() -> None:
    store, verify = await interrupted(), CannotTell(0)

    async def changed(results: object) -> object:
        raise InputsChanged(["values.yaml"])

    state = await resumed(store, to_verify(nothing, verify, late_inputs=changed))

    assert (statuses(state), verify.asked) == ({"a": "interrupted"}, [])


async def test_what_is_found_completed_while_its_late_inputs_come_at_the_second_try_does_not_run() -> None:
    store, trace, tries = await interrupted(), Trace(), list[int]()

    async def late(results: object) -> object:
        tries.append(1)
        if len(tries) == 1:
            raise Transient("not yet")
        return "there"

    graph = to_verify(trace, CannotTell(0), late_inputs=late, retry=Retry(retries=1, base=0))

    assert (await resumed(store, graph)).is_complete
    assert trace == []


async def test_a_stop_between_what_was_found_and_its_record_does_not_lose_it() -> None:
    control, trace = RunControl(), Trace()

    class Slow(MortalStore):
        """A start is durable only when the run is being stopped."""

        def append(
            self,
            step: StepExecution,
            change: Mapping[str, Any],
            at: str,
            on_durable: Callable[[], None] | None,
        ) -> None:
            if change["to"] == "in_progress" and step.attempt == 2:
                on_durable = None
                control.stop()
            super().append(step, change, at, on_durable)

    dying, hanging = Dying(), Hanging()
    dying.store = Slow()
    await dying.until_killed(to_verify(hanging, never_asked), hanging)
    state = await resumed(dying.store, to_verify(trace, CannotTell(0)), control=control)

    assert (statuses(state), trace) == ({"a": "completed"}, [])


@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
async def test_a_verification_that_raises_a_cancellation_of_its_own_leaves_the_step_in_doubt() -> None:
    state = await resumed(await interrupted(), to_verify(nothing, cancel_itself, Step("b", nothing)))

    assert statuses(state) == {"a": "interrupted", "b": "completed"}


# output_holds


async def completed_once(graph: StepGraph) -> MemoryStore:
    store = MemoryStore()
    assert (await run_graph(graph, store=store)).is_complete
    return store


@in_virtual_time
async def test_an_output_that_cannot_be_looked_for_in_time_ends_the_run_before_it_begins() -> None:
    trace = Trace()
    graph = StepGraph([Step("a", trace, output_holds=Never(), time_limit=7200)])
    store = await completed_once(graph)
    before, began = await store.history(), anyio.current_time()
    with pytest.raises(
        TimeLimitExceeded, match="looking for the output of step 'a' took longer than its time"
    ):
        await run_graph(graph, store=store, resume="always")

    assert anyio.current_time() - began == pytest.approx(7200)
    assert await store.history() == before
    assert trace == ["a"]


@in_virtual_time
async def test_the_deadline_of_the_run_also_ends_the_wait_for_what_it_is_to_do() -> None:
    graph = StepGraph([Step("a", nothing, output_holds=Never())])
    store = await completed_once(graph)
    before, began = await store.history(), anyio.current_time()
    with pytest.raises(TimeLimitExceeded, match="deciding what to run took longer than the deadline of 60 s"):
        await run_graph(graph, store=store, resume="always", deadline=60)

    assert anyio.current_time() - began == pytest.approx(60)
    assert await store.history() == before


@in_virtual_time
async def test_the_deadline_counts_from_the_call_also_where_deciding_takes_its_time() -> None:
    async def slowly(result: object) -> bool:
        await anyio.sleep(50)
        return False

    graph = StepGraph([Step("a", Trace(), output_holds=slowly)])
    store, began = await completed_once(graph), anyio.current_time()
    again = StepGraph([Step("a", hang, output_holds=slowly)])
    state = await run_graph(again, store=store, resume="always", deadline=60)

    assert anyio.current_time() - began == pytest.approx(60)
    assert statuses(state) == {"a": "cancelled"}


async def test_a_host_that_is_cancelled_while_it_is_decided_what_runs_has_changed_nothing() -> None:
    never = Never()
    graph = StepGraph([Step("a", nothing, output_holds=never)])
    store = await completed_once(graph)
    before = await store.history()
    with fail_after(10):
        async with create_task_group() as tasks:
            tasks.start_soon(partial(run_graph, graph, store=store, resume="always"))
            await never.asked.wait()
            tasks.cancel_scope.cancel()

    assert await store.history() == before


async def test_the_output_of_a_step_that_runs_anyway_is_not_looked_for() -> None:
    def graph(version: int, output_holds: Any) -> StepGraph:
        return StepGraph([Step("a", nothing, inputs=version, output_holds=output_holds)])

    never = Never()
    store = await completed_once(graph(1, never))
    with fail_after(10):
        state = await run_graph(graph(2, never), store=store, resume="always")

    assert state.is_complete
    assert not never.asked.is_set()


async def test_what_raises_when_it_is_asked_for_an_output_ends_the_run_before_it_begins() -> None:
    async def broken(result: object) -> bool:
        raise OSError("unplugged")

    graph = StepGraph([Step("a", nothing, output_holds=broken)])
    store = await completed_once(graph)
    before = await store.history()
    with pytest.raises(OSError, match="unplugged"):
        await run_graph(graph, store=store, resume="always")

    assert await store.history() == before
