"""What the tests of a cluster have besides the control plane of `tests/conftest.py`, and what changes them.

`cluster` and `namespace` serve any test of what a cluster holds; `control_plane` those that need its users, audit log or
pods that fail; `another_control_plane` those that break it or need a second one. Every command uses the embedded Helm; a
test whose outcome depends on that is marked with the programs with which it runs once more: `helms("helm-v4")`.
SBKUBE_TEST_BACKEND=helm-v3 has all of them run with that one alone.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from contract.helm_binaries import BINARIES

from .client import Cluster
from .control_plane import ControlPlane
from .running import Project
from .shared import LABEL, named

HERE = Path(__file__).parent
EMBEDDED = "embedded"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    ours = [item for item in items if HERE in item.path.parents]
    for item in ours:
        item.add_marker("cluster")
    if named():
        other = [item for item in ours if "programs" in getattr(item, "fixturenames", ())]
        items[:] = [item for item in items if item not in other]
        config.hook.pytest_deselected(items=other)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if wanted := _helms_for(metafunc.definition):
        metafunc.parametrize("helm", wanted, indirect=True)


def _helms_for(test: pytest.Item) -> Sequence[str]:
    if only := os.environ.get("SBKUBE_TEST_BACKEND"):
        return [only]
    marker = test.get_closest_marker("helms")
    beside = [name for name in marker.args if name in BINARIES] if marker else []
    return [EMBEDDED, *beside] if beside else []


@pytest.fixture(autouse=True)
def helm(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The one that every command of the test uses."""
    name: str = getattr(request, "param", EMBEDDED)
    if name == EMBEDDED:
        monkeypatch.delenv("SBKUBE_HELM", raising=False)
    else:
        monkeypatch.setenv("SBKUBE_HELM", BINARIES[name])
    return name


@pytest.fixture
def another_control_plane(programs: None, tmp_path: Path) -> Iterator[ControlPlane]:
    with ControlPlane(tmp_path / "another-control-plane") as plane:
        yield plane


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
