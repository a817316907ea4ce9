"""Whose the objects of a first install are: nobody's yet, another release's, or there without an owner.

Helm itself tells for the first object only, and with its flag to take ownership it steals from other releases
without a word. So each object is looked up before. What nobody owns is first applied as Helm will apply it, which
moves the fields that `kubectl apply` manages to Helm; else fields removed later would stay for ever.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sbkube.helm.base import HelmError
from sbkube.helm.looking import Query
from sbkube.helm.releases import ClusterUnreachable, OwnedByOther, Releases
from sbkube.targets.base import Deployment, Log

from .kubectl import Kubectl, KubectlMissing
from .objects import ClusterObject, ObjectId, objects_of

AT_ONCE = 50
"""Objects in one look."""
RELEASE_NAME = "meta.helm.sh/release-name"
RELEASE_NAMESPACE = "meta.helm.sh/release-namespace"


@dataclass(frozen=True, slots=True)
class Found:
    """An object that is there already; `owner` is `namespace/release`, or None."""

    wanted: ClusterObject
    owner: str | None


class NotOurs(OwnedByOther):
    def __init__(self, deployment: Deployment, found: Found) -> None:
        super().__init__(
            deployment.release,
            deployment.namespace,
            f"{found.wanted.id} belongs to the release {found.owner}",
            found.owner,
        )
        self.hint = f"remove it from one of the two, or uninstall {found.owner}"


class Unowned(OwnedByOther):
    def __init__(self, deployment: Deployment, found: Sequence[Found]) -> None:
        names = ", ".join(str(one.wanted.id) for one in found[:5])
        more = f" and {len(found) - 5} more" if len(found) > 5 else ""
        super().__init__(
            deployment.release,
            deployment.namespace,
            f"exists already and no release owns it: {names}{more}",
            None,
        )
        self.hint = f"`adopt: true` of app {deployment.app!r} takes it over as it is"


async def adopt(releases: Releases, kubectl: Kubectl | None, deployment: Deployment, log: Log) -> bool:
    """Before a first install. True if the release is to take over objects; raises `OwnedByOther` for what it must not."""
    objects = objects_of(deployment.manifests.manifests)
    found = await existing(releases, objects, deployment.namespace)
    ours = f"{deployment.namespace}/{deployment.release}"
    for one in found:
        if one.owner not in (None, ours):
            raise NotOurs(deployment, one)
    unowned = [one for one in found if one.owner is None]
    if not unowned:
        return bool(found)
    if not deployment.options.adopt:
        raise Unowned(deployment, unowned)
    if kubectl is None:
        raise KubectlMissing(f"taking over {unowned[0].wanted.id}")
    for one in unowned:
        await log(f"taking over {one.wanted.id}, which no release owns")
    # kubectl takes no object of another namespace than the one that it is told.
    by_namespace: dict[str, list[str]] = {}
    for one in unowned:
        namespace = one.wanted.id.namespace or deployment.namespace
        by_namespace.setdefault(namespace, []).append(one.wanted.text)
    for namespace, texts in by_namespace.items():
        await kubectl.take_over("---\n".join(texts), namespace)
    return True


async def existing(releases: Releases, objects: Sequence[ClusterObject], namespace: str) -> list[Found]:
    """Those that are there, with who owns them."""
    found: list[Found] = []
    for start in range(0, len(objects), AT_ONCE):
        some = objects[start : start + AT_ONCE]
        for wanted, there in zip(some, await _looked_up(releases, some, namespace), strict=True):
            if there is not None:
                found.append(Found(wanted, owner_of(there)))
    return found


async def _looked_up(releases: Releases, objects: Sequence[ClusterObject], namespace: str) -> Sequence[Any]:
    queries = [_query(wanted.id, namespace) for wanted in objects]
    try:
        return await releases.look(queries)
    except ClusterUnreachable:
        raise
    except HelmError:
        if len(objects) > 1:
            half = len(objects) // 2
            first = await _looked_up(releases, objects[:half], namespace)
            return [*first, *await _looked_up(releases, objects[half:], namespace)]
        # Of a kind that is not known yet, or that may not be read: then Helm's own words will have to do.
        return [None]


def _query(id: ObjectId, namespace: str) -> Query:
    return Query(id.api_version, id.kind, id.namespace or namespace, id.name)


def owner_of(there: Mapping[str, Any]) -> str | None:
    annotations = there.get("metadata", {}).get("annotations") or {}
    release = annotations.get(RELEASE_NAME)
    return f"{annotations.get(RELEASE_NAMESPACE, 'default')}/{release}" if release else None
