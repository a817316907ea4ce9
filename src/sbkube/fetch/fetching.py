"""What one run fetches with. Nothing is loaded or opened before it is first asked for."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING

from sbkube.errors import ConfigError

if TYPE_CHECKING:
    from sbkube.fetch.access import Proxies
    from sbkube.fetch.cache import Cache
    from sbkube.fetch.downloads import Downloads
    from sbkube.fetch.git import GitClones
    from sbkube.fetch.http import Http
    from sbkube.fetch.oci import OciCharts
    from sbkube.fetch.repositories import Repositories


OFFLINE = "SBKUBE_OFFLINE"


class Fetching:
    """`aclose` ends its connections, and removes what came in part."""

    def __init__(self, environ: Mapping[str, str], *, is_offline: bool = False) -> None:
        """`environ` says where the cache is, and which proxies there are. Offline there is the cache, and nothing else."""
        self._environ = environ
        self.is_offline = is_offline

    @cached_property
    def cache(self) -> Cache:
        from sbkube.fetch.cache import Cache, cache_folder

        return Cache(cache_folder(self._environ))

    @cached_property
    def git(self) -> GitClones:
        from sbkube.fetch.git import GitClones

        return GitClones(self.cache, self._environ, is_offline=self.is_offline)

    @cached_property
    def http(self) -> Http:
        from sbkube.fetch.http import Http

        return Http(proxies_of(self._environ), is_offline=self.is_offline)

    @cached_property
    def downloads(self) -> Downloads:
        from sbkube.fetch.downloads import Downloads

        return Downloads(self.http, self.cache)

    @cached_property
    def repositories(self) -> Repositories:
        from sbkube.fetch.repositories import Repositories

        return Repositories(self.downloads)

    @cached_property
    def registries(self) -> OciCharts:
        from sbkube.fetch.oci import OciCharts
        from sbkube.fetch.stored_logins import StoredLogins

        return OciCharts(self.downloads, StoredLogins(self._environ))

    async def aclose(self) -> None:
        if "downloads" in self.__dict__:
            await self.downloads.aclose()
        if "http" in self.__dict__:
            await self.http.aclose()


def proxies_of(environ: Mapping[str, str]) -> Proxies:
    """By the variables that every program knows, in either spelling; the small one wins, as in curl."""
    from sbkube.fetch.access import Proxies

    def named(name: str) -> str | None:
        return environ.get(name) or environ.get(name.upper()) or None

    everywhere = named("all_proxy")
    direct = (named("no_proxy") or "").split(",")
    return Proxies(
        named("http_proxy") or everywhere,
        named("https_proxy") or everywhere,
        tuple(entry.strip() for entry in direct if entry.strip()),
    )


def offline_by(environ: Mapping[str, str]) -> bool:
    """Raises `ConfigError` for what may mean either: nobody who asks for no network is to get some."""
    told = environ.get(OFFLINE, "").strip().lower()
    if told in ("", "0", "no", "off", "false"):
        return False
    if told in ("1", "yes", "on", "true"):
        return True
    raise ConfigError(
        f"the environment variable {OFFLINE} must be 1 or 0, not {told!r}",
        hint=f"`export {OFFLINE}=1`, or unset it",
    )
