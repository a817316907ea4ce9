"""What a cluster has of many objects, and what it would make of them if they were applied: by kubectl, many in a call.

kubectl says nothing of any object of a call when one is refused, so such a call is repeated in halves until what is
refused stands alone. Objects go in as one `List`: kubectl 1.32 refuses JSON documents with `---` between them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sbkube.helm.releases import ClusterUnreachable

from .abreast import abreast
from .kubectl import MANAGER, Kubectl, Said
from .objects import ObjectId, id_of

IN_ONE_CALL = 100
CALLS = 6
"""At once: one kubectl asks for one object after the other."""

Object = Mapping[str, Any]


class Sent(NamedTuple):
    """An object, and the namespace it goes to if it names none."""

    data: Object
    namespace: str


@dataclass(frozen=True, slots=True)
class Refused:
    """The server did not say what was asked of one object; `text` is in its own words."""

    text: str


Answer = Object | Refused | None


async def find(kubectl: Kubectl, objects: Sequence[Sent]) -> list[Answer]:
    """Each as it is in the cluster; None if it is not there, also because its kind or namespace is not."""
    return await _Asking(kubectl, ("get", "--ignore-not-found")).all(objects)


async def try_out(kubectl: Kubectl, objects: Sequence[Sent]) -> list[Answer]:
    """Each as Helm's server-side apply would leave it. Changes nothing."""
    flags = ("--server-side", "--dry-run=server", "--force-conflicts", "--validate=ignore")
    return await _Asking(kubectl, ("apply", *flags, f"--field-manager={MANAGER}")).all(objects)


@dataclass(frozen=True, slots=True)
class _Asking:
    kubectl: Kubectl
    words: tuple[str, ...]

    async def all(self, objects: Sequence[Sent]) -> list[Answer]:
        async def ask(call: tuple[str, Sequence[int]]) -> list[Answer]:
            namespace, places = call
            return await self._some([objects[n].data for n in places], namespace)

        calls = _calls(objects)
        answers: list[Answer] = [None] * len(objects)
        for (_, places), found in zip(calls, await abreast(ask, calls, CALLS), strict=True):
            for place, answer in zip(places, found, strict=True):
                answers[place] = answer
        return answers

    async def _some(self, objects: Sequence[Object], namespace: str) -> list[Answer]:
        if not objects:
            return []
        said = await self._said(objects, namespace)
        if said.code == 0:
            return _in_their_places(objects, objects_in(said.text), namespace)
        if is_unreachable(said.errors):
            raise ClusterUnreachable(said.errors)
        if unknown := _UNKNOWN_KIND.findall(said.errors):
            return await self._without(set(unknown), objects, namespace)
        if len(objects) == 1:
            return [Refused(_told(said.errors))]
        half = len(objects) // 2
        first = await self._some(objects[:half], namespace)
        return [*first, *await self._some(objects[half:], namespace)]

    async def _without(
        self, kinds: set[tuple[str, str]], objects: Sequence[Object], namespace: str
    ) -> list[Answer]:
        """Of a kind that the server does not serve there is nothing."""
        known = [each for each in objects if (each["kind"], each["apiVersion"]) not in kinds]
        if len(known) == len(objects):
            raise ClusterUnreachable(f"the server does not know {', '.join(' '.join(k) for k in kinds)}")
        answers = iter(await self._some(known, namespace))
        return [None if (o["kind"], o["apiVersion"]) in kinds else next(answers) for o in objects]

    async def _said(self, objects: Sequence[Object], namespace: str) -> Said:
        everything = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})
        where = ("--namespace", namespace, "-f", "-", "-o", "json")
        return await self.kubectl.say(*self.words, *where, stdin=everything)


def _calls(objects: Sequence[Sent]) -> list[tuple[str, list[int]]]:
    """Which objects go together: of one namespace, since kubectl takes no others beside the one that it is told."""
    by_namespace: dict[str, list[int]] = {}
    for place, (data, namespace) in enumerate(objects):
        by_namespace.setdefault((data.get("metadata") or {}).get("namespace") or namespace, []).append(place)
    return [
        (namespace, places[start : start + IN_ONE_CALL])
        for namespace, places in by_namespace.items()
        for start in range(0, len(places), IN_ONE_CALL)
    ]


def objects_in(text: str) -> list[Object]:
    """What kubectl prints: nothing, an object, or a list of them."""
    if not text.strip():
        return []
    found = json.loads(text)
    return found["items"] if found.get("kind") == "List" else [found]


def _in_their_places(wanted: Sequence[Object], found: Sequence[Object], namespace: str) -> list[Answer]:
    by_id = {_whole(id_of(each)): each for each in found}
    return [_placed(id_of(each), by_id, namespace) for each in wanted]


def _placed(id: ObjectId, found: Mapping[tuple[str, ...], Object], namespace: str) -> Answer:
    """What a manifest names no namespace for is in that of the release, or in none since its kind has none."""
    inside = found.get((id.group, id.kind, id.namespace or namespace, id.name))
    return inside if inside is not None else found.get((id.group, id.kind, "", id.name))


def _whole(id: ObjectId) -> tuple[str, ...]:
    return (id.group, id.kind, id.namespace, id.name)


_UNKNOWN_KIND = re.compile(r'no matches for kind "([^"]+)" in version "([^"]+)"')
_UNREACHABLE = re.compile(
    r"(?i)connection refused|was refused - did you specify|unable to connect to the server|no such host|i/o timeout"
    r"|TLS handshake|you must be logged in|\(Unauthorized\)|context deadline exceeded|connection reset"
)


def is_unreachable(text: str) -> bool:
    """Whether asking again for something else can come to anything."""
    return _UNREACHABLE.search(text) is not None


def _told(text: str) -> str:
    """The server's own words, without the file that kubectl read them for."""
    said = "\n".join(line for line in text.splitlines() if not line.startswith("Warning: "))
    return " ".join(_ABOUT_A_FILE.sub("", said).split())


_ABOUT_A_FILE = re.compile(
    r'^(?:Error from server |error: )|error when \w+ "STDIN": |(?<=\n)Error from server '
)
