"""Our `--set` and our merging of values files against the program's own, on expressions that nobody would think of."""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest
from helm_binaries import BINARIES
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from sbkube.helm.base import ValuesError
from sbkube.helm.values import final_values

PROBE = Path(__file__).parent / "charts" / "values-probe"
REFUSED = "refused"

scalars = st.sampled_from([None, True, 0, 1, 7, -1.5, "", "x", "true", "12"])
names = st.sampled_from(["a", "b", "c", "a.b", "d e"])
trees = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=8,
)
files = st.dictionaries(names, trees, max_size=3)

steps = st.sampled_from([".a", ".b", ".c", "[0]", "[1]", "[3]", r".a\.b", ".", "[-1]", "[x]", "[]"])
heads = st.sampled_from(["a", "b", "c", r"a\.b", "d e", "", r"\=", "A"])
TEXTS = r"""
    x null NULL true False 0 00 007 1 -1 +5 -0 1e3 1.5 9223372036854775807 9223372036854775808 -9223372036854775809
    {} {a,b} {1,null}x {a {,} \{a a\,b a=b a.b a\\b ~ on 1_000 0x10 é ٣ falſe
"""
texts = st.sampled_from(["", *TEXTS.split()])
paths = st.builds(lambda head, rest: head + "".join(rest), heads, st.lists(steps, max_size=3))
settings_of = st.builds("{}={}".format, paths, texts)
expressions = st.lists(settings_of | paths, min_size=1, max_size=3).map(",".join) | st.text(
    "ab.[]={},\\01- ", max_size=9
)


def printed_by(program: str, files: list[dict[str, Any]], expressions: list[str]) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        arguments = []
        for number, file in enumerate(files):
            path = Path(folder) / f"{number}.json"
            path.write_text(json.dumps(file))
            arguments += ["--values", str(path)]
        arguments += [f"--set={expression}" for expression in expressions]
        ended = subprocess.run(
            [program, "template", "x", str(PROBE), *arguments], capture_output=True, check=False
        )
    if ended.returncode:
        return REFUSED
    return json.loads(ended.stdout.decode().partition("# Source: values-probe/templates/a.yaml\n")[2])[
        "values"
    ]


def ours(files: list[dict[str, Any]], expressions: list[str]) -> Any:
    try:
        return final_values(files, expressions)
    except ValuesError as error:
        assume("is not closed" not in error.text)  # the one thing that Helm 3 refuses and Helm 4 passes over
        return REFUSED


def without_nulls(value: Any) -> Any:
    """A null has done its work when a template sees the values; what is left of it differs from Helm to Helm."""
    if isinstance(value, dict):
        return {key: without_nulls(inner) for key, inner in value.items() if inner is not None}
    return [without_nulls(inner) for inner in value] if isinstance(value, list) else value


def same(one: Any, other: Any) -> bool:
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


few = settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
many = settings(few, max_examples=200)
setting = given(st.lists(files, max_size=2), st.lists(expressions, min_size=1, max_size=2))
merging = given(st.lists(files, min_size=1, max_size=3))


def set_as_the_program(program: str, files: list[dict[str, Any]], expressions: list[str]) -> None:
    wanted = printed_by(program, files, expressions)
    assert same(without_nulls(ours(files, expressions)), without_nulls(wanted))


def merged_as_by_the_program(program: str, files: list[dict[str, Any]]) -> None:
    assert same(without_nulls(final_values(files)), without_nulls(printed_by(program, files, [])))


if BINARIES:
    each = pytest.mark.parametrize("program", BINARIES.values(), ids=BINARIES.keys())

    @each
    @few
    @setting
    @example([{"a": [1, 2]}], ["a[1]=x,a[3].b=y"])
    @example([{"a": {"b": 1}}], ["a=null,a.b=2"])
    def test_set_does_what_the_program_does(
        program: str, files: list[dict[str, Any]], expressions: list[str]
    ) -> None:
        set_as_the_program(program, files, expressions)

    @each
    @few
    @merging
    def test_files_merge_as_the_program_merges_them(program: str, files: list[dict[str, Any]]) -> None:
        merged_as_by_the_program(program, files)

    @pytest.mark.slow
    @each
    @many
    @setting
    def test_set_does_what_the_program_does_on_many_expressions(
        program: str, files: list[dict[str, Any]], expressions: list[str]
    ) -> None:
        set_as_the_program(program, files, expressions)

    @pytest.mark.slow
    @each
    @many
    @merging
    def test_many_files_merge_as_the_program_merges_them(program: str, files: list[dict[str, Any]]) -> None:
        merged_as_by_the_program(program, files)


def test_the_program_agrees_about_a_handful_that_people_write() -> None:
    pages = [
        ("image.tag=1.2.3,replicas=3", {"image": {"tag": "1.2.3"}, "replicas": 3}),
        ("hosts={a.example,b.example}", {"hosts": ["a.example", "b.example"]}),
        (r"nodeSelector.kubernetes\.io/os=linux", {"nodeSelector": {"kubernetes.io/os": "linux"}}),
        ("env[0].name=A,env[0].value=1,env[1].name=B", {"env": [{"name": "A", "value": 1}, {"name": "B"}]}),
        (r"list=a\,b,zip=01234,on=true", {"list": "a,b", "zip": "01234", "on": True}),
    ]
    for expression, values in pages:
        assert ours([], [expression]) == values
        assert [printed_by(program, [], [expression]) for program in BINARIES.values()] == [values] * len(
            BINARIES
        )
