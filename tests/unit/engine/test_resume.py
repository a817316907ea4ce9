"""What a process runs, decided by a plain function: every sentence of the rules is a test here."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from sbkube.engine import (
    ExecutionState,
    NeedsNotMet,
    NothingToResume,
    RunStatus,
    Step,
    StepGraph,
    StepStatus,
    UnknownStep,
)

from .helpers import graph_of
from .pasts import completed, decided, past, status_of, to_run

CHAIN = graph_of(a="", b="a", c="b", other="")
"""a, then b, then c; and one beside them."""


# run


def test_a_first_run_runs_everything_as_a_new_run() -> None:
    decision = decided(CHAIN, None, resume="no")

    assert to_run(decision) == ["a", "b", "c", "other"]
    assert (decision.new_run, decision.resumed_from) == (True, None)


def test_a_run_without_resume_runs_everything_again_asking_nothing() -> None:
    graph = StepGraph([Step("exec", on_interrupt="ask"), Step("next", needs=["exec"])])
    decision = decided(graph, past(graph, exec="interrupted", next="blocked exec"), resume="no")

    assert to_run(decision) == ["exec", "next"]
    assert set(status_of(decision).values()) == {"pending"}
    assert not decision.undecided
    assert (decision.new_run, decision.resumed_from) == (True, None)


def test_a_new_run_counts_attempts_anew_and_starts_steps_afresh() -> None:
    decision = decided(CHAIN, past(CHAIN), resume="no")

    assert {step.attempt for step in decision.steps.values()} == {0}
    assert {step.key for step in decision.steps.values()} == {None}
    assert all(step.fresh for step in decision.steps.values())


def test_unfinished_goes_on_with_a_run_that_is_not_complete_and_starts_anew_after_one_that_is() -> None:
    broken = past(CHAIN, b="failed", c="blocked b")

    assert not decided(CHAIN, broken, resume="unfinished").new_run
    assert decided(CHAIN, past(CHAIN), resume="unfinished").new_run
    assert to_run(decided(CHAIN, past(CHAIN), resume="unfinished")) == ["a", "b", "c", "other"]


def test_resume_without_an_earlier_run_starts_one() -> None:
    decision = decided(CHAIN, None)

    assert (decision.new_run, decision.resumed_from) == (True, None)
    assert decision.to_run == dict.fromkeys(["a", "b", "c", "other"], "new run")
    assert all(step.fresh for step in decision.steps.values())


@pytest.mark.parametrize("selection", [{"retry_failed": True}, {"continue_from": ["a"]}])
def test_what_is_about_an_earlier_run_is_refused_where_there_is_none(selection: dict[str, Any]) -> None:
    with pytest.raises(NothingToResume):
        decided(CHAIN, None, **selection)


@pytest.mark.parametrize("part", ["steps", "left_pending", "continue_from", "rerun_interrupted"])
def test_a_selection_cannot_name_a_step_that_is_not_there(part: str) -> None:
    with pytest.raises(UnknownStep, match="'nobody'"):
        decided(CHAIN, past(CHAIN), **{part: ["a", "nobody"]})


# run --resume


def test_resume_runs_what_is_not_completed_and_nothing_else() -> None:
    decision = decided(CHAIN, past(CHAIN, b="failed", c="blocked b"))

    assert decision.to_run == {"b": "failed", "c": "was blocked by b"}
    assert status_of(decision) == {"a": "completed", "b": "failed", "c": "blocked", "other": "completed"}
    assert not decision.new_run
    assert decision.resumed_from == 1


@pytest.mark.parametrize("status", ["pending", "failed", "cancelled", "interrupted", "blocked"])
def test_resume_runs_a_step_of_every_status_that_is_not_done_and_says_why(status: str) -> None:
    why = {
        "pending": "did not run yet",
        "failed": "failed",
        "cancelled": "was cancelled",
        "interrupted": "was interrupted",
        "blocked": "was blocked by db",
    }
    ended = "blocked db" if status == "blocked" else status

    assert decided(CHAIN, past(CHAIN, other=ended)).to_run == {"other": why[status]}


def test_resume_of_a_complete_run_leaves_nothing_to_do() -> None:
    decision = decided(CHAIN, past(CHAIN))

    assert not decision.to_run
    assert decision.steps == past(CHAIN).steps


def test_a_step_that_left_no_trace_in_the_earlier_run_runs() -> None:
    before = past(graph_of(a="", b="a"))
    decision = decided(CHAIN, before)

    assert decision.to_run == {"c": "new in the plan", "other": "new in the plan"}
    assert decision.new_run


def test_steps_that_left_the_graph_are_named_as_gone() -> None:
    assert decided(graph_of(a="", b="a"), past(CHAIN)).gone == ("c", "other")
    assert decided(graph_of(a="", b="a"), past(CHAIN), resume="no").gone == ()


def test_a_completed_step_whose_inputs_changed_runs_again_and_its_neighbours_do_not() -> None:
    now = graph_of(inputs={"a": "edited"}, a="", b="a", c="b", other="")
    decision = decided(now, past(CHAIN))

    assert decision.to_run == {"a": "inputs changed", "b": "if a changes", "c": "if b changes"}
    assert decision.conditional == {"b", "c"}
    assert decision.stale.keys() == {"a"}
    assert status_of(decision) == {"a": "pending", "b": "pending", "c": "pending", "other": "completed"}


def test_a_step_whose_own_inputs_changed_too_runs_whatever_its_need_gives() -> None:
    now = graph_of(inputs={"a": "edited", "b": "edited"}, a="", b="a", c="b", other="")
    decision = decided(now, past(CHAIN))

    assert decision.to_run == {"a": "inputs changed", "b": "inputs changed", "c": "if b changes"}
    assert decision.conditional == {"c"}


def test_who_only_comes_after_a_changed_step_is_kept() -> None:
    now = graph_of(inputs={"db": "edited"}, db="", web="~db")

    assert to_run(decided(now, past(graph_of(db="", web="~db")))) == ["db"]


def test_a_step_whose_output_is_gone_runs_and_cannot_be_found_equal_when_it_starts() -> None:
    decision = decided(CHAIN, past(CHAIN), lost=["b"])

    assert decision.to_run == {"b": "its output is missing or not what it should be", "c": "if b changes"}
    assert decision.steps["b"].completion is None
    assert decision.conditional == {"c"}


def test_a_step_made_from_an_output_that_is_no_longer_the_last_one_runs() -> None:
    before = past(CHAIN)
    newer = replace(before.steps["a"], completion=replace(before.steps["a"].completion, digest="newer"))  # type: ignore[type-var]
    decision = decided(CHAIN, replace(before, steps={**before.steps, "a": newer}))

    assert decision.to_run == {"b": "what it needs changed", "c": "if b changes"}


def test_a_blocked_step_with_a_completion_runs_only_if_what_it_needs_changes() -> None:
    done = past(CHAIN).steps["b"]
    before = past(CHAIN, a="failed", b="blocked a", c="blocked a")
    steps = {**before.steps, "b": replace(done, status=StepStatus.BLOCKED, blocked_by="a")}
    decision = decided(CHAIN, replace(before, steps=steps))

    assert to_run(decision) == ["a", "b", "c"]
    assert decision.conditional == {"b"}


# fresh marks


def test_a_step_left_to_run_by_a_fresh_run_is_never_spared_by_an_equal_fingerprint() -> None:
    first = past(CHAIN)
    fresh = decided(CHAIN, first, resume="no")
    died = replace(first, run=2, steps=fresh.steps, status=RunStatus.INTERRUPTED)
    again = decided(CHAIN, died)

    assert to_run(again) == ["a", "b", "c", "other"]
    assert not again.conditional
    assert all(step.fresh and step.completion for step in again.steps.values())
    assert again.to_run["a"] == "asked for, and did not run yet"
    assert again.steps["a"].output == "made by a"


def test_a_step_left_to_run_by_continue_from_is_fresh_also_in_a_later_resume() -> None:
    before = past(CHAIN)
    decision = decided(CHAIN, before, continue_from=["b"])
    again = decided(CHAIN, replace(before, steps=decision.steps, status=RunStatus.INTERRUPTED))

    assert [id for id, step in again.steps.items() if step.fresh] == ["b", "c"]
    assert to_run(again) == ["b", "c"]
    assert not again.conditional


def test_a_step_that_must_run_for_changed_inputs_is_not_fresh() -> None:
    now = graph_of(inputs={"a": 1}, a="", b="a")

    assert not any(step.fresh for step in decided(now, past(graph_of(a="", b="a"))).steps.values())


# the idempotency key


def test_a_failed_or_interrupted_step_keeps_its_key_for_the_next_attempt() -> None:
    before = past(CHAIN, b="failed", c="blocked b", other="interrupted")
    decision = decided(CHAIN, before)
    elsewhere = decided(graph_of(inputs={"a": 1}, a="", b="a", c="b", other=""), before)

    for found in (decision, elsewhere):
        assert (found.steps["b"].key, found.steps["other"].key) == ("key of 1", "key of 1")
        assert (found.steps["b"].attempt, found.steps["other"].attempt) == (1, 1)


def test_a_step_that_starts_afresh_has_no_key_to_repeat() -> None:
    before = past(CHAIN, b="failed", c="blocked b")

    assert decided(CHAIN, before, continue_from=["b"]).steps["b"].key is None
    assert (
        decided(graph_of(inputs={"other": 1}, a="", b="a", c="b", other=""), before).steps["other"].key
        is None
    )


def test_an_attempt_that_waited_to_be_repeated_keeps_its_key() -> None:
    before = past(CHAIN, b="pending", c="pending")
    waiting = replace(before.steps["b"], key="key of 1", attempt=1, full="f", error="once")
    decision = decided(CHAIN, replace(before, steps={**before.steps, "b": waiting}))

    assert decision.steps["b"].key == "key of 1"
    assert decision.steps["b"].full == "f"


# run --retry-failed


def test_retry_failed_runs_what_failed_and_what_that_blocked() -> None:
    graph = graph_of(a="", b="a", c="b", later="", unrelated="later")
    before = past(graph, b="failed", c="blocked b", later="pending", unrelated="pending")
    decision = decided(graph, before, retry_failed=True)

    assert to_run(decision) == ["b", "c"]
    assert decision.left == {"later": "pending", "unrelated": "pending"}


@pytest.mark.parametrize("status", ["failed", "cancelled", "interrupted", "blocked gone"])
def test_retry_failed_takes_every_kind_of_failure_and_whatever_was_blocked(status: str) -> None:
    assert to_run(decided(CHAIN, past(CHAIN, other=status), retry_failed=True)) == ["other"]


def test_retry_failed_also_runs_the_mended_need_of_a_failed_step() -> None:
    before = past(
        graph_of(prepare="", build="prepare", deploy="build"), build="failed", deploy="blocked build"
    )
    mended = graph_of(inputs={"prepare": "mended"}, prepare="", build="prepare", deploy="build")
    decision = decided(mended, before, retry_failed=True)

    assert decision.to_run == {
        "prepare": "inputs changed",
        "build": "failed",
        "deploy": "was blocked by build",
    }


def test_retry_failed_names_other_changed_steps_and_does_not_run_them() -> None:
    now = graph_of(inputs={"other": 1}, a="", b="a", c="b", other="")
    decision = decided(now, past(CHAIN, b="failed", c="blocked b"), retry_failed=True)

    assert to_run(decision) == ["b", "c"]
    assert decision.left == {"other": "inputs changed"}
    assert decision.stale.keys() == {"other"}
    assert decision.steps["other"].status is StepStatus.PENDING


def test_retry_failed_runs_an_after_that_never_completed_with_what_that_needs() -> None:
    graph = graph_of(image="", db="image", web="~db")
    before = past(graph, image="pending", db="pending", web="failed")

    assert to_run(decided(graph, before, retry_failed=True)) == ["image", "db", "web"]


def test_retry_failed_of_a_complete_run_runs_nothing() -> None:
    assert not decided(CHAIN, past(CHAIN), retry_failed=True).to_run


# run --continue-from


def test_continue_from_runs_the_step_and_all_behind_it_even_if_completed() -> None:
    graph = graph_of(a="", b="a", c="~b", other="")
    decision = decided(graph, past(graph), continue_from=["b"])

    assert decision.to_run == {"b": "asked for", "c": "asked for"}
    assert status_of(decision) == {"a": "completed", "b": "pending", "c": "pending", "other": "completed"}
    assert not decision.new_run


def test_continue_from_does_not_run_failures_elsewhere_and_keeps_them() -> None:
    decision = decided(CHAIN, past(CHAIN, other="failed"), continue_from=["c"])

    assert to_run(decision) == ["c"]
    assert decision.steps["other"].status is StepStatus.FAILED
    assert decision.left == {"other": "failed"}


def test_continue_from_a_step_whose_need_did_not_complete_names_that_need() -> None:
    with pytest.raises(NeedsNotMet, match="b needs a") as caught:
        decided(CHAIN, past(CHAIN, a="failed", b="blocked a", c="blocked a"), continue_from=["b"])
    assert caught.value.missing == {"b": ("a",)}


def test_continue_from_a_step_whose_need_changed_names_that_need() -> None:
    now = graph_of(inputs={"a": 1}, a="", b="a", c="b", other="")

    with pytest.raises(NeedsNotMet, match="b needs a"):
        decided(now, past(CHAIN), continue_from=["b"])
    assert to_run(decided(now, past(CHAIN), continue_from=["b"], with_needs=True)) == ["a", "b", "c"]


def test_continue_from_keeps_failed_ends_until_the_steps_start() -> None:
    decision = decided(CHAIN, past(CHAIN, b="failed", c="blocked b"), continue_from=["b"])

    assert status_of(decision) == {"a": "completed", "b": "failed", "c": "blocked", "other": "completed"}
    assert decision.steps["b"].fresh


# a selection limits what this process runs, never what the run is


def test_a_new_run_of_one_app_takes_the_others_over_where_they_completed() -> None:
    decision = decided(CHAIN, past(CHAIN), resume="no", steps=["other"])

    assert to_run(decision) == ["other"]
    assert {id: decision.steps[id].status.value for id in "abc"} == dict.fromkeys("abc", "completed")
    assert {decision.steps[id].metadata["reused_from"] for id in "abc"} == {1}
    assert not decision.left
    assert decision.asked == {"other"}


def test_what_is_taken_over_twice_still_names_the_run_it_was_made_in() -> None:
    second = decided(CHAIN, past(CHAIN), resume="no", steps=["other"])
    third = decided(CHAIN, replace(past(CHAIN, run=2), steps=second.steps), resume="no", steps=["other"])

    assert third.steps["a"].metadata["reused_from"] == 1


def test_a_new_run_of_one_app_does_not_take_over_what_changed() -> None:
    now = graph_of(inputs={"a": 1}, a="", b="a", c="b", other="")
    decision = decided(now, past(CHAIN), resume="no", steps=["other"])

    assert status_of(decision) == {"a": "pending", "b": "pending", "c": "pending", "other": "pending"}
    assert decision.left.keys() == {"a", "b", "c"}


def test_what_a_new_run_is_not_asked_to_run_keeps_its_failure() -> None:
    before = past(CHAIN, a="failed", b="blocked a", c="blocked a")
    decision = decided(CHAIN, before, resume="no", steps=["other"])

    assert status_of(decision) == {"a": "failed", "b": "blocked", "c": "blocked", "other": "pending"}


def test_later_stages_of_what_a_new_run_selects_stay_pending_and_a_resume_goes_on_with_them() -> None:
    graph = graph_of(prepare="", build="prepare", deploy="build")
    first = decided(graph, past(graph), resume="no", steps=["prepare"], left_pending=["build", "deploy"])

    assert status_of(first) == dict.fromkeys(("prepare", "build", "deploy"), "pending")
    assert first.left.keys() == {"build", "deploy"}
    assert first.steps["build"].fresh

    prepared = completed(graph, first.steps["prepare"], {}, run=2)
    ended = replace(
        past(graph, run=2), steps={**first.steps, "prepare": prepared}, status=RunStatus.UNFINISHED
    )
    assert to_run(decided(graph, ended)) == ["build", "deploy"]
    assert not decided(graph, ended).conditional


@pytest.mark.parametrize("status", ["failed", "cancelled", "interrupted", "blocked a"])
def test_later_stages_of_what_a_new_run_selects_keep_a_failure_and_an_open_question(status: str) -> None:
    graph = StepGraph([Step("prepare"), Step("exec", on_interrupt="ask", needs=["prepare"])])
    first = decided(
        graph, past(graph, exec=status), resume="no", steps=["prepare"], left_pending=["exec"]
    ).steps["exec"]
    again = decided(graph, replace(past(graph, run=2), steps={**past(graph).steps, "exec": first}))

    assert (first.status.value, first.fresh, first.attempt) == (status.split()[0], True, 0)
    assert again.undecided == (("exec",) if status == "interrupted" else ())


def test_selection_and_continue_from_and_retry_failed_intersect() -> None:
    graph = graph_of(a="", b="a", x="", y="x")
    before = past(graph, a="failed", b="blocked a", x="failed", y="blocked x")

    assert to_run(decided(graph, before, retry_failed=True, steps=["x", "y"])) == ["x", "y"]
    assert to_run(decided(graph, before, continue_from=["a"], steps=["a", "x"])) == ["a"]


# outside the selection


def test_the_needs_of_what_is_selected_are_taken_over_with_their_own() -> None:
    before = past(CHAIN, c="pending")
    decision = decided(CHAIN, before, resume="no", steps=["c"])

    assert to_run(decision) == ["c"]
    assert status_of(decision)["a"] == status_of(decision)["b"] == "completed"


def test_needs_are_taken_over_from_the_last_completion_though_a_later_run_left_them_pending() -> None:
    fresh = decided(CHAIN, past(CHAIN), resume="no")
    died = replace(past(CHAIN), run=2, steps=fresh.steps, status=RunStatus.INTERRUPTED)
    decision = decided(CHAIN, died, steps=["c"])

    assert to_run(decision) == ["c"]
    assert status_of(decision) == {"a": "completed", "b": "completed", "c": "pending", "other": "pending"}
    assert decision.steps["b"].metadata["reused_from"] == 1
    assert not decision.steps["b"].fresh
    assert to_run(decided(CHAIN, died, steps=["c"], with_needs=True)) == ["c"]


def test_needs_that_are_not_completed_are_refused_by_name() -> None:
    with pytest.raises(NeedsNotMet) as caught:
        decided(CHAIN, past(CHAIN, a="pending", b="pending", c="pending"), resume="no", steps=["c"])
    assert caught.value.missing == {"c": ("b",)}


def test_a_need_whose_output_is_gone_is_refused_by_name() -> None:
    with pytest.raises(NeedsNotMet, match="b needs a"):
        decided(CHAIN, past(CHAIN), resume="no", steps=["b"], lost=["a"])


def test_a_need_of_a_need_that_changed_makes_the_need_not_current() -> None:
    now = graph_of(inputs={"a": 1}, a="", b="a", c="b", other="")

    with pytest.raises(NeedsNotMet, match="c needs b"):
        decided(now, past(CHAIN), steps=["c"])


def test_with_needs_runs_what_is_missing_and_nothing_that_is_current() -> None:
    graph = graph_of(base="", a="base", b="a", c="b ~d", d="e", e="")
    before = past(graph, a="failed", b="blocked a", c="blocked a", d="pending")

    assert to_run(decided(graph, before, steps=["c"], with_needs=True)) == ["a", "b", "d", "c"]


def test_with_needs_runs_what_stands_between_two_selected_steps() -> None:
    with pytest.raises(NeedsNotMet, match="c needs b"):
        decided(CHAIN, past(CHAIN), resume="no", steps=["a", "c"])

    assert to_run(decided(CHAIN, past(CHAIN), resume="no", steps=["a", "c"], with_needs=True)) == [
        "a",
        "b",
        "c",
    ]


def test_with_needs_runs_what_stands_between_two_steps_that_are_asked_for_again() -> None:
    decision = decided(CHAIN, past(CHAIN), continue_from=["a"], steps=["a", "c"], with_needs=True)

    assert to_run(decision) == ["a", "b", "c"]


def test_with_needs_adds_nothing_behind_a_selected_step_that_is_kept() -> None:
    decision = decided(CHAIN, past(CHAIN, c="failed"), steps=["a", "c"], with_needs=True)

    assert decision.asked == {"a", "c"}
    assert decision.to_run == {"c": "failed"}


def test_an_after_is_met_by_its_last_completion_whatever_the_fingerprint() -> None:
    before = past(graph_of(db="", web="~db"))
    now = graph_of(inputs={"db": "new value"}, db="", web="~db")
    decision = decided(now, before, resume="no", steps=["web"])

    assert to_run(decision) == ["web"]
    assert decision.steps["db"].status is StepStatus.PENDING
    assert decision.left == {"db": "inputs changed"}


def test_with_needs_does_not_run_an_after_that_completed_whatever_the_fingerprint() -> None:
    before = past(graph_of(db="", web="~db"))
    now = graph_of(inputs={"db": "new value"}, db="", web="~db")

    assert to_run(decided(now, before, resume="no", steps=["web"], with_needs=True)) == ["web"]


@pytest.mark.parametrize("status", ["pending", "failed", "interrupted"])
def test_an_after_that_never_completed_is_refused_by_name(status: str) -> None:
    graph = graph_of(db="", web="~db")

    with pytest.raises(NeedsNotMet, match="web needs db"):
        decided(graph, past(graph, db=status, web="pending"), steps=["web"])


def test_what_a_resume_is_not_asked_to_run_keeps_its_end() -> None:
    before = past(CHAIN, a="interrupted", b="blocked a", c="blocked a", other="pending")
    decision = decided(CHAIN, before, steps=["other"])

    assert status_of(decision) == {"a": "interrupted", "b": "blocked", "c": "blocked", "other": "pending"}
    assert decision.left == {"a": "interrupted", "b": "blocked", "c": "blocked"}


# config changed


def test_a_changed_plan_makes_a_new_run_that_takes_over_what_still_holds() -> None:
    now = graph_of(inputs={"other": "edited"}, a="", b="a", c="b", other="")
    decision = decided(now, past(CHAIN, run=7))

    assert (decision.new_run, decision.resumed_from, decision.same_plan) == (True, 7, False)
    assert to_run(decision) == ["other"]
    assert {decision.steps[id].metadata["reused_from"] for id in "abc"} == {7}


def test_an_edit_elsewhere_forgets_no_failure_and_no_open_question() -> None:
    before = past(
        graph_of(a="", b="a", q="", x="", other=""), a="failed", b="blocked a", q="interrupted", x="cancelled"
    )
    now = graph_of(inputs={"other": 1}, a="", b="a", q="", x="", other="")
    decision = decided(now, before)

    assert status_of(decision) == {
        "a": "failed",
        "b": "blocked",
        "q": "interrupted",
        "x": "cancelled",
        "other": "pending",
    }
    assert to_run(decision) == ["a", "b", "q", "x", "other"]


def test_an_unchanged_plan_goes_on_with_the_same_run_and_takes_nothing_over() -> None:
    decision = decided(CHAIN, past(CHAIN, other="failed"))

    assert not decision.new_run
    assert decision.steps["a"] == past(CHAIN).steps["a"]


def test_config_is_an_input_of_every_step() -> None:
    before = past(CHAIN, config={"v": 1})

    assert not decided(CHAIN, before, config={"v": 1}).to_run
    assert set(decided(CHAIN, before, config={"v": 2}).to_run) == {"a", "b", "c", "other"}


# interrupted


ASKS = StepGraph([Step("exec", on_interrupt="ask"), Step("next", needs=["exec"]), Step("other")])


def test_an_interrupted_step_that_asks_is_left_undecided() -> None:
    decision = decided(ASKS, past(ASKS, exec="interrupted", next="blocked exec"))

    assert decision.undecided == ("exec",)
    assert to_run(decision) == ["next"]
    assert decision.steps["exec"].status is StepStatus.INTERRUPTED


@pytest.mark.parametrize("told", [True, ["exec"]])
def test_who_is_told_to_reruns_the_interrupted(told: bool | list[str]) -> None:
    decision = decided(ASKS, past(ASKS, exec="interrupted", next="blocked exec"), rerun_interrupted=told)

    assert not decision.undecided
    assert decision.to_run == {"exec": "was interrupted", "next": "was blocked by exec"}


def test_who_is_told_to_rerun_another_step_leaves_this_one_undecided() -> None:
    assert decided(ASKS, past(ASKS, exec="interrupted"), rerun_interrupted=["next"]).undecided == ("exec",)


def test_who_continues_from_an_interrupted_step_has_decided_about_it_and_not_about_what_is_behind_it() -> (
    None
):
    graph = StepGraph([Step(id, on_interrupt="ask", needs=needs) for id, needs in (("a", []), ("b", ["a"]))])
    before = past(graph, a="interrupted", b="interrupted")
    decision = decided(graph, before, continue_from=["a"])

    assert to_run(decision) == ["a"]
    assert decision.undecided == ("b",)


def test_only_an_interruption_asks() -> None:
    assert not decided(ASKS, past(ASKS, exec="failed", next="blocked exec")).undecided


# still running


ORPHAN = graph_of(exec="", next="exec", later="~exec", other="")
"""`rerun` unless a test says otherwise: what asks is held back anyway."""


def outlived(**more: str) -> ExecutionState:
    return past(ORPHAN, exec="interrupted", next="blocked exec", later="blocked exec", **more)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"resume": "unfinished"},
        {"rerun_interrupted": True},
        {"rerun_interrupted": ["exec"]},
        {"retry_failed": True},
        {"continue_from": ["exec"]},
        {"config": "edited"},
        {"resume": "no"},
        {"steps": ["exec", "next", "later"]},
        {"steps": ["next", "later"], "with_needs": True},
        {"resume": "no", "steps": ["next", "later"], "with_needs": True},
    ],
)
def test_what_still_runs_is_not_started_beside_itself_whatever_is_asked(options: dict[str, Any]) -> None:
    before = outlived(other="failed")
    decision = decided(ORPHAN, before, still_running=["exec"], **options)

    assert {"next", "later"} <= set(to_run(decision)) <= {"next", "later", "other"}
    assert decision.undecided == ("exec",)
    assert decision.still_running == {"exec"}
    assert decision.asks == set()
    kept = decision.steps["exec"]
    known = before.steps["exec"]
    assert (kept.status, kept.key, kept.attempt) == (StepStatus.INTERRUPTED, known.key, known.attempt)


def test_a_new_run_starts_what_does_not_still_run() -> None:
    decision = decided(ORPHAN, outlived(), resume="no", still_running=["exec"])

    assert decision.new_run
    assert to_run(decision) == ["next", "later", "other"]


@pytest.mark.parametrize("told", [True, False])
def test_what_still_runs_and_asks_will_need_a_word_whoever_said_one(told: bool) -> None:
    before = past(ASKS, exec="interrupted", next="blocked exec")
    decision = decided(ASKS, before, rerun_interrupted=told, still_running=["exec"])

    assert decision.undecided == ("exec",)
    assert decision.asks == decision.still_running == {"exec"}


@pytest.mark.parametrize(
    "options",
    [
        {"steps": ["other"]},
        {"resume": "no", "steps": ["other"]},
        {"resume": "no", "steps": ["other"], "left_pending": ["exec", "next", "later"]},
        {"resume": "no", "steps": ["other"], "config": "edited"},
    ],
)
def test_what_still_runs_is_known_as_such_to_the_next_run_though_nobody_asked_for_it(
    options: dict[str, Any],
) -> None:
    decision = decided(ORPHAN, outlived(other="failed"), still_running=["exec"], **options)

    assert to_run(decision) == ["other"]
    assert not decision.undecided
    assert decision.left["exec"] == "still running"
    assert (decision.steps["exec"].status, decision.steps["exec"].attempt) == (StepStatus.INTERRUPTED, 1)
    assert decision.steps["exec"].key == "key of 1"


def test_what_still_runs_is_not_forgotten_while_it_is_disabled() -> None:
    on, off = (StepGraph([Step("exec", enabled=is_on), Step("other")]) for is_on in (True, False))
    disabled = decided(off, past(on, exec="interrupted"), still_running=["exec"])

    assert not disabled.undecided
    assert disabled.steps["exec"].status is StepStatus.INTERRUPTED
    ended = decided(off, replace(past(off), steps=disabled.steps))
    assert ended.steps["exec"].status is StepStatus.SKIPPED


@pytest.mark.parametrize("status", ["completed", "failed", "cancelled", "pending", "blocked other"])
def test_only_an_interrupted_step_still_runs(status: str) -> None:
    before = past(ORPHAN, exec=status)

    assert decided(ORPHAN, before, still_running=["exec"]) == decided(ORPHAN, before)


def test_what_still_runs_and_left_the_graph_is_no_mistake() -> None:
    decision = decided(graph_of(other=""), past(ORPHAN, exec="interrupted"), still_running=["exec"])

    assert not decision.still_running
    assert "exec" in decision.gone


# disabled


def test_a_disabled_step_is_skipped_and_counts_as_met_once_its_own_needs_are() -> None:
    graph = StepGraph([Step("a"), Step("off", needs=["a"], enabled=False), Step("b", needs=["off"])])
    decision = decided(graph, None)

    assert status_of(decision) == {"a": "pending", "off": "skipped", "b": "pending"}
    assert to_run(decision) == ["a", "b"]
    with pytest.raises(NeedsNotMet, match="b needs a"):
        decided(graph, None, steps=["b"])


def test_a_step_that_is_enabled_again_goes_on_from_its_last_completion() -> None:
    on, off = (StepGraph([Step("a", inputs=1, enabled=is_on)]) for is_on in (True, False))
    skipped = decided(off, past(on))
    decision = decided(on, replace(past(on), steps=skipped.steps))

    assert status_of(skipped) == {"a": "skipped"}
    assert decision.to_run.keys() == {"a"}
    assert decision.conditional == {"a"}


def test_the_changed_inputs_of_a_disabled_step_are_not_told() -> None:
    on, off = StepGraph([Step("a", inputs=1)]), StepGraph([Step("a", inputs=2, enabled=False)])

    assert not decided(off, past(on)).stale


def test_continue_from_a_disabled_step_runs_what_is_behind_it() -> None:
    graph = StepGraph([Step("a"), Step("off", needs=["a"], enabled=False), Step("b", needs=["off"])])

    assert to_run(decided(graph, past(graph), continue_from=["off"])) == ["b"]
