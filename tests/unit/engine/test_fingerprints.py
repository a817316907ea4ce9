"""Digests of what a step depends on, and which results can be recorded."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import from_json, to_json

from sbkube.engine import ResultNotJson, Step, StepGraph
from sbkube.engine.errors import InputsNotJson
from sbkube.engine.fingerprints import DEPTH_LIMIT, RESULT_LIMIT, as_json, digest, full, planned

scalars = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
)
json_values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4)
)


def turned_round(value: Any) -> Any:
    """The same value, its maps built in the opposite order."""
    if isinstance(value, dict):
        return {key: turned_round(value[key]) for key in reversed(value)}
    return [turned_round(item) for item in value] if isinstance(value, list) else value


@given(json_values)
def test_the_order_of_maps_changes_no_digest(value: Any) -> None:
    assert digest(turned_round(value)) == digest(value)
    assert planned(turned_round(value)).fingerprint == planned(value).fingerprint


@given(json_values)
def test_a_result_comes_back_as_it_would_from_a_later_process(value: Any) -> None:
    try:
        recorded = as_json(value)
    except ResultNotJson:
        return
    assert from_json(to_json(recorded)) == recorded == value
    assert digest(from_json(to_json(recorded))) == digest(recorded)


@given(st.dictionaries(st.text(min_size=1), scalars, min_size=1), st.data())
def test_a_changed_input_changes_its_own_component_and_no_other(
    inputs: dict[str, Any], data: st.DataObject
) -> None:
    name = data.draw(st.sampled_from(sorted(inputs)))
    before, after = planned(inputs), planned({**inputs, name: [inputs[name], "changed"]})

    assert before.fingerprint != after.fingerprint
    assert {n for n in inputs if before.components[n] != after.components[n]} == {name}


def test_config_is_a_component_of_its_own() -> None:
    assert planned({"a": 1}).components.keys() == {"a"}
    assert planned({"a": 1}, {"x": 1}).components.keys() == {"a", "config"}
    assert planned({"a": 1}, {"x": 1}).fingerprint != planned({"a": 1}, {"x": 2}).fingerprint


def test_an_input_called_config_is_not_hidden_by_the_config() -> None:
    assert planned({"config": 1}, "same").fingerprint != planned({"config": 2}, "same").fingerprint
    assert planned({"config": 1}, "one").fingerprint != planned({"config": 1}, "two").fingerprint


def test_the_full_fingerprint_is_the_planned_one_where_nothing_is_added() -> None:
    assert full("p", {}, None) == "p"
    assert len({"p", full("p", {"a": "1"}, None), full("p", {"a": "2"}, None), full("p", {}, "late")}) == 4


def test_inputs_that_are_no_json_are_refused_by_the_name_of_the_step() -> None:
    graph = StepGraph([Step("fine"), Step("odd", inputs={"when": object()})])

    with pytest.raises(InputsNotJson, match="'odd'"):
        graph.planned()


def test_tuples_become_lists_and_words_of_an_enum_become_text() -> None:
    class Colour(StrEnum):
        RED = "red"

    recorded = as_json({"pair": (1, 2), "colour": Colour.RED})

    assert recorded == {"pair": [1, 2], "colour": "red"}
    assert type(recorded["colour"]) is str


def test_what_is_recorded_is_a_copy() -> None:
    given_back = {"rows": [1]}
    recorded = as_json(given_back)
    given_back["rows"].append(2)

    assert recorded == {"rows": [1]}


def nested(levels: int) -> object:
    value: object = 1
    for _ in range(levels):
        value = [value]
    return value


CIRCLE: list[object] = []
CIRCLE.append(CIRCLE)


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (object(), "not JSON serializable"),
        (b"bytes", "not JSON serializable"),
        ({1, 2}, "not JSON serializable"),
        (float("nan"), "not JSON compliant"),
        ([float("inf")], "not JSON compliant"),
        ({1: "a"}, "the key 1 is not text"),
        ([{None: 1}], "the key None is not text"),
        ("a broken name: \udc80", "surrogates not allowed"),
        ({"\udc80": 1}, "surrogates not allowed"),
        (CIRCLE, "Circular"),
        (nested(DEPTH_LIMIT + 1), "more than 100 levels"),
        (nested(100_000), "recursion"),
        ("x" * RESULT_LIMIT, "bytes of JSON, at most 65536"),
    ],
    ids=lambda value: str(value)[:20] if isinstance(value, str) else type(value).__name__,
)
def test_what_is_no_json_or_too_large_is_refused_with_the_reason(value: object, why: str) -> None:
    with pytest.raises(ResultNotJson, match=why):
        as_json(value)


def test_the_deepest_result_that_is_taken_can_be_written_to_a_journal() -> None:
    assert from_json(to_json({"in": {"a": {"record": as_json(nested(DEPTH_LIMIT))}}}))


def test_the_limit_counts_bytes_as_they_are_written() -> None:
    just_fits = "가" * ((RESULT_LIMIT - 2) // 3)

    assert as_json(just_fits) == just_fits
    with pytest.raises(ResultNotJson, match="at most"):
        as_json(just_fits + "가")
