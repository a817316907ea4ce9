"""What the project's user may do in its namespaces, asked of the API server by `SelfSubjectAccessReview`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from anyio.to_thread import run_sync

from sbkube.targets.base import Deployment
from sbkube.targets.cluster.abreast import abreast
from sbkube.targets.cluster.kubectl import Kubectl, KubectlFailed
from sbkube.targets.cluster.objects import CRD, ClusterObject, objects_of

from .diagnosis import Diagnosis, ok, problem, warning

OBJECTS = ("get", "list", "watch", "create", "patch", "delete")
"""What Helm does with the objects of a release, and while it waits for them."""
STORAGE = ("get", "list", "create", "update", "delete")
"""With the Secrets in which it keeps releases."""
LOCKING = ("get", "create", "update")
_IN_ONE_CALL = 60


class Resource(NamedTuple):
    """A kind as rights name it."""

    group: str
    name: str
    is_namespaced: bool = True

    def __str__(self) -> str:
        return f"{self.name}.{self.group}" if self.group else self.name


class Right(NamedTuple):
    """An empty namespace: of the whole cluster."""

    verb: str
    resource: Resource
    namespace: str


SECRETS, NAMESPACES = Resource("", "secrets"), Resource("", "namespaces", False)
LEASES = Resource("coordination.k8s.io", "leases")
EXPLAINING = (Resource("", "pods"), Resource("", "events"), Resource("batch", "jobs"))
EVERYTHING = Right("*", Resource("*", "*"), "")


@dataclass(frozen=True, slots=True)
class Needs:
    """What a project needs, and kinds that its server does not know, each with an app that has them."""

    rights: tuple[Right, ...]
    helpful: tuple[Right, ...]
    """Without which a deploy works and says less."""
    unknown: Mapping[str, str]


async def rights(
    kubectl: Kubectl, deployments: Sequence[Deployment], lock: str | None = None
) -> list[Diagnosis]:
    """`lock`: the namespace of the lock. Raises `KubectlFailed`."""
    if not deployments:
        return []
    served = resources_in((await kubectl.say("api-resources", "--no-headers")).text)
    needs = await run_sync(needs_of, deployments, served, lock)
    return [*_unknown(needs), *await _allowed(kubectl, needs)]


async def _allowed(kubectl: Kubectl, needs: Needs) -> list[Diagnosis]:
    (everything,) = await may(kubectl, [EVERYTHING])
    namespaces = sorted({right.namespace for right in needs.rights if right.namespace})
    if everything:
        return [ok("rights", f"everything is allowed, in {', '.join(namespaces)} as elsewhere")]
    asked = [*needs.rights, *needs.helpful]
    answers = dict(zip(asked, await may(kubectl, asked), strict=True))
    denied = [right for right in needs.rights if not answers[right]]
    found = [*_denied(denied), *_unhelped([right for right in needs.helpful if not answers[right]])]
    if not denied:
        kinds = len({right.resource for right in needs.rights})
        found.append(ok("rights", f"all that is needed for {kinds} kinds in {', '.join(namespaces)}"))
    return found


async def may(kubectl: Kubectl, asked: Sequence[Right]) -> list[bool]:
    calls = [asked[start : start + _IN_ONE_CALL] for start in range(0, len(asked), _IN_ONE_CALL)]

    async def ask(some: Sequence[Right]) -> list[bool]:
        reviews = json.dumps({"apiVersion": "v1", "kind": "List", "items": [_review(one) for one in some]})
        said = await kubectl.say("create", "--validate=ignore", "-f", "-", "-o", "json", stdin=reviews)
        if said.code:
            raise KubectlFailed("create selfsubjectaccessreview", said.errors)
        return [bool(answer["status"].get("allowed")) for answer in _each_document(said.text)]

    return [answer for answers in await abreast(ask, calls, 4) for answer in answers]


def _review(right: Right) -> dict[str, Any]:
    attributes = {
        "group": right.resource.group,
        "resource": right.resource.name,
        "verb": right.verb,
        "namespace": right.namespace,
    }
    return {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": attributes},
    }


def _each_document(text: str) -> Iterator[Mapping[str, Any]]:
    """kubectl prints one after the other what it created."""
    decoder, at = json.JSONDecoder(), 0
    while (at := next((n for n in range(at, len(text)) if not text[n].isspace()), len(text))) < len(text):
        document, at = decoder.raw_decode(text, at)
        yield document


# What is needed. Pure.


def resources_in(table: str) -> dict[tuple[str, str], Resource]:
    """By API version and kind, from `kubectl api-resources --no-headers`: short names may be missing in front."""
    found = {}
    for line in table.splitlines():
        words = line.split()
        if len(words) >= 4:
            name, (version, namespaced, kind) = words[0], words[-3:]
            group = version.rpartition("/")[0]
            found[version, kind] = Resource(group, name, namespaced == "true")
    return found


def needs_of(
    deployments: Sequence[Deployment],
    served: Mapping[tuple[str, str], Resource],
    lock: str | None = None,
) -> Needs:
    """Blocking."""
    rights: dict[Right, None] = dict.fromkeys(Right(verb, LEASES, lock) for verb in LOCKING if lock)
    helpful: dict[Right, None] = {}
    unknown: dict[str, str] = {}
    own = {kind for one in deployments for kind in _defined(one)}
    for one in deployments:
        rights |= dict.fromkeys(Right(verb, SECRETS, one.namespace) for verb in STORAGE)
        helpful |= dict.fromkeys(Right("list", resource, one.namespace) for resource in EXPLAINING)
        if one.options.create_namespace:
            rights[Right("create", NAMESPACES, "")] = None
        for found in _objects(one):
            resource = served.get((found.id.api_version, found.id.kind))
            if resource is None:
                if (found.id.group, found.id.kind) not in own:
                    unknown.setdefault(f"{found.id.kind} ({found.id.api_version})", one.app)
                continue
            namespace = (found.id.namespace or one.namespace) if resource.is_namespaced else ""
            rights |= dict.fromkeys(Right(verb, resource, namespace) for verb in OBJECTS)
    return Needs(tuple(rights), tuple(helpful), unknown)


def _objects(one: Deployment) -> list[ClusterObject]:
    parts = one.manifests
    return [found for text in (parts.crds, parts.manifests, parts.hooks) for found in objects_of(text)]


def _defined(one: Deployment) -> Iterator[tuple[str, str]]:
    """The kinds that the project itself brings, which the server learns in time."""
    for found in _objects(one):
        if found.id.kind == CRD:
            spec = found.data.get("spec") or {}
            yield str(spec.get("group")), str((spec.get("names") or {}).get("kind"))


# What is told. Pure.


def _unknown(needs: Needs) -> Iterator[Diagnosis]:
    for kind, app in needs.unknown.items():
        yield problem(
            "rights",
            f"the server does not know the kind {kind}, of which app {app!r} has objects",
            f"install its definition, by an app that {app!r} depends on",
        )


def _denied(denied: Iterable[Right]) -> Iterator[Diagnosis]:
    by_place: dict[str, dict[Resource, list[str]]] = {}
    for verb, resource, namespace in denied:
        by_place.setdefault(namespace, {}).setdefault(resource, []).append(verb)
    for namespace, resources in by_place.items():
        told = "; ".join(f"{', '.join(verbs)} {resource}" for resource, verbs in resources.items())
        yield problem(
            "rights", f"may not, {_place(namespace)}: {told}", f"ask for these: {_role(namespace, resources)}"
        )


def _place(namespace: str) -> str:
    return f"in namespace {namespace}" if namespace else "in the whole cluster"


def _role(namespace: str, resources: Mapping[Resource, Sequence[str]]) -> str:
    kind = f"role sbkube -n {namespace}" if namespace else "clusterrole sbkube"
    verbs = dict.fromkeys(verb for verbs in resources.values() for verb in verbs)
    return f"`kubectl create {kind} --verb={','.join(verbs)} --resource={','.join(map(str, resources))}`, bound to you"


def _unhelped(denied: Sequence[Right]) -> Iterator[Diagnosis]:
    if denied:
        told = "; ".join(dict.fromkeys(f"{right.resource} in {right.namespace}" for right in denied))
        yield warning(
            "rights",
            f"may not list {told}: why something is not ready will not be told",
            "ask for the right to `list` these",
        )
