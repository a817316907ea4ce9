"""Requests over HTTP: connections that are kept, bounded in number, and redirects that carry no credentials away."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from urllib.parse import urljoin

import anyio
from anyio.to_thread import run_sync

from sbkube import __version__
from sbkube.fetch.access import Access, Proxies
from sbkube.fetch.addresses import origin, redacted, split_login
from sbkube.fetch.errors import NotKept
from sbkube.fetch.http_errors import BadUrl, TooLarge, TooManyRedirects, failure, refusal

if TYPE_CHECKING:
    import httpx2

ANYONE = Access()
MOST_REDIRECTS = 10
_REDIRECTS = (301, 302, 303, 307, 308)


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """Requests at once, to one server and in all; seconds for a connection, and between two pieces of an answer."""

    per_host: int = 8
    total: int = 32
    connect: float = 10.0
    idle: float = 30.0


@dataclass(frozen=True, slots=True)
class Answer:
    """`url` is where it came from in the end. Its body is read while it is open."""

    url: str
    status: int
    headers: httpx2.Headers
    _response: httpx2.Response

    @property
    def length(self) -> int | None:
        """Of the body as it is sent."""
        text = self.headers.get("content-length", "")
        return int(text) if text.isdecimal() else None

    def body(self, *, decoded: bool = False) -> AsyncIterator[bytes]:
        """As it is sent, or unpacked as its `Content-Encoding` says."""
        return self._response.aiter_bytes() if decoded else self._response.aiter_raw()


class Http:
    """The connections of one run. `aclose` ends them. Offline there are none, and whoever asks for one is told so."""

    def __init__(
        self, proxies: Proxies | None = None, limits: HttpLimits | None = None, *, is_offline: bool = False
    ) -> None:
        self.is_offline = is_offline
        self.proxies = proxies or Proxies()
        self.limits = limits or HttpLimits()
        self._total = anyio.Semaphore(self.limits.total)
        self._hosts: dict[tuple[str, str, int], anyio.Semaphore] = {}
        self._transports: dict[tuple[Access | None, str | None], httpx2.AsyncHTTPTransport] = {}

    async def aclose(self) -> None:
        transports, self._transports = list(self._transports.values()), {}
        for transport in transports:
            await transport.aclose()

    @asynccontextmanager
    async def open(
        self,
        url: str,
        access: Access = ANYONE,
        *,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
        handles: Collection[int] = (),
    ) -> AsyncIterator[Answer]:
        """The answer, after redirects. Raises `FetchError` for every status but 200 and those that the caller handles.

        What `access` says goes to the origin of `url` alone; `headers` and the body go along with redirects.
        """
        if self.is_offline:
            raise NotKept(repr(redacted(url)))
        url, login = _checked(url)
        if login is not None and access.username is None:
            access = _with_login(access, login)
        asked, dropped = access, None
        for _ in range(MOST_REDIRECTS + 1):
            async with self._answer(url, asked, method, headers or {}, content) as answer:
                target = answer.headers.get("location")
                if answer.status not in _REDIRECTS or answer.status in handles or not target:
                    if answer.status != 200 and answer.status not in handles:
                        raise refusal(
                            url, answer.status, answer.headers, told=bool(asked.tells), dropped=dropped
                        )
                    yield answer
                    return
            target, _ = _checked(target, url)
            if origin(target) != origin(url):
                dropped = dropped or (url if asked.tells else None)
                asked = asked.elsewhere
            url = target
        raise TooManyRedirects(url, MOST_REDIRECTS)

    async def read(
        self,
        url: str,
        access: Access = ANYONE,
        *,
        limit: int,
        headers: Mapping[str, str] | None = None,
        handles: Collection[int] = (),
    ) -> tuple[Answer, bytes]:
        """A small answer, whole."""
        async with self.open(url, access, headers=headers, handles=handles) as answer:
            parts, size = [], 0
            async for part in answer.body(decoded=True):
                size += len(part)
                if size > limit:
                    raise TooLarge(url, limit)
                parts.append(part)
            return answer, b"".join(parts)

    @asynccontextmanager
    async def _answer(
        self, url: str, access: Access, method: str, headers: Mapping[str, str], content: bytes | None
    ) -> AsyncIterator[Answer]:
        """Of this one request. What the wire does while the caller reads is told as what it is, too."""
        import httpx2

        proxy = self.proxies.of(url)
        limits = self.limits
        async with AsyncExitStack() as open_until_read:
            for slots in (self._slots(origin(url)), self._total):
                await open_until_read.enter_async_context(slots)
            transport = await self._transport(url, access, proxy)
            try:
                request = httpx2.Request(
                    method,
                    url,
                    headers={"Accept": "*/*", **_OURS, **headers, **access.tells},
                    content=content,
                    extensions={
                        "timeout": {"connect": limits.connect, "read": limits.idle, "write": limits.idle}
                    },
                )
                response = await transport.handle_async_request(request)
                open_until_read.push_async_callback(response.aclose)
                response.request = request
                yield Answer(url, response.status_code, response.headers, response)
            except httpx2.InvalidURL as error:
                raise BadUrl(url) from error
            except (httpx2.TransportError, httpx2.DecodingError, ssl.SSLError, UnicodeEncodeError) as error:
                raise failure(url, error, proxy, connect=limits.connect, idle=limits.idle) from error

    def _slots(self, host: tuple[str, str, int]) -> anyio.Semaphore:
        return self._hosts.setdefault(host, anyio.Semaphore(self.limits.per_host))

    async def _transport(self, url: str, access: Access, proxy: str | None) -> httpx2.AsyncHTTPTransport:
        """One for each way of being trusted and each proxy; who asks makes no difference."""
        import httpx2

        is_tls = origin(url)[0] == "https"
        how = _trust(access) if is_tls else None
        if (known := self._transports.get((how, proxy))) is not None:
            return known
        # Without TLS its context is never asked, and the usual one takes a while to load.
        context = await run_sync(how.tls) if how is not None else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        transport = httpx2.AsyncHTTPTransport(
            verify=context,
            trust_env=False,
            limits=httpx2.Limits(max_connections=None, max_keepalive_connections=self.limits.total),
            proxy=httpx2.Proxy(proxy) if proxy else None,
        )
        return self._transports.setdefault((how, proxy), transport)


_OURS = {"User-Agent": f"sbkube/{__version__}", "Accept-Encoding": "identity"}


def _trust(access: Access) -> Access:
    return Access(
        ca_file=access.ca_file,
        cert_file=access.cert_file,
        key_file=access.key_file,
        insecure=access.insecure,
        trusts_system=access.trusts_system,
    )


def _with_login(access: Access, login: tuple[str, str]) -> Access:
    return replace(access, username=login[0], password=login[1])


def _checked(url: str, base: str = "") -> tuple[str, tuple[str, str] | None]:
    """Without its login, and this."""
    try:
        url = urljoin(base, url)
        if origin(url)[0] in ("http", "https"):
            return split_login(url)
    except ValueError:
        pass
    raise BadUrl(url)
