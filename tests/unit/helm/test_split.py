"""Rendered files -> documents in Helm's order; `tests/contract/test_helm.py` holds the whole to Helm's own output."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import pytest
import yaml

from sbkube.helm.split import Document, NotADocument, arrange, by_kind, joined, split


def head(text: str) -> Mapping[str, Any]:
    found = yaml.load(text, Loader=yaml.BaseLoader)
    if found is not None and not isinstance(found, Mapping):
        raise ValueError("not a mapping")
    return found or {}


@pytest.mark.parametrize(
    ("text", "documents"),
    [
        ("", []),
        ("---\n", []),
        (
            "a: 1\n---\n---\nb: 2",
            ["a: 1", "---\nb: 2"],
        ),  # the first separator takes the line end of the second
        ("a: 1", ["a: 1"]),
        ("\n\n---\na: 1\n---\nb: 2\n", ["a: 1", "b: 2\n"]),
        ("a: 1\n  \n---   \n\nb: 2", ["a: 1", "b: 2"]),
        ("a: 1\r\n---\r\nb: 2\r\n", ["a: 1", "b: 2\r\n"]),
        ("a: 1\n---b: 2", ["a: 1", "b: 2"]),
        ("a: |\n  x\n  ---\n  y", ["a: |\n  x\n  ---\n  y"]),
        ("a: x---y", ["a: x---y"]),
        ("# only a comment\n---\na: 1", ["# only a comment", "a: 1"]),
    ],
)
def test_text_is_split_where_helm_splits_it(text: str, documents: list[str]) -> None:
    assert split(text) == documents


def test_a_long_run_of_blank_lines_is_no_burden() -> None:
    assert split("a: 1" + "\n" * 20_000 + "---\nb: 2") == ["a: 1", "b: 2"]


def test_kinds_come_in_install_order_unknown_ones_last_by_name_and_equal_ones_stay() -> None:
    kinds = ["Zebra", "Deployment", "Apple", "", "Namespace", "Service", "Apple", "ConfigMap"]
    documents = [Document(str(number), kind, "") for number, kind in enumerate(kinds)]
    order = [(document.kind, document.source) for document in by_kind(documents)]
    assert [kind for kind, _ in order] == [
        "Namespace", "ConfigMap", "Service", "Deployment", "", "Apple", "Apple", "Zebra",
    ]  # fmt: skip
    assert [source for kind, source in order if kind == "Apple"] == ["2", "6"]


def test_the_order_of_files_does_not_depend_on_how_they_came() -> None:
    files = {f"chart/templates/{name}.yaml": f"kind: ConfigMap\nname: {name}" for name in "cabdB_1"}
    shuffled = list(files.items())
    random.Random(4).shuffle(shuffled)
    assert arrange(dict(shuffled), head) == arrange(files, head)


def test_partials_make_no_documents() -> None:
    assert (
        joined(
            arrange(
                {"chart/templates/_a.tpl": "kind: A", "chart/templates/_b.yaml": "kind: B"}, head
            ).manifests
        )
        == ""
    )


@pytest.mark.parametrize(
    "text", ["- a", "a: [", "metadata: [1]", "metadata: {annotations: {a: {b: c}}}", "kind: [a]"]
)
def test_what_is_no_object_is_refused_with_its_template(text: str) -> None:
    with pytest.raises(NotADocument, match=r"YAML parse error on chart/templates/x\.yaml: "):
        arrange({"chart/templates/x.yaml": text}, lambda text: yaml_head(text))


def yaml_head(text: str) -> Mapping[str, Any]:
    try:
        return head(text)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error


@pytest.mark.parametrize(
    ("events", "is_hook", "is_printed"),
    [
        ("pre-install", True, True),
        ("Pre-Install , POST-UPGRADE", True, True),
        ("test-success", True, True),
        ("crd-install", False, False),
        ("pre-install,no-such-event", False, False),
        ("", False, False),
    ],
)
def test_hooks_are_what_helm_calls_hooks(events: str, is_hook: bool, is_printed: bool) -> None:
    text = f"kind: Job\nmetadata: {{annotations: {{helm.sh/hook: '{events}'}}}}"
    arranged = arrange({"chart/templates/x.yaml": text}, head)
    assert [bool(arranged.hooks), bool(arranged.manifests)] == [is_hook, is_printed and not is_hook]
