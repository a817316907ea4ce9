"""A chart of a repository, `name of the repository/chart`, or at a URL of its own."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from anyio.to_thread import run_sync

from sbkube.apps.charts import take_chart
from sbkube.apps.checks import failures
from sbkube.apps.fields import Path as FieldPath
from sbkube.apps.secrets import revealed
from sbkube.apps.work import HelmRepository, Place, Reading, Work
from sbkube.documents import parse, read_text
from sbkube.errors import ConfigError, SbkubeError
from sbkube.fetch.addresses import redacted, split_login, told_apart

if TYPE_CHECKING:
    from sbkube.fetch.repositories import FetchedChart, Repository

_URL = re.compile(r"https?://", re.IGNORECASE)


class UnknownChartRepository(ConfigError):
    def __init__(self, name: str, chart: str, place: Place) -> None:
        near = difflib.get_close_matches(name, place.helm_repos, n=1, cutoff=0.5)
        if (place.folder / chart).exists():
            hint = f"a chart of the project is written `./{chart}`"
        elif near:
            hint = f"did you mean {near[0]!r}?"
        else:
            there = f"there are: {', '.join(place.helm_repos)}" if place.helm_repos else "there are none yet"
            hint = f"name it with its URL in `helm_repos`; {there}"
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
    shown = redacted(chart)
    await run_sync(take_chart, fetched.path, work.out / "chart", shown, place.where("chart"))
    version = fetched.version or await run_sync(_version_in, work.out / "chart")
    source = fetched.url if fetched.is_new else f"the cache, once fetched from {fetched.url}"
    await work.log(
        f"chart {shown}{f' {version}' if version else ''} from {source} (SHA-256 {fetched.digest})"
    )
    work.context.metadata.update({"version": version, "url": fetched.url, "sha256": fetched.digest})


async def _fetch(chart: str, version: str | None, work: Work) -> FetchedChart:
    if _URL.match(chart):
        return await work.fetch.repositories.archive(chart)
    name = chart.partition("/")[2]
    return await work.fetch.repositories.chart(_repository(chart, work.place, work.env), name, version)


def _entry(chart: str, place: Place) -> HelmRepository:
    name = chart.partition("/")[0]
    if name not in place.helm_repos:
        raise UnknownChartRepository(name, chart, place)
    return place.helm_repos[name]


def _repository(chart: str, place: Place, environ: Mapping[str, str]) -> Repository:
    """With what opens it. What stands in its URL counts where nothing else does."""
    from sbkube.fetch.access import Access
    from sbkube.fetch.repositories import Repository

    name, entry = chart.partition("/")[0], _entry(chart, place)
    url, login = split_login(entry.url)
    username, password = (
        revealed(
            secret, f"helm_repos.{name}.{field}", environ, place.where_setting("helm_repos", name, field)
        )
        for field, secret in (("username", entry.username), ("password", entry.password))
    )
    if username is None and password is None and login is not None:
        username, password = login

    def file(written: str | None) -> Path | None:
        return None if written is None else place.folder / Path(written).expanduser()

    access = Access(
        username,
        password,
        ca_file=file(entry.ca_file),
        cert_file=file(entry.cert_file),
        key_file=file(entry.key_file),
        insecure=entry.insecure_skip_tls_verify,
    )
    return Repository(name, url, access)


def _version_in(chart: Path) -> str | None:
    """Of a chart that came without an index; what is wrong with its metadata is told when it is built."""
    try:
        version = parse(read_text(chart / "Chart.yaml"), file=chart / "Chart.yaml").mapping().get("version")
    except ConfigError:
        return None
    return None if version is None else str(version)
