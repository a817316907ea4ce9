from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from servers.git import GitHttp, Repository
from servers.http import Server

from .project import ProjectFolder, chart, manifest


@pytest.fixture
def project(tmp_path: Path) -> ProjectFolder:
    root = tmp_path / "project"
    root.mkdir()
    return ProjectFolder(root)


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        yield server


@pytest.fixture
def served(tmp_path: Path) -> Repository:
    repository = Repository(tmp_path / "served/shop")
    repository.commit({"deploy/a.yaml": manifest("cloned"), **chart("own")})
    return repository


@pytest.fixture
def clones(served: Repository) -> Iterator[GitHttp]:
    with GitHttp(served.folder.parent).serving() as clones:
        yield clones
