"""What the tests of operations work with."""

from __future__ import annotations

from pathlib import Path

from sbkube.config.loading import load_project
from sbkube.config.project import Project
from sbkube.helm.releases import Release, ReleaseStatus
from sbkube.targets.cluster.decide import Wanted

OWNER = "our-folder"


def project(folder: Path, apps: str, profile: str | None = None) -> Project:
    (folder / "config.yaml").write_text(f"namespace: shop\napps:\n{apps}")
    return load_project(folder, environ={}, profile=profile)


def release(
    name: str,
    *,
    namespace: str = "shop",
    revision: int = 1,
    status: ReleaseStatus = ReleaseStatus.DEPLOYED,
    app: str | None = None,
    run: int = 1,
    owner: str = OWNER,
    profile: str | None = None,
    prune: bool = True,
) -> Release:
    """As our deploys leave one."""
    wanted = Wanted("digest", str(run), owner, name if app is None else app, profile, prune)
    return Release(name, namespace, revision, status, labels=wanted.labels(revision))


def by_hand(name: str, revision: int = 1, namespace: str = "shop") -> Release:
    return Release(name, namespace, revision, ReleaseStatus.DEPLOYED)
