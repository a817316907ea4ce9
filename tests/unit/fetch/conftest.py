from __future__ import annotations

from pathlib import Path

import pytest
from fetch_bench import Bench

from servers.git import Repository


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "served/shop")


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)
