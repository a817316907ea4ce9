"""Why something is not ready: what a person would look up next, looked up while Helm still waits.

Helm's watcher names objects and no causes, its older way to wait names nothing. The causes are in the pods, the jobs and
the warnings of the namespace. One look there serves all that wait in it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import anyio

from sbkube.helm.base import HelmError
from sbkube.helm.looking import Query
from sbkube.helm.releases import NotReady, Releases
from sbkube.targets.base import Deployment, Log

from .objects import ClusterObject, objects_of

T = TypeVar("T")

MOST_LINES = 20
FIRST_LOOK = 3.0  # seconds; most deploys are done by then
LOOK_EVERY = 3.0
_QUIET = ("Running", "Succeeded")
_STILL_NORMAL = ("ContainerCreating", "PodInitializing")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Pods, jobs and warnings of one namespace, and the namespaces that are going away."""

    pods: Sequence[Mapping[str, Any]] = ()
    jobs: Sequence[Mapping[str, Any]] = ()
    events: Sequence[Mapping[str, Any]] = ()
    terminating: Sequence[str] = ()


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
        told: dict[str, None] = {}
        done: list[T] = []
        failed: list[NotReady] = []
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._tell, releases, deployment.namespace, objects, told, log)
            try:
                done.append(await act())
            except NotReady as error:
                failed.append(error)
            tasks.cancel_scope.cancel()
        if failed:
            raise await self._explained(failed[0], releases, deployment, objects)
        return done[0]

    async def _tell(
        self,
        releases: Releases,
        namespace: str,
        objects: Sequence[ClusterObject],
        told: dict[str, None],
        log: Log,
    ) -> None:
        await anyio.sleep(FIRST_LOOK)
        while True:
            for line in causes(objects, namespace, await self.snapshot(releases, namespace)):
                if line not in told:
                    told[line] = None
                    await log(f"not ready: {line}")
            await anyio.sleep(self.every)

    async def _explained(
        self, error: NotReady, releases: Releases, deployment: Deployment, objects: Sequence[ClusterObject]
    ) -> NotReady:
        found = causes(objects, deployment.namespace, await _looked(releases, deployment.namespace))
        if not found:
            return error
        kept = found[:MOST_LINES]
        more = [f"… and {len(found) - MOST_LINES} more in the log"] if len(found) > MOST_LINES else []
        text = "\n".join([error.said, *(f"  {line}" for line in (*kept, *more))])
        return NotReady(error.release, error.namespace, text, hint=error.hint)


async def _looked(releases: Releases, namespace: str) -> Snapshot:
    kinds = (("v1", "Pod"), ("batch/v1", "Job"), ("v1", "Event"))
    found = [await _items(releases, Query(version, kind, namespace)) for version, kind in kinds]
    warnings = [event for event in found[2] if event.get("type") == "Warning"]
    namespaces = await _items(releases, Query("v1", "Namespace", ""))
    going = [_name(one) for one in namespaces if "deletionTimestamp" in one["metadata"]]
    return Snapshot(found[0], found[1], warnings, going)


async def _items(releases: Releases, query: Query) -> Sequence[Mapping[str, Any]]:
    try:
        (answer,) = await releases.look([query])
    except HelmError:
        return ()
    return list((answer or {}).get("items") or ())


def causes(objects: Iterable[ClusterObject], namespace: str, seen: Snapshot) -> list[str]:
    """One line each, without repetition: what is wrong with the pods, jobs and objects of a release."""
    objects = list(objects)
    everything = {(o.id.kind, o.id.name) for o in objects}
    names = {(o.id.kind, o.id.name) for o in objects if (o.id.namespace or namespace) == namespace}
    pods = [pod for pod in seen.pods if _belongs(pod, names)]
    lines = [
        f"Namespace {one}: is being deleted"
        for one in seen.terminating
        if one == namespace or ("Namespace", one) in everything
    ]
    lines += [line for pod in pods for line in _of_pod(pod)]
    lines += [line for job in seen.jobs if ("Job", _name(job)) in names for line in _of_job(job)]
    ours = names | {("Pod", _name(pod)) for pod in pods} | {_owner(pod) for pod in pods}
    lines += [line for event in seen.events for line in _of_event(event, ours)]
    return list(dict.fromkeys(lines))


def _belongs(pod: Mapping[str, Any], names: set[tuple[str, str]]) -> bool:
    kind, name = _owner(pod)
    if kind == "ReplicaSet":
        return ("Deployment", name.rpartition("-")[0]) in names or (kind, name) in names
    return (kind, name) in names or ("Pod", _name(pod)) in names


def _owner(pod: Mapping[str, Any]) -> tuple[str, str]:
    owners = pod["metadata"].get("ownerReferences") or [{}]
    return owners[0].get("kind", ""), owners[0].get("name", "")


def _name(found: Mapping[str, Any]) -> str:
    return str(found["metadata"]["name"])


def _of_pod(pod: Mapping[str, Any]) -> Iterator[str]:
    status, name = pod.get("status") or {}, f"Pod {_name(pod)}"
    for condition in status.get("conditions") or ():
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            yield f"{name}: {condition.get('reason', 'not scheduled')}: {condition.get('message', '')}"
    for container in (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())):
        yield from _of_container(name, container)
    if status.get("phase") == "Failed":
        yield f"{name}: failed: {status.get('reason') or ''} {status.get('message') or ''}".rstrip(": ")


def _of_container(pod: str, container: Mapping[str, Any]) -> Iterator[str]:
    state, last = container.get("state") or {}, container.get("lastState") or {}
    if (waiting := state.get("waiting")) and waiting.get("reason") not in _STILL_NORMAL:
        yield _joined(pod, f"container {container['name']}", waiting.get("reason"), waiting.get("message"))
    for ended in (state.get("terminated"), last.get("terminated")):
        if ended and ended.get("exitCode"):
            code = f"exit code {ended['exitCode']}"
            yield _joined(
                pod, f"container {container['name']}", ended.get("reason"), code, ended.get("message")
            )


def _of_job(job: Mapping[str, Any]) -> Iterator[str]:
    for condition in (job.get("status") or {}).get("conditions") or ():
        if condition.get("type") == "Failed" and condition.get("status") == "True":
            yield _joined(f"Job {_name(job)}", condition.get("reason"), condition.get("message"))


def _of_event(event: Mapping[str, Any], ours: set[tuple[str, str]]) -> Iterator[str]:
    about = event.get("involvedObject") or {}
    if (about.get("kind", ""), about.get("name", "")) in ours:
        text = " ".join(str(event.get("message", "")).split())
        yield _joined(f"{about['kind']} {about['name']}", event.get("reason"), text)


def _joined(*parts: str | None) -> str:
    return ": ".join(str(part).strip() for part in parts if part)
