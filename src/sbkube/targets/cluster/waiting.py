"""How a release is waited for: by Helm's watcher while that costs little, else its older way, where that sees as much."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import TypeVar

from sbkube.helm.releases import DeployRequest, RollbackRequest
from sbkube.targets.base import Deployment

from .objects import is_built_in, objects_of

MOST_WATCHED = 600
"""Releases that Helm's watchers see at once, all of them together: each holds every object of its kinds in its namespace."""
Request = TypeVar("Request", DeployRequest, RollbackRequest)


@dataclass(slots=True)
class Turns:
    _watched: int = 0

    @asynccontextmanager
    async def turn(self, request: Request, deployment: Deployment, seen: int) -> AsyncIterator[Request]:
        """As it is to be sent; a watcher of it would see so many releases."""
        if request.wait != "watcher":
            yield request
        elif self._watched + seen > MOST_WATCHED and _is_seen_without_watcher(request, deployment):
            yield replace(request, wait="legacy")
        else:
            self._watched += seen
            try:
                yield request
            finally:
                self._watched -= seen


def _is_seen_without_watcher(request: DeployRequest | RollbackRequest, deployment: Deployment) -> bool:
    """Helm's older way takes every custom resource for ready, and an install undone after it fails to be undone."""
    if request.wait_for_jobs or (isinstance(request, DeployRequest) and request.atomic):
        return False
    return all(is_built_in(one.id) for one in objects_of(deployment.manifests.manifests))
