"""One Lease in the cluster, by which runs on different machines keep out of each other's way.

The API server is the only arbiter: a write names the version that it replaces, and of two that name the same one is
refused. No clock of another machine is believed. A holder is dead when its Lease has stayed the same for the lease
time by our own clock; the times in it are for people. `holding.py` takes, renews and gives back.
"""

from __future__ import annotations

import getpass
import json
import os
import re
import socket
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any, Literal, Protocol, Self
from uuid import uuid4

from sbkube.errors import Busy, SbkubeError, TakenOver

from .decide import as_label
from .kubectl import Kubectl, KubectlFailed

HOLDER = "sbkube.dev/holder"
"""The annotation that says who holds it, as JSON, for people."""

Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class LeasePlace:
    """Which Lease, and for how many seconds it is held without being renewed."""

    namespace: str
    name: str
    seconds: int

    @property
    def label(self) -> str:
        """On releases: what its holders leave pending, the next may unlock."""
        return as_label(f"{self.namespace}/{self.name}")

    def __str__(self) -> str:
        return f"the lock {self.name!r} in namespace {self.namespace!r}"


@dataclass(frozen=True, slots=True)
class Holder:
    """One process that holds or wants a Lease; `token` tells it from every other."""

    token: str
    host: str
    pid: int
    who: str
    run: int | None = None

    @classmethod
    def this_process(cls) -> Self:
        return cls(uuid4().hex[:12], socket.gethostname(), os.getpid(), _user())

    @property
    def identity(self) -> str:
        return f"{self.who}@{self.host}/{self.pid}/{self.token}"

    def __str__(self) -> str:
        run = f" with run {self.run}" if self.run is not None else ""
        return f"process {self.pid} of {self.who} on {self.host}{run}"


@dataclass(frozen=True, slots=True)
class Lease:
    """As the API server has it: `version` changes with every write, `uid` when it was made anew."""

    version: str
    uid: str
    holder: str
    """Its identity; empty when it was given back."""
    seconds: float
    transitions: int
    since: str
    told: str
    """The holder in words."""

    @classmethod
    def of(cls, found: Mapping[str, Any]) -> Self:
        meta, spec = found["metadata"], found.get("spec") or {}
        return cls(
            meta["resourceVersion"],
            meta["uid"],
            spec.get("holderIdentity") or "",
            float(spec.get("leaseDurationSeconds") or 0),
            int(spec.get("leaseTransitions") or 0),
            spec.get("acquireTime") or "",
            _told((meta.get("annotations") or {}).get(HOLDER), spec.get("holderIdentity") or ""),
        )


@dataclass(frozen=True, slots=True)
class Seen:
    """A version (empty: there was no Lease), and when by our clock it was known to be the newest."""

    version: str
    at: float


Decision = Literal["take", "look", "held"]
"""Take it; look again later; or it is held by a process that lives."""


def decide(found: Lease | None, seen: Seen | None, asked: float) -> Decision:
    """`asked`: our clock before the request that brought `found`, so that no wait for the answer counts."""
    if found is None or not found.holder:
        return "take"
    if seen is None:
        return "look"
    if seen.version != found.version:
        return "held"
    return "take" if asked - seen.at >= found.seconds else "look"


class LockHeld(Busy):
    """Another process holds the lock and lives."""

    def __init__(self, place: LeasePlace, lease: Lease) -> None:
        super().__init__(
            f"{place} is held by {lease.told} since {lease.since or 'an unknown time'}",
            hint="wait for it to end, or let this one wait with `--wait-lock 10m`; "
            f"a holder that died is followed after {lease.seconds:g} s",
        )
        self.place = place
        self.lease = lease


class LockLost(TakenOver):
    """The lock could not be kept, so the work under it was stopped."""

    def __init__(self, place: LeasePlace, why: str) -> None:
        super().__init__(
            f"{place} was lost: {why}; what ran was stopped, since another process may hold it now",
            hint="what was under way may be half done; once no other run is under way, `sbkube run --resume` goes on from there",
        )
        self.place = place


class NoNamespaceForLock(SbkubeError):
    def __init__(self, place: LeasePlace) -> None:
        super().__init__(
            f"{place} cannot be taken: there is no such namespace",
            hint="create it, or name another: `lock: {cluster: NAME, namespace: NAMESPACE}`",
        )


class OutrunError(Exception):
    """Somebody wrote, made or removed the Lease since we looked."""


