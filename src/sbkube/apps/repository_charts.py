"""A chart of a repository, `name of the repository/chart`, or at a URL of its own."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from sbkube.apps.checks import failures
from sbkube.apps.fetched_charts import access_of, keep_chart, pin_of, told_by_lock
from sbkube.apps.fields import Path as FieldPath
from sbkube.apps.work import Asking, HelmRepository, Place, Reading, Work
from sbkube.errors import ConfigError, SbkubeError
from sbkube.fetch.addresses import HIDDEN, redacted, split_login, told_apart
from sbkube.fetch.lockfile import Asks, Pin

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
    asks = _asks(chart, version, place)
    if _URL.match(chart):
        return Reading({"chart": told_apart(chart)}, fetches=redacted(chart), asks=asks)
    repository, _, name = chart.partition("/")
    entry = place.helm_repos.get(repository)
    settings = {"chart": name, "version": version, "repository": entry and told_apart(entry.url)}
    told = (
        f"chart {name!r} {version or 'of the newest version'} from {redacted(entry.url)}" if entry else None
    )
    return Reading(settings, fetches=told, asks=asks)


def _asks(chart: str, version: str | None, place: Place) -> Asks | None:
    if _URL.match(chart):
        return {"chart": told_apart(chart)}
    repository, _, name = chart.partition("/")
    entry = place.helm_repos.get(repository)
    if entry is None:
        return None
    return {"chart": name, "repository": told_apart(entry.url), "version": version or "*"}


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
    pin = work.place.pin(_asks(chart, version, work.place))
    await keep_chart(await _fetched(chart, version, work.asking, pin), chart, work)


async def resolve_chart_of_the_web(chart: str, version: str | None, asking: Asking) -> Pin:
    return pin_of(await _fetched(chart, version, asking, None))


async def _fetched(chart: str, version: str | None, asking: Asking, pin: Pin | None) -> FetchedChart:
    from sbkube.fetch.repositories import UnknownVersion
    from sbkube.fetch.versions import BadConstraint

    try:
        return await _fetch(chart, version, asking, pin)
    except SbkubeError as error:
        field = "version" if isinstance(error, UnknownVersion | BadConstraint) else "chart"
        told_by_lock(error, asking.place, pin).set_place(asking.place.where(field))
        raise


async def versions_of_the_web(
    chart: str, place: Place, environ: Mapping[str, str], fetch: Fetching
) -> list[str]:
    """Of a chart that is named by its repository; the newest first."""
    repository, _, name = chart.partition("/")
    _entry(chart, place)
    return await fetch.repositories.versions(repository_at(repository, place, environ), name)


async def _fetch(chart: str, version: str | None, asking: Asking, pin: Pin | None) -> FetchedChart:
    from sbkube.fetch.http_errors import WrongDigest

    repositories, expected = asking.fetch.repositories, pin.sha256 if pin is not None else None
    if _URL.match(chart):
        return await repositories.archive(chart, expected)
    named, _, name = chart.partition("/")
    _entry(chart, asking.place)
    repository = repository_at(named, asking.place, asking.env)
    if pin is None or expected is None:
        return await repositories.chart(repository, name, version)
    if HIDDEN not in pin.url:
        return await repositories.pinned(repository, pin.url, expected, pin.version)
    # A query is written nowhere, so the index must be asked for it again.
    fetched = await repositories.chart(repository, name, pin.version)
    if fetched.digest != expected:
        raise WrongDigest(fetched.url, expected, fetched.digest)
    return fetched


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
