"""What the tracker relies on, asked of every store on every event loop."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest

from sbkube.engine import FileStore, MemoryStore, RunLocked, RunStatus, StepExecution, StepStatus
from sbkube.engine.state import apply_change, now
from sbkube.engine.stores.base import Opening, Plan, PlannedStep, StateMoved, Store
from sbkube.engine.testing import as_shown

pytestmark = pytest.mark.anyio

Open = Callable[[], AbstractAsyncContextManager[Any]]


@pytest.fixture(params=["memory", "file"])
def open_store(request: pytest.FixtureRequest, tmp_path: Path) -> Open:
    if request.param == "file":
        return partial(FileStore.open, tmp_path / "s", lock_wait=0.0)
    return MemoryStore


@pytest.fixture
async def store(open_store: Open) -> AsyncIterator[Store]:
    async with open_store() as opened:
        yield opened


PLAN = Plan(
    "plan-hash", {"a": PlannedStep((), (), "fa", {"inputs": "1"}), "b": PlannedStep(("a",), (), "fb", {})}
)
BEGIN = {"to": "in_progress", "attempt": 1, "key": "k"}
COMPLETE = {"to": "completed", "seconds": 0.5, "output": {"n": 1}, "digest": "d"}
FAIL = {"to": "failed", "seconds": 0.5, "error": "no", "error_type": "ValueError"}


def opening(profile: str | None = None, run: int | None = None, **changes: Any) -> Opening:
    fields: dict[str, Any] = {
        "run_id": "id",
        "profile": profile,
        "namespace": "ns",
        "started_at": "2026-01-01T00:00:00.000Z",
        "config_hash": "c",
        "plan": PLAN,
        "steps": {"a": StepExecution("a"), "b": StepExecution("b")},
        "run": run,
        "metadata": {"by": "test"},
        "command": ["run"],
    }
    return Opening(**{**fields, **changes})


class Writer:
    """Applies changes like the tracker does."""

    def __init__(self, store: Store, steps: Mapping[str, StepExecution]) -> None:
        self.store = store
        self.steps = dict(steps)
        self.told: list[str] = []

    def change(self, name: str, change: Mapping[str, Any]) -> None:
        at = now()
        self.steps[name] = apply_change(self.steps[name], change, at, 1)
        self.store.append(self.steps[name], change, at, lambda: self.told.append(f"{name} {change['to']}"))


async def opened(store: Store, profile: str | None = None, run: int | None = None) -> Writer:
    """Like the tracker: closing what was open before is a move too."""
    while True:
        await store.recover(profile)
        with suppress(StateMoved):
            state = await store.open_execution(opening(profile, run))
            return Writer(store, state.steps)


async def test_nothing_is_known_before_anything_was_opened(store: Store) -> None:
    assert await store.latest() is None
    assert await store.latest(any_profile=True) is None
    assert await store.recover(None) is None
    assert await store.history() == []
    assert await store.plan(1) is None
    assert await store.close_execution() is None
    assert store.failure is None
    await store.flush()


async def test_an_opened_execution_is_in_progress_and_has_what_it_was_opened_with(store: Store) -> None:
    await store.recover(None)
    state = await store.open_execution(opening())
    assert state.status is RunStatus.IN_PROGRESS
    assert (state.run, state.run_id, state.namespace, state.config_hash) == (1, "id", "ns", "c")
    assert (state.plan_hash, state.metadata, state.completed_at) == ("plan-hash", {"by": "test"}, None)
    assert list(state.steps) == ["a", "b"]
    assert await store.latest() == state
    assert await store.plan(1) == PLAN


async def test_changes_are_told_in_order_once_they_are_durable(store: Store) -> None:
    writer = await opened(store)
    for change in (BEGIN, COMPLETE):
        writer.change("a", change)
    writer.change("b", BEGIN)
    writer.change("b", FAIL)
    await store.flush()
    assert writer.told == ["a in_progress", "a completed", "b in_progress", "b failed"]
    latest = await store.latest()
    assert latest is not None
    assert latest.steps == writer.steps


async def test_every_flush_of_many_at_once_returns(store: Store) -> None:
    writer = await opened(store)
    async with anyio.create_task_group() as tasks:
        for change in (BEGIN, COMPLETE):
            writer.change("a", change)
            for _ in range(5):
                tasks.start_soon(store.flush)
    assert writer.told == ["a in_progress", "a completed"]


async def test_a_flush_that_is_cancelled_leaves_the_store_as_it_is(store: Store) -> None:
    writer = await opened(store)
    writer.change("a", BEGIN)
    with anyio.CancelScope() as scope:
        scope.cancel()
        await store.flush()
    writer.change("a", COMPLETE)
    await store.flush()
    assert writer.told == ["a in_progress", "a completed"]


async def test_recovery_settles_what_was_in_progress_and_latest_does_not(store: Store) -> None:
    writer = await opened(store)
    writer.change("a", BEGIN)
    await store.flush()
    latest, settled = await store.latest(), await store.recover(None)
    assert latest is not None
    assert settled is not None
    assert latest.steps["a"].status is StepStatus.IN_PROGRESS
    assert settled.steps["a"].status is StepStatus.INTERRUPTED
    assert settled.status is RunStatus.INTERRUPTED


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ([("a", BEGIN), ("a", COMPLETE), ("b", BEGIN), ("b", COMPLETE)], RunStatus.COMPLETED),
        ([("a", BEGIN), ("a", FAIL)], RunStatus.FAILED),
        ([("a", BEGIN), ("a", {"to": "cancelled", "seconds": 0.1})], RunStatus.CANCELLED),
        ([("a", BEGIN), ("a", COMPLETE)], RunStatus.UNFINISHED),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_a_closed_execution_says_how_it_ended(
    store: Store, changes: list[tuple[str, dict[str, Any]]], status: RunStatus
) -> None:
    writer = await opened(store)
    for name, change in changes:
        writer.change(name, change)
    closed = await store.close_execution()
    assert closed is not None
    assert closed.status is status
    assert closed.completed_at is not None
    assert closed.steps == writer.steps
    assert [closed] == [await store.latest()] == [await store.recover(None)]
    assert [as_shown(closed)] == [as_shown(state) for state in await store.history()]
    assert await store.close_execution() is None


async def test_a_run_that_is_gone_on_with_keeps_its_number_and_a_new_one_gets_the_next(store: Store) -> None:
    await opened(store)
    first = await store.close_execution()
    await opened(store, run=1)
    again = await store.close_execution()
    await opened(store)
    new = await store.close_execution()
    assert first is not None
    assert again is not None
    assert new is not None
    assert (first.run, again.run, new.run) == (1, 1, 2)
    assert first.journal < again.journal < new.journal
    assert await store.history() == [new, again]
    assert await store.history(1) == [new]
    assert await store.history(0) == []


async def test_profiles_do_not_see_each_other(store: Store) -> None:
    for profile in (None, "prod", "dev"):
        await opened(store, profile)
        await store.close_execution()
    none, prod, dev, newest = [
        await store.latest(),
        await store.latest("prod"),
        await store.latest("dev"),
        await store.latest(any_profile=True),
    ]
    assert none is not None
    assert prod is not None
    assert (none.run, prod.run, dev) == (1, 2, newest)
    assert await store.latest("test") is None
    recovered = await store.recover("prod")
    assert recovered == prod


async def test_opening_again_closes_what_was_open(store: Store) -> None:
    writer = await opened(store)
    writer.change("a", BEGIN)
    writer.change("a", FAIL)
    await opened(store)
    runs = await store.history()
    assert runs[-1].status is RunStatus.FAILED
    assert runs[0].status is RunStatus.IN_PROGRESS


async def test_runs_are_removed_but_the_newest_those_of_each_profile_and_the_open_one(store: Store) -> None:
    await opened(store, "old")
    for _ in range(4):
        await opened(store)
    await store.close_execution()
    await opened(store, "old", run=1)
    assert await store.remove_runs(2) == [2, 3]
    assert [state.run for state in await store.history()] == [5, 4, 1]
    assert await store.plan(2) is None
    assert await store.plan(1) == PLAN
    await store.close_execution()
    assert await store.remove_runs(0) == [4]
    assert await store.remove_runs(0) == []
    assert (await opened(store)).steps.keys() == {"a", "b"}
    newest = await store.latest()
    assert newest is not None
    assert newest.run == 6


async def test_whoever_asks_to_be_told_of_a_failure_is_not_told_without_one(store: Store) -> None:
    told: list[str] = []
    writer = await opened(store)
    store.on_failure(lambda: told.append("failed"))
    writer.change("a", BEGIN)
    await store.close_execution()
    assert told == []
    assert store.failure is None


# Beyond the memory of one process


async def test_a_second_open_of_the_same_folder_is_refused(tmp_path: Path) -> None:
    async with FileStore.open(tmp_path / "s"):
        with pytest.raises(RunLocked):
            async with FileStore.open(tmp_path / "s", lock_wait=0.0):
                raise AssertionError


async def test_a_file_store_finds_what_another_one_left(tmp_path: Path) -> None:
    async with FileStore.open(tmp_path / "s") as store:
        writer = await opened(store, "prod")
        writer.change("a", BEGIN)
        writer.change("a", COMPLETE)
        closed = await store.close_execution()
    async with FileStore.open(tmp_path / "s") as store:
        assert await store.recover("prod") == closed
        assert await store.recover(None) is None
        assert await store.plan(1) == PLAN


async def test_an_opening_that_comes_too_late_is_told_to_look_again(tmp_path: Path) -> None:
    async with (
        FileStore.open(tmp_path / "s", lock=False) as slow,
        FileStore.open(tmp_path / "s", lock=False) as quick,
    ):
        assert await slow.recover(None) is None
        await opened(quick)
        await quick.close_execution()
        with pytest.raises(StateMoved):
            await slow.open_execution(opening())
        known = await slow.recover(None)
        assert known is not None
        state = await slow.open_execution(opening(run=known.run))
        assert (state.run, state.journal) == (1, 2)


async def test_a_store_that_is_left_by_an_error_closes_what_is_open(tmp_path: Path) -> None:
    async def fail() -> None:
        async with FileStore.open(tmp_path / "s") as store:
            writer = await opened(store)
            writer.change("a", BEGIN)
            writer.change("a", FAIL)
            raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        await fail()
    latest = await FileStore.read(tmp_path / "s").latest()
    assert latest is not None
    assert latest.status is RunStatus.FAILED


async def test_a_store_that_is_left_by_cancellation_closes_what_is_open(tmp_path: Path) -> None:
    with anyio.CancelScope() as scope:
        async with FileStore.open(tmp_path / "s") as store:
            writer = await opened(store)
            writer.change("a", BEGIN)
            scope.cancel()
            await anyio.lowlevel.checkpoint()
    latest = await FileStore.read(tmp_path / "s").latest()
    assert latest is not None
    # It ended by itself, so nothing is in doubt but the step that nobody ended.
    assert latest.completed_at is not None
    assert latest.steps["a"].status is StepStatus.INTERRUPTED
