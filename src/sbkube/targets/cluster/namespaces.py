"""Namespaces that apps want created: by us, since Helm's own way costs a whole OpenAPI document for each release."""

from __future__ import annotations

from dataclasses import dataclass, field

import anyio

from sbkube.helm.looking import Query
from sbkube.helm.releases import Releases
from sbkube.targets.base import Deployment, Log

from .kubectl import Kubectl, KubectlMissing


@dataclass(slots=True)
class Namespaces:
    kubectl: Kubectl | None
    _there: set[str] = field(default_factory=set)
    _locks: dict[str, anyio.Lock] = field(default_factory=dict)

    async def ensure(self, deployment: Deployment, releases: Releases, log: Log) -> None:
        """Creates the namespace of a deployment that asks for it, if it is not there."""
        name = deployment.namespace
        if not deployment.options.create_namespace or name in self._there:
            return
        async with self._locks.setdefault(name, anyio.Lock()):
            if name in self._there:
                return
            (found,) = await releases.look([Query("v1", "Namespace", "", name)])
            if found is None:
                if self.kubectl is None:
                    raise KubectlMissing(f"creating the namespace {name!r}")
                await log(f"creating namespace {name}")
                await self.kubectl.create_namespace(name)
            self._there.add(name)