class Leases(Protocol):
    """What is done with one Lease; objects are as in `coordination.k8s.io/v1`. Other failures are `SbkubeError`."""

    async def get(self) -> Object | None: ...

    async def create(self, wanted: Object) -> Object:
        """Raises `OutrunError` if there is one."""

    async def replace(self, wanted: Object) -> Object:
        """Raises `OutrunError` unless it has the version and UID that `wanted` names."""


@dataclass(frozen=True, slots=True)
class KubectlLeases:
    """By raw requests: no discovery goes before them, and nothing is read or written besides."""

    kubectl: Kubectl
    place: LeasePlace
    makes_namespace: bool = False
    """Where the project says that its namespace is to be created."""

    async def get(self) -> Object | None:
        code, output = await self._ask("get", self._path(self.place.name))
        if code and "(NotFound)" in output:
            return None
        return self._object("get", code, output)

    async def create(self, wanted: Object) -> Object:
        code, output = await self._ask("create", self._path(), wanted)
        if code and "(NotFound)" in output:
            if not self.makes_namespace:
                raise NoNamespaceForLock(self.place)
            await self.kubectl.create_namespace(self.place.namespace)
            code, output = await self._ask("create", self._path(), wanted)
        return self._object("create", code, output)

    async def replace(self, wanted: Object) -> Object:
        # With its UID: without, the API server makes one that was removed anew, whatever the version.
        code, output = await self._ask("replace", self._path(self.place.name), wanted)
        return self._object("replace", code, output)

    async def _ask(self, verb: str, path: str, wanted: Object | None = None) -> tuple[int, str]:
        limit = max(1.0, self.place.seconds / 3)
        body = ("-f", "-") if wanted is not None else ()
        return await self.kubectl.run(
            verb,
            *("--raw", path, *body, f"--request-timeout={limit:g}s"),
            stdin=None if wanted is None else json.dumps(wanted),
            time_limit=limit + 1,
            may_fail=True,
        )

    def _object(self, verb: str, code: int, output: str) -> Object:
        if code and any(word in output for word in ("(AlreadyExists)", "(Conflict)", "(NotFound)")):
            raise OutrunError(output)
        if code:
            raise KubectlFailed(f"{verb} lease", output)
        try:
            found: Object
            found, _ = json.JSONDecoder().raw_decode(
                output, max(0, output.find("{"))
            )  # warnings may stand around it
        except ValueError as error:
            raise KubectlFailed(f"{verb} lease", f"it said no JSON: {output}") from error
        return found

    def _path(self, *name: str) -> str:
        return "/".join(("/apis/coordination.k8s.io/v1/namespaces", self.place.namespace, "leases", *name))


def claimed(place: LeasePlace, found: Lease | None, holder: Holder) -> Object:
    """The Lease with us as its holder."""
    now = _now()
    spec = {"acquireTime": now, "leaseTransitions": 0 if found is None else found.transitions + 1}
    return _written(place, found, holder, {**spec, "renewTime": now})


def renewed(place: LeasePlace, lease: Lease, holder: Holder) -> Object:
    spec = {"acquireTime": lease.since, "leaseTransitions": lease.transitions, "renewTime": _now()}
    return _written(place, lease, holder, spec)


def given_back(place: LeasePlace, lease: Lease, holder: Holder) -> Object:
    """The next need not wait. It stays there, so that its transitions count on."""
    written = renewed(place, lease, holder)
    del written["spec"]["holderIdentity"]
    return written


def _written(place: LeasePlace, lease: Lease | None, holder: Holder, spec: Mapping[str, Any]) -> Object:
    version = {} if lease is None else {"resourceVersion": lease.version, "uid": lease.uid}
    told = {HOLDER: json.dumps(asdict(holder))}
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": place.name, "namespace": place.namespace, "annotations": told, **version},
        "spec": {"holderIdentity": holder.identity, "leaseDurationSeconds": place.seconds, **spec},
    }


def lease_name(*parts: str | None) -> str:
    """`sbkube` and what tells projects and profiles apart, as a name that Kubernetes takes."""
    words = [re.sub(r"[^a-z0-9]+", "-", part.lower()).strip("-") for part in parts if part]
    return ".".join(["sbkube", *filter(None, words)])[:253].rstrip("-.")


def with_run(holder: Holder, run: int) -> Holder:
    return replace(holder, run=run)


def _told(record: str | None, identity: str) -> str:
    try:
        return str(Holder(**json.loads(record or "")))
    except (ValueError, TypeError):
        return f"`{identity}`"


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user need not have a name
        return str(os.getuid())
