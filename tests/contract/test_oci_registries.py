"""What registries have in common: charts are pushed to a real one and to the tests' own, and had back from both."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from sbkube.fetch.access import Access
from sbkube.fetch.cache import Cache
from sbkube.fetch.downloads import Downloads
from sbkube.fetch.errors import Unreachable
from sbkube.fetch.http import ANYONE, Http
from sbkube.fetch.http_errors import CertificateRefused
from sbkube.fetch.oci import OciCharts
from sbkube.fetch.oci_errors import NoSuchChart, NoSuchVersion, RegistryRefused, SpeaksNoTls, SpeaksTls
from sbkube.fetch.oci_logins import Registry
from sbkube.fetch.oci_references import Reference
from sbkube.fetch.stored_logins import StoredLogins
from servers import docker_registry, faults
from servers import registry as own
from servers.certificates import Authority
from servers.charts import Chart
from servers.docker_registry import PASSWORD, USER, DockerRegistry
from servers.http import Server

pytestmark = pytest.mark.anyio

ME = Access(username=USER, password=PASSWORD)


@dataclass(frozen=True, slots=True)
class Served:
    url: str
    authority: Authority | None
    wants_login: bool

    @property
    def host(self) -> str:
        return self.url.partition("://")[2]

    @property
    def access(self) -> Access:
        """With all that opens it."""
        ca_file = self.authority and self.authority.file
        return Access(*((USER, PASSWORD) if self.wants_login else (None, None)), ca_file=ca_file)

    def registry(self, access: Access, *, plain: bool | None = None) -> Registry:
        is_plain = self.authority is None if plain is None else plain
        return Registry(access, plain_http=is_plain)

    def push(self, repository: str, chart: Chart) -> str:
        tls = ssl.create_default_context(cafile=str(self.authority.file)) if self.authority else None
        login = (USER, PASSWORD) if self.wants_login else None
        return own.push(self.url, repository, chart, login=login, tls=tls)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@contextmanager
def serve(program: str, folder: Path, authority: Authority | None, login: bool) -> Iterator[str]:
    if program != "own":
        with DockerRegistry(program, folder, login, authority) as registry:
            yield registry.url
        return
    with Server(authority.server() if authority else None) as server:
        if login:
            server.before.append(faults.login(USER, PASSWORD))
        server.handlers.append(own.Registry(page=2))
        yield server.url


@pytest.fixture(params=["plain", "login", "tls"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=["own", *docker_registry.found()])
def served(request: pytest.FixtureRequest, kind: str, tmp_path: Path) -> Iterator[Served]:
    """Without and with a login, and with one over TLS."""
    authority = Authority.make(tmp_path / "tls") if kind == "tls" else None
    wants_login = kind != "plain"
    with serve(request.param, tmp_path / "registry", authority, wants_login) as url:
        yield Served(url, authority, wants_login)


@pytest.fixture
async def charts(tmp_path: Path) -> AsyncIterator[OciCharts]:
    http = Http()
    downloads = Downloads(http, Cache(tmp_path / "cache"))
    yield OciCharts(downloads, StoredLogins({"HOME": str(tmp_path)}))
    await downloads.aclose()
    await http.aclose()


async def test_what_was_pushed_is_had_by_version_range_and_digest(
    served: Served, charts: OciCharts, tmp_path: Path
) -> None:
    pushed = {version: Chart("web", version) for version in ("1.0.0", "1.1.0+b2", "1.10.0", "2.0.0-rc.1")}
    digests = {version: served.push("team/web", chart) for version, chart in pushed.items()}
    registry, cache = served.registry(served.access), Cache(tmp_path / "cache")
    for wanted, version in (
        (None, "1.10.0"),
        ("~1.1", "1.1.0+b2"),
        ("1.1.0+b2", "1.1.0+b2"),
        (">1.10.0-0", "2.0.0-rc.1"),
    ):
        found = await charts.find(Reference.of(f"oci://{served.host}/team/web"), registry, wanted)
        assert (found.version, found.reference.digest) == (version, digests[version])
        archive = cache.find((await charts.fetch(found)).digest)
        assert archive is not None
        assert archive.read_bytes() == pushed[version].packed
    pinned = Reference.of(f"oci://{served.host}/team/web@{digests['1.0.0']}")
    assert (await charts.find(pinned, registry)).version == "1.0.0"


async def test_what_was_fetched_once_is_not_fetched_again(
    served: Served, charts: OciCharts, tmp_path: Path
) -> None:
    served.push("web", Chart("web"))
    registry, reference = served.registry(served.access), Reference.of(f"oci://{served.host}/web")
    assert (await charts.fetch(await charts.find(reference, registry, "1.0.0"))).is_new
    assert not (await charts.fetch(await charts.find(reference, registry, "^1.0"))).is_new


async def test_what_is_not_there_is_told(served: Served, charts: OciCharts) -> None:
    served.push("web", Chart("web"))
    registry = served.registry(served.access)
    for wanted in ("1.0.0", None):
        with pytest.raises(NoSuchChart):
            await charts.find(Reference.of(f"oci://{served.host}/wbe"), registry, wanted)
    with pytest.raises(NoSuchVersion) as caught:
        await charts.find(Reference.of(f"oci://{served.host}/web"), registry, "1.0.1")
    assert caught.value.hint == "there are: 1.0.0"


async def test_who_is_not_let_in_is_told_so(served: Served, charts: OciCharts) -> None:
    reference = Reference.of(f"oci://{served.host}/web")
    if served.authority is not None:
        with pytest.raises(CertificateRefused):
            await charts.find(reference, served.registry(ME), "1.0.0")
        with pytest.raises((SpeaksTls, Unreachable)):  # it says so, or hangs up
            await charts.find(reference, served.registry(ME, plain=True), "1.0.0")
    else:
        with pytest.raises(SpeaksNoTls):
            await charts.find(reference, served.registry(ANYONE, plain=False), "1.0.0")
    if served.wants_login:
        ca_file = served.access.ca_file
        for access in (Access(ca_file=ca_file), Access(USER, "wrong", ca_file=ca_file)):
            with pytest.raises(RegistryRefused):
                await charts.find(reference, served.registry(access), "1.0.0")
