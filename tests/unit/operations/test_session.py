"""A project's cluster, opened for one command."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sbkube.choosing import TargetWishes
from sbkube.config.loading import load_project
from sbkube.operations.session import NoReleases, open_session
from sbkube.wiring import open_workshop

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.parametrize("writes", [True, False])
async def test_a_folder_has_no_releases_and_nothing_is_created_for_it(tmp_path: Path, writes: bool) -> None:
    (tmp_path / "config.yaml").write_text("target: {directory: out}\napps: {}\n")
    workshop = open_workshop(load_project(tmp_path, environ={}), {}, TargetWishes())
    with pytest.raises(NoReleases, match="the target is the folder 'out'"):
        async with open_session(workshop, writes=writes):
            pass
    assert os.listdir(tmp_path) == ["config.yaml"]
