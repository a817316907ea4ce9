"""The index of a repository, however it is laid out; and small, once it was read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from sbkube.fetch import index as index_module
from sbkube.fetch.index import BadIndex, Charts, ChartVersion, Index, read_index, small
from servers.charts import Chart, index

URL = "https://me:canary@example.test/index.yaml?token=canary"
GO = index({"web": [Chart("web").entry(), Chart("web", "1.2.0").entry()], "a.b-c_d": [Chart("x").entry()]})


def read(text: str) -> Charts:
    return read_index(text.encode(), URL)


def versions(charts: Charts) -> dict[str, list[str]]:
    return {name: [entry.version for entry in entries] for name, entries in charts.items()}


def by_yaml(text: str) -> Charts:
    return index_module._of_data(index_module._yaml(text, URL), URL)


def test_what_go_wrote_is_read_by_its_layout() -> None:
    charts = index_module._by_layout(GO, URL)
    assert charts is not None
    assert charts == by_yaml(GO) == read(GO)
    assert charts["web"][1] == ChartVersion("1.2.0", Chart("web", "1.2.0").digest, ("web-1.2.0.tgz",))


ENTRY = "  - version: 1.0.0\n    urls:\n    - a.tgz\n"


@pytest.mark.parametrize(
    "text",
    [
        "entries:\n  web:\n    - version: 1.0.0\n      urls:\n        - a.tgz\n",
        "entries:\n    web:\n    - urls:\n      - a.tgz\n      version: 1.0.0\n",
        "entries:\n  web: [{version: 1.0.0, urls: [a.tgz]}]\n",
        "{entries: {web: [{version: 1.0.0, urls: [a.tgz]}]}}",
        "entries:\n  web:\n  - {version: 1.0.0, urls: [a.tgz]}\n",
        "entries:\n  web:\n  - version: 1.0.0\n    urls: [a.tgz]\n",
        "entries:\n  web:\n  - 'version': 1.0.0\n    \"urls\":\n    - a.tgz\n",
        "entries:\n  web:\n  - version : 1.0.0\n    urls :\n    - a.tgz\n",
        "entries:\n  web:\n  - version: >-\n      1.0.0\n    urls:\n    - a.tgz\n",
        "entries:\n  web:\n  - version: 1.0.0 # the first\n    urls:\n    - a.tgz # here\n",
        "entries:\n  'web':\n" + ENTRY,
        "entries:\n  ? web\n  :\n" + ENTRY,
        "---\n# an index\nentries:\n\n  # of one\n  web:\n" + ENTRY + "...\n",
        "entries:\n  web: &web\n" + ENTRY,
        "entries:\n  web:\n  - &one\n    version: 1.0.0\n    urls:\n    - a.tgz\n",
        "entries:\r\n  web:\r\n  - version: 1.0.0\r\n    urls:\r\n    - a.tgz\r\n",
        "entries:\n  web:\n  - version: \"1.0.0\"\n    urls:\n    - 'a.tgz'\n    description: |\n      version: 9.9.9\n\n      urls:\n",
        "entries:\n  web:\n  - version: 1.0.0\n    description: a long\n      version: 9.9.9\n    urls:\n    - a.tgz\n",
        "entries:\n  web:\n" + ENTRY + "    dependencies:\n    - version: 9.9.9\n      urls:\n      - b\n",
        "entries:\n  web:\n  - urls:\n    - a.tgz\n\n    version: 1.0.0",
        "\ufeffentries:\n  web:\n" + ENTRY,
        json.dumps({"entries": {"web": [{"version": "1.0.0", "urls": ["a.tgz"]}]}}),
        json.dumps({"entries": {"web": [{"version": "1.0.0", "urls": ["a.tgz"]}]}}, indent=2),
    ],
)
def test_the_same_index_in_another_layout_is_the_same(text: str) -> None:
    assert read(text) == {"web": [ChartVersion("1.0.0", "", ("a.tgz",))]}


def test_what_cannot_be_fetched_is_left_out() -> None:
    text = "entries:\n  web:\n  - name: web\n  - null\n  - version: 1.5\n  - version: 1.0.0\n  other:\n"
    assert read(text) == {"web": [ChartVersion("1.0.0", "", ())], "other": []}


@pytest.mark.parametrize("digest", ["null", "~", "", '""'])
def test_no_digest_is_none(digest: str) -> None:
    assert read(f"entries:\n  web:\n  - version: 1.0.0\n    digest: {digest}\n")["web"][0].digest == ""


def test_a_digest_may_say_its_kind() -> None:
    text = f"entries:\n  web:\n  - version: 1.0.0\n    digest: sha256:{'AB' * 32}\n"
    assert read(text)["web"][0].digest == "ab" * 32


words = st.text("abcdefghijklmnop0123456789 .:-#&*!'\"{}[]%@|>\n\\", max_size=30)
items = st.fixed_dictionaries(
    {"version": st.sampled_from(["1.0.0", "v2.3", "1.0.0-rc.1+b", "1.10", "1e3", "0x10", "null"])},
    optional={
        "digest": st.sampled_from(["", "ab" * 32, "12" * 32, "1" * 20 + "e" + "1" * 43]),
        "urls": st.lists(
            st.sampled_from(["a.tgz", "https://x.test/a_b/c.tgz?x=%20&y", "a b.tgz", "é.tgz"]), max_size=3
        ),
        "description": words,
        "annotations": st.dictionaries(words, words, max_size=2),
        "dependencies": st.lists(st.fixed_dictionaries({"name": words, "version": words}), max_size=2),
        "created": st.just("2026-01-02T03:04:05Z"),
    },
)
charts = st.dictionaries(
    st.sampled_from(["web", "a-b", "x.y", "123", "null", "é"]), st.lists(items, max_size=3), max_size=4
)


@given(charts, st.booleans(), st.sampled_from([2, 4]), st.sampled_from([20, 80, 9999]), st.booleans())
def test_every_layout_of_an_index_is_read_as_the_yaml_it_is(
    entries: dict[str, Any], flow: bool, indent: int, width: int, is_sorted: bool
) -> None:
    data = {"apiVersion": "v1", "entries": entries, "generated": "now"}
    text = yaml.safe_dump(
        data,
        default_flow_style=flow,
        indent=indent,
        width=width,
        sort_keys=is_sorted,
    )
    assert read(text) == by_yaml(text)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "it is empty"),
        (" \n", "it is empty"),
        ("<html>\n<body>not found</body></html>", "it is no mapping; is the URL that of a chart repository?"),
        ("a: b", "it has no `entries`; is the URL that of a chart repository?"),
        ("entries: [a]", "it has no `entries`; is the URL that of a chart repository?"),
        ("entries:\n  web:\n  - version: 'x\n", "is not valid YAML"),
        ("entries: {web: *nothing}", "the alias `*nothing` has no anchor before it (line 1)"),
        ("[" * 10_000, "values are nested more than 100 levels deep (line 1)"),
        ("{" * 100_000, "nested"),
    ],
)
def test_what_is_no_index_is_told_without_secrets(text: str, why: str) -> None:
    with pytest.raises(BadIndex) as caught:
        read(text)
    assert caught.value.message.startswith("the index 'https://example.test/index.yaml?…' cannot be used: ")
    assert why in caught.value.message
    assert not caught.value.transient


def test_an_index_of_other_bytes_than_text_is_told() -> None:
    with pytest.raises(BadIndex, match="it is not UTF-8"):
        read_index(b"\x1f\x8b\x08\x00\xff", URL)


def test_the_small_form_has_every_chart_with_the_newest_first(tmp_path: Path) -> None:
    many = {f"c{n}": [ChartVersion(f"{v}.0.0", "", (f"{v}.tgz",)) for v in (1, 10, 2)] for n in range(50)}
    (tmp_path / "small").write_bytes(
        b"".join(small({**many, "é": [], "odd": [ChartVersion("latest", "", ())]}))
    )
    read_again = Index(tmp_path / "small")
    assert set(read_again.charts) == {*many, "é", "odd"}
    assert [entry.version for entry in read_again.versions("c49")] == ["10.0.0", "2.0.0", "1.0.0"]
    assert read_again.versions("c0")[0] == ChartVersion("10.0.0", "", ("10.tgz",))
    assert read_again.versions("é") == read_again.versions("odd") == read_again.versions("none") == []
