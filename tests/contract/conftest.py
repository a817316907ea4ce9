"""The clusters on which the contract of releases is kept: the fake one, and a real one for tests marked `cluster`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from helm_binaries import BINARIES
from release_charts import write_charts
from release_labs import REAL, FakeLab, Lab, RealLab, helms

from sbkube.helm.releases import DeployRequest

HERE = Path(__file__).parent
collect_ignore = (
    [] if BINARIES else ["test_dependencies.py"]
)  # only compares with programs; the header names them


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """In the default suite Helm 4 stands for the programs; the slow one holds Helm 3 to the same."""
    for item in items:
        if HERE in item.path.parents and "helm-v3" in item.name:
            item.add_marker("slow")


@pytest.fixture(scope="module", params=["fake", *REAL])
async def lab(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, anyio_backend: str
) -> AsyncIterator[Lab]:
    lab: Lab
    if request.param == "fake":
        lab = FakeLab()
    else:
        kubernetes = request.getfixturevalue("cluster")
        lab = RealLab(request.param, kubernetes, tmp_path_factory.mktemp("kubeconfigs"))
    try:
        yield lab
        await lab.releases.aclose()
        assert helms() == []
    finally:
        lab.close()


@pytest.fixture(scope="session")
def simple_charts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_charts(tmp_path_factory.mktemp("charts"))


@pytest.fixture
def name() -> str:
    return f"demo-{uuid4().hex[:8]}"


@pytest.fixture
def deploy(lab: Lab, simple_charts: Path, name: str) -> Callable[..., DeployRequest]:
    def make(chart: str | Path = "app", **options: Any) -> DeployRequest:
        given = {"name": name, "namespace": lab.namespace, "wait": "none"} | options
        return DeployRequest(simple_charts / chart, **given)

    return make
