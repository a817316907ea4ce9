"""Which Helm and which target a run works with, by what the project, the flags and the environment say."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import anyio

from sbkube.config.project import Project
from sbkube.errors import NotYet
from sbkube.helm.base import Helm
from sbkube.helm.releases import Cluster, Releases
from sbkube.helm.select import choose_helm
from sbkube.key import StateKey
from sbkube.targets.base import PendingPolicy, Target
from sbkube.targets.directory import DirectoryTarget
from sbkube.targets.owned import Owner

if TYPE_CHECKING:
    from sbkube.targets.cluster.target import ClusterTarget


@dataclass(slots=True)
class Helms:
    """The Helm of a run, chosen when first needed, and what it has open; `preference` as in `choose_helm`."""

    preference: str | Helm | None
    environ: Mapping[str, str]
    reason: str | None = None
    _helm: Helm | None = None
    _releases: dict[Cluster, Releases] = field(default_factory=dict)

    def choose(self) -> Helm:
        """Raises `HelmMissing`."""
        if self._helm is None:
            chosen = choose_helm(self.preference, self.environ)
            self._helm, self.reason = chosen.helm, chosen.reason
        return self._helm

    async def helm(self) -> Helm:
        return self.choose()

    async def releases(self, cluster: Cluster) -> Releases:
        if cluster not in self._releases:
            self._releases[cluster] = self.choose().releases(cluster)
        return self._releases[cluster]

    async def close(self) -> None:
        for releases in self._releases.values():
            with anyio.CancelScope(shield=True):
                await releases.aclose()
        self._releases.clear()
        if self._helm is not None:
            await self._helm.aclose()


@dataclass(frozen=True, slots=True)
class TargetWishes:
    """What flags say about the target."""

    named: str | None = None
    """`cluster` or a path from the current folder; None: what the project says."""
    accept_change: bool = False
    force: bool = False
    pending: PendingPolicy = "ours"


def choose_target(project: Project, wishes: TargetWishes, state: Path, helms: Helms) -> Target:
    """Raises `NoCluster` and `ContextForbidden`; touches no cluster."""
    written = project.target if wishes.named is None else wishes.named
    return (
        _cluster(project, wishes, state, helms)
        if written == "cluster"
        else _directory(project, Path(written), wishes, state)
    )


def cluster_of(project: Project, environ: Mapping[str, str]) -> Cluster:
    from sbkube.targets.cluster.kubeconfig import resolve

    settings = project.settings
    return resolve(
        settings.kubeconfig,
        settings.kubeconfig_context,
        project.folder,
        environ,
        allowed=settings.allowed_contexts,
    )


def _cluster(project: Project, wishes: TargetWishes, state: Path, helms: Helms) -> ClusterTarget:
    # Here, since whoever renders into a folder should not wait for what only a cluster needs.
    from sbkube.locking import lock_place
    from sbkube.targets.cluster.identity import Identities
    from sbkube.targets.cluster.kubectl import Kubectl
    from sbkube.targets.cluster.target import ClusterTarget

    cluster = cluster_of(project, helms.environ)
    _refuse_other_contexts(project, cluster)
    deployed = [app.namespace or project.namespace for app in project.apps.values() if app.is_deployed]
    return ClusterTarget(
        cluster,
        lambda: helms.releases(cluster),
        Kubectl.find(cluster, helms.environ),
        scratch=state / "charts",
        owner=StateKey(state / "key").owner,
        identities=Identities(state / "cluster.json", project.profile),
        namespaces=Counter((project.namespace, *deployed)),
        force=wishes.force,
        pending=wishes.pending,
        accept_change=wishes.accept_change,
        lock=lock.label if (lock := lock_place(project)) is not None else "",
    )


def _refuse_other_contexts(project: Project, cluster: Cluster) -> None:
    for name, app in project.apps.items():
        goes_there = app.enabled and (app.is_deployed or app.needs_cluster)
        if goes_there and app.context not in (None, cluster.context):
            what = f"another context than the project's {cluster.context!r} ({app.context!r} of app {name!r})"
            raise NotYet(what, where=project.position(name, "context"))


def _directory(project: Project, written: Path, wishes: TargetWishes, state: Path) -> DirectoryTarget:
    folder = project.folder if wishes.named is None else Path.cwd()
    path = Path(os.path.normpath(folder / written.expanduser()))
    # The same folder is the same target, however and from wherever it was named.
    written_as = os.path.relpath(path, project.folder)
    owner = Owner.of(path, project.folder, project.profile)
    return DirectoryTarget(path, written_as, owner, takes_over=wishes.accept_change, state_folder=state)
