"""Charts of a registry as the helm programs take them: the same one for a version, with the logins that they keep."""

from __future__ import annotations

import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from anyio.to_thread import run_sync
from helm_binaries import BINARIES

from sbkube.fetch.cache import Cache
from sbkube.fetch.downloads import Downloads
from sbkube.fetch.errors import FetchError
from sbkube.fetch.http import Http
from sbkube.fetch.oci import OciCharts
from sbkube.fetch.oci_logins import Registry
from sbkube.fetch.oci_references import Reference
from sbkube.fetch.stored_logins import StoredLogins
from servers import faults
from servers import registry as own
from servers.charts import Chart
from servers.http import Server

pytestmark = pytest.mark.anyio

VERSIONS = ("0.9.1", "1.0.0", "1.2.0", "1.10.0+b", "2.0.0-rc.1", "2.0.0-rc.10")
WANTED = (
    "",
    "^1",
    "~1.2",
    "1.x",
    "1",
    "1.0",
    "1.10.0+b",
    "1.0 - 1.2",
    ">0.0.0-0",
    "^2",
    "v1.2.0",
    "nope",
    "2.0.0-rc.1",
)
BEHIND = (":1.2.0", ":latest", ":1.2.1", f"@sha256:{'0' * 64}")
"""Written behind the name."""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def downloads(tmp_path: Path) -> AsyncIterator[Downloads]:
    http = Http()
    downloads = Downloads(http, Cache(tmp_path / "cache"))
    yield downloads
    await downloads.aclose()
    await http.aclose()


def helm(program: str, home: Path, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [program, *arguments, "--plain-http"],
        env={"HOME": str(home), "PATH": "/usr/bin:/bin"}, input=stdin,
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip


def helm_shows(program: str, home: Path, reference: str, wanted: str) -> str:
    version = ["--version", wanted] if wanted else []
    ended = helm(program, home, "show", "chart", reference, *version)
    lines = [
        line.removeprefix("version: ") for line in ended.stdout.splitlines() if line.startswith("version: ")
    ]
    assert (ended.returncode == 0) == bool(lines), ended
    return lines[0] if lines else ""


async def test_the_helm_programs_take_the_same_for_a_version(downloads: Downloads, tmp_path: Path) -> None:
    with Server() as server:
        registry = own.Registry(page=4)
        server.handlers.append(registry)
        digests = [registry.push("team/web", Chart("web", version)) for version in VERSIONS]
        registry.push("team/web", Chart("web", "7.0.0"), tag="latest")
        name = f"oci://{server.url.partition('://')[2]}/team/web"
        charts = OciCharts(downloads, StoredLogins({"HOME": str(tmp_path)}))

        async def ours(reference: str, wanted: str) -> str:
            try:
                found = await charts.find(Reference.of(reference), Registry(plain_http=True), wanted or None)
            except FetchError:
                return ""
            return found.version or ""

        asked = [(name, wanted) for wanted in WANTED]
        asked += [(name + behind, "") for behind in (*BEHIND, f"@{digests[1]}")]
        asked += [(f"{name}:1.2.0", "1.2.0"), (f"{name}:1.2.0", "1.0.0"), (f"{name}@{digests[1]}", "1.0.0")]
        asked += [(f"{name}@{digests[1]}", "1.2.0")]
        taken = {question: await ours(*question) for question in asked}
        assert sum(map(bool, taken.values())) == 12
        for program in BINARIES.values():
            theirs = {
                question: await run_sync(helm_shows, program, tmp_path / "home", *question)
                for question in asked
            }
            assert theirs == taken


async def test_a_login_of_the_helm_programs_opens_the_registry_for_us(
    downloads: Downloads, tmp_path: Path
) -> None:
    with Server() as server:
        registry = own.Registry()
        server.before.append(faults.login("me", "secret"))
        server.handlers.append(registry)
        registry.push("web", Chart("web"))
        host = server.url.partition("://")[2]
        for name, program in BINARIES.items():
            home = tmp_path / name
            login = ("registry", "login", host, "--username", "me", "--password-stdin")
            ended = await run_sync(lambda p=program, h=home, a=login: helm(p, h, *a, stdin="secret"))
            assert ended.returncode == 0, ended
            charts = OciCharts(downloads, StoredLogins({"HOME": str(home)}))
            found = await charts.find(Reference.of(f"oci://{host}/web"), Registry(plain_http=True), "1.0.0")
            assert found.version == "1.0.0"
