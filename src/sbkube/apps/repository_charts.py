"""A chart of a repository, `name of the repository/chart`, or at a URL of its own."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from sbkube.apps.checks import failures
from sbkube.apps.fetched_charts import access_of, keep_chart
from sbkube.apps.fields import Path as FieldPath
from sbkube.apps.work import HelmRepository, Place, Reading, Work
from sbkube.errors import ConfigError, SbkubeError
from sbkube.fetch.addresses import redacted, split_login, told_apart

if TYPE_CHECKING:
    from sbkube.fetch.fetching import Fetching
    from sbkube.fetch.repositories import FetchedChart, Repository

_URL = re.compile(r"https?://", re.IGNORECASE)


def is_url(chart: str) -> bool:
    return _URL.match(chart) is not None


class UnknownChartRepository(ConfigError):
    def __init__(self, name: str, chart: str, place: Place) -> None:
        known = [*place.helm_repos, *place.oci_registries]
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
        if (place.folder / chart).exists():
            hint = f"a chart of the project is written `./{chart}`"
        elif near:
            hint = f"did you mean {near[0]!r}?"
        else:
            there = f"there are: {', '.join(known)}" if known else "there are none yet"
            hint = f"name it with its URL in `helm_repos`, or with its host in `oci_registries`; {there}"
        super().__init__(f"`helm_repos` has no {name!r}, where chart {chart!r} would be", hint=hint)


def chart_reading(chart: str, version: str | None, place: Place) -> Reading:
    """What is asked for. Which version that is, and who asks, comes later."""
    if _URL.match(chart):
        return Reading({"chart": told_apart(chart)}, fetches=redacted(chart))
    repository, _, name = chart.partition("/")
    entry = place.helm_repos.get(repository)
    settings = {"chart": name, "version": version, "repository": entry and told_apart(entry.url)}
    told = (
        f"chart {name!r} {version or 'of the newest version'} from {redacted(entry.url)}" if entry else None
    )
    return Reading(settings, fetches=told)


def check_chart_of_the_web(chart: str, version: str | None, place: Place) -> Iterator[SbkubeError]:
    """What is wrong with it without asking anybody."""
    from sbkube.fetch.versions import parse_constraint

    if _URL.match(chart):
        return
    for field, check in (
        ("chart", partial(_entry, chart, place)),
        ("version", partial(parse_constraint, version or "*")),
    ):
        for error in failures([check]):
            error.set_place(place.where(field))
            yield error


def unpinned_chart(chart: str, version: str | None) -> Iterator[tuple[FieldPath, str]]:
    """With the field that leads to it. An archive at a URL is pinned by a version in its name."""
    from sbkube.fetch.versions import is_exact

    if _URL.match(chart):
        if not re.search(r"[0-9]+\.[0-9]+\.[0-9]+[^/]*$", split_login(chart)[0].partition("?")[0]):
            yield ("chart",), redacted(chart)
    elif version is None:
        yield ("chart",), chart
    elif not is_exact(version):
        yield ("version",), f"{chart} {version}"


async def take_chart_of_the_web(chart: str, version: str | None, work: Work) -> None:
    from sbkube.fetch.repositories import UnknownVersion
    from sbkube.fetch.versions import BadConstraint

    place = work.place
    try:
        fetched = await _fetch(chart, version, work)
    except SbkubeError as error:
        error.set_place(
            place.where("version" if isinstance(error, UnknownVersion | BadConstraint) else "chart")
        )
        raise
    await keep_chart(fetched, chart, work)


async def versions_of_the_web(
    chart: str, place: Place, environ: Mapping[str, str], fetch: Fetching
) -> list[str]:
    """Of a chart that is named by its repository; the newest first."""
    repository, _, name = chart.partition("/")
    _entry(chart, place)
    return await fetch.repositories.versions(repository_at(repository, place, environ), name)


async def _fetch(chart: str, version: str | None, work: Work) -> FetchedChart:
    if _URL.match(chart):
        return await work.fetch.repositories.archive(chart)
    repository, _, name = chart.partition("/")
    _entry(chart, work.place)
    return await work.fetch.repositories.chart(repository_at(repository, work.place, work.env), name, version)


def _entry(chart: str, place: Place) -> HelmRepository:
    name = chart.partition("/")[0]
    if name not in place.helm_repos:
        raise UnknownChartRepository(name, chart, place)
    return place.helm_repos[name]


def repository_at(named: str, place: Place, environ: Mapping[str, str]) -> Repository:
    """By its name in `helm_repos`, with what opens it, or by a URL. What stands in its URL counts where nothing else does."""
    from sbkube.fetch.access import Access
    from sbkube.fetch.repositories import Repository

    entry = place.helm_repos.get(named)
    url, login = split_login(entry.url if entry else named)
    access = access_of(entry, ("helm_repos", named), place, environ) if entry else Access()
    if login is not None and access.username is None and access.password is None:
        access = replace(access, username=login[0], password=login[1])
    return Repository(named if entry else redacted(url), url, access)
