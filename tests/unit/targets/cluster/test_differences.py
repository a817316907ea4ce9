"""Two states of an object as lines."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from sbkube.targets.cluster.differences import Mask, lines_between, without_notes


def config_map(**data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": data}


def secret(**data: str) -> dict[str, Any]:
    encoded = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}, "data": encoded}


def test_what_the_server_notes_by_itself_is_no_difference() -> None:
    noted = config_map(a="1") | {"status": {"phase": "x"}}
    noted["metadata"] |= {
        "uid": "1",
        "generation": 2,
        "resourceVersion": "3",
        "creationTimestamp": "now",
        "managedFields": [{}],
        "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}"},
    }
    assert without_notes(noted) == without_notes(config_map(a="1"))


def test_an_absent_value_and_a_null_are_the_same_and_an_empty_one_is_not() -> None:
    base = config_map(a="1")
    assert without_notes(base | {"spec": {"a": None}}) == without_notes(base | {"spec": {}})
    assert without_notes(base | {"spec": {"a": []}}) != without_notes(base | {"spec": {}})


def test_only_what_differs_is_shown_with_some_lines_around_it() -> None:
    lines = lines_between(config_map(a="1", b="2"), config_map(b="2", a="3"), Mask())
    assert [line for line in lines if line[0] in "+-"] == ["-  a: '1'", "+  a: '3'"]
    assert lines[0].startswith("@@")


def test_the_order_of_keys_is_no_difference() -> None:
    assert lines_between(config_map(a="1", b="2"), config_map(b="2", a="1"), Mask()) == []


def test_an_object_that_comes_or_goes_is_shown_whole_with_what_tells_it_first() -> None:
    assert lines_between(None, config_map(a="1"), Mask())[:3] == [
        "+apiVersion: v1",
        "+kind: ConfigMap",
        "+metadata:",
    ]
    assert {line[0] for line in lines_between(config_map(a="1"), None, Mask())} == {"-"}


def test_a_changed_secret_shows_by_digests_and_an_equal_value_has_an_equal_one() -> None:
    mask = Mask()
    lines = lines_between(secret(a="old", b="same"), secret(a="new", b="same"), mask)
    changed = [line for line in lines if line[0] in "+-"]
    assert [line[:14] for line in changed] == ["-  a: (hidden ", "+  a: (hidden "]
    written = secret() | {"stringData": {"b": "same"}}
    assert mask(secret(b="same"))["data"]["b"] == mask(written)["stringData"]["b"]


def test_a_digest_tells_nothing_to_who_knows_what_the_value_might_be() -> None:
    """Its key is known to nobody, and another the next time."""
    assert Mask()(secret(a="guess")) != Mask()(secret(a="guess"))


@pytest.mark.parametrize("value", ["old", "b2xk", "not base64!", "ü"])
def test_no_value_of_a_secret_is_in_what_is_printed(value: str) -> None:
    found = secret() | {"data": {"a": value}, "stringData": {"b": value}}
    assert value not in "\n".join(lines_between(None, found, Mask()))
    assert value not in Mask().scrubbed(f"illegal data {value!r} at byte 3", found)


def test_a_kind_that_is_only_called_secret_is_no_secret() -> None:
    found = secret(a="1") | {"apiVersion": "vendor.example/v1"}
    assert Mask()(found) == found
