"""Manifests as text: one document each, and labels put on objects without touching those that get none."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from sbkube.documents import Document, describe, dump, parse, split_manifests
from sbkube.errors import ConfigError, Position

_COMMENTS = re.compile(r"(?:[ \t]*(?:#[^\n]*)?\n)*")


class NotAManifest(ConfigError):
    """A document that no cluster would take as an object."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """One object: its text as written, and what it says of itself."""

    text: str
    source: str
    kind: str
    name: str

    @property
    def is_crd(self) -> bool:
        return self.kind == "CustomResourceDefinition"


def read_manifests(text: str, file: Path, source: str) -> list[Manifest]:
    """The objects of one file; raises `NotAManifest` with its line for what is none."""
    return [manifest() for manifest in each_manifest(text, file, source)]


def each_manifest(text: str, file: Path, source: str) -> Iterator[Callable[[], Manifest]]:
    """A call for each document, so that one that is no object does not hide the next."""
    offset = 0
    for document in split_manifests(text):
        offset = text.index(document, offset)
        yield partial(_manifest, document, file, source, text.count("\n", 0, offset))
        offset += len(document)


def _manifest(text: str, file: Path, source: str, line: int) -> Manifest:
    # Blank lines in front keep the lines of errors those of the file.
    parsed = parse("\n" * line + text, file=file)
    data = parsed.data
    where = Position(file, line + 1 if parsed.line is None else parsed.line)
    if not isinstance(data, dict):
        raise NotAManifest(f"a document is no Kubernetes object but {describe(data)}", where=where)
    for key in ("apiVersion", "kind"):
        if not isinstance(data.get(key), str) or not data[key]:
            raise NotAManifest(f"an object has no `{key}`", where=where)
    return Manifest(text, source, data["kind"], _name(data, where))


def _name(data: Mapping[str, Any], where: Position) -> str:
    metadata = data.get("metadata")
    if data["kind"].endswith("List") and isinstance(data.get("items"), list):
        return ""
    if not isinstance(metadata, dict):
        raise NotAManifest(f"a {data['kind']} has no `metadata`", where=where)
    name = metadata.get("name")
    if name is not None and not isinstance(name, str):
        told = f"`metadata.name` of a {data['kind']} is {describe(name)}"
        raise NotAManifest(told, where=where, hint="put it in quotes to make it text")
    if not name:
        generated = "; `generateName` makes a new object each time" if "generateName" in metadata else ""
        raise NotAManifest(f"a {data['kind']} has no `metadata.name`{generated}", where=where)
    return name


def stream(manifests: Iterable[Manifest]) -> str:
    """Documents after each other, each with where it came from."""
    return "".join(f"---\n# Source: {m.source}\n{_ended(m.text)}" for m in manifests)


def _ended(text: str) -> str:
    return text if text.endswith("\n") else text + "\n"


def with_metadata(text: str, labels: Mapping[str, str], annotations: Mapping[str, str]) -> str:
    """Every object of a stream with these labels and annotations; its own text stays if there are none."""
    if not labels and not annotations:
        return text
    return "".join("---\n" + _labelled(document, labels, annotations) for document in split_manifests(text))


def _labelled(text: str, labels: Mapping[str, str], annotations: Mapping[str, str]) -> str:
    match = _COMMENTS.match(text)
    comments = match[0] if match else ""
    parsed: Document = parse(text, file=Path("rendered"))
    data = parsed.data
    if not isinstance(data, dict):
        return _ended(text)
    is_list = str(data.get("kind", "")).endswith("List") and isinstance(data.get("items"), list)
    for each in data["items"] if is_list else [data]:
        _put(each, "labels", labels)
        _put(each, "annotations", annotations)
    return comments + dump(data)


def _put(data: Any, key: str, values: Mapping[str, str]) -> None:
    if not values or not isinstance(data, dict):
        return
    metadata = data.get("metadata")
    if not isinstance(metadata, dict):
        metadata = data["metadata"] = {}
    present = metadata.get(key)
    metadata[key] = {**(present if isinstance(present, dict) else {}), **values}
