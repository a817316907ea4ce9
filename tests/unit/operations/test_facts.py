"""What a plan says of a release, by what decides in the deploy itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from sbkube.helm.releases import Cluster, Release, ReleaseStatus
from sbkube.operations.facts import would_of
from sbkube.targets.base import PendingPolicy
from sbkube.targets.cluster.decide import OWNER, REVISION
from sbkube.targets.cluster.identity import Identities
from sbkube.targets.cluster.target import ClusterTarget


def target(folder: Path, *, force: bool = False, pending: PendingPolicy = "ours") -> ClusterTarget:
    async def none() -> None: ...

    return ClusterTarget(
        Cluster(),
        none,  # type: ignore[arg-type]
        None,
        folder,
        lambda: "us",
        Identities(folder / "cluster.json", None),
        force=force,
        pending=pending,
    )


def release(status: ReleaseStatus, owner: str = "us") -> Release:
    return Release("web", "shop", 3, status, labels={OWNER: owner, REVISION: "3"})


@pytest.mark.parametrize(
    ("now", "is_current", "would"),
    [
        (None, None, "install"),
        (None, False, "install"),
        (release(ReleaseStatus.UNINSTALLED), None, "install"),
        (release(ReleaseStatus.DEPLOYED), None, None),
        (release(ReleaseStatus.DEPLOYED), True, "unchanged"),
        (release(ReleaseStatus.DEPLOYED), False, "upgrade"),
        (release(ReleaseStatus.FAILED), None, "upgrade"),
        (release(ReleaseStatus.PENDING_UPGRADE), None, "unlock"),
        (release(ReleaseStatus.PENDING_UPGRADE, "them"), None, "refuse"),
        (release(ReleaseStatus.UNINSTALLING), False, "uninstall"),
    ],
)
def test_what_would_be_done_with_a_release(
    tmp_path: Path, now: Release | None, is_current: bool | None, would: str | None
) -> None:
    assert would_of(target(tmp_path), now, "us", is_current) == would


def test_what_is_forced_is_never_unchanged(tmp_path: Path) -> None:
    assert would_of(target(tmp_path, force=True), release(ReleaseStatus.DEPLOYED), "us", True) == "upgrade"


def test_what_is_pending_elsewhere_may_be_waited_for(tmp_path: Path) -> None:
    now = release(ReleaseStatus.PENDING_INSTALL, "them")
    assert would_of(target(tmp_path, pending="wait"), now, "us", None) == "wait"
