from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from fetch_bench import Bench
from oci_bench import Oci

from sbkube.fetch.cache import Cache
from sbkube.fetch.downloads import Downloads
from sbkube.fetch.http import Http
from servers.certificates import Authority
from servers.git import Repository
from servers.http import Server
from servers.registry import Registry


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "served/shop")


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        yield server


@pytest.fixture
def other() -> Iterator[Server]:
    with Server() as server:
        yield server


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.make(tmp_path_factory.mktemp("tls") / "authority")


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


@pytest.fixture
async def http() -> AsyncIterator[Http]:
    http = Http()
    yield http
    await http.aclose()


@pytest.fixture
async def downloads(http: Http, cache: Cache) -> AsyncIterator[Downloads]:
    """Nothing that came in part is left when they end."""
    downloads = Downloads(http, cache)
    yield downloads
    await downloads.aclose()
    assert list(cache.folder.glob("incoming/*")) == []


@pytest.fixture
def registry(server: Server) -> Registry:
    """Answers at `server`."""
    made = Registry()
    server.handlers.append(made)
    return made


@pytest.fixture
def oci(downloads: Downloads, tmp_path: Path) -> Oci:
    """Of nobody who has logged in anywhere."""
    return Oci(downloads, {"HOME": str(tmp_path / "home")})
