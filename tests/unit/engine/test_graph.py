"""The graph is checked once, when it is built."""

from __future__ import annotations

from itertools import pairwise

import pytest

from sbkube.engine import CyclicGraph, DuplicateStep, Step, StepGraph, UnknownStep

from .helpers import graph_of


def test_steps_stand_behind_what_they_wait_for_and_else_as_declared() -> None:
    graph = graph_of(c="a ~b", z="", a="", b="a", y="z")

    assert [step.id for step in graph] == ["z", "a", "b", "c", "y"]


def test_an_unknown_need_names_both_ends() -> None:
    with pytest.raises(UnknownStep, match="step 'web' needs 'db', which is not in the graph") as caught:
        graph_of(web="db")
    assert (caught.value.missing, caught.value.needed_by) == ("db", "web")


def test_an_unknown_step_to_come_after_is_refused_too() -> None:
    with pytest.raises(UnknownStep, match="'db'"):
        graph_of(web="~db")


def test_two_steps_of_one_name_are_refused() -> None:
    with pytest.raises(DuplicateStep, match="step 'a' is in the graph twice"):
        StepGraph([Step("a"), Step("b"), Step("a")])


def test_a_circle_is_told_as_a_path_from_who_needs_to_what_is_needed() -> None:
    with pytest.raises(CyclicGraph, match=r"in a circle: .* -> ") as caught:
        graph_of(free="", a="b", b="~c", c="a free")
    path = caught.value.path

    assert path[0] == path[-1]
    assert set(path) == {"a", "b", "c"}
    assert set(pairwise(path)) == {("a", "b"), ("b", "c"), ("c", "a")}


def test_a_step_that_needs_itself_is_a_circle() -> None:
    with pytest.raises(CyclicGraph, match="a -> a"):
        graph_of(a="a")


def test_who_both_needs_a_step_and_comes_after_it_needs_it() -> None:
    graph = graph_of(a="", b="a a ~a")

    assert graph.needs["b"] == ("a",)
    assert graph.after["b"] == ()
    assert graph.behind("a") == ["b"]


def test_what_is_asked_of_a_step_that_is_not_there_is_an_unknown_step() -> None:
    with pytest.raises(UnknownStep, match="'nobody'"):
        graph_of(a="")["nobody"]


def test_all_behind_goes_over_both_kinds_of_edge() -> None:
    graph = graph_of(a="", b="a", c="~b", d="c", other="")

    assert graph.all_behind(["b"]) == {"b", "c", "d"}


def disabled(id: str, **waits: list[str]) -> Step:
    return Step(id, enabled=False, **waits)  # type: ignore[arg-type]


def test_who_needs_a_disabled_step_needs_what_that_needs() -> None:
    graph = StepGraph(
        [
            Step("base"),
            Step("order"),
            disabled("off", needs=["base"], after=["order"]),
            disabled("off-too", needs=["off"]),
            Step("user", needs=["off-too"]),
        ]
    )

    assert graph.needs["user"] == ("base",)
    assert graph.after["user"] == ("order",)


def test_what_stands_after_a_disabled_step_stands_after_all_that_waits_for() -> None:
    graph = StepGraph([Step("base"), disabled("off", needs=["base"]), Step("user", after=["off"], needs=[])])

    assert graph.needs["user"] == ()
    assert graph.after["user"] == ("base",)


def test_a_disabled_step_still_has_a_behind() -> None:
    graph = StepGraph([Step("base"), disabled("off", needs=["base"]), Step("user", needs=["off"])])

    assert graph.all_behind(["off"]) == {"off", "user"}


def test_the_hash_of_a_plan_covers_ids_edges_and_fingerprints_and_nothing_else() -> None:
    def hash_of(*steps: Step, config: object = None) -> str:
        graph = StepGraph(steps)
        return graph.plan_hash(graph.planned(config))

    plain = hash_of(Step("a"), Step("b", needs=["a"]))
    same = hash_of(Step("a", time_limit=9, pools=["p"], weight=3), Step("b", needs=["a", "a"]))
    others = {
        hash_of(Step("a"), Step("b")),
        hash_of(Step("a"), Step("b", after=["a"])),
        hash_of(Step("a", inputs=1), Step("b", needs=["a"])),
        hash_of(Step("a"), Step("c", needs=["a"])),
        hash_of(Step("a"), Step("b", needs=["a"]), config="c"),
    }

    assert same == plain
    assert hash_of(Step("b"), Step("a")) == hash_of(Step("a"), Step("b"))
    assert len(others | {plain}) == 6


def test_a_chain_of_ten_thousand_steps_is_built_without_recursion() -> None:
    ids = [f"s{n}" for n in range(10_000)]
    graph = StepGraph(Step(id, needs=ids[max(n - 1, 0) : n]) for n, id in enumerate(ids))

    assert len(graph.all_behind(["s0"])) == 10_000


def test_a_circle_of_ten_thousand_steps_is_found_without_recursion() -> None:
    ids = [f"s{n}" for n in range(10_000)]
    with pytest.raises(CyclicGraph):
        StepGraph(Step(id, needs=[ids[n - 1]]) for n, id in enumerate(ids))
