"""The example projects deploy to a cluster as they do to a folder."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from .control_plane import ControlPlane
from .running import Project

pytestmark = pytest.mark.helms("helm-v4")
SHOP = Path(__file__).parents[2] / "examples/shop"


def volume(name: str) -> dict[str, object]:
    spec = {
        "capacity": {"storage": "100Gi"},
        "accessModes": ["ReadWriteOnce"],
        "hostPath": {"path": f"/{name}"},
    }
    return {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name}, "spec": spec}


def test_the_shop_is_deployed_and_a_second_run_changes_nothing(
    another_control_plane: ControlPlane, tmp_path: Path
) -> None:
    cluster = another_control_plane.admin
    cluster.apply(*(volume(f"v{number}") for number in range(20)))
    project = Project(shutil.copytree(SHOP, tmp_path / "shop"), cluster)
    project.run()
    first = project.revisions
    assert len(first) > 10
    assert set(first.values()) == {1}
    project.run()
    assert project.revisions == first
