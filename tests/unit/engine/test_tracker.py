"""`track_step` alone: whatever a body does, its start and its end are durable before anybody goes on."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio import create_task_group, sleep_forever
from anyio.lowlevel import checkpoint

from sbkube.engine import (
    Event,
    ExecutionState,
    ExecutionTracker,
    FileStore,
    IllegalMove,
    MemoryStore,
    NoExecution,
    ResultNotJson,
    RunStatus,
    Step,
    StepAlreadyCompleted,
    StepExecution,
    StepFinished,
    StepGraph,
    StepStarted,
    StepStatus,
    UnknownStep,
)
from sbkube.engine.errors import InputsNotJson

from .helpers import MortalStore, statuses

pytestmark = pytest.mark.anyio


class Abort(BaseException):
    """Like `KeyboardInterrupt`, which test runners take for themselves."""


class Witness(MemoryStore):
    """Memory that writes down each change, and what had been flushed when it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.changes: list[str] = []
        self.flushed = 0

    def append(
        self,
        step: StepExecution,
        change: Mapping[str, Any],
        at: str,
        on_durable: Callable[[], None] | None,
    ) -> None:
        self.changes.append(f"{step.name} {change['to']}")
        super().append(step, change, at, on_durable)

    async def flush(self) -> None:
        await super().flush()
        self.flushed = len(self.changes)


async def started(store: MemoryStore, *names: str, **options: Any) -> ExecutionTracker:
    tracker = ExecutionTracker(store)
    await tracker.start_execution(names or ("a", "b"), **options)
    return tracker


async def fail(tracker: ExecutionTracker, why: str, **metadata: Any) -> None:
    async with tracker.track_step("a") as step:
        step.metadata.update(metadata)
        raise ValueError(why)


async def latest(store: MemoryStore) -> ExecutionState:
    found = await store.latest()
    assert found is not None
    return found


async def test_the_start_is_recorded_before_the_body_and_the_end_before_the_block_is_left() -> None:
    store = Witness()
    tracker = await started(store)
    async with tracker.track_step("a") as step:
        assert store.changes == ["a in_progress"]
        step.result, step.metadata["note"] = [1], "n"

    assert store.changes == ["a in_progress", "a completed"]
    assert store.flushed == 2
    done = (await latest(store)).steps["a"]
    assert (done.status, done.output, done.metadata) == (StepStatus.COMPLETED, [1], {"note": "n"})


async def test_an_exception_is_recorded_and_goes_on_to_the_caller() -> None:
    store = Witness()
    tracker = await started(store)
    with pytest.raises(ValueError, match="no disk"):
        await fail(tracker, "no disk", note="n")

    failed = (await latest(store)).steps["a"]
    assert store.flushed == 2
    assert (failed.status, failed.error, failed.error_type) == (StepStatus.FAILED, "no disk", "ValueError")
    assert failed.metadata == {"note": "n"}


async def test_what_is_no_exception_is_recorded_too() -> None:
    store = Witness()
    tracker = await started(store)
    with pytest.raises(Abort):
        async with tracker.track_step("a"):
            raise Abort

    assert statuses(await latest(store))["a"] == "failed"


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit])
async def test_who_is_told_to_stop_was_cancelled_and_did_not_fail(stop: type[BaseException]) -> None:
    store = Witness()
    tracker = await started(store)
    try:
        async with tracker.track_step("a"):
            raise stop
    except stop:
        pass

    assert statuses(await latest(store))["a"] == "cancelled"


async def test_a_cancelled_body_is_recorded_as_cancelled_before_the_cancellation_goes_on() -> None:
    store, running = Witness(), anyio.Event()
    tracker = await started(store)

    async def track() -> None:
        async with tracker.track_step("a"):
            running.set()
            await sleep_forever()

    async with create_task_group() as tasks:
        tasks.start_soon(track)
        await running.wait()
        tasks.cancel_scope.cancel()

    assert statuses(await latest(store))["a"] == "cancelled"
    assert store.flushed == 2


async def test_a_cancellation_that_comes_while_the_success_is_recorded_leaves_it_a_success() -> None:
    store = Witness()
    tracker = await started(store)
    with anyio.CancelScope() as scope:
        async with tracker.track_step("a"):
            scope.cancel()

    assert statuses(await latest(store))["a"] == "completed"


async def test_a_step_that_is_cancelled_before_its_start_is_durable_never_gets_to_its_body() -> None:
    store = MortalStore()
    tracker = await started(store)
    store.die()
    with anyio.move_on_after(0):
        async with tracker.track_step("a"):
            raise AssertionError("the body began though its start was not durable")

    assert tracker.step("a").status is StepStatus.CANCELLED


