"""What there is of what an app fetches: the version it means now, and the newest that is stable."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from anyio.to_thread import run_sync

from sbkube.apps import registry_charts, repository_charts
from sbkube.apps.base import App
from sbkube.apps.git import GitApp
from sbkube.apps.git_charts import GIT, GitChart
from sbkube.apps.helm import HelmApp
from sbkube.apps.registry_charts import is_of_registry
from sbkube.apps.repositories import remote_of
from sbkube.apps.repository_charts import is_url
from sbkube.apps.work import Place
from sbkube.errors import SbkubeError
from sbkube.fetch.addresses import redacted
from sbkube.fetch.fetching import Fetching
from sbkube.fetch.git_remote import is_commit, without_credentials
from sbkube.fetch.versions import choose, parse_version


@dataclass(frozen=True, slots=True)
class Offered:
    """`asked` is a version, a range or a tag; None is the newest."""

    source: str
    asked: str | None
    field: str
    """Of the app, where that is written."""
    now: str | None = None
    """What a run takes: that of the lock file where it has one, else what is allowed."""
    newest: str | None = None
    """Of those that are stable."""
    allowed: str | None = None
    """The newest that is what is asked for."""
    is_locked: bool = False
    why: str | None = None
    """Why it is not compared."""

    @property
    def is_outdated(self) -> bool:
        return _is_older(self.now, self.newest) or self.may_move

    @property
    def may_move(self) -> bool:
        """Whether the lock file holds it back, and nothing else."""
        return self.is_locked and _is_older(self.now, self.allowed)


def _is_older(one: str | None, other: str | None) -> bool:
    older, newer = (parse_version(_number(text)) for text in (one or "", other or ""))
    return older is not None and newer is not None and older < newer


class NoVersion(SbkubeError):
    """Nothing that is there is what the app asks for, so its next run would fail."""

    def __init__(self, source: str, asked: str | None, newest: str | None) -> None:
        what = f"no version {asked!r}" if asked else "no version that is stable"
        super().__init__(f"chart {source!r} has {what}", hint=newest and f"the newest is {newest}")


async def offered(app: App, place: Place, environ: Mapping[str, str], fetch: Fetching) -> Offered | None:
    """None: it fetches nothing that has versions. Raises `SbkubeError` with the place of the field."""
    found = _asked(app, place)
    if found is None or found.why is not None:
        return found
    try:
        if isinstance(app, GitApp):
            return await _of_tags(found, app.repo, place, environ, fetch)
        assert isinstance(app, HelmApp)
        if app.chart.startswith(GIT):
            return await _of_tags(found, GitChart.of(app.chart).repo, place, environ, fetch)
        versions = await _versions(app.chart, place, environ, fetch)
        pin = place.pin(app.reads("prepare", place).asks)
        locked = None if pin is None else pin.version
        return _of_versions(found, versions, locked, is_tag=is_of_registry(app.chart, place))
    except SbkubeError as error:
        error.set_place(place.where(found.field))
        raise


def _of_versions(found: Offered, versions: Sequence[str], locked: str | None, *, is_tag: bool) -> Offered:
    newest = choose(versions, str, None)
    if is_tag and parse_version(found.asked or "") is not None:
        allowed = found.asked  # whatever else there is, such a version is taken for a tag
    else:
        allowed = choose(versions, str, found.asked)
    now = locked or allowed
    if now is None:
        raise NoVersion(found.source, found.asked, newest)
    return replace(found, now=now, newest=newest, allowed=allowed, is_locked=locked is not None)


def _asked(app: App, place: Place) -> Offered | None:
    if isinstance(app, GitApp):
        field = "ref" if app.ref else "branch" if app.branch else "repo"
        return _pinned(Offered(without_credentials(app.repo), app.ref, field))
    if not isinstance(app, HelmApp) or not app.is_remote:
        return None
    if app.chart.startswith(GIT):
        try:
            chart = GitChart.of(app.chart)
        except SbkubeError as error:
            error.set_place(place.where("chart"))
            raise
        return _pinned(Offered(without_credentials(chart.repo), chart.ref, "chart"))
    found = Offered(redacted(app.chart), app.version, "chart" if app.version is None else "version")
    if is_url(app.chart):
        return replace(found, why="its URL is that of one archive")
    if is_of_registry(app.chart, place):
        return _of_registry(found, app, place)
    return found


def _of_registry(found: Offered, app: HelmApp, place: Place) -> Offered:
    try:
        reference, asked = registry_charts.asked_of_registry(app.chart, app.version, place)
    except SbkubeError as error:
        error.set_place(place.where(found.field))
        raise
    if asked is None and reference.digest is not None:
        return replace(found, why="pinned by its digest, without a version")
    return replace(found, asked=asked)


async def _versions(chart: str, place: Place, environ: Mapping[str, str], fetch: Fetching) -> list[str]:
    """The newest first."""
    if is_of_registry(chart, place):
        return await registry_charts.versions_of_registry(chart, place, environ, fetch)
    return await repository_charts.versions_of_the_web(chart, place, environ, fetch)


# Tags of git

_TAG = re.compile(r"(?P<prefix>(?:.*?[-_/@])??)(?P<number>v?[0-9]+(?:\.[0-9]+){1,2}(?:[-+].*)?)")


def _number(tag: str) -> str:
    """The version of `v1.2.0`, `web-1.2.0` and `charts/web/v1.2.0`."""
    found = _TAG.fullmatch(tag)
    return found["number"] if found else tag


def _pinned(found: Offered) -> Offered:
    if found.asked is None:
        return replace(found, why="follows a branch")
    if is_commit(found.asked):
        return replace(found, why="pinned to a commit")
    if _TAG.fullmatch(found.asked) is None:
        return replace(found, why="follows a branch, or a tag that is no version")
    return found


async def _of_tags(
    found: Offered, repo: str, place: Place, environ: Mapping[str, str], fetch: Fetching
) -> Offered:
    remote = await run_sync(remote_of, repo, place, environ)
    tags = await fetch.git.tags(remote)
    asked = (found.asked or "").removeprefix("refs/tags/")
    if asked not in tags:
        return replace(found, why="there is no such tag")
    newest = newest_tag(tags, asked)
    return replace(found, now=asked, newest=newest, allowed=asked)


def newest_tag(tags: Sequence[str], like: str) -> str | None:
    """Of those that are stable versions written as this one is; one repository may have the tags of many things."""
    pinned = _TAG.fullmatch(like)
    stable = {}
    for tag in tags:
        found = _TAG.fullmatch(tag)
        version = parse_version(found["number"]) if found else None
        if found and pinned and version and not version.pre and found["prefix"] == pinned["prefix"]:
            stable[tag] = version
    return max(stable, key=lambda tag: (stable[tag].rank, tag), default=None)
