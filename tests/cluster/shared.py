"""The cluster that all tests of one process share, in this folder and in `contract/`, as fixtures."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from . import binaries
from .client import Cluster
from .control_plane import ControlPlane

LABEL = "sbkube.test/namespace"


def named() -> str | None:
    """The kubeconfig of a throw-away cluster to use in place of our own."""
    return os.environ.get("SBKUBE_TEST_KUBECONFIG")


@pytest.fixture(scope="session")
def programs() -> None:
    """For what needs a control plane of our own, so cannot run on any other cluster."""
    binaries.found()


@pytest.fixture(scope="session")
def control_plane(programs: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """Our own, one for all tests, which leave it as it was."""
    with ControlPlane(tmp_path_factory.mktemp("control-plane")) as plane:
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
