"""What a deploy of the project would change in the cluster, object by object. Changes nothing, there or here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from anyio.to_thread import run_sync

from sbkube.helm.releases import Release, Releases, ReleaseStatus
from sbkube.selecting import Asked
from sbkube.targets.base import Deployment
from sbkube.targets.cluster.abreast import abreast
from sbkube.targets.cluster.charts import chart_of
from sbkube.targets.cluster.crds import releases_before
from sbkube.targets.cluster.decide import is_deployed
from sbkube.targets.cluster.differences import Mask
from sbkube.targets.cluster.digests import digest_of
from sbkube.targets.cluster.kubectl import KubectlMissing
from sbkube.targets.cluster.objects import ClusterObject, objects_of

from .comparing import ObjectChange, Wanted, compare, gone_from
from .rendering import Rendering, rendered
from .session import Session


@dataclass(frozen=True, slots=True)
class AppDiff:
    """The changes of one app; empty if there are none."""

    app: str
    changes: tuple[ObjectChange, ...]
    is_deployed: bool
    """Its releases are deployed with this very content, so a deploy leaves alone what others changed since."""
    hooks: int
    """Objects that are left out, since each deploy makes them anew."""


@dataclass(frozen=True, slots=True)
class Diff:
    """What a deploy of each app would change, object by object; an app without changes is there too."""

    apps: tuple[AppDiff, ...]
    failures: Mapping[str, str]
    """Apps that could not be rendered, and why."""
    commands: tuple[str, ...]
    """Apps that run something, of which nobody knows what it would change."""

    @property
    def changes(self) -> list[ObjectChange]:
        return [change for app in self.apps for change in app.changes]


async def diff(session: Session, asked: Asked) -> Diff:
    if session.kubectl is None:
        raise KubectlMissing("comparing with the cluster")
    async with rendered(session.workshop, asked) as rendering:
        known = {(one.namespace, one.name): one for one in await session.target.listed()}
        wanted = await _wanted(session.releases, rendering, known)
        compared = await compare(session.kubectl, wanted, Mask())
        apps = [
            AppDiff(
                app,
                tuple(change for change in compared.changes if change.app == app),
                await is_up_to_date(deployment, known, rendering),
                await run_sync(_count, deployment.manifests.hooks),
            )
            for app, deployment in rendering.deployments.items()
        ]
    return Diff(tuple(apps), rendering.failures, rendering.commands)


async def is_up_to_date(
    deployment: Deployment, known: Mapping[tuple[str, str], Release], rendering: Rendering
) -> bool:
    """Whether a deploy would find its releases, also those of its definitions, as they should be."""
    for one in (*await run_sync(releases_before, deployment), deployment):
        async with chart_of(one, rendering.scratch / "charts") as chart:
            digest = await run_sync(digest_of, one, chart)
        if not is_deployed(known.get((one.namespace, one.release)), digest):
            return False
    return True


async def _wanted(
    releases: Releases, rendering: Rendering, known: Mapping[tuple[str, str], Release]
) -> list[Wanted]:
    async def with_gone(one: Wanted) -> Wanted:
        now = known.get((one.namespace, one.release))
        if now is None or not one.is_release:
            return one
        deployed = await deployed_objects(releases, now)
        return replace(one, gone=gone_from(deployed, one.objects, one.namespace))

    wanted = [one for deployment in rendering.deployments.values() for one in await run_sync(_of, deployment)]
    return await abreast(with_gone, wanted)


def _of(deployment: Deployment) -> list[Wanted]:
    """Those of its definitions first."""
    app, release, namespace = deployment.app, deployment.release, deployment.namespace
    apart = releases_before(deployment)
    found = [Wanted(app, one.release, one.namespace, objects_of(one.manifests.manifests)) for one in apart]
    if deployment.manifests.crds and not apart:
        crds = objects_of(deployment.manifests.crds)
        found.append(Wanted(app, release, namespace, crds, is_release=False))
    return [*found, Wanted(app, release, namespace, objects_of(deployment.manifests.manifests))]


async def deployed_objects(releases: Releases, now: Release) -> Sequence[ClusterObject]:
    """Of the revision that Helm takes for the deployed one; `now` is the newest."""
    revision = now.revision
    if now.status is not ReleaseStatus.DEPLOYED:
        history = await releases.history(now.name, now.namespace)
        deployed = [one.revision for one in history if one.status is ReleaseStatus.DEPLOYED]
        if not deployed:
            return ()
        revision = deployed[-1]
    contents = await releases.get(now.name, now.namespace, revision)
    return () if contents is None else await run_sync(objects_of, contents.manifest)


def _count(text: str) -> int:
    return len(objects_of(text))
