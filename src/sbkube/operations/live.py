"""How the releases of a project stand in its cluster, beside what the last run recorded of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any

from sbkube.apps.released import ReleasedApp
from sbkube.config.project import Project
from sbkube.engine import ExecutionState, StepExecution
from sbkube.errors import SbkubeError
from sbkube.helm.releases import Release, ReleaseStatus
from sbkube.planning import AppPlace
from sbkube.selecting import Asked, chosen_apps
from sbkube.targets.cluster.abreast import abreast
from sbkube.targets.cluster.decide import is_deployed, is_ours
from sbkube.targets.cluster.differences import Mask
from sbkube.targets.cluster.kubectl import KubectlMissing
from sbkube.targets.cluster.live import Answer, Refused
from sbkube.targets.cluster.objects import ClusterObject
from sbkube.targets.cluster.readiness import NOTHING, Readiness, readiness_of

from .comparing import Compared, ObjectChange, Wanted, compare
from .diff import deployed_objects
from .session import Session


@dataclass(frozen=True, slots=True)
class LiveRelease:
    """A release of an app as it is now."""

    app: str
    release: str
    namespace: str
    revision: int | None = None
    status: ReleaseStatus | None = None
    """None: there is no such release."""
    recorded: str | None = None
    """The digest that the last run recorded of it; None if no run did."""
    is_as_recorded: bool = False
    """It is deployed with the content of the last run."""
    is_ours: bool = False
    """Its newest revision was made from this state folder."""
    readiness: Readiness = NOTHING
    drift: tuple[ObjectChange, ...] = ()
    """Objects that are not as the release has them; those that are missing would be added."""

    @property
    def missing(self) -> list[ObjectChange]:
        return [change for change in self.drift if change.kind == "added"]

    @property
    def complaints(self) -> list[str]:
        """Why the release is not deployed as recorded and ready; none if it is."""
        return [
            *self._of_release(),
            *(f"{c.object} is missing" for c in self.missing),
            *self.readiness.complaints,
        ]

    def _of_release(self) -> Iterator[str]:
        if self.status is None:
            yield f"there is no release {self.release} in {self.namespace}"
        elif self.status is not ReleaseStatus.DEPLOYED:
            yield f"revision {self.revision} is {self.status.value}"
        elif self.recorded is not None and not self.is_as_recorded:
            yield f"revision {self.revision} is not what the last run deployed"


@dataclass(frozen=True, slots=True)
class Live:
    """`run` is the last run; None if none is recorded."""

    run: int | None
    releases: tuple[LiveRelease, ...]


async def live(session: Session, asked: Asked) -> Live:
    """Of the apps that are asked for: those of the project, and what the last run deployed."""
    if session.kubectl is None:
        raise KubectlMissing("looking at the objects of releases")
    state = await session.runs.latest(session.project.profile)
    apps = chosen_apps(session.project, asked)
    known = {(one.namespace, one.name): one for one in await session.target.listed()}
    named = [one for one in named_releases(session.project, state) if one.app in apps]
    found = [known.get((one.namespace, one.release)) for one in named]
    wanted = await _objects(session, named, found)
    compared = await compare(session.kubectl, wanted, Mask())
    owner = session.target.owner() if session.workshop.key.is_there else ""
    releases = [_live(one, now, compared, owner) for one, now in zip(named, found, strict=True)]
    return Live(state.run if state is not None else None, tuple(releases))


@dataclass(frozen=True, slots=True)
class Named:
    """What a release of an app is called, and the digest that was recorded of it."""

    app: str
    release: str
    namespace: str
    digest: str | None = None
    is_definitions: bool = False


def named_releases(project: Project, state: ExecutionState | None) -> Iterator[Named]:
    """In the order of the project: as recorded, else by the name that the app would give."""
    steps = state.steps if state is not None else {}
    for name, app in project.apps.items():
        if not isinstance(app, ReleasedApp) or not app.enabled:
            continue
        step = steps.get(f"{name}:deploy")
        recorded = list(recorded_releases(step)) if step is not None else []
        if not recorded:
            place = AppPlace(project, name)
            yield Named(name, app.release(place), place.namespace or "default")
        for one in recorded:
            is_own = one is recorded[-1]
            yield Named(name, one["release"], one["namespace"], one.get("digest"), not is_own)


def recorded_releases(step: StepExecution) -> Iterator[Mapping[str, Any]]:
    """What a deploy to a cluster left in the record, definitions first."""
    output = step.output
    if isinstance(output, Mapping) and "release" in output:
        yield from output.get("crds") or ()
        yield output


async def _objects(session: Session, named: Sequence[Named], found: Sequence[Release | None]) -> list[Wanted]:
    async def look(pair: tuple[Named, Release]) -> Wanted:
        one, now = pair
        return Wanted(one.app, one.release, one.namespace, await deployed_objects(session.releases, now))

    there = [(one, now) for one, now in zip(named, found, strict=True) if now is not None]
    return await abreast(look, there)


def _live(one: Named, now: Release | None, compared: Compared, owner: str) -> LiveRelease:
    if now is None:
        return LiveRelease(one.app, one.release, one.namespace, recorded=one.digest)
    there = compared.live.get((one.namespace, one.release), ())
    return LiveRelease(
        one.app,
        one.release,
        one.namespace,
        now.revision,
        now.status,
        one.digest,
        one.digest is not None and is_deployed(now, one.digest),
        is_ours(now, owner),
        readiness_of(_present(there)),
        tuple(c for c in compared.changes if (c.namespace, c.release) == (one.namespace, one.release)),
    )


def _present(there: Sequence[tuple[ClusterObject, Answer]]) -> Iterator[Mapping[str, Any]]:
    for _, answer in there:
        if answer is not None and not isinstance(answer, Refused):
            yield answer


# Whether all is as it was left


@dataclass(frozen=True, slots=True)
class Verified:
    """An app of the last run: what is wrong with it, one line each; nothing if it is deployed as recorded and ready."""

    app: str
    complaints: tuple[str, ...]
    releases: tuple[LiveRelease, ...]


class NothingToVerify(SbkubeError):
    """There is no run to hold the cluster against."""


async def verify(session: Session, asked: Asked) -> list[Verified]:
    """Every app of the last run that is asked for."""
    state = await session.runs.latest(session.project.profile)
    if state is None:
        raise NothingToVerify(
            "no run is recorded, so there is nothing to verify", hint="`sbkube run` deploys"
        )
    found = await live(session, asked)
    apps = chosen_apps(session.project, asked)
    return list(_verified(session, state, found, apps))


def _verified(
    session: Session, state: ExecutionState, found: Live, apps: AbstractSet[str]
) -> Iterator[Verified]:
    for name, app in session.project.apps.items():
        if name not in apps or not app.enabled:
            continue
        steps = [step for id, step in state.steps.items() if id.rpartition(":")[0] == name]
        releases = tuple(one for one in found.releases if one.app == name)
        not_done = [s for s in steps if not s.is_done]
        complaints = [f"{s.name} is {s.status.value} in run {state.run}" for s in not_done]
        if not steps:
            complaints.append(f"is not in run {state.run}")
        elif app.is_deployed and not not_done:
            complaints += _of_deployed(state.steps.get(f"{name}:deploy"), releases)
        yield Verified(name, tuple(complaints), releases)


def _of_deployed(step: StepExecution | None, releases: Sequence[LiveRelease]) -> list[str]:
    if step is not None and not any(recorded_releases(step)):
        return ["was deployed to a folder by the last run, and not to the cluster"]
    return [line for one in releases for line in one.complaints]
