"""Charts of repositories over HTTP: an index asked for once a run, a version chosen as Helm does, an archive by its digest."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import anyio
from anyio.to_thread import run_sync

from sbkube.fetch.access import Access
from sbkube.fetch.addresses import beneath, origin, redacted, told_apart
from sbkube.fetch.downloads import Downloads, OnBytes
from sbkube.fetch.errors import FetchError, NotKept, NotThere
from sbkube.fetch.flights import Flights
from sbkube.fetch.http import ANYONE
from sbkube.fetch.http_errors import BadUrl
from sbkube.fetch.index import FORMAT, ChartVersion, Index, read_index, small
from sbkube.fetch.versions import choose

LARGEST_INDEX = 64 * 1024 * 1024
LARGEST_CHART = 100 * 1024 * 1024
"""Helm takes none that unpacks to more."""
_TOLD = 5
"""Versions that are told where none fits."""


@dataclass(frozen=True, slots=True)
class Repository:
    """`name` is what the project calls it."""

    name: str
    url: str
    access: Access = field(default=ANYONE, repr=False)


@dataclass(frozen=True, slots=True)
class FetchedChart:
    """An archive in the cache; `version` where it came by an index."""

    path: Path
    url: str
    digest: str
    version: str | None
    is_new: bool
    """Whether it came over the wire now."""


class UnknownChart(NotThere):
    def __init__(self, repository: str, chart: str, known: list[str]) -> None:
        near = difflib.get_close_matches(chart, known, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(map(repr, near))}?" if near else _listed("it has", known)
        super().__init__(f"repository {repository!r} has no chart {chart!r}", hint=hint)


class UnknownVersion(NotThere):
    """The newest few help: most such versions are just not there yet, or any more."""

    def __init__(self, repository: str, chart: str, wanted: str | None, known: list[str]) -> None:
        what = f"no version {wanted!r}" if wanted else "no version that is stable"
        super().__init__(
            f"chart {chart!r} of repository {repository!r} has {what}", hint=_listed("the newest are", known)
        )


class NoArchive(FetchError):
    """The index says of no place that could be asked where the chart is."""

    def __init__(self, repository: str, chart: str, version: str, why: str) -> None:
        super().__init__(f"chart {chart!r} {version} of repository {repository!r} cannot be fetched: {why}")


class Repositories:
    """Of one run."""

    def __init__(self, downloads: Downloads) -> None:
        self._downloads, self._cache = downloads, downloads.cache
        self._indexes: Flights[Index] = Flights(keeps=True)
        self._one_at_a_time = anyio.CapacityLimiter(1)
        """Reading an index takes some memory, and a core that there may be only one of."""

    async def chart(
        self, repository: Repository, chart: str, wanted: str | None, on_bytes: OnBytes | None = None
    ) -> FetchedChart:
        """Of the newest version that is wanted; offline, what was the last answer to this. Raises `FetchError`."""
        question = f"{told_apart(repository.url)} {chart} {wanted or ''}"
        if not self._downloads.http.is_offline:
            fetched = await self._chart(repository, chart, wanted, on_bytes)
            answer = {"digest": fetched.digest, "url": fetched.url, "version": fetched.version}
            await run_sync(self._cache.note, "chart", question, answer)
            return fetched
        if (known := await run_sync(self._last, question)) is not None:
            return known
        try:
            return await self._chart(repository, chart, wanted, on_bytes)
        except NotKept as error:
            told = f"chart {chart!r} {wanted or 'of the newest version'} of repository {repository.name!r}"
            raise NotKept(told) from error

    async def _chart(
        self, repository: Repository, chart: str, wanted: str | None, on_bytes: OnBytes | None
    ) -> FetchedChart:
        entry = await self._entry(repository, chart, wanted)
        errors: list[FetchError] = []
        for url in entry.urls:
            try:
                return await self._archive(repository, entry, url, on_bytes)
            except FetchError as error:
                errors.append(error)
        raise _together(repository, chart, entry, errors)

    async def versions(self, repository: Repository, chart: str) -> list[str]:
        """The newest first. Raises `FetchError`."""
        return [entry.version for entry in await self._entries(repository, chart)]

    async def pinned(
        self, repository: Repository, url: str, digest: str, version: str | None
    ) -> FetchedChart:
        """Asks for no index. Raises `FetchError`."""
        entry = ChartVersion(version or "", digest, (url,))
        return await self._archive(repository, entry, url, None)

    async def archive(
        self, url: str, expected: str | None = None, on_bytes: OnBytes | None = None
    ) -> FetchedChart:
        """A chart that is named by its own URL."""
        fetched = await self._downloads.fetch(url, expected=expected, limit=LARGEST_CHART, on_bytes=on_bytes)
        return FetchedChart(
            self._cache.path(fetched.digest), fetched.url, fetched.digest, None, fetched.is_new
        )

    def _last(self, question: str) -> FetchedChart | None:
        noted = self._cache.noted("chart", question) or {}
        path = self._cache.find(str(noted.get("digest")))
        return None if path is None else FetchedChart(path, noted["url"], path.name, noted["version"], False)

    async def index(self, repository: Repository) -> Index:
        return await self._indexes.do(repository, lambda: self._index(repository))

    async def _entry(self, repository: Repository, chart: str, wanted: str | None) -> ChartVersion:
        versions = await self._entries(repository, chart)
        found = choose(versions, lambda entry: entry.version, wanted)
        if found is None:
            raise UnknownVersion(repository.name, chart, wanted, [entry.version for entry in versions])
        return found

    async def _entries(self, repository: Repository, chart: str) -> Sequence[ChartVersion]:
        index = await self.index(repository)
        if chart not in index.charts:
            raise UnknownChart(repository.name, chart, index.charts)
        return await run_sync(index.versions, chart)

    async def _archive(
        self, repository: Repository, entry: ChartVersion, url: str, on_bytes: OnBytes | None
    ) -> FetchedChart:
        """Whoever the index names is no one whom the credentials are for."""
        try:
            whole = beneath(repository.url, url)
            is_ours = origin(whole) == origin(repository.url)
        except ValueError as error:
            raise BadUrl(url) from error
        fetched = await self._downloads.fetch(
            whole,
            repository.access if is_ours else repository.access.elsewhere,
            expected=entry.digest or None,
            limit=LARGEST_CHART,
            on_bytes=on_bytes,
        )
        path = self._cache.path(fetched.digest)
        return FetchedChart(path, fetched.url, fetched.digest, entry.version, fetched.is_new)

    async def _index(self, repository: Repository) -> Index:
        try:
            url = beneath(repository.url, "index.yaml")
        except ValueError as error:
            raise BadUrl(repository.url) from error
        try:
            fetched = await self._downloads.fetch(url, repository.access, limit=LARGEST_INDEX, packed=True)
        except NotThere as error:
            error.hint = f"is {redacted(repository.url)!r} the URL of a chart repository?"
            raise
        return await run_sync(self._small, fetched.digest, url, limiter=self._one_at_a_time)

    def _small(self, digest: str, url: str) -> Index:
        """Read once by any run, and kept as what is needed of it."""
        kind = f"index-{FORMAT}"
        noted = self._cache.noted(kind, digest)
        if noted is not None and isinstance(noted.get("digest"), str):
            path = self._cache.find(noted["digest"])
            if path is not None:
                return Index(path)
        incoming = self._cache.incoming()
        try:
            for line in small(read_index(self._cache.path(digest).read_bytes(), url)):
                incoming.write(line)
            path = self._cache.keep(incoming, came=f"{redacted(url)}, as it is read")
        finally:
            incoming.discard()
        self._cache.note(kind, digest, {"digest": incoming.digest})
        return Index(path)


def _listed(told: str, names: list[str]) -> str | None:
    return f"{told}: {', '.join(names[:_TOLD])}" if names else None


def _together(
    repository: Repository, chart: str, entry: ChartVersion, errors: list[FetchError]
) -> FetchError:
    """Of all URLs of one version. Where any of them may come in a moment, another try is worth it."""
    if not errors:
        return NoArchive(repository.name, chart, entry.version, "its index names no URL")
    if len(errors) == 1:
        return errors[0]
    told = NoArchive(repository.name, chart, entry.version, "; ".join(error.message for error in errors))
    told.transient = any(error.transient for error in errors)
    told.after = max((error.after for error in errors if error.after is not None), default=None)
    told.hint = errors[0].hint
    return told
