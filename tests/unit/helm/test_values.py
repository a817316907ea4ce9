"""Values by Helm's rules; `tests/contract/test_helm_values.py` holds them to the program itself."""

from __future__ import annotations

from typing import Any

import pytest

from sbkube.helm.base import ValuesError
from sbkube.helm.values import final_values, set_into, set_path


def after(expression: str, base: dict[str, Any] | None = None) -> dict[str, Any]:
    values = base or {}
    set_into(values, expression)
    return values


@pytest.mark.parametrize(
    ("expression", "values"),
    [
        ("a=b", {"a": "b"}),
        ("a.b.c=1", {"a": {"b": {"c": 1}}}),
        ("a=1,b=2", {"a": 1, "b": 2}),
        ("a=", {"a": ""}),
        ("a=007", {"a": "007"}),
        ("a=1.5", {"a": "1.5"}),
        ("a=true,b=FALSE,c=null", {"a": True, "b": False, "c": None}),
        ("a=9223372036854775808", {"a": "9223372036854775808"}),
        (r"a\.b=c\,d", {"a.b": "c,d"}),
        ("a={x,1,null}", {"a": ["x", 1, None]}),
        ("a[2]=x", {"a": [None, None, "x"]}),
        ("a[0].b=1,a[0].c=2", {"a": [{"b": 1, "c": 2}]}),
        ("a[0][1]=x", {"a": [[None, "x"]]}),
        ("a=b=c", {"a": "b=c"}),
    ],
)
def test_an_expression_sets_what_helm_would_set(expression: str, values: dict[str, Any]) -> None:
    assert after(expression) == values


def test_an_index_reaches_into_what_the_files_gave() -> None:
    assert after("a[1]=x,b.c[0].d=1", {"a": [1, 2, 3], "b": {"c": [{"e": 2}]}}) == {
        "a": [1, "x", 3],
        "b": {"c": [{"e": 2, "d": 1}]},
    }


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("a", "'a' has no value"),
        ("a,b=1", "cannot end with ,"),
        ("a={1", "must terminate"),
        ("a[x]=1", "'x' is not an index"),
        ("a[-1]=1", "negative index"),
        ("a[0=1", "not closed"),
        ("a[99999999]=1", "greater than 65536"),
        ("a[0]b=1", "unexpected data"),
        ("text.b=1", "'text' is text, not a mapping"),
        ("text[0]=1", "'text' is text, not a list"),
        (".".join("a" * 40) + "=1", "deeper than 30"),
    ],
)
def test_a_wrong_expression_is_refused_and_quoted(expression: str, words: str) -> None:
    with pytest.raises(ValuesError, match=words) as caught:
        after(expression, {"text": "x"})
    assert repr(expression) in str(caught.value)


def test_typed_values_keep_their_types_and_take_a_path() -> None:
    values = final_values(
        [{"a": {"b": [1]}}], {"a.b[1]": "007", r"x\.y": {"z": None}, "n": 2**60, "flag": False}
    )
    assert values == {"a": {"b": [1, "007"]}, "x.y": {"z": None}, "n": 2**60, "flag": False}


def test_a_typed_mapping_replaces_and_does_not_merge() -> None:
    assert final_values([{"a": {"b": 1}}], {"a": {"c": 2}}) == {"a": {"c": 2}}


@pytest.mark.parametrize("path", ["a=b", "a,b", "a=", "a[0", "a=1,b"])
def test_a_path_names_one_value(path: str) -> None:
    with pytest.raises(ValuesError, match="cannot set"):
        set_path({}, path, 1)


def test_files_merge_left_to_right_and_null_stays_to_delete_a_default() -> None:
    files = [{"a": {"x": 1, "y": [1, 2]}, "b": 1}, {"a": {"y": [3], "z": None}}, {"b": {"c": 1}}]
    assert final_values(files) == {"a": {"x": 1, "y": [3], "z": None}, "b": {"c": 1}}


def test_nothing_that_was_given_is_changed() -> None:
    files = [{"a": {"x": [1]}}, {"a": {"y": {}}}]
    given = {"b": {"c": [1]}}
    values = final_values(files, given)
    set_into(values, "a.x[0]=9,a.y.z=1,b.c[0]=9")
    assert files == [{"a": {"x": [1]}}, {"a": {"y": {}}}]
    assert given == {"b": {"c": [1]}}
