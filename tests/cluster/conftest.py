"""The control plane as fixtures, and what SBKUBE_TEST_KUBECONFIG changes.

`cluster` and `namespace` serve any test of what a cluster holds; `control_plane` those that need its users, audit log or
pods that fail; `another_control_plane` those that break it or need a second one.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from . import binaries
from .client import Cluster
from .control_plane import ControlPlane
from .running import Project

HERE = Path(__file__).parent
LABEL = "sbkube.test/namespace"


def named() -> str | None:
    """The kubeconfig of a throw-away cluster to use in place of our own."""
    return os.environ.get("SBKUBE_TEST_KUBECONFIG")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    ours = [item for item in items if HERE in item.path.parents]
    for item in ours:
        item.add_marker("cluster")
    if named():
        other = [item for item in ours if "programs" in getattr(item, "fixturenames", ())]
        items[:] = [item for item in items if item not in other]
        config.hook.pytest_deselected(items=other)


@pytest.fixture(scope="session")
def programs() -> None:
    """For what needs a control plane of our own, so cannot run on any other cluster."""
    binaries.found()


@pytest.fixture(scope="session")
def control_plane(programs: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """Our own, one for all tests, which leave it as it was."""
    with ControlPlane(tmp_path_factory.mktemp("control-plane")) as plane:
        yield plane


@pytest.fixture
def another_control_plane(programs: None, tmp_path: Path) -> Iterator[ControlPlane]:
    with ControlPlane(tmp_path / "another-control-plane") as plane:
        yield plane


@pytest.fixture(scope="session")
def cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """Any cluster, as its administrator."""
    if kubeconfig := named():
        cluster = Cluster(Path(kubeconfig).resolve())
        yield cluster
        cluster.kubectl("wait", "--for=delete", "namespace", "-l", LABEL, "--timeout=300s", seconds=330)
    else:
        plane: ControlPlane = request.getfixturevalue("control_plane")
        yield plane.admin


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[str]:
    """A fresh one, deleted with all that is in it."""
    name = f"test-{uuid.uuid4().hex[:8]}"
    metadata = {"name": name, "labels": {LABEL: "fresh"}}
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
    yield name
    cluster.kubectl("delete", "namespace", name, "--wait=false", "--ignore-not-found")


@pytest.fixture
def project(cluster: Cluster, tmp_path: Path) -> Project:
    folder = tmp_path / "project"
    folder.mkdir()
    return Project(folder, cluster)
