"""A project's cluster, opened for one command that is no run, and closed however that ends.

Who writes holds the run lock, so that no run of the project deploys meanwhile, and starts the target as a run does, which
remembers the cluster. Who only reads takes no lock, creates nothing, and looks beside a run that is under way.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import anyio

from sbkube.config.project import Project
from sbkube.engine import FileStore
from sbkube.engine.stores.files import FileReader
from sbkube.errors import SbkubeError
from sbkube.helm.releases import Releases
from sbkube.targets.cluster.kubectl import Kubectl
from sbkube.targets.cluster.target import ClusterTarget
from sbkube.targets.directory import DirectoryTarget
from sbkube.wiring import Workshop


class NoReleases(SbkubeError):
    """The command is about a cluster, and the project's target is a folder."""

    def __init__(self, target: DirectoryTarget) -> None:
        super().__init__(
            f"the target is the folder {target.identity['path']!r}, and a folder has no releases",
            hint="`--target cluster` means those in the cluster",
        )


@dataclass(frozen=True, slots=True)
class Session:
    workshop: Workshop
    target: ClusterTarget
    releases: Releases
    runs: FileReader
    """The recorded runs of the project, of all profiles."""

    @property
    def project(self) -> Project:
        return self.workshop.project

    @property
    def owner(self) -> str:
        """The label of what was made from this state folder; empty if nothing can have been."""
        try:
            return self.target.owner()
        except FileNotFoundError:
            return ""

    @property
    def kubectl(self) -> Kubectl | None:
        return self.target.kubectl


@asynccontextmanager
async def open_session(workshop: Workshop, *, writes: bool) -> AsyncIterator[Session]:
    """Raises `NoReleases`, `HelmMissing`, `RunLocked`, `ClusterUnreachable` and `AnotherCluster`."""
    target = workshop.target
    if isinstance(target, DirectoryTarget):
        raise NoReleases(target)
    assert isinstance(target, ClusterTarget)
    workshop.helms.choose()
    async with AsyncExitStack() as opened:
        if writes:
            await workshop.reach_first()
            await opened.enter_async_context(FileStore.open(workshop.state))
            await workshop.keep_key()
        opened.push_async_callback(_close, workshop, writes)
        await (target.start() if writes else target.check())
        releases = await workshop.helms.releases(target.cluster)
        yield Session(workshop, target, releases, FileStore.read(workshop.state))


async def _close(workshop: Workshop, wrote: bool) -> None:
    """A run that is under way keeps its charts where a reader would tidy up."""
    with anyio.move_on_after(5, shield=True):
        await (workshop.close() if wrote else workshop.helms.close())
