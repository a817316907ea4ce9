"""Charts from a registry as one run asks for them, each in a line."""

from __future__ import annotations

from collections.abc import Mapping

from sbkube.fetch.access import Access
from sbkube.fetch.downloads import Downloads, Fetched
from sbkube.fetch.http import ANYONE
from sbkube.fetch.oci import FoundChart, OciCharts
from sbkube.fetch.oci_logins import Registry
from sbkube.fetch.oci_references import Reference
from sbkube.fetch.stored_logins import StoredLogins
from servers.http import Server


class Oci:
    def __init__(self, downloads: Downloads, environ: Mapping[str, str]) -> None:
        self.downloads, self.environ = downloads, environ
        self.charts = OciCharts(downloads, StoredLogins(environ))

    def anew(self, environ: Mapping[str, str] | None = None) -> Oci:
        """As the next run, with the same cache."""
        return Oci(self.downloads, environ or self.environ)

    async def find(
        self, server: Server, path: str, wanted: str | None = None, access: Access = ANYONE
    ) -> FoundChart:
        host = server.url.partition("://")[2]
        plain = server.url.startswith("http://")
        return await self.charts.find(
            Reference.of(f"oci://{host}/{path}"), Registry(access, plain_http=plain), wanted
        )

    async def fetch(
        self, server: Server, path: str, wanted: str | None = None, access: Access = ANYONE
    ) -> Fetched:
        return await self.charts.fetch(await self.find(server, path, wanted, access))

    def content(self, fetched: Fetched) -> bytes:
        path = self.downloads.cache.find(fetched.digest)
        assert path is not None
        return path.read_bytes()
