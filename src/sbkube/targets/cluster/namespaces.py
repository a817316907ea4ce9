"""Namespaces of releases: there, created by us, or missed with a word. Helm's own way costs a whole OpenAPI document each."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import anyio

from sbkube.helm.looking import Query
from sbkube.helm.releases import Forbidden, ReleaseError, Releases
from sbkube.targets.base import Deployment, Log

from .adoption import RELEASE_NAME, RELEASE_NAMESPACE
from .kubectl import Kubectl, KubectlMissing
from .objects import objects_of


class NamespaceMissing(ReleaseError):
    def __init__(self, deployment: Deployment) -> None:
        super().__init__(
            deployment.release,
            deployment.namespace,
            f"the namespace {deployment.namespace!r} does not exist",
            hint=f"`create_namespace: true` of app {deployment.app!r} creates it, or an app that it depends on",
        )


class NamespaceGoing(ReleaseError):
    """What is still in it holds it up, which may be for ever."""

    def __init__(self, deployment: Deployment, why: Sequence[str]) -> None:
        super().__init__(
            deployment.release,
            deployment.namespace,
            "\n  ".join(
                [f"the namespace {deployment.namespace!r} is being deleted, nothing can be made in it", *why]
            ),
            hint=f"`kubectl wait --for=delete namespace {deployment.namespace}`, then resume",
        )


@dataclass(slots=True)
class Namespaces:
    kubectl: Kubectl | None
    _there: set[str] = field(default_factory=set)
    _locks: dict[str, anyio.Lock] = field(default_factory=dict)

    async def ensure(self, deployment: Deployment, releases: Releases, log: Log) -> None:
        """That of the release is there afterwards; raises `NamespaceMissing`."""
        name = deployment.namespace
        if name in self._there:
            return
        async with self._locks.setdefault(name, anyio.Lock()):
            if name not in self._there:
                found = await _found(name, releases)
                if found is None:
                    await self._create(deployment, log)
                elif "deletionTimestamp" in found["metadata"]:
                    raise NamespaceGoing(deployment, _why_still_there(found))
                self._there.add(name)

    async def _create(self, deployment: Deployment, log: Log) -> None:
        brings_it = brings_its_namespace(deployment)
        if not brings_it and not deployment.options.create_namespace:
            raise NamespaceMissing(deployment)
        if self.kubectl is None:
            raise KubectlMissing(f"creating the namespace {deployment.namespace!r}")
        await log(f"creating namespace {deployment.namespace}")
        if brings_it:
            # The release is kept in the namespace that is part of it: so that comes first, as the release's own.
            await self.kubectl.take_over(_owned(deployment), deployment.namespace)
        else:
            await self.kubectl.create_namespace(deployment.namespace)


def brings_its_namespace(deployment: Deployment) -> bool:
    """Whether the namespace of the release is among its objects."""
    found = objects_of(deployment.manifests.manifests)
    return any(one.id.kind == "Namespace" and one.id.name == deployment.namespace for one in found)


async def _found(name: str, releases: Releases) -> Mapping[str, Any] | None:
    try:
        (found,) = await releases.look([Query("v1", "Namespace", "", name)])
    except Forbidden:
        # Who may not look may not create one either; if it is not there, the server will say so.
        return {"metadata": {}}
    there: Mapping[str, Any] | None = found
    return there


def _why_still_there(namespace: Mapping[str, Any]) -> list[str]:
    conditions = (namespace.get("status") or {}).get("conditions") or ()
    return [str(one["message"]) for one in conditions if one.get("status") == "True" and one.get("message")]


def _owned(deployment: Deployment) -> str:
    """As Helm will find it to be of this release."""
    owner = {RELEASE_NAME: deployment.release, RELEASE_NAMESPACE: deployment.namespace}
    metadata = {
        "name": deployment.namespace,
        "labels": {"app.kubernetes.io/managed-by": "Helm"},
        "annotations": owner,
    }
    return json.dumps({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
