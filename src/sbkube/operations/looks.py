"""The commands that only look at a cluster, as `sbkube.api` offers them."""

from __future__ import annotations

import os
from collections.abc import Mapping

from sbkube.config.project import Project
from sbkube.operations import diff as differing
from sbkube.operations import doctor as examining
from sbkube.operations import live as looking
from sbkube.operations.diagnosis import Diagnosis
from sbkube.operations.diff import Diff
from sbkube.operations.live import Live, Verified
from sbkube.operations.session import open_session
from sbkube.request import Request, workshop_of


async def diff(
    project: Project, request: Request | None = None, *, environ: Mapping[str, str] | None = None
) -> Diff:
    """What a deploy of the apps that are asked for would change in the cluster, object by object.

    What is not rendered as it is now is rendered first, into a folder that is removed again: takes no lock, and changes
    nothing in the cluster or in the state folder. Values of Secrets are masked. Raises `NoReleases` if the target is a
    folder, `KubectlMissing`, `ClusterUnreachable`, `AnotherCluster`, `NoCluster`, `NeedsNotMet` if an app is made from
    what a command has yet to make, and `ConfigError`.
    """
    request = request or Request()
    workshop = workshop_of(project, request, os.environ if environ is None else environ)
    async with open_session(workshop, writes=False) as session:
        return await differing.diff(session, request.asked)


async def live(
    project: Project, request: Request | None = None, *, environ: Mapping[str, str] | None = None
) -> Live:
    """How the releases of the apps that are asked for stand: revision, status, readiness, and what is not as they have it.

    Takes no lock and changes nothing. Raises `NoReleases` if the target is a folder, `KubectlMissing`,
    `ClusterUnreachable`, `AnotherCluster`, `NoCluster` and `ConfigError`.
    """
    request = request or Request()
    workshop = workshop_of(project, request, os.environ if environ is None else environ)
    async with open_session(workshop, writes=False) as session:
        return await looking.live(session, request.asked)


async def verify(
    project: Project, request: Request | None = None, *, environ: Mapping[str, str] | None = None
) -> list[Verified]:
    """Whether every app of the last run that is asked for is deployed as recorded and ready; changes nothing.

    Raises `NothingToVerify` if no run is recorded, and what `live` raises.
    """
    request = request or Request()
    workshop = workshop_of(project, request, os.environ if environ is None else environ)
    async with open_session(workshop, writes=False) as session:
        return await looking.verify(session, request.asked)


async def doctor(
    project: Project | None, request: Request | None = None, *, environ: Mapping[str, str] | None = None
) -> list[Diagnosis]:
    """Everything that a run would lean on, looked at one by one, with how to mend what is wrong; changes nothing.

    Tools and their versions, the state folder, the target; of a cluster whether and how fast its API server answers, its
    version and identity, what its user may do there, and releases that failed or are pending. What cannot be looked at is
    said and raises nothing. Without a project only the tools are looked at.
    """
    request, environ = request or Request(), os.environ if environ is None else environ
    return await examining.doctor(
        project,
        environ,
        opened=lambda one: workshop_of(one, request, environ),
        target=request.target,
        state_dir=request.state_dir,
        helm=request.helm,
    )
