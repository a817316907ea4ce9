"""What a cluster has of the releases that a run would deploy, for who plans one. A cluster out of reach is no failure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import anyio

from sbkube.engine import ExecutionState, FileStore, NeedsNotMet
from sbkube.errors import SbkubeError
from sbkube.helm.base import HelmError
from sbkube.helm.releases import Release, ReleaseStatus
from sbkube.selecting import Asked, chosen_apps
from sbkube.targets.cluster.decide import (
    FinishUninstall,
    Install,
    Locked,
    Unchanged,
    Unlock,
    Upgrade,
    WaitForOther,
    Wanted,
    decide,
    is_ours,
)
from sbkube.targets.cluster.target import ClusterTarget
from sbkube.wiring import Workshop

from .diff import is_up_to_date
from .live import named_releases
from .rendering import rendered

PATIENCE = 10.0  # seconds for a cluster to answer

Would = Literal["install", "upgrade", "unchanged", "unlock", "uninstall", "wait", "refuse"]


@dataclass(frozen=True, slots=True)
class ReleaseFact:
    """A release as it is, and what a deploy would do with it."""

    app: str
    release: str
    namespace: str
    revision: int | None
    status: ReleaseStatus | None
    """None: there is no such release."""
    is_ours: bool
    """Its newest revision was made from this state folder; of a pending one, whether a run here would mend it."""
    would: Would | None
    """None: to upgrade it or to leave it, which depends on what is yet to be rendered."""


@dataclass(frozen=True, slots=True)
class LiveFacts:
    """How the releases of a plan stand in the cluster now; none where it could not be looked at."""

    releases: tuple[ReleaseFact, ...]
    unseen: str | None = None
    """Why nothing is known."""


async def reach(target: ClusterTarget) -> str | None:
    """Why the cluster cannot be looked at; None if it can. Raises `AnotherCluster`."""
    why = f"no answer within {PATIENCE:g} s"
    with anyio.move_on_after(PATIENCE):
        try:
            await target.check()
            return None
        except HelmError as error:
            why = error.message
    target.is_out_of_reach = True
    return why


async def live_facts(workshop: Workshop, target: ClusterTarget, asked: Asked) -> LiveFacts:
    """Of the apps that are asked for; what may not be looked at is said and no failure either."""
    state = await FileStore.read(workshop.state).latest(workshop.project.profile)
    try:
        known = {(one.namespace, one.name): one for one in await target.listed()}
        current = await _current(workshop, asked, known)
    except SbkubeError as error:
        return LiveFacts((), error.message)
    return LiveFacts(tuple(_facts(workshop, target, asked, state, known, current)))


async def _current(
    workshop: Workshop, asked: Asked, known: Mapping[tuple[str, str], Release]
) -> dict[str, bool]:
    """By app whose rendering is known, whether a deploy would leave its releases as they are."""
    try:
        async with rendered(workshop, asked, only_current=True) as rendering:
            return {
                app: await is_up_to_date(deployment, known, rendering)
                for app, deployment in rendering.deployments.items()
            }
    except NeedsNotMet:
        return {}


def _facts(
    workshop: Workshop,
    target: ClusterTarget,
    asked: Asked,
    state: ExecutionState | None,
    known: Mapping[tuple[str, str], Release],
    current: Mapping[str, bool],
) -> list[ReleaseFact]:
    owner = target.owner() if workshop.key.is_there else ""
    apps = chosen_apps(workshop.project, asked)
    found = []
    for one in named_releases(workshop.project, state):
        if one.app in apps and not one.is_definitions:
            now = known.get((one.namespace, one.release))
            would = would_of(target, now, owner, current.get(one.app))
            revision, status = (now.revision, now.status) if now is not None else (None, None)
            ours = now is not None and is_ours(now, owner)
            found.append(ReleaseFact(one.app, one.release, one.namespace, revision, status, ours, would))
    return found


def would_of(target: ClusterTarget, now: Release | None, owner: str, is_current: bool | None) -> Would | None:
    """By what decides in the deploy itself. No digest is empty, so an equal one is what `is_current` says."""
    rollback = None if now is None else target.rollback_of(now.namespace, now.name)
    decision = decide(
        now, Wanted("", "", owner, rollback=rollback), force=target.force, pending=target.pending
    )
    if isinstance(decision, Upgrade) and not target.force:
        if is_current is None and now is not None and now.status is ReleaseStatus.DEPLOYED:
            return None
        return "unchanged" if is_current else "upgrade"
    return _WORDS[type(decision)]


_WORDS: Mapping[type, Would] = {
    Install: "install",
    Upgrade: "upgrade",
    Unchanged: "unchanged",
    Unlock: "unlock",
    FinishUninstall: "uninstall",
    WaitForOther: "wait",
    Locked: "refuse",
}
