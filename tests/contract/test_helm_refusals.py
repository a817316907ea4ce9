"""What is refused before Helm is asked is just what every Helm refuses: `Chart.yaml` and release names."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest
from test_helm import MAKERS

from sbkube.apps.charts import check_metadata
from sbkube.apps.checks import check_release_name
from sbkube.errors import ConfigError, Position
from sbkube.helm.base import Helm, HelmError, RenderRequest

pytestmark = pytest.mark.anyio

METADATA = [
    "name: a\nversion: 1.0.0\n",
    "name: a\nversion: 1.0\n",
    "name: 12\nversion: '1'\n",
    "name: a\nversion: v01.2.3-rc.1+build-7\ntype: application\n",
    "name: a\nversion: 1.0.0\ntype:\nunknown: x\n",
    "name: a\nversion: 1.2.3.4\n",
    "name: a\nversion: latest\n",
    "name: a\nversion: 1.0.0-a_b\n",
    "name: a\n",
    "name: ''\nversion: 1.0.0\n",
    "version: 1.0.0\n",
    "name: [a]\nversion: 1.0.0\n",
    "name: a/b\nversion: 1.0.0\n",
    "name: a\nversion: 1.0.0\ntype: library\n",
    "name: a\nversion: 1.0.0\ntype: app\n",
    "- name\n",
    "name: [\n",
    "",
]
NAMES = ["a", "a.b", "a-b", "1", "a" * 53, "a" * 54, "a..b", "A", "a_b", "-a", "a-", "a.", "a-.b"]


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module", params=MAKERS)
async def helm(request: pytest.FixtureRequest) -> AsyncIterator[Helm]:
    async with aclosing(MAKERS[request.param](time_limit=60)) as helm:
        yield helm


async def refuses(helm: Helm, chart: Path, release: str) -> bool:
    try:
        await helm.render(RenderRequest(chart, release, "default"))
    except HelmError:
        return True
    return False


def is_refused(metadata: str) -> bool:
    try:
        check_metadata(metadata, Path("Chart.yaml"))
    except ConfigError:
        return True
    return False


@pytest.mark.parametrize("metadata", METADATA)
async def test_metadata_is_refused_just_where_helm_refuses_it(
    helm: Helm, tmp_path: Path, metadata: str
) -> None:
    (tmp_path / "Chart.yaml").write_text(metadata)
    assert is_refused(metadata) == await refuses(helm, tmp_path, "release")


@pytest.mark.parametrize("name", NAMES)
async def test_a_release_name_is_refused_just_where_helm_refuses_it(
    helm: Helm, tmp_path: Path, name: str
) -> None:
    (tmp_path / "Chart.yaml").write_text(METADATA[0])
    try:
        check_release_name(name, Position(tmp_path), is_app=False)
        refused = False
    except ConfigError:
        refused = True
    assert refused == await refuses(helm, tmp_path, name)
