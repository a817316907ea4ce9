"""What is wrong with the pods, jobs and objects of a release, from what is there and what the warnings say. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from .objects import ClusterObject

_STILL_NORMAL = ("ContainerCreating", "PodInitializing")
_SAFE = "[bcdfghjklmnpqrstvwxz2456789]"  # what Kubernetes makes names of
_GENERATED = re.compile(rf"(-{_SAFE}{{8,10}})?-{_SAFE}{{5}}\b|-\d+\b")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Pods, jobs and warnings of one namespace, and the namespaces that are going away."""

    pods: Sequence[Mapping[str, Any]] = ()
    jobs: Sequence[Mapping[str, Any]] = ()
    events: Sequence[Mapping[str, Any]] = ()
    terminating: Sequence[str] = ()
    forbidden: Sequence[str] = ()
    """What may not be read of these."""


class Cause(NamedTuple):
    about: str
    """Such as `Pod web-0`."""
    text: str


def causes(objects: Iterable[ClusterObject], namespace: str, seen: Snapshot) -> list[str]:
    """One line each, without repetition: what is wrong with the pods, jobs and objects of a release."""
    objects = list(objects)
    everything = {(o.id.kind, o.id.name) for o in objects}
    names = {(o.id.kind, o.id.name) for o in objects if (o.id.namespace or namespace) == namespace}
    pods = [pod for pod in seen.pods if _belongs(pod, names)]
    found = [
        Cause(f"Namespace {one}", "is being deleted")
        for one in seen.terminating
        if one == namespace or ("Namespace", one) in everything
    ]
    found += [cause for pod in pods for cause in _of_pod(pod)]
    found += [cause for job in seen.jobs if ("Job", name_of(job)) in names for cause in _of_job(job)]
    ours = names | {("Pod", name_of(pod)) for pod in pods} | {_owner(pod) for pod in pods}
    known = [cause.text for cause in found]
    for event in seen.events:
        found += [cause for cause in _of_event(event, ours) if not _is_known(cause, known)]
    return _grouped(found)


def _is_known(event: Cause, known: Iterable[str]) -> bool:
    """The scheduler, for one, says the same in the state of the pod."""
    _, _, message = event.text.partition(": ")
    return any(message in text for text in known)


def _grouped(found: Iterable[Cause]) -> list[str]:
    """One line for all that say the same: names that were generated make no difference."""
    groups: dict[tuple[str, str], dict[str, str]] = {}
    for cause in found:
        text = cause.text.replace("(combined from similar events): ", "")
        key = (_GENERATED.sub("", cause.about), _GENERATED.sub("", text))
        groups.setdefault(key, {}).setdefault(cause.about, text)
    lines = []
    for abouts in groups.values():
        (first, text), *others = abouts.items()
        lines.append(f"{first}{f' and {len(others)} more' if others else ''}: {text}")
    return lines


def _belongs(pod: Mapping[str, Any], names: set[tuple[str, str]]) -> bool:
    kind, name = _owner(pod)
    if kind == "ReplicaSet":
        return ("Deployment", name.rpartition("-")[0]) in names or (kind, name) in names
    return (kind, name) in names or ("Pod", name_of(pod)) in names


def _owner(pod: Mapping[str, Any]) -> tuple[str, str]:
    owners = pod["metadata"].get("ownerReferences") or [{}]
    return owners[0].get("kind", ""), owners[0].get("name", "")


def name_of(found: Mapping[str, Any]) -> str:
    return str(found["metadata"]["name"])


def _of_pod(pod: Mapping[str, Any]) -> Iterator[Cause]:
    status, name = pod.get("status") or {}, f"Pod {name_of(pod)}"
    for condition in status.get("conditions") or ():
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            yield _cause(name, condition.get("reason", "not scheduled"), condition.get("message"))
    for container in (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())):
        yield from _of_container(name, container)
    if status.get("phase") == "Failed":
        yield _cause(name, "failed", status.get("reason"), status.get("message"))


def _of_container(pod: str, container: Mapping[str, Any]) -> Iterator[Cause]:
    state, last = container.get("state") or {}, container.get("lastState") or {}
    if (waiting := state.get("waiting")) and waiting.get("reason") not in _STILL_NORMAL:
        yield _cause(pod, f"container {container['name']}", waiting.get("reason"), waiting.get("message"))
    for ended in (state.get("terminated"), last.get("terminated")):
        if ended and ended.get("exitCode"):
            code = f"exit code {ended['exitCode']}"
            yield _cause(
                pod, f"container {container['name']}", ended.get("reason"), code, ended.get("message")
            )


def _of_job(job: Mapping[str, Any]) -> Iterator[Cause]:
    for condition in (job.get("status") or {}).get("conditions") or ():
        if condition.get("type") == "Failed" and condition.get("status") == "True":
            yield _cause(f"Job {name_of(job)}", condition.get("reason"), condition.get("message"))


def _of_event(event: Mapping[str, Any], ours: set[tuple[str, str]]) -> Iterator[Cause]:
    about = event.get("involvedObject") or {}
    if (about.get("kind", ""), about.get("name", "")) in ours:
        text = " ".join(str(event.get("message", "")).split())
        yield _cause(f"{about['kind']} {about['name']}", event.get("reason"), text)


def _cause(about: str, *parts: str | None) -> Cause:
    return Cause(about, ": ".join(str(part).strip() for part in parts if part))
