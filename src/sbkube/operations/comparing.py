"""The objects of releases as they are wanted against what the cluster has of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from anyio.to_thread import run_sync

from sbkube.targets.cluster.adoption import RELEASE_NAME, RELEASE_NAMESPACE
from sbkube.targets.cluster.differences import Mask, lines_between, without_notes
from sbkube.targets.cluster.kubectl import Kubectl
from sbkube.targets.cluster.live import Answer, Refused, Sent, find, try_out
from sbkube.targets.cluster.objects import ClusterObject, ObjectId

MANAGED_BY = "app.kubernetes.io/managed-by"
POLICY = "helm.sh/resource-policy"

Kind = Literal["added", "changed", "removed", "refused"]


@dataclass(frozen=True, slots=True)
class Wanted:
    """The objects of one release."""

    app: str
    release: str
    namespace: str
    objects: Sequence[ClusterObject]
    gone: Sequence[ClusterObject] = ()
    """Of the release as it is deployed, and not wanted any more."""
    is_release: bool = True
    """False: what Helm creates where it is missing and then leaves alone, a chart's own definitions."""


@dataclass(frozen=True, slots=True)
class ObjectChange:
    """What would become of one object. `lines` are a unified diff of YAML, the values of Secrets masked."""

    app: str
    release: str
    namespace: str
    """Of the release."""
    object: ObjectId
    kind: Kind
    lines: tuple[str, ...] = ()
    why: str | None = None
    """What the server said where it refused to say what it would do."""


@dataclass(frozen=True, slots=True)
class Compared:
    """`live` is what was found of the wanted objects, by release, in the order in which they are wanted."""

    changes: tuple[ObjectChange, ...]
    live: Mapping[tuple[str, str], Sequence[tuple[ClusterObject, Answer]]]


async def compare(kubectl: Kubectl, wanted: Sequence[Wanted], mask: Mask) -> Compared:
    """Changes nothing. Raises `ClusterUnreachable`."""
    entries = [_Entry(one, each, is_gone) for one in wanted for each, is_gone in _both(one)]
    found, tried = await _looked_at(kubectl, entries)
    changes = await run_sync(_changes, entries, found, tried, mask)
    live: dict[tuple[str, str], list[tuple[ClusterObject, Answer]]] = {}
    for entry, answer in zip(entries, found, strict=True):
        if not entry.is_gone:
            live.setdefault((entry.of.namespace, entry.of.release), []).append((entry.object, answer))
    return Compared(tuple(changes), live)


@dataclass(frozen=True, slots=True)
class _Entry:
    of: Wanted
    object: ClusterObject
    is_gone: bool

    @property
    def sent(self) -> Sent:
        return Sent(
            owned(self.object.data, self.of) if self.of.is_release else self.object.data, self.of.namespace
        )

    def change(self, kind: Kind, there: Answer = None, **more: Any) -> ObjectChange:
        found = there if isinstance(there, Mapping) else self.object.data
        namespace = (found.get("metadata") or {}).get("namespace") or ""
        id = replace(self.object.id, namespace=str(namespace))
        return ObjectChange(self.of.app, self.of.release, self.of.namespace, id, kind, **more)


def _both(one: Wanted) -> Iterable[tuple[ClusterObject, bool]]:
    yield from ((each, False) for each in one.objects)
    yield from ((each, True) for each in one.gone)


async def _looked_at(kubectl: Kubectl, entries: Sequence[_Entry]) -> tuple[list[Answer], dict[int, Answer]]:
    """Each object as it is, and by its place as a deploy would leave it.

    What a controller writes between the two would show as a change, so they are looked at again where the version of
    the object moved. What is not there needs no trying out: it is created as it is wanted.
    """
    found: list[Answer] = [None] * len(entries)
    tried: dict[int, Answer] = {}
    left = list(range(len(entries)))
    for _ in range(LOOKS):
        seen = dict(zip(left, await find(kubectl, [entries[n].sent for n in left]), strict=True))
        found = [seen.get(n, there) for n, there in enumerate(found)]
        left = [n for n in left if _can_be_tried(entries[n], found[n])]
        would_be = await try_out(kubectl, [entries[n].sent for n in left])
        tried = {**tried, **dict(zip(left, would_be, strict=True))}
        left = [n for n in left if _moved(found[n], tried[n])]
        if not left:
            break
    return found, tried


LOOKS = 4
"""At an object that somebody writes all the time."""


def _can_be_tried(entry: _Entry, there: Answer) -> bool:
    return isinstance(there, Mapping) and not entry.is_gone and entry.of.is_release


def _moved(there: Answer, would_be: Answer) -> bool:
    """A dry run keeps the version of what it began with."""
    if not isinstance(there, Mapping) or not isinstance(would_be, Mapping):
        return False
    then, now = (each["metadata"].get("resourceVersion") for each in (there, would_be))
    return bool(then != now)


def _changes(
    entries: Sequence[_Entry], found: Sequence[Answer], tried: Mapping[int, Answer], mask: Mask
) -> list[ObjectChange]:
    changes = [_change(entry, found[n], tried.get(n), mask) for n, entry in enumerate(entries)]
    return [change for change in changes if change is not None]


def _change(entry: _Entry, there: Answer, would_be: Answer, mask: Mask) -> ObjectChange | None:
    data = entry.sent.data
    for answer in (there, would_be):
        if isinstance(answer, Refused):
            return entry.change("refused", there, why=mask.scrubbed(answer.text, data))
    if entry.is_gone:
        if there is None or _is_kept(entry.object.data):
            return None
        lines = lines_between(without_notes(entry.object.data), None, mask)
        return entry.change("removed", there, lines=tuple(lines))
    if there is None:
        return entry.change("added", lines=tuple(lines_between(None, without_notes(data), mask)))
    if would_be is None:
        return None
    assert isinstance(there, Mapping)
    assert isinstance(would_be, Mapping)
    lines = lines_between(without_notes(there), without_notes(would_be), mask)
    return entry.change("changed", there, lines=tuple(lines)) if lines else None


def _is_kept(data: Mapping[str, Any]) -> bool:
    """Helm leaves it in the cluster when it leaves its release."""
    annotations = (data.get("metadata") or {}).get("annotations") or {}
    return str(annotations.get(POLICY, "")).strip().lower() == "keep"


def owned(data: Mapping[str, Any], of: Wanted) -> dict[str, Any]:
    """As Helm sends it: with what says whose it is."""
    metadata = dict(data.get("metadata") or {})
    metadata["labels"] = {**(metadata.get("labels") or {}), MANAGED_BY: "Helm"}
    names = {RELEASE_NAME: of.release, RELEASE_NAMESPACE: of.namespace}
    metadata["annotations"] = {**(metadata.get("annotations") or {}), **names}
    return {**data, "metadata": metadata}


def gone_from(
    deployed: Iterable[ClusterObject], wanted: Iterable[ClusterObject], namespace: str
) -> list[ClusterObject]:
    """Of the first those that are not among the second, whatever version of their API they are written in."""
    kept = {_key(each, namespace) for each in wanted}
    return [each for each in deployed if _key(each, namespace) not in kept]


def _key(found: ClusterObject, namespace: str) -> tuple[str, str, str, str]:
    id = found.id
    return (id.group, id.kind, id.namespace or namespace, id.name)
