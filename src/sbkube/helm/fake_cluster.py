"""A cluster for tests, in memory: its objects, its releases, and what a test makes go wrong in it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any, NamedTuple
from uuid import uuid4

import anyio
import yaml

from .base import Rendered
from .looking import Query, Server
from .releases import (
    DeployRequest,
    Release,
    ReleaseContents,
    ReleaseStatus,
    RollbackRequest,
    UninstallRequest,
)

Object = Mapping[str, Any]
Request = DeployRequest | RollbackRequest | UninstallRequest

NAME, NAMESPACE = "meta.helm.sh/release-name", "meta.helm.sh/release-namespace"
MANAGED_BY = "app.kubernetes.io/managed-by"
_KEEP = "helm.sh/resource-policy"
_OF_NO_NAMESPACE = frozenset(
    [
        "APIService",
        "ClusterRole",
        "ClusterRoleBinding",
        "CustomResourceDefinition",
        "IngressClass",
        "MutatingWebhookConfiguration",
        "Namespace",
        "Node",
        "PersistentVolume",
        "PriorityClass",
        "RuntimeClass",
        "StorageClass",
        "ValidatingWebhookConfiguration",
    ]
)


class Key(NamedTuple):
    api_version: str
    kind: str
    namespace: str
    name: str


@dataclass(frozen=True, slots=True)
class Fails:
    """A deploy fails after its objects were applied, and Helm says this."""

    text: str


@dataclass(frozen=True, slots=True)
class Hangs:
    """A deploy comes to no end by itself; who cancels it leaves the release `pending-*`."""


@dataclass(frozen=True, slots=True)
class Dies:
    """The process that deploys is killed half-way and leaves the release `pending-*`."""


Fault = Fails | Hangs | Dies


@dataclass(frozen=True, slots=True)
class Call:
    what: str
    """`install`, `upgrade`, `rollback` or `uninstall`."""
    request: Request


@dataclass(slots=True)
class Stored:
    """One revision as it is stored: what it was rendered to, and how it stands."""

    release: Release
    rendered: Rendered
    values: Mapping[str, Any]

    @property
    def status(self) -> ReleaseStatus:
        return self.release.status

    def become(self, status: ReleaseStatus) -> None:
        self.release = replace(self.release, status=status)

    @property
    def contents(self) -> ReleaseContents:
        rendered = self.rendered
        return ReleaseContents(self.release, rendered.manifests, rendered.hooks, self.values, rendered.notes)

    @property
    def objects(self) -> dict[Key, Object]:
        return keyed(rendered_objects(self.rendered.manifests), self.release.namespace)


Stack = list[Stored]
"""The revisions of one release, oldest first."""


@dataclass(slots=True)
class FakeCluster:
    version: str = "v1.36.0"
    api_versions: tuple[str, ...] = ("apps/v1", "batch/v1", "v1")
    uid: str = field(default_factory=lambda: str(uuid4()))
    is_reachable: bool = True
    may_list_everywhere: bool = True
    """Whether releases may be listed in all namespaces at once."""
    namespaces: set[str] = field(default_factory=lambda: {"default", "kube-system"})
    objects: dict[Key, Object] = field(default_factory=dict)
    releases: dict[tuple[str, str], Stack] = field(default_factory=dict)
    """By namespace and name."""
    calls: list[Call] = field(default_factory=list)
    hooks: list[str] = field(default_factory=list)
    """Those that ran, such as `pre-install Job/migrate`."""
    faults: dict[str, list[Fault]] = field(default_factory=dict)
    """What befalls the next calls for a release, one each."""
    _unready: dict[str, anyio.Event] = field(default_factory=dict)
    _uids: Iterable[int] = field(default_factory=lambda: count(1))

    # What tests say

    def fail(self, release: str, *faults: Fault) -> None:
        self.faults.setdefault(release, []).extend(faults)

    def hold(self, release: str) -> None:
        """Its objects are not ready until `make_ready`."""
        self._unready[release] = anyio.Event()

    def make_ready(self, release: str) -> None:
        self._unready.pop(release).set()

    def put(self, *objects: Object, namespace: str = "default") -> None:
        """As somebody applies objects who is no Helm."""
        for key, one in keyed(objects, namespace).items():
            self._store(key, one)

    # What releases ask

    @property
    def server(self) -> Server:
        return Server(self.version, tuple(sorted(self.api_versions)), self.uid)

    def fault(self, release: str) -> Fault | None:
        waiting = self.faults.get(release)
        return waiting.pop(0) if waiting else None

    async def ready(self, release: str) -> None:
        if release in self._unready:
            await self._unready[release].wait()

    def found(self, query: Query) -> Any:
        here = [
            one
            for key, one in self.objects.items()
            if key[:2] == (query.api_version, query.kind)
            and query.namespace in ("", key.namespace)
            and query.name in ("", key.name)
        ]
        if query.name:
            return here[0] if here else None
        return {"apiVersion": query.api_version, "kind": f"{query.kind}List", "items": here}

    def apply(self, objects: Mapping[Key, Object], owner: Release) -> None:
        for key, one in objects.items():
            self._store(key, _owned(one, owner))

    def create(self, objects: Mapping[Key, Object]) -> None:
        """Those that are not there yet."""
        for key, one in objects.items():
            if key not in self.objects:
                self._store(key, one)

    def delete(self, keys: Iterable[Key]) -> None:
        for key in keys:
            if key in self.objects and annotations_of(self.objects[key]).get(_KEEP) != "keep":
                del self.objects[key]

    def _store(self, key: Key, one: Object) -> None:
        known = self.objects.get(key)
        uid = known["metadata"]["uid"] if known else f"{next(iter(self._uids)):08}"
        named = {"name": key.name, "uid": uid} | ({"namespace": key.namespace} if key.namespace else {})
        self.objects[key] = {**one, "metadata": {**one["metadata"], **named}}
        if key.kind == "Namespace":
            self.namespaces.add(key.name)


def rendered_objects(text: str) -> list[Object]:
    return [one for one in yaml.safe_load_all(text) if one]


def keyed(objects: Iterable[Object], namespace: str) -> dict[Key, Object]:
    return {_key(one, namespace): one for one in objects}


def annotations_of(one: Object) -> Mapping[str, str]:
    return one["metadata"].get("annotations") or {}


def owner_of(one: Object) -> Sequence[str | None]:
    """Name and namespace of the release that owns it."""
    return [annotations_of(one).get(NAME), annotations_of(one).get(NAMESPACE)]


def _key(one: Object, namespace: str) -> Key:
    metadata = one["metadata"]
    where = "" if one["kind"] in _OF_NO_NAMESPACE else metadata.get("namespace") or namespace
    return Key(one["apiVersion"], one["kind"], where, metadata["name"])


def _owned(one: Object, owner: Release) -> Object:
    metadata = one["metadata"]
    owned = {**annotations_of(one), NAME: owner.name, NAMESPACE: owner.namespace}
    labels = {**(metadata.get("labels") or {}), MANAGED_BY: "Helm"}
    return {**one, "metadata": {**metadata, "annotations": owned, "labels": labels}}
