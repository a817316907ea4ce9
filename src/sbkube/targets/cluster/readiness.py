"""How far the workloads of a release are, from what the cluster says of them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Object = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Workload:
    kind: str
    namespace: str
    name: str
    ready: int
    desired: int

    @property
    def is_ready(self) -> bool:
        return self.ready >= self.desired

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}: {self.ready} of {self.desired} ready"


@dataclass(frozen=True, slots=True)
class Readiness:
    workloads: tuple[Workload, ...]
    failed_jobs: tuple[str, ...]
    """Each with why, in the cluster's words."""

    @property
    def ready(self) -> int:
        return sum(workload.is_ready for workload in self.workloads)

    @property
    def is_ready(self) -> bool:
        return not self.failed_jobs and self.ready == len(self.workloads)

    @property
    def complaints(self) -> list[str]:
        return [*self.failed_jobs, *(str(one) for one in self.workloads if not one.is_ready)]


NOTHING = Readiness((), ())
"""Of what has no workloads."""


def readiness_of(objects: Iterable[Object]) -> Readiness:
    objects = list(objects)
    workloads = [found for each in objects if (found := _workload(each)) is not None]
    failed = [why for each in objects for why in _failed_job(each)]
    return Readiness(tuple(workloads), tuple(failed))


def _workload(found: Object) -> Workload | None:
    counts = _COUNTS.get((_group(found), found["kind"]))
    if counts is None:
        return None
    spec, status = found.get("spec") or {}, found.get("status") or {}
    ready, desired = counts(spec, status)
    metadata = found["metadata"]
    if _is_stale(metadata, status):
        ready = 0
    return Workload(found["kind"], metadata.get("namespace") or "", metadata["name"], ready, desired)


def _is_stale(metadata: Object, status: Object) -> bool:
    """Its controller has not seen the newest wish yet, so what it says is about an older one."""
    seen = status.get("observedGeneration")
    return bool(seen is not None and seen < metadata.get("generation", 0))


def _deployment(spec: Object, status: Object) -> tuple[int, int]:
    return min(_count(status, "updatedReplicas"), _count(status, "availableReplicas")), _replicas(spec)


def _stateful_set(spec: Object, status: Object) -> tuple[int, int]:
    ready = _count(status, "readyReplicas")
    strategy = spec.get("updateStrategy") or {}
    held_back = (strategy.get("rollingUpdate") or {}).get("partition") or strategy.get("type") == "OnDelete"
    return ready if held_back else min(ready, _count(status, "updatedReplicas")), _replicas(spec)


def _daemon_set(spec: Object, status: Object) -> tuple[int, int]:
    ready = _count(status, "numberAvailable")
    if (spec.get("updateStrategy") or {}).get("type") != "OnDelete":
        ready = min(ready, _count(status, "updatedNumberScheduled"))
    return ready, _count(status, "desiredNumberScheduled")


def _replica_set(spec: Object, status: Object) -> tuple[int, int]:
    return _count(status, "readyReplicas"), _replicas(spec)


def _pod(spec: Object, status: Object) -> tuple[int, int]:
    is_ready = status.get("phase") == "Succeeded" or _condition(status, "Ready") is not None
    return int(is_ready), 1


_COUNTS = {
    ("apps", "Deployment"): _deployment,
    ("apps", "StatefulSet"): _stateful_set,
    ("apps", "DaemonSet"): _daemon_set,
    ("apps", "ReplicaSet"): _replica_set,
    ("", "ReplicationController"): _replica_set,
    ("", "Pod"): _pod,
}


def _failed_job(found: Object) -> Iterator[str]:
    if (_group(found), found["kind"]) == ("batch", "Job"):
        failed = _condition(found.get("status") or {}, "Failed")
        if failed is not None:
            metadata = found["metadata"]
            why = [failed.get("reason"), failed.get("message")]
            told = ": ".join(str(part) for part in ("failed", *why) if part)
            yield f"Job {metadata.get('namespace')}/{metadata['name']}: {told}"


def _condition(status: Object, kind: str) -> Object | None:
    for condition in status.get("conditions") or ():
        if condition.get("type") == kind and condition.get("status") == "True":
            found: Object = condition
            return found
    return None


def _replicas(spec: Object) -> int:
    return int(spec.get("replicas", 1))


def _count(status: Object, name: str) -> int:
    return int(status.get(name) or 0)


def _group(found: Object) -> str:
    return str(found["apiVersion"]).rpartition("/")[0]
