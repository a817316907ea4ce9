"""What every test may use: both backends, and one on which hours pass in milliseconds."""

from __future__ import annotations

import os
import shutil
from typing import Any

import pytest
from hypothesis import settings
from trio.testing import MockClock

from cluster.binaries import left_out
from cluster.shared import cluster, control_plane, programs
from servers import docker_registry

__all__ = ["cluster", "control_plane", "programs"]  # fixtures

# How long an example takes says something about the machine, not about the code.
settings.register_profile("sbkube", deadline=None)
settings.load_profile("sbkube")

Backend = str | tuple[str, dict[str, Any]]


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> Backend:
    """`virtual-time` (see `in_virtual_time`) jumps to the next deadline whenever nothing else can go on."""
    if request.param == "virtual-time":
        return "trio", {"clock": MockClock(autojump_threshold=0)}
    return str(request.param)


def pytest_report_header() -> list[str]:
    found = os.environ.get("SBKUBE_TEST_HELM") or shutil.which("helm")
    lines = [
        f"helm programs: {found or 'none, so the contract runs on the embedded Helm alone, and dependencies of charts are compared with nothing'}"
    ]
    registries = (
        ":".join(docker_registry.found()) or "none, so charts come from the tests' own registry alone"
    )
    lines.append(f"OCI registries: {registries}")
    if named := os.environ.get("SBKUBE_TEST_KUBECONFIG"):
        lines.append(f"cluster: that of {named}, without the tests that need a control plane of our own")
    elif reason := left_out():
        lines.append(f"cluster: its tests are left out: {reason}")
    return lines
