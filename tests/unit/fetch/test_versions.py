"""Versions and constraints, by what Helm's own library answered (see `tests/contract/version_questions.py`)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sbkube.fetch.versions import (
    BadConstraint,
    Version,
    choose,
    is_exact,
    newest_first,
    parse_constraint,
    parse_version,
)

RECORDED = json.loads(Path(__file__).with_name("chosen_versions.json").read_text())


def chosen(versions: list[str], wanted: str | None) -> str | None:
    return choose(newest_first(versions, str), str, wanted)


def test_what_helm_takes_is_taken() -> None:
    for versions, wanted, helms in RECORDED:
        try:
            ours = chosen(versions, wanted)
        except BadConstraint:
            ours = None
        assert (ours or "") == helms, (versions, wanted)


@pytest.mark.parametrize(
    ("wanted", "taken"),
    [
        (None, "2.1.0"),
        ("^1", "1.10.0"),
        ("~1.2", "1.2.9"),
        ("1.x", "1.10.0"),
        (">=1.2 <1.10", "1.2.9"),
        ("1.0 - 1.2", "1.2.9"),
        ("<1.2 || >2.0.0", "2.1.0"),
        (">2.1.0-0", "3.0.0-rc.10"),
        ("3.0.0-rc.2", "3.0.0-rc.2"),
        ("v2.1.0", "2.1.0"),
        ("2.1.0", "2.1.0"),
        (">3", None),
    ],
)
def test_a_constraint_takes_the_newest_that_it_admits(wanted: str | None, taken: str | None) -> None:
    versions = ["1.2.9", "1.10.0", "2.1.0", "3.0.0-rc.2", "3.0.0-rc.10", "1.0.0", "nonsense"]
    assert chosen(versions, wanted) == taken


def test_what_is_written_just_so_wins_over_what_is_equal_to_it() -> None:
    versions = ["1.2.0+a", "1.2.0+b", "v1.2.0"]
    assert [chosen(versions, wanted) for wanted in ("1.2.0+b", "v1.2.0", "1.2.0")] == [
        "1.2.0+b",
        "v1.2.0",
        "1.2.0+a",
    ]


@pytest.mark.parametrize("text", ["nope", "1.2.3.4", ">", "1||", "1|2", "^1 foo", "9" * 600])
def test_what_is_no_constraint_is_refused_with_its_text(text: str) -> None:
    with pytest.raises(BadConstraint, match="is neither a version nor a range of versions"):
        parse_constraint(text)


def test_a_constraint_that_almost_is_one_is_refused_at_once() -> None:
    with pytest.raises(BadConstraint):
        parse_constraint(" ".join(["1" + " " * 9] * 45) + " !")


@pytest.mark.parametrize("text", ["1.2.3", "v1.2.3", "1.2.3-rc.1", "1.2.3+b"])
def test_a_whole_version_is_exact(text: str) -> None:
    assert is_exact(text)


@pytest.mark.parametrize("text", ["1.2", "^1.2.3", "1.2.x", "*", "", "1.2.3 || 2.0.0", "1.2.3-", "latest"])
def test_anything_else_may_be_another_version_tomorrow(text: str) -> None:
    assert not is_exact(text)


pre = st.lists(st.sampled_from(["0", "1", "10", "a", "rc", "1a"]), max_size=3).map(".".join)
versions = st.builds(Version, *[st.integers(0, 3)] * 3, pre)


@given(versions, versions, versions)
def test_versions_are_in_one_order(a: Version, b: Version, c: Version) -> None:
    assert (a < b) + (b < a) + (a == b) == 1
    if a <= b <= c:
        assert a <= c


@given(versions)
def test_a_version_is_read_as_it_is_written(version: Version) -> None:
    text = f"{version.major}.{version.minor}.{version.patch}" + (f"-{version.pre}" if version.pre else "")
    assert parse_version(text) == parse_version(f"v{text}+build") == version
