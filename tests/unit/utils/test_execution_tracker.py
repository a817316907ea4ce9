"""The execution tracker's acceptance list: run it with `-v` and read it as a specification."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from sbkube.engine import (
    ExecutionState,
    ExecutionTracker,
    FileStore,
    RunLocked,
    RunStatus,
    StepAlreadyCompleted,
    StepStatus,
    load_execution_history,
)
from sbkube.engine.testing import as_shown

pytestmark = pytest.mark.anyio

STEPS = ["prepare", "build", "template", "deploy"]


@asynccontextmanager
async def process(
    folder: Path, steps: Sequence[str] = STEPS, **options: Any
) -> AsyncIterator[ExecutionTracker]:
    """What one process does: open the store, go on with the latest run, end."""
    async with FileStore.open(folder, lock_wait=0.0) as store:
        tracker = ExecutionTracker(store)
        await tracker.start_execution(steps, **{"resume": "unfinished", **options})
        yield tracker


async def complete(tracker: ExecutionTracker, *names: str) -> None:
    for name in names:
        async with tracker.track_step(name) as step:
            step.result = {"of": name}


async def fail(tracker: ExecutionTracker, name: str, why: str = "no such chart") -> None:
    with pytest.raises(ValueError, match=why):
        async with tracker.track_step(name):
            raise ValueError(why)


async def latest(folder: Path) -> ExecutionState:
    found = await FileStore.read(folder).latest(any_profile=True)
    assert found is not None
    return found


class TestNewRun:
    async def test_a_new_run_has_a_number_an_id_and_all_its_steps_pending(self, tmp_path: Path) -> None:
        async with process(tmp_path, profile="dev", namespace="shop") as tracker:
            state = tracker.state

        assert (state.run, state.profile, state.namespace) == (1, "dev", "shop")
        assert len(state.run_id) == 36
        assert list(state.steps) == STEPS
        assert {step.status for step in state.steps.values()} == {StepStatus.PENDING}
        assert state.status is RunStatus.IN_PROGRESS

    async def test_a_complete_run_is_followed_by_a_new_one(self, tmp_path: Path) -> None:
        for run in (1, 2):
            async with process(tmp_path) as tracker:
                assert tracker.run == run
                await complete(tracker, *STEPS)

    async def test_a_new_run_can_be_asked_for_though_the_last_one_is_not_complete(
        self, tmp_path: Path
    ) -> None:
        async with process(tmp_path) as tracker:
            await complete(tracker, "prepare")
        async with process(tmp_path, resume="no") as tracker:
            assert tracker.run == 2
            assert tracker.unfinished() == STEPS


class TestStatusChanges:
    async def test_a_step_is_pending_then_in_progress_then_completed(self, tmp_path: Path) -> None:
        async with process(tmp_path) as tracker:
            seen = [tracker.step("prepare").status]
            async with tracker.track_step("prepare"):
                seen.append(tracker.step("prepare").status)
            seen.append(tracker.step("prepare").status)

        assert seen == [StepStatus.PENDING, StepStatus.IN_PROGRESS, StepStatus.COMPLETED]

    async def test_a_completed_step_has_times_a_duration_its_result_and_metadata(
        self, tmp_path: Path
    ) -> None:
        async with process(tmp_path) as tracker:
            async with tracker.track_step("prepare") as step:
                step.result, step.metadata["charts"] = {"pulled": True}, 3
            done = tracker.step("prepare")

        assert (done.output, done.metadata, done.error) == ({"pulled": True}, {"charts": 3}, None)
        assert done.started_at is not None
        assert done.completed_at is not None
        assert done.started_at <= done.completed_at
        assert done.duration is not None

    async def test_a_status_is_in_the_journal_before_the_body_runs(self, tmp_path: Path) -> None:
        async with process(tmp_path) as tracker, tracker.track_step("prepare"):
            assert (await latest(tmp_path)).steps["prepare"].status is StepStatus.IN_PROGRESS

    async def test_a_completed_step_does_not_start_again_unless_it_is_told_to(self, tmp_path: Path) -> None:
        async with process(tmp_path) as tracker:
            await complete(tracker, "prepare")
            with pytest.raises(StepAlreadyCompleted):
                await complete(tracker, "prepare")
            async with tracker.track_step("prepare", rerun=True) as step:
                assert step.attempt == 2


class TestFailureAndRestartPoint:
    async def test_a_failure_is_recorded_with_its_error_and_goes_on_to_the_caller(
        self, tmp_path: Path
    ) -> None:
        async with process(tmp_path) as tracker:
            await complete(tracker, "prepare")
            await fail(tracker, "build")

        found = await latest(tmp_path)
        assert found.status is RunStatus.FAILED
        assert (found.steps["build"].error, found.steps["build"].error_type) == (
            "no such chart",
            "ValueError",
        )

    async def test_the_restart_point_is_the_first_step_that_is_not_completed(self, tmp_path: Path) -> None:
        async with process(tmp_path) as tracker:
            assert tracker.get_restart_point() == "prepare"
            await complete(tracker, "prepare")
            await fail(tracker, "build")
            assert tracker.get_restart_point() == "build"
            await complete(tracker, "build", "template", "deploy")
            assert tracker.get_restart_point() is None

    async def test_a_run_can_be_resumed_until_it_is_complete(self, tmp_path: Path) -> None:
        async with FileStore.open(tmp_path) as store:
            assert not await ExecutionTracker(store).can_resume()
        async with process(tmp_path) as tracker:
            await fail(tracker, "prepare")
            assert await tracker.can_resume()
            await complete(tracker, *STEPS)
        async with FileStore.open(tmp_path) as store:
            assert not await ExecutionTracker(store).can_resume()

    async def test_a_resume_goes_on_with_what_failed_and_repeats_nothing_that_completed(
        self, tmp_path: Path
    ) -> None:
        async with process(tmp_path) as tracker:
            await complete(tracker, "prepare")
            await fail(tracker, "build")
        async with process(tmp_path) as tracker:
            assert tracker.unfinished() == ["build", "template", "deploy"]
            await complete(tracker, *tracker.unfinished())

        assert (await latest(tmp_path)).status is RunStatus.COMPLETED
        assert (await latest(tmp_path)).steps["build"].attempt == 2


class TestSaveAndLoad:
    async def test_a_later_process_finds_the_same_run_with_all_that_was_recorded(
        self, tmp_path: Path
    ) -> None:
        async with process(tmp_path, metadata={"by": "ci"}) as tracker:
            await complete(tracker, "prepare", "build")
            before = tracker.state
        async with process(tmp_path, metadata={"by": "ci"}) as tracker:
            after = tracker.state

        assert (after.run, after.run_id, after.started_at) == (before.run, before.run_id, before.started_at)
        assert after.steps["prepare"] == before.steps["prepare"]
        assert after.steps["build"].output == {"of": "build"}
        assert after.metadata == {"by": "ci"}

    async def test_latest_json_is_plain_json_that_loads_as_the_state(self, tmp_path: Path) -> None:
        async with process(tmp_path) as tracker:
            await complete(tracker, *STEPS)
        written = (tmp_path / "runs" / "latest.json").read_bytes()

        assert json.loads(written)["steps"]["deploy"]["status"] == "completed"
        assert ExecutionState.from_json(written).steps == as_shown(await latest(tmp_path)).steps

    async def test_a_state_makes_the_way_to_json_and_back(self, tmp_path: Path) -> None:
        async with process(tmp_path, config={"a": [1, None]}) as tracker:
            await complete(tracker, "prepare")
            await fail(tracker, "build")

        found = await latest(tmp_path)
        assert ExecutionState.from_json(found.to_json()) == found

    async def test_only_one_process_at_a_time_writes(self, tmp_path: Path) -> None:
        async with process(tmp_path):
            with pytest.raises(RunLocked, match="is locked by process"):
                async with process(tmp_path):
                    raise AssertionError("two had the lock")


class TestChangedConfig:
    async def test_a_changed_config_is_a_new_run_that_goes_on_from_the_old_one(self, tmp_path: Path) -> None:
        async with process(tmp_path, config={"replicas": 1}) as tracker:
            await complete(tracker, "prepare", "build")
        async with process(tmp_path, config={"replicas": 2}) as tracker:
            assert (tracker.run, tracker.state.resumed_from) == (2, 1)
            assert tracker.unfinished() == STEPS

    async def test_the_same_config_in_another_order_is_the_same_run(self, tmp_path: Path) -> None:
        async with process(tmp_path, config={"a": 1, "b": 2}) as tracker:
            await complete(tracker, "prepare")
        async with process(tmp_path, config={"b": 2, "a": 1}) as tracker:
            assert tracker.run == 1
            assert tracker.unfinished() == STEPS[1:]

    async def test_a_further_step_is_a_new_run_that_takes_over_what_is_completed(
        self, tmp_path: Path
    ) -> None:
        async with process(tmp_path) as tracker:
            await complete(tracker, "prepare")
        async with process(tmp_path, [*STEPS, "notify"]) as tracker:
            assert tracker.run == 2
            assert tracker.unfinished() == ["build", "template", "deploy", "notify"]
            assert tracker.step("prepare").metadata["reused_from"] == 1
            assert tracker.step("prepare").output == {"of": "prepare"}


class TestSummary:
    async def test_a_summary_counts_steps_and_names_errors_and_the_restart_point(
        self, tmp_path: Path
    ) -> None:
        async with process(tmp_path, profile="dev") as tracker:
            await complete(tracker, "prepare")
            await fail(tracker, "build")
            summary = tracker.get_execution_summary()

        assert summary["counts"] == {"completed": 1, "failed": 1, "pending": 2}
        assert summary["errors"] == {"build": "no such chart"}
        assert (summary["run"], summary["profile"], summary["total"], summary["next"]) == (
            1,
            "dev",
            4,
            "build",
        )
        assert summary == json.loads(json.dumps(summary))


class TestHistory:
    async def test_history_gives_the_newest_runs_first_and_no_more_than_asked(self, tmp_path: Path) -> None:
        for _ in range(4):
            async with process(tmp_path, resume="no") as tracker:
                await complete(tracker, *STEPS)
        async with process(tmp_path, resume="no") as tracker:
            await fail(tracker, "prepare")

        history = await load_execution_history(tmp_path, limit=3)
        assert [state.run for state in history] == [5, 4, 3]
        assert [state.status for state in history] == [
            RunStatus.FAILED,
            RunStatus.COMPLETED,
            RunStatus.COMPLETED,
        ]

    async def test_a_resumed_run_stands_in_the_history_once(self, tmp_path: Path) -> None:
        for _ in range(3):
            async with process(tmp_path) as tracker:
                await fail(tracker, "prepare")

        assert [state.run for state in await load_execution_history(tmp_path)] == [1]

    async def test_history_of_a_folder_that_is_not_there_is_empty_and_creates_nothing(
        self, tmp_path: Path
    ) -> None:
        assert await load_execution_history(tmp_path / "none") == []
        assert not await anyio.Path(tmp_path / "none").exists()

    async def test_a_tracker_gives_the_history_of_its_own_store(self, tmp_path: Path) -> None:
        for run in (1, 2):
            async with process(tmp_path, resume="no") as tracker:
                assert (await tracker.load_execution_history(limit=1))[0].run == run


class TestCleaningUp:
    async def test_cleaning_up_keeps_the_newest_runs_and_the_open_one(self, tmp_path: Path) -> None:
        for _ in range(4):
            async with process(tmp_path, resume="no") as tracker:
                await complete(tracker, *STEPS)
        async with process(tmp_path, resume="no") as tracker:
            removed = await tracker.cleanup_old_states(keep=2)
            await complete(tracker, "prepare")

        kept = [state.run for state in await load_execution_history(tmp_path)]
        assert removed == [1, 2, 3]
        assert kept == [5, 4]

    async def test_a_resume_works_after_everything_old_was_cleaned_up(self, tmp_path: Path) -> None:
        for _ in range(3):
            async with process(tmp_path, resume="no") as tracker:
                await complete(tracker, "prepare")
                await tracker.cleanup_old_states(keep=1)
        async with process(tmp_path) as tracker:
            assert tracker.run == 3
            assert tracker.unfinished() == STEPS[1:]


class TestTwoRunsKeptApart:
    async def test_runs_of_two_profiles_are_resumed_each_on_its_own(self, tmp_path: Path) -> None:
        async with process(tmp_path, profile="dev") as tracker:
            await complete(tracker, "prepare", "build")
        async with process(tmp_path, profile="prod") as tracker:
            assert tracker.unfinished() == STEPS
            await complete(tracker, "prepare")

        async with process(tmp_path, profile="dev") as tracker:
            assert (tracker.run, tracker.unfinished()) == (1, ["template", "deploy"])
        async with process(tmp_path, profile="prod") as tracker:
            assert (tracker.run, tracker.unfinished()) == (2, ["build", "template", "deploy"])

    async def test_runs_in_two_folders_know_nothing_of_each_other(self, tmp_path: Path) -> None:
        async with process(tmp_path / "one") as one, process(tmp_path / "two") as two:
            await complete(one, *STEPS)
            await complete(two, "prepare")
            assert one.unfinished() == []
            assert two.unfinished() == STEPS[1:]

        assert (await latest(tmp_path / "one")).status is RunStatus.COMPLETED
        assert (await latest(tmp_path / "two")).status is RunStatus.UNFINISHED

    async def test_a_new_run_leaves_the_record_of_the_old_one_as_it_was(self, tmp_path: Path) -> None:
        async with process(tmp_path) as tracker:
            await fail(tracker, "prepare")
        first = (await load_execution_history(tmp_path))[0]
        async with process(tmp_path, resume="no") as tracker:
            await complete(tracker, *STEPS)

        second, kept = await load_execution_history(tmp_path)
        assert second.status is RunStatus.COMPLETED
        assert (kept.run, kept.run_id, kept.status) == (first.run, first.run_id, RunStatus.FAILED)
        assert kept.steps == first.steps
