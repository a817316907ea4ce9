"""Ordering, limits and blocking, without an event loop."""

from __future__ import annotations

import pytest

from sbkube.engine import Limits, Step, StepGraph, UnknownPool
from sbkube.engine.scheduler import Scheduler, longest_remaining_path, own_weight

from .helpers import graph_of


def scheduler_of(
    graph: StepGraph, *, total: int | None = None, held_back: str = "", **pools: int
) -> Scheduler:
    held = held_back.split()
    to_run = [id for id in graph.steps if id not in held]
    scheduler = Scheduler(graph, to_run, limits=Limits(total=total, pools=pools), held_back=held)
    scheduler.start()
    return scheduler


def taken(scheduler: Scheduler) -> list[str]:
    """All that may start now."""
    ids = []
    while (step := scheduler.next()) is not None:
        ids.append(step.id)
    return ids


def test_a_step_waits_for_all_it_needs_and_comes_after() -> None:
    scheduler = scheduler_of(graph_of(a="", b="", c="a ~b"))

    assert taken(scheduler) == ["a", "b"]
    assert scheduler.completed("a") == 0
    assert taken(scheduler) == []
    assert scheduler.completed("b") == 1
    assert taken(scheduler) == ["c"]


def test_a_step_starts_without_waiting_for_a_level_to_end() -> None:
    scheduler = scheduler_of(graph_of(slow="", a="", b="a", c="b"))
    taken(scheduler)
    scheduler.completed("a")

    assert taken(scheduler) == ["b"]


def test_the_longest_remaining_path_starts_first_then_as_declared() -> None:
    graph = graph_of(lone="", late="", head="", middle="head", tail="middle")

    assert taken(scheduler_of(graph)) == ["head", "lone", "late"]


def test_a_heavy_step_outweighs_a_longer_path() -> None:
    graph = StepGraph([Step("head"), Step("tail", needs=["head"]), Step("heavy", weight=5)])

    assert taken(scheduler_of(graph)) == ["heavy", "head"]
    assert longest_remaining_path(graph, graph.steps, own_weight) == {"head": 2, "tail": 1, "heavy": 5}


def test_a_path_counts_only_what_runs_in_this_process() -> None:
    graph = graph_of(a="", b="a", c="b", lone="", last="lone")
    scheduler = Scheduler(graph, ["a", "lone", "last"], limits=Limits())
    scheduler.start()

    assert taken(scheduler) == ["lone", "a"]


def test_the_total_caps_all_and_each_pool_its_own() -> None:
    graph = StepGraph(Step(f"{pool}{n}", pools=[pool]) for n in range(3) for pool in ("x", "y"))
    scheduler = scheduler_of(graph, total=3, x=1, y=5)

    assert taken(scheduler) == ["x0", "y0", "y1"]
    scheduler.release(graph["y0"])
    assert taken(scheduler) == ["y2"]
    scheduler.release(graph["x0"])
    assert taken(scheduler) == ["x1"]


def test_a_step_of_two_pools_takes_both_or_neither() -> None:
    graph = StepGraph([Step("x", pools=["x"]), Step("both", pools=["y", "x", "y"]), Step("y", pools=["y"])])
    scheduler = scheduler_of(graph, x=1, y=1)

    assert taken(scheduler) == ["x", "y"]
    scheduler.release(graph["x"])
    assert taken(scheduler) == []
    scheduler.release(graph["y"])
    assert taken(scheduler) == ["both"]


def test_a_step_that_waits_for_a_full_pool_lets_others_pass() -> None:
    graph = StepGraph([Step("a", pools=["x"]), Step("b", pools=["x"], weight=9), Step("c")])
    scheduler = scheduler_of(graph, x=1)

    assert taken(scheduler) == ["b", "c"]


def test_an_unknown_pool_names_the_step_and_the_pools_there_are() -> None:
    with pytest.raises(UnknownPool, match="step 'a' draws from pool 'gpu'; the limits name: cpu, net"):
        scheduler_of(StepGraph([Step("a", pools=["gpu"])]), net=1, cpu=1)


@pytest.mark.parametrize("limits", [{"total": 0}, {"pools": {"x": 0}}, {"pools": {"x": -1}}])
def test_a_limit_of_nothing_is_refused(limits: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        Limits(**limits)  # type: ignore[arg-type]


def test_a_failure_blocks_everything_behind_it_once_nearest_first() -> None:
    scheduler = scheduler_of(graph_of(a="", b="a", c="~a", d="b c", other=""))
    taken(scheduler)

    assert scheduler.failed("a") == [("b", "a"), ("c", "a"), ("d", "a")]
    assert not scheduler.is_done
    scheduler.completed("other")
    assert scheduler.is_done


def test_a_step_behind_two_failures_is_blocked_by_the_first() -> None:
    scheduler = scheduler_of(graph_of(a="", b="", c="a b"))
    taken(scheduler)

    assert scheduler.failed("b") == [("c", "b")]
    assert scheduler.failed("a") == []
    assert scheduler.is_done


def test_a_success_does_not_wake_a_blocked_step() -> None:
    scheduler = scheduler_of(graph_of(a="", b="", c="a b"))
    taken(scheduler)
    scheduler.failed("a")

    assert scheduler.completed("b") == 0
    assert taken(scheduler) == []


def test_what_is_held_back_blocks_what_is_behind_it_from_the_start() -> None:
    graph = graph_of(asks="", b="asks", c="b", other="")
    scheduler = Scheduler(graph, ["b", "c", "other"], limits=Limits(), held_back=["asks"])

    assert scheduler.start() == [("b", "asks"), ("c", "asks")]
    assert taken(scheduler) == ["other"]
    scheduler.completed("other")
    assert scheduler.is_done


def test_a_failed_attempt_gives_its_slots_back_until_it_starts_again() -> None:
    graph = StepGraph([Step("a", pools=["x"]), Step("b", pools=["x"])])
    scheduler = scheduler_of(graph, total=1, x=1)
    assert taken(scheduler) == ["a"]
    scheduler.release(graph["a"])
    assert taken(scheduler) == ["b"]

    scheduler.again("a")
    assert taken(scheduler) == []
    scheduler.release(graph["b"])
    assert taken(scheduler) == ["a"]


def test_a_step_that_is_repeated_does_not_count_as_ended() -> None:
    graph = graph_of(a="")
    scheduler = scheduler_of(graph)
    taken(scheduler)
    scheduler.release(graph["a"])
    assert not scheduler.is_done

    scheduler.again("a")
    assert taken(scheduler) == ["a"]
    scheduler.completed("a")
    assert scheduler.is_done


def test_nothing_starts_after_stop() -> None:
    scheduler = scheduler_of(graph_of(a="", b=""), total=1)
    assert scheduler.next() is not None
    scheduler.stop()
    scheduler.completed("a")

    assert scheduler.next() is None