async def test_many_steps_may_be_open_at_once() -> None:
    store = Witness()
    names = [f"s{n}" for n in range(50)]
    tracker = await started(store, *names)
    both = anyio.Event()

    async def track(name: str) -> None:
        async with tracker.track_step(name) as step:
            if name == names[-1]:
                both.set()
            await both.wait()
            step.result = name

    async with create_task_group() as tasks:
        for name in names:
            tasks.start_soon(track, name)

    state = await latest(store)
    assert {name: step.output for name, step in state.steps.items()} == {name: name for name in names}


async def test_a_result_that_is_no_json_fails_the_step_and_raises() -> None:
    store = Witness()
    tracker = await started(store)
    with pytest.raises(ResultNotJson):
        async with tracker.track_step("a") as step:
            step.result = object()

    assert statuses(await latest(store))["a"] == "failed"


async def test_metadata_that_is_no_json_fails_the_step_and_raises() -> None:
    tracker = await started(MemoryStore())
    with pytest.raises(ResultNotJson, match="the metadata cannot be recorded"):
        async with tracker.track_step("a") as step:
            step.metadata["when"] = object()

    assert tracker.step("a").status is StepStatus.FAILED
    assert "when" not in tracker.step("a").metadata


async def test_a_completed_step_is_tracked_again_only_if_that_is_asked_for() -> None:
    tracker = await started(MemoryStore())
    async with tracker.track_step("a") as step:
        first = step.key
    with pytest.raises(StepAlreadyCompleted, match="'a' is completed"):
        async with tracker.track_step("a"):
            raise AssertionError("it began")

    async with tracker.track_step("a", rerun=True) as step:
        assert (step.attempt, step.key == first) == (2, False)
    assert tracker.step("a").status is StepStatus.COMPLETED


async def test_a_failed_step_is_tracked_again_with_the_same_key() -> None:
    tracker = await started(MemoryStore())
    keys = []
    for _ in range(2):
        with pytest.raises(ValueError, match="again"):
            await fail(tracker, "again")
        keys.append(tracker.step("a").key)

    assert len(set(keys)) == 1
    assert tracker.step("a").attempt == 2


async def test_a_step_that_is_open_cannot_be_opened_again() -> None:
    tracker = await started(MemoryStore())
    async with tracker.track_step("a"):
        with pytest.raises(IllegalMove, match="'a' is in_progress"):
            async with tracker.track_step("a"):
                raise AssertionError("it began")

    assert tracker.step("a").status is StepStatus.COMPLETED


async def test_a_disabled_step_cannot_be_tracked() -> None:
    tracker = ExecutionTracker(MemoryStore())
    await tracker.start_execution(StepGraph([Step("a", enabled=False)]))

    with pytest.raises(IllegalMove, match="'a' is skipped"):
        async with tracker.track_step("a"):
            raise AssertionError("it began")


async def test_an_unknown_step_is_refused_by_name() -> None:
    tracker = await started(MemoryStore())

    with pytest.raises(UnknownStep, match="'nobody'"):
        async with tracker.track_step("nobody"):
            raise AssertionError("it began")


async def test_a_tracker_that_was_not_started_or_has_ended_tracks_nothing() -> None:
    tracker = ExecutionTracker(MemoryStore())
    for ask in (tracker.unfinished, tracker.get_restart_point, tracker.get_execution_summary):
        with pytest.raises(NoExecution):
            ask()
    with pytest.raises(NoExecution):
        async with tracker.track_step("a"):
            raise AssertionError("it began")

    await tracker.start_execution(["a"])
    await tracker.end_execution()
    with pytest.raises(NoExecution):
        async with tracker.track_step("a"):
            raise AssertionError("it began")
    assert tracker.get_execution_summary()["next"] == "a"


async def test_a_tracker_may_carry_one_execution_after_the_other() -> None:
    store = MemoryStore()
    tracker = await started(store, "a")
    await tracker.end_execution()
    await tracker.start_execution(["b"])
    async with tracker.track_step("b"):
        pass

    assert (await tracker.end_execution()).status is RunStatus.COMPLETED
    assert [statuses(state) for state in await store.history()] == [{"b": "completed"}, {"a": "pending"}]


async def test_a_tracker_whose_store_went_on_to_another_execution_writes_nothing_into_that(
    tmp_path: Any,
) -> None:
    async with FileStore.open(tmp_path) as store:
        one, two = ExecutionTracker(store), ExecutionTracker(store)
        await one.start_execution(["a", "b"])
        await two.start_execution(["a", "b"])
        with pytest.raises(NoExecution, match="went on to another"):
            async with one.track_step("a"):
                raise AssertionError("it began")
        with pytest.raises(NoExecution):
            await one.end_execution()
        async with two.track_step("a"):
            pass

    found = await FileStore.read(tmp_path).latest()
    assert found is not None
    assert (found.run, statuses(found)) == (2, {"a": "completed", "b": "pending"})


