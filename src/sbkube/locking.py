"""The lock that the runs of a project share in its cluster, wherever they run: `lock: cluster`.

Two checkouts meet at the same Lease because its name comes from what both have: the project's namespace, `metadata.name`
and the profile, or the name that the project gives it. Projects that say nothing of their own share one per
namespace and profile, which makes them take turns and does no other harm.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from sbkube.apps.released import ReleasedApp
from sbkube.config.models import ClusterLock
from sbkube.config.project import Project
from sbkube.targets.base import Target
from sbkube.targets.cluster.guard import guarding
from sbkube.targets.cluster.holding import Held, hold
from sbkube.targets.cluster.kubectl import KubectlMissing
from sbkube.targets.cluster.lease import Holder, KubectlLeases, LeasePlace, LockHeld, lease_name
from sbkube.targets.cluster.target import ClusterTarget

LEASE_TIME = 30


@dataclass(frozen=True, slots=True)
class Waiting:
    """What to do while another process holds the lock."""

    seconds: float = 0.0
    """Then it is given up, once the holder is known to live."""
    on_held: Callable[[LockHeld], None] | None = None
    """Called when it is found held, before it is known whether the holder lives."""


def lock_place(project: Project) -> LeasePlace | None:
    lock = project.lock
    if isinstance(lock, ClusterLock):
        name = lease_name(lock.cluster, project.profile)
        return LeasePlace(lock.namespace or project.namespace, name, int(lock.lease_time))
    if lock == "none":
        return None
    own = project.metadata.get("name")
    name = lease_name(own if isinstance(own, str) else None, project.profile)
    return LeasePlace(project.namespace, name, LEASE_TIME)


@asynccontextmanager
async def alone(
    project: Project,
    target: Target,
    waiting: Waiting = Waiting(),
    on_lost: Callable[[], None] | None = None,
) -> AsyncIterator[Held | None]:
    """Holds the lock if the project wants one. Whoever enters holds that of the state folder already.

    Raises `LockHeld`, `LockLost` (at the end; see `hold`), `KubectlMissing`, and what `target.check` raises, which comes
    first: the wrong cluster is sent nothing.
    """
    place = lock_place(project)
    if place is None or not isinstance(target, ClusterTarget):
        yield None
        return
    if target.kubectl is None:
        raise KubectlMissing("`lock: cluster`")
    await target.check()
    leases = KubectlLeases(target.kubectl, place, _creates(project, place.namespace))
    with guarding() as extend:
        async with hold(
            leases,
            place,
            Holder.this_process(),
            wait=waiting.seconds,
            on_held=waiting.on_held,
            on_lost=on_lost,
            extend=extend,
        ) as held:
            yield held


def _creates(project: Project, namespace: str) -> bool:
    apps = [app for app in project.apps.values() if app.enabled and isinstance(app, ReleasedApp)]
    return any(app.create_namespace and app.namespace == namespace for app in apps)
