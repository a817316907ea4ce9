"""A chart in a git repository: `git+https://host/repository//path/to/chart?ref=v1`."""

from __future__ import annotations

import posixpath
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from urllib.parse import parse_qs

from anyio.to_thread import run_sync

from sbkube.apps.charts import take_chart
from sbkube.apps.checks import failures
from sbkube.apps.dependencies import leads_elsewhere
from sbkube.apps.repositories import commit_of, entry, git_asks, remote_of, shown
from sbkube.apps.work import Asking, Place, Reading, Work
from sbkube.errors import ConfigError, SbkubeError
from sbkube.fetch.git_remote import Wanted, without_credentials
from sbkube.fetch.lockfile import Pin

GIT = "git+"


class BadChartUrl(ConfigError):
    def __init__(self, chart: str, why: str) -> None:
        super().__init__(
            f"chart {without_credentials(chart)!r} {why}",
            hint="write `git+https://host/repository//path/to/chart?ref=v1`",
        )


@dataclass(frozen=True, slots=True)
class GitChart:
    repo: str
    path: str | None
    ref: str | None

    @classmethod
    def of(cls, chart: str) -> Self:
        """Raises `BadChartUrl`."""
        address, _, query = chart.removeprefix(GIT).partition("?")
        asked = parse_qs(query, keep_blank_values=True)
        if asked.keys() - {"ref"} or any(len(values) > 1 or not values[0] for values in asked.values()):
            raise BadChartUrl(chart, "has more after its `?` than one `ref`")
        scheme, separator, rest = address.partition("://")
        repository, _, inside = rest.partition("//")
        path = posixpath.normpath(inside) if inside else "."
        if path.startswith(("/", "..")):
            raise BadChartUrl(chart, "leads out of the repository")
        ref = asked["ref"][0] if "ref" in asked else None
        return cls(f"{scheme}{separator}{repository}", None if path == "." else path, ref)

    def wanted(self, place: Place) -> Wanted:
        found = entry(self.repo, place)
        return Wanted(self.ref, found[1].branch if found else None)


def is_pinned(chart: str) -> bool:
    try:
        return Wanted(GitChart.of(chart).ref).is_pinned
    except BadChartUrl:
        return True  # nothing is fetched by it at all


def chart_reading(chart: str, place: Place) -> Reading:
    """What is asked for; as for a `git` app, which commit that is comes later."""
    try:
        found = GitChart.of(chart)
    except BadChartUrl:
        return Reading({"chart": without_credentials(chart)})
    wanted, url = found.wanted(place), shown(found.repo, place)
    settings = {"chart": url, "path": found.path, "ref": wanted.ref, "branch": wanted.branch}
    return Reading(settings, fetches=f"{wanted} of {url}", asks=git_asks(found.repo, wanted, place))


def check_chart_of_git(chart: str, place: Place) -> Iterator[SbkubeError]:
    def address() -> None:
        remote_of(GitChart.of(chart).repo, place, None)

    for error in failures([address]):
        error.set_place(place.where("chart"))
        yield error


async def resolve_chart_of_git(chart: str, asking: Asking) -> Pin:
    try:
        found = GitChart.of(chart)
        wanted = found.wanted(asking.place)
        remote, commit = await commit_of(found.repo, wanted, asking, follows=False)
    except SbkubeError as error:
        error.set_place(asking.place.where("chart"))
        raise
    return Pin(remote.url, commit=commit)


@asynccontextmanager
async def chart_of_git(chart: str, work: Work) -> AsyncIterator[tuple[Path, Path]]:
    """Taken, with the folder where it lies and that of its clone, which are gone afterwards."""
    where, clone = work.place.where("chart"), work.out / ".clone"
    try:
        found = GitChart.of(chart)
        wanted = found.wanted(work.place)
        remote, commit = await commit_of(found.repo, wanted, work.asking, follows=True)
        await work.log(f"{wanted} of {remote.url} is commit {commit}")
        work.context.metadata.update({"url": remote.url, "commit": commit, "asked": str(wanted)})
        source = clone / (found.path or "")
        taken = await work.fetch.git.take(remote, commit, clone, path=found.path, log=work.log)
        if found.path is not None and await run_sync(_removed_if_elsewhere, source, clone):
            taken = await work.fetch.git.take(remote, commit, clone, log=work.log)
    except SbkubeError as error:
        error.set_place(where)
        raise
    for line in taken.told:
        await work.log(line)
    await run_sync(take_chart, source, work.out / "chart", without_credentials(chart), where)
    yield source, clone
    await run_sync(shutil.rmtree, clone)


def _removed_if_elsewhere(source: Path, clone: Path) -> bool:
    """A chart that depends on one beside it needs all of the repository, whichever way leads there."""
    if found := leads_elsewhere(source):
        shutil.rmtree(clone)
    return found