async def test_unfinished_gives_the_steps_in_order_as_they_stand_when_it_is_asked() -> None:
    tracker = await started(MemoryStore(), "a", "b", "c")
    assert tracker.unfinished() == ["a", "b", "c"]

    async with tracker.track_step("b"):
        assert tracker.unfinished() == ["a", "b", "c"]
    assert tracker.unfinished() == ["a", "c"]
    assert tracker.get_restart_point() == "a"


async def test_inputs_config_and_metadata_that_are_no_json_are_refused_before_anything_is_recorded() -> None:
    store = MemoryStore()

    with pytest.raises(InputsNotJson):
        await started(store, config={"when": object()})
    with pytest.raises(InputsNotJson, match="step 'a'"):
        await ExecutionTracker(store).start_execution(StepGraph([Step("a", inputs={1, 2})]))
    with pytest.raises(ResultNotJson, match="metadata of the run"):
        await started(store, metadata={"when": object()})
    assert await store.history() == []


async def test_events_are_told_once_what_they_tell_is_durable() -> None:
    told: list[Event] = []
    tracker = ExecutionTracker(MemoryStore(), on_event=told.append)
    await tracker.start_execution(["a"])
    async with tracker.track_step("a") as step:
        assert told == [StepStarted("a", 1)]
        step.result = 1

    assert isinstance(told[1], StepFinished)
    assert (told[1].status, told[1].output) == (StepStatus.COMPLETED, 1)


async def test_what_the_store_dies_with_is_interrupted_and_tracked_again_in_the_next_process() -> None:
    store = MortalStore()
    tracker = await started(store)
    async with create_task_group() as tasks:
        async with tracker.track_step("a"):
            store.die()
        tasks.cancel_scope.cancel()
    store.revive()

    again = await started(store, resume="unfinished")
    assert again.step("a").status is StepStatus.INTERRUPTED
    assert again.unfinished() == ["a", "b"]
    async with again.track_step("a") as step:
        assert step.attempt == 2
    assert again.unfinished() == ["b"]


async def test_steps_are_tracked_in_files_by_names_that_no_file_could_have(tmp_path: Any) -> None:
    names = ["a/b", "..", "nul\0", "하나", "x" * 300, " "]
    async with FileStore.open(tmp_path) as store:
        tracker = ExecutionTracker(store)
        await tracker.start_execution(names)
        for name in names[:-1]:
            async with tracker.track_step(name) as step:
                step.result = name

    async with FileStore.open(tmp_path) as store:
        tracker = ExecutionTracker(store)
        await tracker.start_execution(names, resume="unfinished")
        assert tracker.unfinished() == [" "]
        assert [tracker.step(name).output for name in names[:-1]] == names[:-1]


async def test_tracking_in_files_loses_no_end_to_a_cancelled_scope(tmp_path: Any) -> None:
    async with FileStore.open(tmp_path) as store:
        tracker = ExecutionTracker(store)
        await tracker.start_execution(["a", "b"])
        running = anyio.Event()

        async def track(name: str) -> None:
            async with tracker.track_step(name):
                if name == "b":
                    running.set()
                await sleep_forever()

        async with create_task_group() as tasks:
            tasks.start_soon(partial(track, "a"))
            tasks.start_soon(partial(track, "b"))
            await running.wait()
            await checkpoint()
            tasks.cancel_scope.cancel()

    found = await FileStore.read(tmp_path).latest()
    assert found is not None
    assert set(statuses(found).values()) == {"cancelled"}


async def test_what_the_listener_raised_is_raised_once_when_all_is_recorded() -> None:
    def listen(event: Event) -> None:
        raise ZeroDivisionError(type(event).__name__)

    store = MemoryStore()
    tracker = ExecutionTracker(store, on_event=listen)
    await tracker.start_execution(["a"])
    async with tracker.track_step("a"):
        pass
    with pytest.raises(ZeroDivisionError, match="StepStarted"):
        await tracker.end_execution()

    assert (await latest(store)).is_complete
    tracker.listener.raise_kept()


async def test_a_run_that_is_gone_on_with_still_names_the_run_that_it_took_over_from() -> None:
    store = MemoryStore()
    for config in (1, 2, 2):
        tracker = await started(store, config=config, resume="unfinished")
        await tracker.end_execution()

    assert (tracker.state.run, tracker.state.resumed_from) == (2, 1)


async def test_the_hash_of_the_config_tells_one_from_another() -> None:
    async def hash_of(config: Any) -> str:
        return (await started(MemoryStore(), config=config)).state.config_hash

    assert await hash_of({"a": 1, "b": 2}) == await hash_of({"b": 2, "a": 1})
    assert await hash_of({"a": 1}) != await hash_of({"a": 2})


async def test_the_command_is_in_the_head_of_the_journal(tmp_path: Path) -> None:
    async with FileStore.open(tmp_path) as store:
        await ExecutionTracker(store).start_execution(["a"], command={"only": "prepare"})

    head = json.loads((tmp_path / "journal/000001.jsonl").read_text().splitlines()[0])
    assert head["command"] == {"only": "prepare"}
