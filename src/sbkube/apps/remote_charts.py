"""Charts from elsewhere, by how they are named: in git, of a registry, of a repository, at a URL."""

from __future__ import annotations

from collections.abc import Iterator

from sbkube.apps import git_charts, registry_charts, repository_charts
from sbkube.apps.dependencies import Origin
from sbkube.apps.dependency_charts import take_dependencies
from sbkube.apps.fields import Path as FieldPath
from sbkube.apps.git_charts import GIT
from sbkube.apps.registry_charts import OCI, is_of_registry
from sbkube.apps.work import Asking, Place, Reading, Work
from sbkube.errors import SbkubeError
from sbkube.fetch.addresses import redacted
from sbkube.fetch.git_remote import without_credentials
from sbkube.fetch.lockfile import Pin


def is_remote(chart: str) -> bool:
    """A bare name is a folder or an archive of the project."""
    if chart.startswith((".", "/", "~", "${repos.")):
        return False
    return "/" in chart or chart.startswith(GIT)


def chart_reading(chart: str, version: str | None, place: Place) -> Reading:
    if chart.startswith(GIT):
        return git_charts.chart_reading(chart, place)
    if is_of_registry(chart, place):
        return registry_charts.chart_reading(chart, version, place)
    return repository_charts.chart_reading(chart, version, place)


def check_chart(chart: str, version: str | None, place: Place) -> Iterator[SbkubeError]:
    if chart.startswith(GIT):
        return git_charts.check_chart_of_git(chart, place)
    if is_of_registry(chart, place):
        return registry_charts.check_chart_of_registry(chart, version, place)
    return repository_charts.check_chart_of_the_web(chart, version, place)


def unpinned_chart(chart: str, version: str | None) -> Iterator[tuple[FieldPath, str]]:
    if chart.startswith(GIT):
        if not git_charts.is_pinned(chart):
            yield ("chart",), without_credentials(chart)
    elif chart.startswith(OCI):
        yield from registry_charts.unpinned_chart(chart, version)
    else:
        yield from repository_charts.unpinned_chart(chart, version)


async def resolve_chart(chart: str, version: str | None, asking: Asking) -> Pin:
    if chart.startswith(GIT):
        return await git_charts.resolve_chart_of_git(chart, asking)
    if is_of_registry(chart, asking.place):
        return await registry_charts.resolve_chart_of_registry(chart, version, asking)
    return await repository_charts.resolve_chart_of_the_web(chart, version, asking)


async def take_remote_chart(chart: str, version: str | None, work: Work) -> None:
    """With all that it depends on."""
    out, where = work.out / "chart", work.place.where("chart")
    if chart.startswith(GIT):
        async with git_charts.chart_of_git(chart, work) as (folder, clone):
            origin = Origin(folder, clone, without_credentials(chart), where)
            await take_dependencies(out, origin, work)
        return
    if is_of_registry(chart, work.place):
        await registry_charts.take_chart_of_registry(chart, version, work)
    else:
        await repository_charts.take_chart_of_the_web(chart, version, work)
    await take_dependencies(out, Origin(out, out, redacted(chart), where, is_packed=True), work)
