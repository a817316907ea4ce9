"""Where a dependency of a chart comes from, by its `repository`: over the fetchers, and with the logins, that charts of the project have."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sbkube.apps import registry_charts, repository_charts
from sbkube.apps.dependencies import Dependency
from sbkube.apps.registry_charts import OCI
from sbkube.apps.work import Place, Work
from sbkube.errors import ConfigError
from sbkube.fetch.addresses import redacted, split_login

if TYPE_CHECKING:
    from sbkube.fetch.repositories import FetchedChart

_NAMED = ("@", "alias:")


class NoRepository(ConfigError):
    def __init__(self, repository: str) -> None:
        super().__init__(
            f"{redacted(repository)!r} is no repository",
            hint="it is a URL, `oci://…`, `file://…`, or `@` with a name in `helm_repos`",
        )


async def chart_of(dependency: Dependency, work: Work) -> FetchedChart:
    """Raises `SbkubeError`."""
    wanted = dependency.version or None
    if dependency.repository.startswith(OCI):
        reference = f"{dependency.repository.rstrip('/')}/{dependency.name}"
        return await registry_charts.fetch_chart(reference, wanted, work)
    repository = repository_charts.repository_at(repository_of(dependency, work.place), work.place, work.env)
    return await work.fetch.repositories.chart(repository, dependency.name, wanted)


def repository_of(dependency: Dependency, place: Place) -> str:
    """The name in `helm_repos`, by which or by whose URL it is written; else the URL. Raises `ConfigError`."""
    written = dependency.repository
    for prefix in _NAMED:
        if written.startswith(prefix):
            name = written.removeprefix(prefix)
            if name not in place.helm_repos:
                raise repository_charts.UnknownChartRepository(name, dependency.name, place)
            return name
    if not written.lower().startswith(("http://", "https://")):
        raise NoRepository(written)
    for name, entry in place.helm_repos.items():
        if split_login(entry.url)[0].rstrip("/") == split_login(written)[0].rstrip("/"):
            return name
    return written


def url_of(dependency: Dependency, place: Place) -> str | None:
    """Of a name in `helm_repos`."""
    name = next(
        (dependency.repository.removeprefix(it) for it in _NAMED if dependency.repository.startswith(it)), ""
    )
    return place.helm_repos[name].url if name in place.helm_repos else None
