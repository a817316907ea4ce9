"""YAML by Go's rules, with lines; what is refused; merging, writing, splitting."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sbkube.documents import (
    InvalidYaml,
    UnreadableFile,
    describe,
    dump,
    merge,
    parse,
    parse_all,
    read,
    scalar,
    split_manifests,
)

FILE = Path("values.yaml")
relaxed = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def data(text: str, **options: Any) -> Any:
    return parse(text, file=FILE, **options).data


SCALARS = [
    ("0755", 493),
    ("0o14", 12),
    ("0o8", "0o8"),
    ("08", 8.0),
    ("1_000", 1000),
    ("1_", 1),
    ("0x1F", 31),
    ("-0x1f", -31),
    ("0b101", 5),
    ("0b", "0b"),
    ("0x", "0x"),
    ("+1", 1),
    ("-0", 0),
    ("1e3", 1000.0),
    ("12e03", 12000.0),
    ("1.", 1.0),
    (".5", 0.5),
    ("-.5", -0.5),
    ("._5", "._5"),
    ("1,000", "1,000"),
    (".inf", math.inf),
    ("-.Inf", -math.inf),
    ("1e400", "1e400"),
    ("9" * 5000, "9" * 5000),
    ("18446744073709551615", 2**64 - 1),
    ("18446744073709551616", 2.0**64),
    ("-9223372036854775809", -(2.0**63)),
    ("22:22", "22:22"),
    ("12:30:45", "12:30:45"),
    ("2001-01-01", "2001-01-01"),
    ("2001-12-14t21:59:43.10-05:00", "2001-12-14t21:59:43.10-05:00"),
    ("=", "="),
    ("y", True),
    ("N", False),
    ("on", True),
    ("Off", False),
    ("YES", True),
    ("yEs", "yEs"),
    ("tRue", "tRue"),
    ("~", None),
    ("Null", None),
    ("", None),
    ("nUll", "nUll"),
    ("1.2.3", "1.2.3"),
    ("v1", "v1"),
]


@pytest.mark.parametrize(("text", "value"), SCALARS)
def test_an_unquoted_word_is_what_go_makes_of_it(text: str, value: object) -> None:
    found = data(f"a: {text}")["a"]
    assert found == value
    assert type(found) is type(value)
    assert scalar(text) == value


def test_not_a_number_is_a_float() -> None:
    assert math.isnan(data("a: .nan")["a"])


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a: 'on'", "on"),
        ('a: "1"', "1"),
        ("a: !!str 5", "5"),
        ("a: ! 5", "5"),
        ("a: !!int '5'", 5),
        ("a: !!float 5", 5.0),
        ("a: !!bool 'yes'", True),
        ("a: !!null ''", None),
        ("a: !!binary aGk=", "hi"),
        ("a: !!timestamp 2001-01-01", "2001-01-01"),
        ("a: !!map {b: 1}", {"b": 1}),
        ("a: |\n  on\n", "on\n"),
        ("a: 1\n...\n", 1),
    ],
)
def test_quotes_and_tags_decide(text: str, value: object) -> None:
    assert data(text) == {"a": value}


@pytest.mark.parametrize(
    ("key", "go"),
    [
        ("y", "true"),
        ("no", "false"),
        ("1", "1"),
        ("0x10", "16"),
        ("1.0", "1"),
        ("1.5", "1.5"),
        ("1e3", "1000"),
        (".inf", ".inf"),
        ("'y'", "y"),
    ],
)
def test_keys_become_text_by_gos_rules_or_stay_as_written(key: str, go: str) -> None:
    assert data(f"{key}: 1", keys="go") == {go: 1}
    assert data(f"{key}: 1", keys="text") == {key.strip("'"): 1}


def test_a_key_of_nothing_is_refused_by_go_and_text_in_our_files() -> None:
    with pytest.raises(InvalidYaml, match=r"^values.yaml:2: a key must be text, not nothing$"):
        data("a: 1\n~: 1")
    assert data("null: 1", keys="text") == {"null": 1}


def test_merge_keys_lie_under_what_is_written_out() -> None:
    text = "x: &x {a: 1, b: 1}\ny: &y {b: 2, c: 2}\nz:\n  c: 3\n  <<: [*x, *y]\n"
    assert data(text, keys="text")["z"] == {"c": 3, "a": 1, "b": 1}


def test_in_go_a_merge_key_replaces_what_stands_above_it() -> None:
    text = "x: &x {a: 1}\nabove: {a: 0, <<: *x}\nbelow: {<<: *x, a: 0}\n"
    assert data(text) == {"x": {"a": 1}, "above": {"a": 1}, "below": {"a": 0}}


def test_a_quoted_merge_key_is_a_key_and_an_unquoted_one_a_value_like_any() -> None:
    assert data("'<<': {a: 1}\nb: <<\n") == {"<<": {"a": 1}, "b": "<<"}


def test_a_merge_key_of_something_else_is_refused() -> None:
    with pytest.raises(InvalidYaml, match=r"^values.yaml:2: `<<` takes a mapping or a list of mappings$"):
        data("a: 1\n<<: 5")


def test_positions_are_those_of_keys_and_items() -> None:
    document = parse("# top\na:\n  b:\n  - 1\n  - c: |\n      x\n    d: 2\n", file=FILE)
    lines = {(): 2, ("a",): 2, ("a", "b"): 3, ("a", "b", 0): 4, ("a", "b", 1, "c"): 5, ("a", "b", 1, "d"): 7}
    assert {path: document.position(path).line for path in lines} == lines


@pytest.mark.parametrize(
    ("path", "line"),
    [(["a", "x"], 1), (["a", "b", 7], 2), (["a", "b", "x", 1], 2), (["z"], 1), (["a", "b", 0, "deep"], 3)],
)
def test_what_is_not_there_has_the_position_of_what_is_around_it(path: list[str | int], line: int) -> None:
    document = parse("a:\n  b:\n  - 1\n", file=FILE)
    assert document.position(path).line == line
    assert str(document.position(path)) == f"values.yaml:{line}"


def test_an_alias_has_the_lines_of_its_anchor_inside() -> None:
    document = parse("x: &x\n  a: 1\nv: *x\nz:\n  <<: *x\n", file=FILE)
    assert document.position(["v"]).line == 3
    assert document.position(["v", "a"]).line == 2
    assert document.position(["z", "a"]).line == 2


def test_the_text_of_a_number_or_truth_value_is_kept() -> None:
    document = parse("a: 1.10\nb: [on, off, 'no', x]\nc: {<<: {d: 0x10}}\n", file=FILE, keys="text")
    assert document.text(["a"]) == "1.10"
    assert [document.text(["b", index]) for index in range(4)] == ["on", "off", None, None]
    assert document.text(["c", "d"]) == "0x10"
    assert document.text(["nothing", "there"]) is None


def nested_aliases(levels: int) -> str:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]" for level in range(1, levels)]
    return "\n".join(lines)


REFUSED = [
    ("a: 'x", 1, "is not valid YAML: found unexpected end of stream"),
    (
        "b: 1\na: 'x\n\n",
        4,
        "found unexpected end of stream, while scanning a quoted scalar that starts in line 2",
    ),
    ("a:\n\tb: 1", 2, "is not valid YAML: found character that cannot start any token"),
    ("a: b: c", 1, "is not valid YAML: mapping values are not allowed in this context"),
    ("a: 1\nb: *nope", 2, "the alias `*nope` has no anchor before it"),
    ("a: 1\nb: &b [*b]", 2, "the alias `*b` stands inside what it names"),
    ("[" * 100_000, 1, "values are nested more than 100 levels deep"),
    ("{a: " * 200, 1, "values are nested more than 100 levels deep"),
    ("- " * 100_000, 1, "values are nested more than 100 levels deep"),
    (
        "a: &a " + "[" * 60 + "]" * 60 + "\nb:\n " + "[" * 60 + "*a" + "]" * 60,
        3,
        "nested more than 100 levels",
    ),
    (nested_aliases(9), 6, "aliases make more than 1,000,000 values of this file"),
    ("a: 1\nb: \x00", 2, "the character '\\x00' is not allowed in YAML"),
    ("a: 1\nb: \x1b[0m", 2, "the character '\\x1b' is not allowed in YAML"),
    ("a: 1\n---\nb: 2", 3, "a second document starts here, the first is in line 1"),
    ("a: !vault x", 1, "the tag '!vault' is not supported"),
    (
        "a: !!python/object:os.system x",
        1,
        "the tag 'tag:yaml.org,2002:python/object:os.system' is not supported",
    ),
    ("a: !!set {b}", 1, "the tag 'tag:yaml.org,2002:set' is not supported"),
    ("a: !!int x", 1, "'x' is no int, which its tag says"),
    ("a: !!binary '?'", 1, "'?' is no binary, which its tag says"),
    ("? [a]\n: 1", 1, "a key must be text, not a list"),
]


@pytest.mark.parametrize(("text", "line", "message"), REFUSED)
@pytest.mark.parametrize("keys", ["text", "go"])
def test_what_is_refused_is_refused_with_its_line(text: str, line: int, message: str, keys: Any) -> None:
    with pytest.raises(InvalidYaml) as caught:
        data(text, keys=keys)
    assert message in str(caught.value)
    assert caught.value.where is not None
    assert (caught.value.where.file, caught.value.where.line) == (FILE, line)


def test_a_hundred_levels_are_not_too_many() -> None:
    assert data("[" * 100 + "]" * 100)
    assert data(nested_aliases(5))["a4"]


def test_a_key_twice_is_refused_in_our_files_and_replaced_in_go() -> None:
    with pytest.raises(InvalidYaml) as caught:
        data("a: 1\nb:\n  c: 1\n  d: 2\n  c: 3\n", keys="text")
    assert str(caught.value) == "values.yaml:5: the key 'c' stands here a second time, first in line 3"
    assert caught.value.hint == "keep one of them"
    assert data("a: 1\na: 2") == {"a": 2}


def test_an_empty_text_holds_nothing_and_counts_as_an_empty_mapping() -> None:
    for text in ("", "# only this\n", "---\n", "null\n"):
        document = parse(text, file=FILE)
        assert document.data is None
        assert document.mapping() == {}


@pytest.mark.parametrize(("text", "what"), [("- a", "a list"), ("a", "the text 'a'"), ("5", "the number 5")])
def test_a_top_level_that_is_no_mapping_is_refused_where_one_is_needed(text: str, what: str) -> None:
    with pytest.raises(InvalidYaml, match=f"^values.yaml:2: the file must hold keys and values, not {what}$"):
        parse(f"# c\n{text}\n", file=FILE).mapping()


def test_every_document_of_a_stream_is_parsed_with_lines_of_its_own() -> None:
    documents = parse_all("a: 1\n---\n# c\nb: 1\n---\n", file=FILE)
    assert [document.data for document in documents] == [{"a": 1}, {"b": 1}, None]
    assert documents[1].position(["b"]).line == 4


def test_a_byte_order_mark_and_windows_line_ends_are_taken(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(b"\xef\xbb\xbfa: 1\r\nb: 2\r\n")
    document = read(path)
    assert document.data == {"a": 1, "b": 2}
    assert document.position(["b"]).line == 2


def test_bytes_that_are_not_utf_8_are_refused_with_their_line(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(b"a: 1\nb: caf\xe9\n")
    with pytest.raises(InvalidYaml) as caught:
        read(path)
    assert str(caught.value) == f"{path}:2: is not UTF-8: byte 0xe9"


def test_a_file_that_cannot_be_read_is_named_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFile, match=r"there is no such file$"):
        read(tmp_path / "missing.yaml")
    with pytest.raises(UnreadableFile, match=r"cannot be read: is a directory$"):
        read(tmp_path)


def test_values_are_described_in_plain_words() -> None:
    values: list[object] = [None, True, 5, "x", {}, [], "y" * 100]
    described = [describe(value) for value in values]
    assert described[:6] == [
        "nothing",
        "the truth value 'true'",
        "the number 5",
        "the text 'x'",
        "a mapping",
        "a list",
    ]
    assert len(described[6]) < 80


# Merging

leaves = (
    st.none()
    | st.booleans()
    | st.integers(-5, 5)
    | st.text(max_size=3)
    | st.lists(st.integers(0, 3), max_size=2)
)
names = st.sampled_from("abc")
mappings = st.dictionaries(
    names, st.recursive(leaves, lambda inner: st.dictionaries(names, inner, max_size=3))
)


def merged_by_definition(base: Any, over: Any) -> Any:
    if not (isinstance(base, dict) and isinstance(over, dict)):
        return over
    both = {key: merged_by_definition(base[key], over[key]) for key in base if key in over}
    return {**base, **over, **both}


@relaxed
@given(mappings, mappings)
def test_merging_is_its_definition_and_changes_neither_side(
    base: dict[str, Any], over: dict[str, Any]
) -> None:
    before = copy.deepcopy((base, over))
    assert merge(base, over) == merged_by_definition(base, over)
    assert (base, over) == before


@relaxed
@given(mappings, mappings, mappings)
def test_merging_is_associative(a: dict[str, Any], b: dict[str, Any], c: dict[str, Any]) -> None:
    if merged_by_definition(merged_by_definition(a, b), c) == merged_by_definition(
        a, merged_by_definition(b, c)
    ):
        assert merge(merge(a, b), c) == merge(a, merge(b, c))


@relaxed
@given(mappings)
def test_merging_with_nothing_or_itself_is_the_same(base: dict[str, Any]) -> None:
    assert merge(base, {}) == merge({}, base) == merge(base, base) == base


def test_null_replaces_a_mapping_and_lists_are_not_joined() -> None:
    assert merge({"a": {"b": 1}, "c": [1, 2]}, {"a": None, "c": [3]}) == {"a": None, "c": [3]}


def test_merging_goes_deeper_than_python_can_recurse() -> None:
    deep: dict[str, Any] = {}
    for _ in range(50_000):
        deep = {"a": deep}
    merged: Any = merge(deep, deep)
    levels = 0
    while merged:
        merged, levels = merged["a"], levels + 1
    assert levels == 50_000


# Reading and writing

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
words = st.sampled_from(
    [text for text, _ in SCALARS if text] + ["<<", "- a", "a: b", " x", "x ", "\n", "#", "|", "null"]
)
plain = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts
    | words
)
anything = st.recursive(
    plain,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts | words, inner, max_size=4),
    max_leaves=15,
)


@relaxed
@given(anything)
def test_what_is_written_reads_back_the_same(value: Any) -> None:
    assert data(dump(value)) == value
    assert data(dump({"a": [value]}), keys="text") == {"a": [value]}


@relaxed
@given(anything)
def test_where_the_rules_agree_so_do_we_and_pyyaml(value: Any) -> None:
    text = yaml.dump(value, Dumper=yaml.SafeDumper, default_style='"', allow_unicode=True)
    assert data(text) == yaml.safe_load(text)


def test_nothing_is_written_as_an_alias_and_order_is_kept() -> None:
    shared = {"x": 1}
    assert dump({"b": shared, "a": [shared, shared], "t": ("u",)}) == (
        "b:\n  x: 1\na:\n- x: 1\n- x: 1\nt:\n- u\n"
    )


def test_long_texts_are_written_as_blocks() -> None:
    assert dump({"script": "echo a\necho b\n"}) == "script: |\n  echo a\n  echo b\n"


# Splitting


def test_manifests_are_split_at_markers_only_and_keep_their_bytes() -> None:
    first = "a: |\n  ---\n  x: 1\n\n\n"
    second = "# Source: x\nb: '1'  \n"
    assert split_manifests(f"# comment\n---\n{first}---\n{second}...\n---\n\n--- # empty\n") == [
        first,
        second,
    ]


def test_content_after_a_marker_belongs_to_its_document() -> None:
    assert split_manifests("--- {a: 1}\n--- |\n  text\n---\nb: 1") == ["{a: 1}\n", "|\n  text\n", "b: 1"]


def test_windows_line_ends_split_too_and_stay() -> None:
    assert split_manifests("---\r\na: 1\r\n---\r\nb: 2\r\n") == ["a: 1\r\n", "b: 2\r\n"]


def test_dashes_that_are_no_marker_do_not_split() -> None:
    text = "a: 1\n----\nb: ---\nc:\n- - - x\n---x\n"
    assert split_manifests(text) == [text]


@relaxed
@given(st.lists(mappings.filter(bool), min_size=1, max_size=5))
def test_a_stream_splits_into_the_documents_it_was_made_of(documents: list[Any]) -> None:
    parts = [dump(document) for document in documents]
    assert split_manifests("---\n" + "---\n".join(parts)) == parts
    assert [document.data for document in parse_all("---\n".join(parts), file=FILE)] == documents
