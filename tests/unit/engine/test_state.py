"""Legal moves, and records that come back as they were."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sbkube.engine import ExecutionState, IllegalMove, RunStatus, StepExecution, StepsFailed, StepStatus
from sbkube.engine.state import MOVES, apply_change, now, run_status, settled

from .helpers import completion

P, I, C, F, S, N, B, X = (
    StepStatus.PENDING,
    StepStatus.IN_PROGRESS,
    StepStatus.COMPLETED,
    StepStatus.FAILED,
    StepStatus.SKIPPED,
    StepStatus.INTERRUPTED,
    StepStatus.BLOCKED,
    StepStatus.CANCELLED,
)
LEGAL = {P: {I, B, C}, I: {C, F, X, P, N}, C: {P}, F: {I}, X: {I}, N: {I}, B: {I, C, B}, S: set[StepStatus]()}
CHANGES: dict[StepStatus, dict[str, Any]] = {
    I: {"attempt": 1, "key": "k"},
    C: {"seconds": 1.0, "digest": "d"},
    B: {"by": "db"},
}


@pytest.mark.parametrize("before", list(StepStatus))
@pytest.mark.parametrize("after", list(StepStatus))
def test_a_step_moves_as_the_table_says_and_in_no_other_way(before: StepStatus, after: StepStatus) -> None:
    step = StepExecution("a", before, completion=completion())
    change = {"to": after.value, **CHANGES.get(after, {})}

    if after in LEGAL[before]:
        assert apply_change(step, change, now(), 1).status is after
    else:
        with pytest.raises(IllegalMove, match=f"step 'a' is {before.value}; it cannot become {after.value}"):
            apply_change(step, change, now(), 1)
    assert (after in MOVES[before]) == (after in LEGAL[before])


def test_a_start_forgets_the_last_completion_and_what_it_returned() -> None:
    done = StepExecution("a", P, output={"old": 1}, error="e", metadata={"m": 1}, completion=completion())
    started = apply_change(done, {"to": "in_progress", "attempt": 2, "key": "k"}, "at", 1)

    assert (started.output, started.error, started.completion) == (None, None, None)
    assert started.metadata == {}
    assert (started.attempt, started.key, started.started_at) == (2, "k", "at")


def test_a_completion_records_what_it_was_made_from() -> None:
    started = StepExecution("a", I, planned="p", full="f", late="l", attempt=3, key="k", started_at="before")
    change = {"to": "completed", "seconds": 1.5, "output": [1], "digest": "d", "metadata": {"m": 1}}
    done = apply_change(started, change, "at", 9)

    assert done.completion == replace(completion(9, "p", "f", "d"), late="l")
    assert (done.output, done.duration, done.started_at, done.completed_at) == ([1], 1.5, "before", "at")
    assert done.metadata == {"m": 1}


def test_a_take_over_keeps_the_output_and_names_the_run() -> None:
    before = StepExecution("a", B, output=[1], blocked_by="db", fresh=True, completion=completion(4, "p"))
    taken = apply_change(before, {"to": "completed"}, "at", 9)

    assert taken.metadata == {"reused_from": 4}
    assert taken.completion == before.completion
    assert (taken.output, taken.blocked_by, taken.fresh) == ([1], None, False)


def test_a_failed_attempt_that_is_repeated_keeps_its_key_and_error() -> None:
    started = StepExecution("a", I, key="k", full="f", attempt=1)
    change = {"to": "pending", "seconds": 0.1, "error": "busy", "error_type": "Busy", "reason": "waits"}
    waiting = apply_change(started, change, "at", 1)

    assert (waiting.key, waiting.full, waiting.error, waiting.reason) == ("k", "f", "busy", "waits")


def test_a_completed_step_that_is_run_again_starts_with_a_new_key() -> None:
    assert apply_change(StepExecution("a", C, key="k"), {"to": "pending"}, "at", 1).key is None


def test_what_was_in_progress_when_the_process_died_is_interrupted_and_nothing_else_is() -> None:
    for status in StepStatus:
        expected = N if status is I else status
        assert settled(StepExecution("a", status)).status is expected


@pytest.mark.parametrize(
    ("found", "alive", "ended", "status"),
    [
        ("pending completed", True, False, "in_progress"),
        ("failed", True, False, "in_progress"),
        ("completed interrupted", False, False, "interrupted"),
        ("completed failed", False, False, "interrupted"),
        ("completed skipped", False, False, "completed"),
        ("completed skipped", False, True, "completed"),
        ("", False, True, "completed"),
        ("cancelled failed pending blocked", False, True, "failed"),
        ("cancelled pending blocked completed", False, True, "cancelled"),
        ("pending completed", False, True, "unfinished"),
        ("interrupted blocked", False, True, "unfinished"),
    ],
)
def test_a_run_is_the_first_that_is_true(found: str, alive: bool, ended: bool, status: str) -> None:
    steps = [StepExecution(word, StepStatus(word)) for word in found.split()]

    assert run_status(steps, alive=alive, ended=ended) is RunStatus(status)


def state_of(*steps: StepExecution, **more: Any) -> ExecutionState:
    known: dict[str, Any] = {
        "run_id": "r",
        "profile": "prod",
        "namespace": None,
        "started_at": now(),
        "completed_at": None,
        "status": RunStatus.FAILED,
        "steps": {step.name: step for step in steps},
        "config_hash": "c",
    }
    return ExecutionState(**{**known, **more})


def test_failures_are_raised_with_their_causes_and_blocked_steps_are_not() -> None:
    state = state_of(
        StepExecution("db", F, error="no disk"),
        StepExecution("web", B, blocked_by="db"),
        StepExecution("x", X),
    )

    with pytest.raises(StepsFailed, match="2 steps did not complete: db: no disk; x") as caught:
        state.raise_for_failures()
    assert caught.value.causes == {"db": "no disk", "x": None}


def test_nothing_is_raised_where_nothing_failed() -> None:
    state_of(StepExecution("a", C), StepExecution("b", P), StepExecution("c", S)).raise_for_failures()


def test_counts_name_only_what_occurs() -> None:
    assert state_of(StepExecution("a", C), StepExecution("b", C), StepExecution("c", F)).counts == {
        "completed": 2,
        "failed": 1,
    }


def test_records_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        StepExecution("a").status = C  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError):
        state_of().status = RunStatus.COMPLETED  # type: ignore[misc]


scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.floats(allow_nan=False, allow_infinity=False)
)
texts = st.text(st.characters(exclude_categories=["Cs"]))
json_values = st.recursive(
    scalars | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)
executions = st.builds(
    StepExecution,
    name=texts,
    status=st.sampled_from(StepStatus),
    started_at=st.none() | texts,
    duration=st.none() | st.floats(0, 1e6),
    error=st.none() | texts,
    output=json_values,
    metadata=st.dictionaries(texts, json_values, max_size=3),
    attempt=st.integers(0, 99),
    blocked_by=st.none() | texts,
    key=st.none() | texts,
    planned=texts,
    full=st.none() | texts,
    late=st.none() | texts,
    fresh=st.booleans(),
    completion=st.none() | st.builds(completion, st.integers(1, 9), texts, texts, texts),
)


@given(executions)
def test_a_step_comes_back_from_its_record_as_it_was(step: StepExecution) -> None:
    assert StepExecution.from_record(step.name, step.to_record()) == step


@given(
    st.lists(executions, max_size=4),
    st.sampled_from(RunStatus),
    st.dictionaries(texts, json_values, max_size=2),
)
def test_a_state_comes_back_from_json_as_it_was(
    steps: list[StepExecution], status: RunStatus, metadata: dict[str, Any]
) -> None:
    state = state_of(*steps, status=status, metadata=metadata, run=3, resumed_from=2)

    assert ExecutionState.from_json(state.to_json()) == state


def test_statuses_are_lower_case_in_json() -> None:
    assert b'"status":"in_progress"' in state_of(StepExecution("a", I)).to_json()
