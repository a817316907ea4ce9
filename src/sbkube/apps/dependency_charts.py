"""Dependencies of a chart, fetched into its `charts/`: all of them, also disabled ones, and theirs in turn.

Whether one is enabled, under which alias and with which values, is Helm's business when it renders. Only the fresh
output of a stage is ever written to; a folder of the user's is read.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING, TypeVar

from anyio import create_task_group
from anyio.to_thread import run_sync

from sbkube.apps.charts import take_chart
from sbkube.apps.dependencies import (
    Dependency,
    DependencyError,
    Origin,
    local_chart,
    metadata_of,
    missing,
    text_of,
    within,
)
from sbkube.apps.dependency_sources import chart_of
from sbkube.apps.work import Work
from sbkube.errors import SbkubeError
from sbkube.fetch.addresses import redacted

if TYPE_CHECKING:
    from sbkube.fetch.repositories import FetchedChart

T = TypeVar("T")

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
MOST, DEEPEST = 500, 20
"""Charts in one, and in each other: whoever has more has a server that makes them up."""


class DependencyFailed(SbkubeError):
    """It could not be fetched; worth another try when the reason is."""

    def __init__(self, dependency: Dependency, chart: str, error: SbkubeError) -> None:
        super().__init__(
            f"{dependency.told} of chart {chart!r} ({redacted(dependency.repository)}): {error.message}",
            hint=error.hint,
            where=dependency.where,
        )
        self.transient, self.after = error.transient, error.after


class DependencyCycle(SbkubeError):
    def __init__(self, dependency: Dependency, names: Sequence[str]) -> None:
        path = " > ".join(names)
        super().__init__(f"charts depend on each other in a circle: {path}", where=dependency.where)


@dataclass(frozen=True, slots=True)
class _Link:
    """One of the charts that lead to a dependency."""

    identity: str
    name: str


@dataclass(frozen=True, slots=True)
class _Source:
    """What will lie in `charts/`."""

    dependency: Dependency
    path: Path
    identity: str
    fetched: FetchedChart | None = None


async def take_dependencies(chart: Path, origin: Origin, work: Work) -> None:
    """`chart`: its copy, which is ours."""
    digest = work.context.metadata.get("sha256") if origin.is_packed else None
    link = await run_sync(_first_link, chart, origin, digest)
    await _Taking(work).take(chart, origin, (link,))


def _local_source(dependency: Dependency, origin: Origin) -> _Source:
    path = local_chart(dependency, origin)
    return _Source(dependency, path, os.path.realpath(path))


def _first_link(chart: Path, origin: Origin, digest: object) -> _Link:
    return _Link(str(digest or os.path.realpath(origin.folder)), text_of(metadata_of(chart).get("name")))


@dataclass(slots=True)
class _Taking:
    work: Work
    _count: int = field(default=0)

    async def take(self, chart: Path, origin: Origin, chain: tuple[_Link, ...]) -> None:
        wanted = _distinct(await run_sync(missing, chart, origin))
        if not wanted:
            return
        found = await all_of([partial(self._source, it, origin) for it in wanted])
        sources = list({it.identity: it for it in found}.values())
        for source in sources:
            _refuse_cycle(source, chain)
            if len(chain) > DEEPEST:
                names = " > ".join(link.name for link in chain)
                why = f"is one too many: charts depend on each other more than {DEEPEST} deep ({names})"
                raise DependencyError(source.dependency, origin.chart, why)
        placed: list[Callable[[], Awaitable[None]]] = []
        for source in sources:
            if (into := await run_sync(self._place, source, chart, origin)) is None:
                continue
            await self.work.log(_told(source, origin))
            link = _Link(source.identity, source.dependency.name)
            placed.append(partial(self.take, into, _origin_of(source, into, origin), (*chain, link)))
        await all_of(placed)

    async def _source(self, dependency: Dependency, origin: Origin) -> _Source:
        if dependency.is_local:
            return await run_sync(_local_source, dependency, origin)
        try:
            fetched = await chart_of(dependency, self.work)
        except SbkubeError as error:
            raise DependencyFailed(dependency, origin.chart, error) from error
        return _Source(dependency, fetched.path, fetched.digest, fetched)

    def _place(self, source: _Source, chart: Path, origin: Origin) -> Path | None:
        """None: another of that name and version lies there already."""
        dependency, charts = source.dependency, chart / "charts"
        self._count += 1
        if self._count > MOST:
            raise DependencyError(dependency, origin.chart, f"is one of more than {MOST} charts in one")
        if charts.exists() and not charts.is_dir():
            raise DependencyError(dependency, origin.chart, "has no place: `charts` is no folder there")
        charts.mkdir(exist_ok=True)
        fresh = Path(mkdtemp(prefix=".", dir=charts))
        try:
            take_chart(source.path, fresh / "chart", _path(dependency, origin), dependency.where)
            into = charts / _folder_name(fresh / "chart", charts, dependency, origin)
            return None if into.exists() else (fresh / "chart").rename(into)
        finally:
            shutil.rmtree(fresh)


def _folder_name(taken: Path, charts: Path, dependency: Dependency, origin: Origin) -> str:
    """As in a packed chart; of two versions the second is told apart. What a chart says of itself must be no path."""
    from sbkube.fetch.versions import parse_version

    metadata = metadata_of(taken)
    name, version = text_of(metadata.get("name")), text_of(metadata.get("version"))
    if name != dependency.name:
        raise DependencyError(dependency, origin.chart, f"is a chart of another name: {name!r}")
    if not _NAME.fullmatch(name) or parse_version(version) is None:
        raise DependencyError(dependency, origin.chart, f"is no chart that Helm takes: {name!r} {version!r}")
    return f"{name}-{version}" if (charts / name).exists() else name


def _path(dependency: Dependency, origin: Origin) -> str:
    return f"{origin.chart} > {dependency.name}"


def _distinct(wanted: Sequence[Dependency]) -> list[Dependency]:
    return list({(it.name, it.version, it.repository): it for it in wanted}.values())


def _refuse_cycle(source: _Source, chain: tuple[_Link, ...]) -> None:
    for at, link in enumerate(chain):
        if link.identity == source.identity:
            names = [it.name for it in chain[at:]]
            raise DependencyCycle(source.dependency, [*names, source.dependency.name])


def _origin_of(source: _Source, into: Path, origin: Origin) -> Origin:
    if source.fetched is None:
        return within(source.dependency, origin, source.path)
    return Origin(into, into, _path(source.dependency, origin), source.dependency.where, is_packed=True)


def _told(source: _Source, origin: Origin) -> str:
    named = f"{source.dependency.told} of chart {origin.chart}"
    fetched = source.fetched
    if fetched is None:
        return f"{named} from {source.dependency.repository}"
    version = f" {fetched.version}" if fetched.version else ""
    came = fetched.url if fetched.is_new else f"the cache, once fetched from {fetched.url}"
    return f"{named}:{version} from {came} (SHA-256 {fetched.digest})"


async def all_of(works: Sequence[Callable[[], Awaitable[T]]]) -> list[T]:
    """At once; each is done to its end. Of those that failed the first is told, one that no other try mends before others."""
    done: dict[int, T] = {}
    failed: dict[int, SbkubeError] = {}

    async def one(number: int) -> None:
        try:
            done[number] = await works[number]()
        except SbkubeError as error:
            failed[number] = error

    async with create_task_group() as tasks:
        for number in range(len(works)):
            tasks.start_soon(one, number)
    for _, error in sorted(failed.items(), key=lambda it: (it[1].transient, it[0])):
        raise error
    return [done[number] for number in range(len(works))]
