"""Files over HTTP, streamed to the cache: checked, never asked for twice, and gone on with where they broke off."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from anyio.to_thread import run_sync

from sbkube.fetch.access import Access
from sbkube.fetch.addresses import redacted, told_apart
from sbkube.fetch.cache import Cache, Incoming
from sbkube.fetch.errors import FetchError
from sbkube.fetch.flights import Flights
from sbkube.fetch.http import ANYONE, Answer, Http
from sbkube.fetch.http_errors import TooLarge, WrongDigest

OnBytes = Callable[[int, int | None], None]
"""Told how many bytes have come, and of how many if that is known."""

LARGEST = 5 * 1024**3
"""Bytes of a file, unless its reader knows better."""
_BUFFER = 256 * 1024


@dataclass(frozen=True, slots=True)
class Fetched:
    """A blob of the cache. `url` is the one it was asked for, fit to be told."""

    digest: str
    size: int
    url: str
    is_new: bool
    """Whether it came over the wire now."""


@dataclass(frozen=True, slots=True)
class _Wanted:
    url: str
    access: Access
    expected: str | None
    limit: int
    packed: bool
    on_bytes: OnBytes | None

    @property
    def name(self) -> str:
        """Without anything secret."""
        return told_apart(self.url)


@dataclass(slots=True)
class _Part:
    """What has come so far, and by what the server knows whether the rest is of the same file; None: by nothing."""

    incoming: Incoming
    validator: str | None = None

    @property
    def headers(self) -> dict[str, str]:
        if self.validator is None:
            return {}
        return {"Range": f"bytes={self.incoming.size}-", "If-Range": self.validator}


@dataclass(slots=True)
class _Seen:
    """What the cache has of a URL, and the headers that ask whether it is still that."""

    known: Fetched | None = None
    headers: dict[str, str] = field(default_factory=dict)


class Downloads:
    """Of one run. `aclose` removes what broke off and nobody went on with."""

    def __init__(self, http: Http, cache: Cache) -> None:
        self.http, self.cache = http, cache
        self._parts: dict[str, _Part] = {}
        self._flights: Flights[Fetched] = Flights()

    async def aclose(self) -> None:
        parts, self._parts = list(self._parts.values()), {}
        for part in parts:
            await run_sync(part.incoming.discard)

    async def fetch(
        self,
        url: str,
        access: Access = ANYONE,
        *,
        expected: str | None = None,
        limit: int = LARGEST,
        packed: bool = False,
        on_bytes: OnBytes | None = None,
    ) -> Fetched:
        """By digest if it is known, which asks nobody where the cache has it; else the server is asked what is new.

        Offline it is what came last.

        `packed`: may come compressed, and is kept unpacked. Raises `FetchError`.
        """
        if expected is not None and (known := await self._in_cache(url, expected)) is not None:
            return known
        wanted = _Wanted(url, access, expected, limit, packed, on_bytes)
        if self.http.is_offline and expected is None:
            seen = await self._seen(wanted)
            if seen.known is not None:
                return seen.known
        return await self._flights.do((url, access, expected), lambda: self._fetch(wanted))

    async def _in_cache(self, url: str, digest: str) -> Fetched | None:
        path = await run_sync(self.cache.find, digest)
        return None if path is None else Fetched(digest, path.stat().st_size, redacted(url), False)

    async def _fetch(self, wanted: _Wanted) -> Fetched:
        for _ in range(2):
            if (fetched := await self._attempt(wanted)) is not None:
                return fetched
        raise FetchError(f"{redacted(wanted.url)!r} is answered with a part of it that was not asked for")

    async def _attempt(self, wanted: _Wanted) -> Fetched | None:
        """None: what came before is of no use, so the next one begins anew."""
        seen = await self._seen(wanted) if wanted.expected is None else _Seen()
        part = self._parts.pop(wanted.name, None) or _Part(await run_sync(self.cache.incoming))
        packed = {"Accept-Encoding": "gzip"} if wanted.packed else {}
        headers = {**seen.headers, **part.headers, **packed}
        try:
            async with self.http.open(
                wanted.url, wanted.access, headers=headers, handles=(206, 304, 416)
            ) as answer:
                if answer.status in (304, 416):
                    part.validator = None
                    return seen.known if answer.status == 304 else None
                await self._take(answer, part, wanted)
            return await self._keep(answer, part, wanted)
        except FetchError as error:
            if not error.transient:
                part.validator = None
            raise
        finally:
            self._put_aside(wanted.name, part)

    async def _take(self, answer: Answer, part: _Part, wanted: _Wanted) -> None:
        """In pieces that are worth a trip to another thread."""
        incoming, waiting = part.incoming, bytearray()
        if not _goes_on(answer, part):
            await run_sync(incoming.restart)
        part.validator = None if wanted.packed else _validator(answer)
        total = None if answer.length is None or wanted.packed else incoming.size + answer.length
        _refuse_beyond(total or 0, wanted)
        try:
            async for piece in answer.body(decoded=wanted.packed):
                waiting += piece
                received = incoming.size + len(waiting)
                _refuse_beyond(received, wanted)
                if len(waiting) >= _BUFFER:
                    data, waiting = bytes(waiting), bytearray()
                    await run_sync(incoming.write, data)
                if wanted.on_bytes is not None:
                    wanted.on_bytes(received, total)
        finally:
            incoming.write(bytes(waiting))

    async def _keep(self, answer: Answer, part: _Part, wanted: _Wanted) -> Fetched:
        incoming, part.validator = part.incoming, None
        if wanted.expected not in (None, incoming.digest):
            raise WrongDigest(wanted.url, str(wanted.expected), incoming.digest)
        await run_sync(partial(self.cache.keep, incoming, came=redacted(wanted.url)))
        if wanted.expected is None:
            validators = {"etag": answer.headers.get("etag"), "modified": answer.headers.get("last-modified")}
            note = {"digest": incoming.digest, **validators}
            await run_sync(self.cache.note, "url", wanted.name, note)
        return Fetched(incoming.digest, incoming.size, redacted(wanted.url), True)

    def _put_aside(self, name: str, part: _Part) -> None:
        if part.validator is not None and part.incoming.size and name not in self._parts:
            self._parts[name] = part
        else:
            part.incoming.discard()

    async def _seen(self, wanted: _Wanted) -> _Seen:
        noted = await run_sync(self.cache.noted, "url", wanted.name) or {}
        digest = noted.get("digest")
        known = await self._in_cache(wanted.url, digest) if isinstance(digest, str) else None
        if known is None:
            return _Seen()
        asked = {"If-None-Match": noted.get("etag"), "If-Modified-Since": noted.get("modified")}
        return _Seen(known, {header: value for header, value in asked.items() if isinstance(value, str)})


def _refuse_beyond(size: int, wanted: _Wanted) -> None:
    if size > wanted.limit:
        raise TooLarge(wanted.url, wanted.limit)


def _goes_on(answer: Answer, part: _Part) -> bool:
    """Whether it is the rest of what was begun; a server may also send the whole."""
    if answer.status != 206:
        return False
    sent = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+)", answer.headers.get("content-range", ""))
    if sent is not None and part.validator is not None:
        begin, last, size = map(int, sent.groups())
        if begin == part.incoming.size and last == size - 1:
            return True
    part.validator = None
    raise FetchError(
        f"{redacted(answer.url)!r} is answered with another part than was asked for", transient=True
    )


def _validator(answer: Answer) -> str | None:
    """For `If-Range`, which takes no weak tag."""
    tag = answer.headers.get("etag")
    if tag is not None and not tag.startswith("W/"):
        return str(tag)
    modified = answer.headers.get("last-modified")
    return None if modified is None else str(modified)
