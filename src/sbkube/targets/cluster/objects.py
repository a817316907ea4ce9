"""The objects of rendered text, each with its own text, and what a release cannot hold."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sbkube.documents import dump, parse, split_manifests
from sbkube.errors import SbkubeError

CRD = "CustomResourceDefinition"


@dataclass(frozen=True, slots=True)
class ObjectId:
    """Which object of a cluster; `namespace` is "" where the manifest names none."""

    api_version: str
    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"

    @property
    def group(self) -> str:
        return self.api_version.rpartition("/")[0]


@dataclass(frozen=True, slots=True)
class ClusterObject:
    id: ObjectId
    text: str
    data: Mapping[str, Any]

    @property
    def is_crd(self) -> bool:
        return self.id.kind == CRD


_BUILT_IN = re.compile(
    r"[a-z]*|(admissionregistration|apiextensions|apiregistration|authentication|authorization|certificates"
    r"|coordination|discovery|events|flowcontrol\.apiserver|internal\.apiserver|networking|node|policy|rbac\.authorization"
    r"|resource|scheduling|storage|storagemigration)\.k8s\.io"
)
"""API groups of Kubernetes itself: those without a dot, and these."""


def is_built_in(id: ObjectId) -> bool:
    """Whether Kubernetes itself has its kind, so that Helm knows without a watcher when it is ready."""
    return _BUILT_IN.fullmatch(id.group) is not None


class Unreleasable(SbkubeError):
    """What an app renders cannot be kept as a release."""


def objects_of(text: str) -> list[ClusterObject]:
    """Each object of a stream, the items of lists on their own. Raises `Unreleasable` for what has no name."""
    return [found for document in split_manifests(text) for found in _objects(document)]


def refuse_duplicates(objects: Iterable[ClusterObject]) -> None:
    """Helm lets the last of two equal objects win without a word."""
    seen: set[tuple[str, str, str, str]] = set()
    for found in objects:
        # one object has many versions of its API
        key = (found.id.group, found.id.kind, found.id.namespace, found.id.name)
        if key in seen:
            raise Unreleasable(f"{found.id} is there twice", hint="remove one of the two, or rename it")
        seen.add(key)


def _objects(text: str) -> Iterator[ClusterObject]:
    data = parse(text, file=Path("rendered")).data
    if not isinstance(data, Mapping):
        raise Unreleasable(f"a document is no Kubernetes object but {type(data).__name__}")
    if not str(data.get("kind", "")).endswith("List") or not isinstance(data.get("items"), list):
        yield ClusterObject(id_of(data), text, data)
        return
    for item in data["items"]:
        yield from _objects(dump(item))


def id_of(data: Mapping[str, Any]) -> ObjectId:
    """Raises `Unreleasable` for what has no kind or no name."""
    version, kind = data.get("apiVersion"), data.get("kind")
    if not isinstance(version, str) or not isinstance(kind, str) or not version or not kind:
        raise Unreleasable(f"an object has no `{'kind' if version else 'apiVersion'}`")
    metadata = data.get("metadata")
    metadata = metadata if isinstance(metadata, Mapping) else {}
    name = metadata.get("name")
    if not isinstance(name, str) or not name:
        if "generateName" in metadata:
            raise Unreleasable(
                f"a {kind} has `generateName: {metadata['generateName']}`, which makes a new object each time",
                hint="give it a `name`, or apply it by an app of `type: exec`",
            )
        raise Unreleasable(f"a {kind} has no `metadata.name`")
    return ObjectId(version, kind, str(metadata.get("namespace") or ""), name)
