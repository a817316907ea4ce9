"""What a run does when steps succeed, fail, hang, are repeated, limited, stopped or cancelled."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import anyio
import pytest
from anyio import create_task_group, fail_after, sleep_forever
from anyio.lowlevel import checkpoint

from sbkube.engine import (
    Event,
    FailurePolicy,
    Fenced,
    InputsChanged,
    Limits,
    MemoryStore,
    NeedsNotMet,
    Retry,
    RunControl,
    RunDraining,
    RunFinished,
    RunStarted,
    RunStatus,
    RunStopping,
    Selection,
    StateNotSaved,
    Step,
    StepBlocked,
    StepContext,
    StepFinished,
    StepGraph,
    StepLogged,
    StepRetrying,
    StepsFailed,
    StepStarted,
    StepStatus,
    Transient,
    UnknownPool,
    only_transient,
    run_graph,
)

from .helpers import (
    Dying,
    FailingStore,
    Hanging,
    Trace,
    graph_of,
    hang,
    in_virtual_time,
    nothing,
    run_once,
    statuses,
)

pytestmark = pytest.mark.anyio


class Attempts:
    """A body that fails so often, then returns; writes down when each attempt began."""

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.began: list[float] = []

    async def __call__(self, step: StepContext) -> int:
        self.began.append(anyio.current_time())
        await checkpoint()
        if len(self.began) <= self.failures:
            raise ValueError("again")
        return step.attempt


# order and results


async def test_every_step_completes_and_its_result_is_recorded() -> None:
    state = await run_graph(graph_of(Trace(gives={"a": 1}), a="", b="a"), store=MemoryStore())

    assert state.status is RunStatus.COMPLETED
    assert statuses(state) == {"a": "completed", "b": "completed"}
    assert state.steps["a"].output == 1


async def test_a_step_gets_the_results_of_its_needs_and_of_nothing_else() -> None:
    seen: dict[str, Any] = {}

    async def look(step: StepContext) -> None:
        seen.update(step.results)

    await run_once(
        Step("a", Trace(gives={"a": [1]})), Step("b", nothing), Step("c", look, needs=["a"], after=["b"])
    )

    assert seen == {"a": [1]}


async def test_a_result_that_is_mutated_by_one_reader_is_whole_for_the_next() -> None:
    kept: dict[str, list[int]] = {"rows": [1]}

    async def give(step: StepContext) -> object:
        return kept

    async def spoil(step: StepContext) -> None:
        kept["rows"].append(2)
        step.results["give"]["rows"].clear()

    async def read(step: StepContext) -> object:
        return step.results["give"]

    state = await run_once(
        Step("give", give),
        Step("spoil", spoil, needs=["give"]),
        Step("read", read, needs=["give"], after=["spoil"]),
    )

    assert state.steps["read"].output == state.steps["give"].output == {"rows": [1]}


async def test_what_is_left_in_the_context_is_the_result_of_a_body_that_returns_nothing() -> None:
    async def leave(step: StepContext) -> None:
        step.result = {"left": True}
        step.metadata["note"] = "n"

    state = await run_once(Step("a", leave))

    assert state.steps["a"].output == {"left": True}
    assert state.steps["a"].metadata == {"note": "n"}


async def test_a_later_process_gets_the_results_of_an_earlier_one() -> None:
    store, seen = MemoryStore(), list[Any]()
    trace = Trace(broken="b", gives={"a": {"rows": 3}})

    async def b(step: StepContext) -> None:
        await trace(step)
        seen.append(step.results["a"])

    graph = StepGraph([Step("a", trace), Step("b", b, needs=["a"])])
    await run_graph(graph, store=store)
    trace.broken.clear()
    state = await run_graph(graph, store=store, resume="unfinished")

    assert trace == ["a", "b", "b"]
    assert seen == [{"rows": 3}]
    assert (state.run, state.steps["b"].attempt) == (1, 2)


async def test_a_gate_completes_without_work_and_passes_changes_through() -> None:
    def graph(value: int) -> StepGraph:
        return StepGraph(
            [Step("a", trace, inputs=value), Step("gate", needs=["a"]), Step("b", trace, needs=["gate"])]
        )

    store, trace = MemoryStore(), Trace(gives={"a": 1, "b": 1})
    await run_graph(graph(1), store=store)
    trace.gives["a"] = 2
    await run_graph(graph(2), store=store, resume="always")

    assert trace == ["a", "b", "a", "b"]


async def test_a_step_is_spared_if_what_it_needs_gave_the_same_output_again() -> None:
    store, trace, told = MemoryStore(), Trace(), list[Event]()
    await run_graph(graph_of(trace, a="", b="a", c="b"), store=store)
    trace.taken()

    again = graph_of(trace, inputs={"a": "a comment"}, a="", b="a", c="b")
    state = await run_graph(again, store=store, resume="always", on_event=told.append)

    assert trace == ["a"]
    assert state.status is RunStatus.COMPLETED
    assert [e.reused_from for e in told if isinstance(e, StepFinished)] == [None, 1, 1]


async def test_a_body_that_returns_nothing_gave_a_new_output() -> None:
    store, trace = MemoryStore(), Trace(gives={"a": None})
    await run_graph(graph_of(trace, a="", b="a"), store=store)
    await run_graph(graph_of(trace, inputs={"a": 1}, a="", b="a"), store=store, resume="always")

    assert trace == ["a", "b", "a", "b"]


async def test_a_fresh_run_spares_nothing_and_neither_does_the_resume_of_it() -> None:
    store, trace = MemoryStore(), Trace()
    graph = graph_of(trace, a="", b="a", c="b")
    await run_graph(graph, store=store)
    trace.broken = {"b"}
    await run_graph(graph, store=store)
    trace.broken = set()
    trace.taken()
    await run_graph(graph, store=store, resume="unfinished")

    assert trace == ["b", "c"]


async def test_a_step_whose_output_does_not_hold_runs_again() -> None:
    asked, trace, holds = list[Any](), Trace(), True

    async def output_holds(result: Any) -> bool:
        asked.append(result)
        return holds

    store = MemoryStore()
    graph = StepGraph([Step("a", trace, output_holds=output_holds), Step("b", trace, needs=["a"])])
    await run_graph(graph, store=store)
    await run_graph(graph, store=store, resume="always")
    assert trace.taken() == ["a", "b"]

    holds = False
    state = await run_graph(graph, store=store, resume="always")

    assert trace == ["a"]
    assert asked == [{"made by": "a"}] * 2
    assert state.status is RunStatus.COMPLETED


# results that cannot be recorded


@pytest.mark.parametrize(
    ("result", "why"),
    [(object(), "not JSON serializable"), ("x" * 65536, "at most 65536"), ({1: 2}, "the key 1 is not text")],
    ids=["no JSON", "too large", "a key that is no text"],
)
async def test_a_result_that_cannot_be_recorded_fails_the_step_once_and_says_why(
    result: object, why: str
) -> None:
    body = Trace(gives={"a": result})
    state = await run_once(Step("a", body, retry=Retry(retries=3)), Step("b", nothing, needs=["a"]))

    assert body == ["a"]
    assert statuses(state) == {"a": "failed", "b": "blocked"}
    assert state.steps["a"].error_type == "ResultNotJson"
    assert why in (state.steps["a"].error or "")


async def test_metadata_that_cannot_be_recorded_fails_the_step_and_says_so() -> None:
    async def note(step: StepContext) -> None:
        step.metadata["when"] = object()

    error = (await run_once(Step("a", note))).steps["a"].error

    assert error is not None
    assert error.startswith("the metadata cannot be recorded")


async def test_metadata_that_cannot_be_recorded_does_not_hide_the_failure() -> None:
    async def note(step: StepContext) -> None:
        step.metadata["when"] = object()
        raise ValueError("the real reason")

    assert (await run_once(Step("a", note))).steps["a"].error == "the real reason"


# attempts


async def attempts_of(store: MemoryStore, graph: StepGraph, **options: Any) -> tuple[int, dict[str, int]]:
    state = await run_graph(graph, store=store, **options)
    return state.run, {id: step.attempt for id, step in state.steps.items()}


async def test_a_step_that_is_taken_over_within_its_run_goes_on_counting_attempts() -> None:
    store, keys = MemoryStore(), list[str]()

    async def note(step: StepContext) -> int:
        keys.append(step.key)
        return 1

    graph, stopped = StepGraph([Step("a", note), Step("b", nothing, needs=["a"])]), RunControl()
    stopped.stop()
    again = Selection(continue_from=["a"])
    assert await attempts_of(store, graph) == (1, {"a": 1, "b": 1})
    assert await attempts_of(store, graph, select=again, control=stopped) == (1, {"a": 1, "b": 1})
    taken_over = await attempts_of(store, graph, select=Selection(steps=["b"]), resume="always")
    assert taken_over == (1, {"a": 1, "b": 2})
    assert await attempts_of(store, graph, select=again) == (1, {"a": 2, "b": 3})
    assert len(set(keys)) == 2


async def test_a_step_that_is_spared_within_its_run_goes_on_counting_attempts() -> None:
    holds = True

    async def output_holds(result: Any) -> bool:
        return holds

    store = MemoryStore()
    graph = StepGraph([Step("a", Trace(), output_holds=output_holds), Step("b", Trace(), needs=["a"])])
    await attempts_of(store, graph)
    holds = False
    assert await attempts_of(store, graph, resume="always") == (1, {"a": 2, "b": 1})
    again = await attempts_of(store, graph, select=Selection(continue_from=["b"], with_needs=True))
    assert again == (1, {"a": 3, "b": 2})


async def test_a_step_that_is_taken_over_by_another_run_counts_its_attempts_anew_there() -> None:
    store = MemoryStore()

    def graph(edit: int) -> StepGraph:
        return StepGraph([Step("a", Trace()), Step("other", Trace(), inputs=edit)])

    await attempts_of(store, graph(1))
    run, attempts = await attempts_of(store, graph(2), resume="always")
    assert (run, attempts["a"]) == (2, 0)
    run, attempts = await attempts_of(store, graph(2), select=Selection(continue_from=["a"]))
    assert (run, attempts["a"]) == (2, 1)


# failure


async def test_independent_branches_go_on_and_what_is_behind_a_failure_is_blocked_by_it() -> None:
    told: list[Event] = []
    graph = graph_of(Trace(broken="db"), db="", web="~db", ui="web", docs="", site="docs")
    state = await run_graph(graph, store=MemoryStore(), on_event=told.append)

    assert statuses(state) == {
        "db": "failed",
        "web": "blocked",
        "ui": "blocked",
        "docs": "completed",
        "site": "completed",
    }
    assert {state.steps[id].blocked_by for id in ("web", "ui")} == {"db"}
    assert [e for e in told if isinstance(e, StepBlocked)] == [
        StepBlocked("web", "db"),
        StepBlocked("ui", "db"),
    ]
    assert state.status is RunStatus.FAILED


async def test_a_failed_step_does_not_raise_until_it_is_asked_to() -> None:
    state = await run_once(Step("a", Trace(broken="a")))

    assert (state.steps["a"].error, state.steps["a"].error_type) == ("a is broken", "ValueError")
    with pytest.raises(StepsFailed, match="1 step did not complete: a: a is broken"):
        state.raise_for_failures()


async def test_fail_fast_starts_nothing_more_and_lets_what_runs_finish() -> None:
    failed = anyio.Event()

    async def fail(step: StepContext) -> None:
        raise ValueError

    async def outlive(step: StepContext) -> None:
        await failed.wait()

    def listen(event: Event) -> None:
        if isinstance(event, StepFinished) and event.status is StepStatus.FAILED:
            failed.set()

    state = await run_once(
        Step("outlive", outlive),
        Step("fail", fail),
        Step("next", nothing, needs=["outlive"]),
        Step("behind", nothing, needs=["fail"]),
        policy=FailurePolicy.FAIL_FAST,
        limits=Limits(total=2),
        on_event=listen,
    )

    assert statuses(state) == {
        "outlive": "completed",
        "fail": "failed",
        "next": "pending",
        "behind": "blocked",
    }


async def test_a_group_of_errors_is_told_by_its_first_and_how_many_more() -> None:
    async def fail(step: StepContext) -> None:
        raise ExceptionGroup(
            "two", [ExceptionGroup("one", [ValueError("disk")]), KeyError("x"), OSError("y")]
        )

    step = (await run_once(Step("a", fail))).steps["a"]

    assert (step.error, step.error_type) == ("disk (and 2 more)", "ValueError")


async def test_an_error_without_words_is_told_by_its_name_and_a_long_one_is_cut() -> None:
    async def silent(step: StepContext) -> None:
        raise KeyboardError

    async def loud(step: StepContext) -> None:
        raise ValueError("x" * 10_000 + "\udc80")

    async def just_right(step: StepContext) -> None:
        raise ValueError("x" * 2048)

    state = await run_once(Step("silent", silent), Step("loud", loud), Step("just_right", just_right))

    assert state.steps["silent"].error == "KeyboardError"
    assert state.steps["loud"].error == "x" * 2047 + "…"
    assert state.steps["just_right"].error == "x" * 2048


async def test_the_hint_of_an_error_is_recorded_with_it() -> None:
    async def fail(step: StepContext) -> None:
        raise InputsChanged(["values.yaml"])

    error = (await run_once(Step("a", fail))).steps["a"].error

    assert error == f"inputs changed during the run: values.yaml ({InputsChanged([]).hint})"


class KeyboardError(Exception):
    """Says nothing."""


class Abort(BaseException):
    """Like `KeyboardInterrupt`, which test runners take for themselves."""


async def test_what_is_no_exception_ends_the_run_and_goes_to_the_host_after_the_ends_are_recorded() -> None:
    store, other = MemoryStore(), Hanging()

    async def abort(step: StepContext) -> None:
        await other.started.wait()
        raise Abort

    with pytest.raises(BaseExceptionGroup) as caught:
        await run_once(Step("abort", abort), Step("other", other), store=store)

    assert caught.group_contains(Abort)
    latest = await store.latest()
    assert latest is not None
    assert statuses(latest) == {"abort": "failed", "other": "cancelled"}
    assert latest.status is RunStatus.FAILED


# retry


@in_virtual_time
async def test_a_failed_attempt_is_repeated_after_its_back_off() -> None:
    body, told = Attempts(failures=3), list[Event]()
    retry = Retry(retries=3, base=10, factor=6, cap=300, jitter=0)
    state = await run_once(Step("a", body, retry=retry), on_event=told.append)

    waits = [later - sooner for sooner, later in zip(body.began, body.began[1:], strict=False)]
    assert waits == [pytest.approx(10), pytest.approx(60), pytest.approx(300)]
    assert state.steps["a"].output == 4
    assert [(e.attempt, e.delay) for e in told if isinstance(e, StepRetrying)] == [(1, 10), (2, 60), (3, 300)]


@in_virtual_time
async def test_chance_draws_the_jitter() -> None:
    body = Attempts(failures=2)
    chances = iter([0.0, 1.0])
    retry = Retry(retries=2, base=100, factor=1, cap=100, jitter=0.5)
    await run_once(Step("a", body, retry=retry), chance=lambda: next(chances))

    assert body.began[1] - body.began[0] == pytest.approx(50)
    assert body.began[2] - body.began[1] == pytest.approx(150)


@in_virtual_time
async def test_a_step_that_waits_to_be_repeated_has_given_its_slots_back() -> None:
    order: list[str] = []

    async def note(step: StepContext) -> None:
        order.append(step.id)
        if order == ["flaky"]:
            raise Transient

    await run_once(
        Step("flaky", note, pools=["one"], weight=2, retry=Retry(retries=1, base=3600)),
        Step("steady", note, pools=["one"]),
        limits=Limits(total=1, pools={"one": 1}),
    )

    assert order == ["flaky", "steady", "flaky"]


@in_virtual_time
async def test_a_step_fails_when_its_retries_are_used_up_and_blocks_only_then() -> None:
    body, told = Attempts(failures=9), list[Event]()
    state = await run_once(
        Step("a", body, retry=Retry(retries=2)), Step("b", nothing, needs=["a"]), on_event=told.append
    )

    assert len(body.began) == 3
    assert statuses(state) == {"a": "failed", "b": "blocked"}
    kinds = [type(event).__name__ for event in told]
    assert kinds.index("StepBlocked") > max(n for n, kind in enumerate(kinds) if kind == "StepRetrying")


@in_virtual_time
async def test_an_attempt_waits_for_as_long_as_the_error_asks() -> None:
    body, told = Attempts(failures=1), list[Event]()
    retry = Retry(retries=1, jitter=0, pause=lambda error: 3600.0)
    await run_once(Step("a", body, retry=retry), on_event=told.append)

    assert [event.delay for event in told if isinstance(event, StepRetrying)] == [3600.0]


async def test_an_error_that_when_refuses_is_not_repeated() -> None:
    body = Attempts(failures=1)
    state = await run_once(Step("a", body, retry=Retry(retries=5, when=only_transient)))

    assert len(body.began) == 1
    assert state.steps["a"].status is StepStatus.FAILED


@pytest.mark.parametrize("which", ["when", "pause"])
async def test_a_function_of_a_retry_that_raises_fails_its_step_and_no_other(which: str) -> None:
    def broken(error: Exception) -> Any:
        raise RuntimeError(f"{which} is broken")

    retry = Retry(retries=1, **{which: broken})
    state = await run_once(Step("a", Trace(broken="a"), retry=retry), Step("b", nothing))

    assert statuses(state) == {"a": "failed", "b": "completed"}
    assert state.steps["a"].error == "a is broken (and 1 more)"


@in_virtual_time
async def test_all_attempts_of_one_step_share_a_key_and_a_new_run_has_another() -> None:
    keys: list[str] = []

    async def note(step: StepContext) -> None:
        keys.append(step.key)
        if len(keys) == 1:
            raise Transient

    store = MemoryStore()
    await run_once(Step("a", note, retry=Retry(retries=1)), store=store)
    await run_once(Step("a", note), store=store)

    assert keys[0] == keys[1]
    assert keys[2] not in ("", keys[0])


async def test_a_failed_step_keeps_its_key_when_a_resume_repeats_it_also_after_an_edit_elsewhere() -> None:
    keys: list[str] = []

    async def note(step: StepContext) -> None:
        keys.append(step.key)
        raise ValueError

    store = MemoryStore()
    for edit in ("none", "none", "elsewhere"):
        await run_once(
            Step("a", note, inputs=1), Step("b", nothing, inputs=edit), store=store, resume="unfinished"
        )

    assert len(keys) == 3
    assert len(set(keys)) == 1


# limits of time


@in_virtual_time
async def test_an_attempt_that_takes_too_long_fails_at_its_time_limit() -> None:
    began = anyio.current_time()
    state = await run_once(Step("a", hang, time_limit=7200), Step("b", nothing, needs=["a"]))

    assert anyio.current_time() - began == pytest.approx(7200)
    assert statuses(state) == {"a": "failed", "b": "blocked"}
    assert (state.steps["a"].error_type, state.steps["a"].error) == (
        "TimeLimitExceeded",
        "it took longer than its time limit of 7200 s",
    )


@in_virtual_time
async def test_the_time_limit_is_for_each_attempt_and_not_for_the_waits_between() -> None:
    attempts: list[int] = []

    async def slow_at_first(step: StepContext) -> None:
        attempts.append(step.attempt)
        await anyio.sleep(50 if step.attempt == 1 else 9)

    retry = Retry(retries=1, base=1000, cap=1000)
    state = await run_once(Step("a", slow_at_first, time_limit=10, retry=retry))

    assert attempts == [1, 2]
    assert state.status is RunStatus.COMPLETED


@in_virtual_time
async def test_the_deadline_stops_the_run_and_says_why() -> None:
    control, began = RunControl(), anyio.current_time()
    state = await run_once(
        Step("a", hang), Step("b", nothing, needs=["a"]), Step("c", nothing), deadline=3600, control=control
    )

    assert anyio.current_time() - began == pytest.approx(3600)
    assert statuses(state) == {"a": "cancelled", "b": "pending", "c": "completed"}
    assert (control.why, control.is_draining, control.is_stopping) == ("deadline", True, True)
    assert state.status is RunStatus.CANCELLED


@in_virtual_time
async def test_the_deadline_also_ends_a_wait_for_the_next_attempt() -> None:
    body = Attempts(failures=9)
    state = await run_once(Step("a", body, retry=Retry(retries=9, base=999, cap=999)), deadline=60)

    assert len(body.began) == 1
    assert statuses(state) == {"a": "pending"}
    assert state.status is RunStatus.UNFINISHED


@in_virtual_time
async def test_a_run_that_ends_before_its_deadline_does_not_wait_for_it() -> None:
    began = anyio.current_time()
    await run_once(Step("a", nothing), deadline=3600)

    assert anyio.current_time() == pytest.approx(began)


# ending early


async def test_draining_starts_nothing_more_and_lets_what_runs_finish() -> None:
    control, told, go_on = RunControl(), list[Event](), anyio.Event()

    async def drain(step: StepContext) -> None:
        control.drain()
        go_on.set()

    async def finish(step: StepContext) -> None:
        await go_on.wait()
        await checkpoint()

    state = await run_once(
        Step("running", finish),
        Step("drain", drain),
        Step("never", nothing, needs=["drain"]),
        control=control,
        on_event=told.append,
    )

    assert statuses(state) == {"running": "completed", "drain": "completed", "never": "pending"}
    assert [set(e.running) for e in told if isinstance(e, RunDraining)] == [{"running", "drain"}]
    assert state.status is RunStatus.UNFINISHED


@in_virtual_time
async def test_draining_repeats_nothing() -> None:
    control, body = RunControl(), Attempts(failures=1)

    async def drain(step: StepContext) -> None:
        await anyio.sleep(1)
        control.drain()

    state = await run_once(
        Step("a", body, retry=Retry(retries=1, base=60, jitter=0)), Step("drain", drain), control=control
    )

    assert len(body.began) == 1
    assert statuses(state) == {"a": "pending", "drain": "completed"}


async def test_a_step_that_fails_while_the_run_drains_has_failed_for_good() -> None:
    control = RunControl()

    async def fail(step: StepContext) -> None:
        control.drain()
        raise Transient("late")

    state = await run_once(Step("a", fail, retry=Retry(retries=5)), control=control)

    assert statuses(state) == {"a": "failed"}


async def test_stopping_cancels_what_runs_and_records_it_as_cancelled() -> None:
    control, body, told = RunControl(), Hanging(), list[Event]()

    async def stop(step: StepContext) -> None:
        await body.started.wait()
        control.stop()
        await checkpoint()

    state = await run_once(
        Step("a", body),
        Step("b", nothing, needs=["a"]),
        Step("stop", stop),
        control=control,
        on_event=told.append,
    )

    assert statuses(state) == {"a": "cancelled", "b": "pending", "stop": "cancelled"}
    assert [set(e.running) for e in told if isinstance(e, RunStopping)] == [{"a", "stop"}]
    assert state.status is RunStatus.CANCELLED
    with pytest.raises(StepsFailed):
        state.raise_for_failures()


async def test_a_control_that_was_stopped_before_the_run_starts_nothing() -> None:
    control, trace = RunControl(), Trace()
    control.stop()
    state = await run_graph(graph_of(trace, a="", b="a"), store=MemoryStore(), control=control)

    assert trace == []
    assert statuses(state) == {"a": "pending", "b": "pending"}


async def test_one_control_serves_runs_one_after_the_other() -> None:
    control, first, second = RunControl(), list[Event](), list[Event]()
    await run_once(Step("a", nothing), control=control, on_event=first.append)

    async def stop(step: StepContext) -> None:
        control.stop()
        control.stop()

    await run_once(Step("a", stop), control=control, on_event=second.append)

    assert not [e for e in first if isinstance(e, RunDraining | RunStopping)]
    assert len([e for e in second if isinstance(e, RunDraining)]) == 1
    assert len([e for e in second if isinstance(e, RunStopping)]) == 1


async def test_a_cancelled_host_gets_its_cancellation_after_the_ends_are_recorded() -> None:
    store, body, after = MemoryStore(), Hanging(), list[str]()

    async def host() -> None:
        await run_once(Step("a", body), Step("b", nothing, needs=["a"]), store=store)
        after.append("the cancellation did not pass through")

    async with create_task_group() as tasks:
        tasks.start_soon(host)
        await body.started.wait()
        tasks.cancel_scope.cancel()

    latest = await store.latest()
    assert latest is not None
    assert not after
    assert statuses(latest) == {"a": "cancelled", "b": "pending"}
    assert latest.status is RunStatus.CANCELLED


async def test_a_body_that_fails_while_it_is_cancelled_has_failed_and_the_run_still_ends() -> None:
    control, body = RunControl(), Hanging()

    async def stubborn(step: StepContext) -> None:
        async with create_task_group() as tasks:
            tasks.start_soon(body, step)
            try:
                await sleep_forever()
            finally:
                raise ValueError("clean-up failed")

    async def stop(step: StepContext) -> None:
        await body.started.wait()
        control.stop()

    state = await run_once(Step("a", stubborn), Step("stop", stop), control=control)

    assert state.steps["a"].status is StepStatus.FAILED
    assert state.steps["a"].error == "clean-up failed"


@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
async def test_a_body_that_raises_a_cancellation_of_its_own_does_not_hang_the_run() -> None:
    import asyncio

    async def odd(step: StepContext) -> None:
        task = asyncio.create_task(asyncio.sleep(3600))
        task.cancel()
        await task

    async def odd_inputs(results: object) -> object:
        task = asyncio.create_task(asyncio.sleep(3600))
        task.cancel()
        await task
        return None

    with fail_after(10):
        state = await run_once(
            Step("odd", odd),
            Step("behind", nothing, needs=["odd"]),
            Step("late", nothing, late_inputs=odd_inputs),
            Step("other", nothing),
        )

    assert statuses(state) == {
        "odd": "cancelled",
        "behind": "blocked",
        "late": "cancelled",
        "other": "completed",
    }


@in_virtual_time
async def test_clean_up_of_a_cancelled_body_is_awaited_before_its_end_is_recorded() -> None:
    cleaned: list[str] = []

    async def body(step: StepContext) -> None:
        try:
            await sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(5)
            cleaned.append(step.id)

    state = await run_once(Step("a", body), deadline=1)

    assert cleaned == ["a"]
    assert statuses(state) == {"a": "cancelled"}


# interrupted


async def test_what_was_in_progress_at_a_crash_runs_again_unless_it_asks() -> None:
    dying, hanging, trace = Dying(), Hanging(), Trace()

    def graph(body: Any) -> StepGraph:
        return StepGraph(
            [
                Step("exec", body, on_interrupt="ask"),
                Step("behind", trace, needs=["exec"]),
                Step("plain", trace),
            ]
        )

    await dying.until_killed(graph(hanging), hanging)
    asked = await run_graph(graph(trace), store=dying.store, resume="unfinished")
    assert statuses(asked)["exec"] == "interrupted"
    assert (asked.steps["behind"].status, asked.steps["behind"].blocked_by) == (StepStatus.BLOCKED, "exec")
    assert asked.status is RunStatus.UNFINISHED
    assert "exec" not in trace

    told = Selection(rerun_interrupted=True)
    state = await run_graph(graph(trace), store=dying.store, resume="unfinished", select=told)
    assert state.status is RunStatus.COMPLETED
    assert trace.count("exec") == trace.count("behind") == 1


# state that cannot be saved


async def test_when_state_cannot_be_saved_what_runs_may_finish_nothing_more_starts_and_what_is_lost_is_named() -> (
    None
):
    store, trace, control, runs = FailingStore(), Trace(), RunControl(), anyio.Event()

    async def fail(step: StepContext) -> None:
        await runs.wait()
        store.fail(StateNotSaved("no space left"))

    async def finish(step: StepContext) -> None:
        runs.set()
        while store.failure is None:
            await checkpoint()
        trace.append(step.id)

    graph = StepGraph([Step("fail", fail), Step("finish", finish), Step("next", trace, needs=["finish"])])
    with pytest.raises(StateNotSaved, match="no space left; not saved: fail, finish") as caught:
        await run_graph(graph, store=store, control=control)

    assert caught.value.unsaved == ("fail", "finish")
    assert trace == ["finish"]
    assert control.why == "state"


async def test_a_process_that_was_fenced_off_stops_what_runs_beside_the_new_one() -> None:
    store, body, control = FailingStore(), Hanging(), RunControl()

    async def fence(step: StepContext) -> None:
        await body.started.wait()
        store.fail(Fenced("journal/000002.jsonl"))

    with pytest.raises(Fenced), fail_after(10):
        await run_graph(StepGraph([Step("a", body), Step("b", fence)]), store=store, control=control)

    assert control.is_stopping


async def test_a_start_that_was_never_durable_has_no_effect() -> None:
    trace = Trace()

    class Full(FailingStore):
        def append(self, step: Any, change: Any, at: str, on_durable: Any) -> None:
            if self.failure is None:
                self.fail(StateNotSaved("no space left"))

    with pytest.raises(StateNotSaved), fail_after(10):
        await run_graph(graph_of(trace, a="", b="a"), store=Full())

    assert trace == []


# listeners


async def test_events_tell_of_a_step_in_the_order_in_which_it_happened() -> None:
    told: list[Event] = []

    async def talk(step: StepContext) -> object:
        step.log("half way")
        return 1

    await run_once(Step("a", talk), on_event=told.append)

    assert [type(event) for event in told] == [RunStarted, StepStarted, StepLogged, StepFinished, RunFinished]
    assert isinstance(told[0], RunStarted)
    assert (told[0].to_run, told[0].total, told[0].resumed) == (("a",), 1, False)
    assert told[2] == StepLogged("a", 1, "half way")
    assert told[-1] == RunFinished(1, RunStatus.COMPLETED)


@pytest.mark.parametrize("kind", [RunStarted, StepStarted, StepFinished, RunFinished])
async def test_a_listener_that_raises_stops_no_step_and_its_error_is_raised_at_the_end(kind: type) -> None:
    store = MemoryStore()

    def listen(event: Event) -> None:
        if isinstance(event, kind):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await run_graph(graph_of(a="", b="a"), store=store, on_event=listen)

    latest = await store.latest()
    assert latest is not None
    assert latest.status is RunStatus.COMPLETED


def break_at(kind: type) -> Callable[[Event], None]:
    def listen(event: Event) -> None:
        if isinstance(event, kind):
            raise ZeroDivisionError

    return listen


async def test_a_cancellation_passes_by_a_listener_that_raised_and_the_ends_are_recorded() -> None:
    store, body, after = MemoryStore(), Hanging(), list[str]()

    async def host() -> None:
        await run_once(Step("a", body), store=store, on_event=break_at(StepStarted))
        after.append("the cancellation did not pass through")

    with fail_after(10):
        async with create_task_group() as tasks:
            tasks.start_soon(host)
            await body.started.wait()
            tasks.cancel_scope.cancel()

    latest = await store.latest()
    assert latest is not None
    assert not after
    assert (statuses(latest), latest.status) == ({"a": "cancelled"}, RunStatus.CANCELLED)


async def test_a_listener_that_raises_at_the_end_of_a_cancelled_step_does_not_replace_the_cancellation() -> (
    None
):
    body = Hanging()
    with fail_after(10):
        async with create_task_group() as tasks:
            tasks.start_soon(partial(run_once, Step("a", body), on_event=break_at(StepFinished)))
            await body.started.wait()
            tasks.cancel_scope.cancel()


async def test_what_ended_the_run_is_raised_and_not_what_the_listener_raised_before() -> None:
    async def abort(step: StepContext) -> None:
        raise Abort

    with pytest.raises(BaseExceptionGroup) as caught:
        await run_once(Step("abort", abort), on_event=break_at(StepStarted))

    assert caught.group_contains(Abort)
    assert not caught.group_contains(ZeroDivisionError)


async def test_who_decides_not_to_go_on_ends_the_run_before_anything_of_it_runs() -> None:
    store, trace = MemoryStore(), Trace()

    def refuse(decision: object, opened: object) -> None:
        raise PermissionError

    with pytest.raises(PermissionError):
        await run_graph(graph_of(trace, a=""), store=store, on_decision=refuse)

    latest = await store.latest()
    assert latest is not None
    assert (trace, latest.status) == ([], RunStatus.UNFINISHED)


async def test_what_could_not_be_saved_outweighs_what_the_listener_raised() -> None:
    store = FailingStore()

    async def fail(step: StepContext) -> None:
        store.fail(StateNotSaved("no space left"))

    with pytest.raises(StateNotSaved):
        await run_once(Step("a", fail), store=store, on_event=break_at(StepStarted))


# limits


class Gauge:
    """Counts how many bodies of each pool run at once."""

    def __init__(self) -> None:
        self.now = Counter[str]()
        self.most = Counter[str]()

    def body(self, *pools: str) -> Callable[[StepContext], Any]:
        async def count(step: StepContext) -> None:
            for pool in (*pools, "total"):
                self.now[pool] += 1
                self.most[pool] = max(self.most[pool], self.now[pool])
            for _ in range(3):
                await checkpoint()
            self.now.subtract((*pools, "total"))

        return count


async def test_no_more_steps_run_at_once_than_each_limit_allows_and_as_many_do() -> None:
    gauge = Gauge()
    pools: list[list[str]] = [["x"], ["y"], ["x", "y"], []]
    steps = [Step(f"s{n}", gauge.body(*pools[n % 4]), pools=pools[n % 4]) for n in range(80)]
    await run_once(*steps, limits=Limits(total=6, pools={"x": 2, "y": 3}))

    assert gauge.most == {"total": 6, "x": 2, "y": 3}
    assert not +gauge.now


async def test_without_a_limit_all_independent_steps_run_at_once() -> None:
    gauge = Gauge()
    await run_once(*(Step(f"s{n}", gauge.body()) for n in range(100)), limits=Limits(total=None))

    assert gauge.most == {"total": 100}


async def test_an_unknown_pool_is_refused_before_anything_is_recorded() -> None:
    store = MemoryStore()

    with pytest.raises(UnknownPool):
        await run_once(Step("a", nothing), Step("b", nothing, pools=["gpu"]), store=store)
    assert await store.history() == []


async def test_needs_that_are_not_met_are_refused_before_anything_is_recorded() -> None:
    store, trace = MemoryStore(), Trace()

    with pytest.raises(NeedsNotMet):
        await run_graph(graph_of(trace, a="", b="a"), store=store, select=Selection(steps=["b"]))
    assert await store.history() == []
    assert trace == []


# size


async def test_a_chain_of_a_thousand_steps_runs_in_order() -> None:
    trace = Trace()
    ids = [f"s{n}" for n in range(1000)]
    graph = StepGraph(Step(id, trace, needs=ids[max(n - 1, 0) : n]) for n, id in enumerate(ids))
    with fail_after(60):
        state = await run_graph(graph, store=MemoryStore())

    assert trace == ids
    assert state.status is RunStatus.COMPLETED


async def test_a_failure_at_the_head_of_a_thousand_steps_blocks_each_of_them_once() -> None:
    told: list[Event] = []
    ids = [f"s{n}" for n in range(1000)]
    graph = StepGraph(Step(id, Trace("s0"), needs=ids[max(n - 1, 0) : n]) for n, id in enumerate(ids))
    await run_graph(graph, store=MemoryStore(), on_event=told.append)

    assert [e.step for e in told if isinstance(e, StepBlocked)] == ids[1:]


async def test_an_empty_graph_is_complete_at_once() -> None:
    assert (await run_once()).status is RunStatus.COMPLETED


async def test_a_resume_of_a_complete_run_runs_nothing_and_ends() -> None:
    store, trace = MemoryStore(), Trace()
    graph = graph_of(trace, a="", b="a")
    await run_graph(graph, store=store)
    trace.taken()
    with fail_after(10):
        state = await run_graph(graph, store=store, resume="always")

    assert trace == []
    assert (state.run, state.status) == (1, RunStatus.COMPLETED)
