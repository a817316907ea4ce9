"""Why something is not ready: what a person would look up next, looked up while Helm still waits.

Helm's watcher names objects and no causes, its older way to wait names nothing. The causes are in the pods, the jobs and
the warnings of the namespace. One look there serves all that wait in it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import anyio

from sbkube.helm.base import HelmError, shortened
from sbkube.helm.looking import Query
from sbkube.helm.releases import Forbidden, NotReady, Releases
from sbkube.targets.base import Deployment, Log

from .causes import Snapshot, causes, name_of
from .explaining import reworded
from .objects import ClusterObject, objects_of
from .readiness import readiness_of

T = TypeVar("T")

MOST_LINES = 16
"""Of causes: with what Helm says and a hint it is a screen at most."""
LONGEST_LINE = 240
FIRST_LOOK = 3.0  # seconds; most deploys are done by then
LOOK_EVERY = 3.0
_WAITED_FOR = ("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "ReplicationController", "Pod", "Job")


@dataclass(slots=True)
class _Seen:
    """What was last seen of one deploy while it was waited for."""

    causes: list[str] = field(default_factory=list)
    unready: list[str] = field(default_factory=list)
    _told: dict[str, None] = field(default_factory=dict)

    def not_told(self) -> list[str]:
        """Of the causes; told from now on."""
        fresh = [line for line in self.causes if line not in self._told]
        self._told.update(dict.fromkeys(fresh))
        return fresh


@dataclass(slots=True)
class Watch:
    """Looks at namespaces for all deploys that wait there; what it may not read it leaves out."""

    every: float = LOOK_EVERY
    _seen: dict[str, tuple[float, Snapshot]] = field(default_factory=dict)
    _locks: dict[str, anyio.Lock] = field(default_factory=dict)

    async def snapshot(self, releases: Releases, namespace: str) -> Snapshot:
        async with self._locks.setdefault(namespace, anyio.Lock()):
            at, seen = self._seen.get(namespace, (-self.every, Snapshot()))
            now = anyio.current_time()
            if now - at >= self.every:
                seen = await _looked(releases, namespace)
                self._seen[namespace] = (anyio.current_time(), seen)
            return seen

    async def during(
        self, act: Callable[[], Awaitable[T]], releases: Releases, deployment: Deployment, log: Log
    ) -> T:
        """What `act` returns; meanwhile causes go to the log, and one that ends not ready says them."""
        objects = [*objects_of(deployment.manifests.manifests), *objects_of(deployment.manifests.hooks)]
        seen = _Seen()
        done: list[T] = []
        failed: list[HelmError] = []
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._tell, releases, deployment, objects, seen, log)
            try:
                done.append(await act())
            except HelmError as error:
                failed.append(error)  # raised outside: here it would become one of a group
            tasks.cancel_scope.cancel()
        if not failed:
            return done[0]
        (why,) = failed
        if isinstance(why, NotReady):
            raise await self._explained(why, releases, deployment, objects, seen, log) from why
        raise why

    async def _tell(
        self,
        releases: Releases,
        deployment: Deployment,
        objects: Sequence[ClusterObject],
        seen: _Seen,
        log: Log,
    ) -> None:
        await anyio.sleep(FIRST_LOOK)
        while True:
            there = await self.snapshot(releases, deployment.namespace)
            seen.causes = [reworded(line) for line in causes(objects, deployment.namespace, there)]
            for line in seen.not_told():
                await log(f"not ready: {line}")
            if deployment.options.atomic:
                seen.unready = await _unready(releases, deployment.namespace, objects)
            await anyio.sleep(self.every)

    async def _explained(
        self,
        error: NotReady,
        releases: Releases,
        deployment: Deployment,
        objects: Sequence[ClusterObject],
        seen: _Seen,
        log: Log,
    ) -> NotReady:
        there = await _looked(releases, deployment.namespace)
        # What Helm has undone took its pods along, so what was last seen of them counts.
        found = [reworded(line) for line in causes(objects, deployment.namespace, there)] or seen.causes
        seen.causes = found
        for line in seen.not_told():
            await log(f"not ready: {line}")
        if not _names_objects(error.said):
            unready = await _unready(releases, deployment.namespace, objects) or seen.unready
            found = [*unready, *found]
        kept = [shortened(line, LONGEST_LINE) for line in found[:MOST_LINES]]
        if len(found) > MOST_LINES:
            kept.append(f"and {len(found) - MOST_LINES} more in the log")
        if there.forbidden:
            kept.append(
                f"there may be more: {' and '.join(there.forbidden)} of the namespace may not be read"
            )
        text = "\n".join([error.said, *(f"  {line}" for line in kept)])
        return NotReady(error.release, error.namespace, text, hint=error.hint)


def _names_objects(said: str) -> bool:
    """Helm's watcher does, its older way to wait does not."""
    return " not ready. status: " in said


async def _unready(releases: Releases, namespace: str, objects: Sequence[ClusterObject]) -> list[str]:
    queries = [
        Query(one.id.api_version, one.id.kind, one.id.namespace or namespace, one.id.name)
        for one in objects
        if one.id.kind in _WAITED_FOR
    ]
    try:
        found = [one for one in await releases.look(queries) if one] if queries else []
    except HelmError:
        return []
    return [line.replace(f" {namespace}/", " ", 1) for line in readiness_of(found).complaints]


async def _looked(releases: Releases, namespace: str) -> Snapshot:
    kinds = {
        "pods": Query("v1", "Pod", namespace),
        "jobs": Query("batch/v1", "Job", namespace),
        "events": Query("v1", "Event", namespace),
    }
    found = {name: await _items(releases, query) for name, query in kinds.items()}
    warnings = [event for event in found["events"] or () if event.get("type") == "Warning"]
    namespaces = await _items(releases, Query("v1", "Namespace", "")) or ()
    going = [name_of(one) for one in namespaces if "deletionTimestamp" in one["metadata"]]
    forbidden = [name for name, items in found.items() if items is None]
    return Snapshot(found["pods"] or (), found["jobs"] or (), warnings, going, forbidden)


async def _items(releases: Releases, query: Query) -> Sequence[Mapping[str, Any]] | None:
    """None: they may not be read."""
    try:
        (answer,) = await releases.look([query])
    except Forbidden:
        return None
    except HelmError:
        return ()
    return list((answer or {}).get("items") or ())
