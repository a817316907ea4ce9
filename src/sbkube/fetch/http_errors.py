"""What went wrong on the wire, as a cause in plain words, and whether it may pass."""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import TypeVar

from sbkube.fetch.access import told_proxy
from sbkube.fetch.addresses import origin, redacted
from sbkube.fetch.errors import AccessRefused, FetchError, Mismatch, NotThere, Unreachable

E = TypeVar("E", bound=BaseException)


class CertificateRefused(FetchError):
    """We do not trust the other side."""

    _HINTS = {
        10: "its owner has to renew it",
        62: "the URL must name the host as the certificate does",
    }

    def __init__(self, url: str, error: ssl.SSLCertVerificationError) -> None:
        super().__init__(
            f"the certificate of {_server(url)} is not trusted: {error.verify_message.rstrip('.')}",
            hint=self._HINTS.get(error.verify_code, "name the authority that signed it in `ca_file`"),
        )


class NoTls(FetchError):
    """The other side answers, in plain HTTP perhaps."""


class TooLarge(FetchError):
    def __init__(self, url: str, limit: int) -> None:
        size = f"{limit >> 20} MiB" if limit >= 1 << 20 else f"{limit} bytes"
        super().__init__(f"{redacted(url)!r} is larger than {size}")


class TooManyRedirects(FetchError):
    def __init__(self, url: str, most: int) -> None:
        super().__init__(f"{redacted(url)!r} redirects more than {most} times")


class WrongDigest(Mismatch):
    """Both are told: which one is right only a person can say."""

    def __init__(self, url: str, expected: str, came: str) -> None:
        super().__init__(
            f"what came from {redacted(url)!r} has the SHA-256 {came}, not {expected}",
            hint="it was changed after it was published, or damaged on the way",
        )
        self.expected, self.came = expected, came


class BadHeader(FetchError):
    """Which one is not told: it may be a secret."""

    def __init__(self, url: str) -> None:
        super().__init__(
            f"{redacted(url)!r} cannot be asked for: a header has a sign that headers cannot have"
        )


class BadUrl(FetchError):
    def __init__(self, url: str) -> None:
        super().__init__(f"{redacted(url)!r} is no URL of http or https")


# An answer that says no

_LOGIN = "set `username` and `password` where the repository is named"


def refusal(
    url: str, status: int, headers: Mapping[str, str], *, told: bool = False, dropped: str | None = None
) -> FetchError:
    """`told`: credentials were sent; `dropped`: the URL that they were for, if it redirected to another server."""
    words = f"{redacted(url)!r} answered {status}{_phrase(status)}"
    if status in (401, 403):
        hint = "check `username` and `password`" if told else _LOGIN
        if dropped is not None:
            hint = f"the credentials for {_server(dropped)} were not sent to {_server(url)}, to which it redirects"
        return AccessRefused(words, hint=hint)
    if status in (404, 410):
        return NotThere(words)
    if status in (408, 425, 429) or status >= 500:
        return Unreachable(words, after=retry_after(headers.get("retry-after")))
    return FetchError(words)


def _phrase(status: int) -> str:
    try:
        return f" {HTTPStatus(status).phrase}"
    except ValueError:
        return ""


def retry_after(value: str | None, now: datetime | None = None) -> float | None:
    """Seconds, of a number of them or of a date."""
    if value is None:
        return None
    if value.strip().isdecimal():
        return float(value)
    try:
        until = parsedate_to_datetime(value)
    except ValueError:
        return None
    until = until if until.tzinfo else until.replace(tzinfo=UTC)
    return max(0.0, (until - (now or datetime.now(UTC))).total_seconds())


# No answer, or half of one


def failure(url: str, error: Exception, proxy: str | None, *, connect: float, idle: float) -> FetchError:
    """Of what httpx2 raised."""
    import httpx2

    if isinstance(error, httpx2.LocalProtocolError | UnicodeEncodeError):
        return BadHeader(url)
    whom, causes = f"{_server(url)}{told_proxy(proxy)}", list(_causes(error))
    if (untrusted := _first(causes, ssl.SSLCertVerificationError)) is not None:
        return CertificateRefused(url, untrusted)
    if isinstance(error, httpx2.ConnectTimeout):
        return Unreachable(f"{whom} cannot be reached: no connection within {connect:g} seconds")
    if isinstance(error, httpx2.TimeoutException):
        return Unreachable(f"{whom} sent nothing for {idle:g} seconds while {redacted(url)!r} was fetched")
    if isinstance(error, httpx2.ProxyError):
        return _proxy_failure(whom, str(error))
    if (tls := _first(causes, ssl.SSLError)) is not None and not isinstance(tls, ssl.SSLEOFError):
        return _tls_failure(url, tls)
    if isinstance(error, httpx2.DecodingError):
        return FetchError(
            f"what came from {redacted(url)!r} cannot be unpacked: it is not what its header says"
        )
    if (unknown := _first(causes, socket.gaierror)) is not None:
        again = unknown.errno == socket.EAI_AGAIN
        return Unreachable(f"{whom} cannot be reached: {unknown.strerror}", transient=again)
    why = next(filter(None, map(_system_says, causes)), None) or str(error) or "connection lost"
    if isinstance(error, httpx2.ConnectError):
        return Unreachable(f"{whom} cannot be reached: {_plain(why)}")
    return Unreachable(f"{whom} broke off while {redacted(url)!r} was fetched: {_plain(why)}")


def _proxy_failure(whom: str, said: str) -> FetchError:
    """It said no to a tunnel."""
    passes = said[:1] == "5" or said.startswith(("408", "429"))
    hint = "write its user and password into the URL of the proxy" if said.startswith("407") else None
    return Unreachable(f"{whom} cannot be reached: the proxy answered {said}", transient=passes, hint=hint)


def _tls_failure(url: str, error: ssl.SSLError) -> FetchError:
    reason = error.reason or str(error)
    told = reason.lower().replace("_", " ")
    if "WRONG_VERSION_NUMBER" in reason or "HTTP_REQUEST" in reason:
        return NoTls(f"{_server(url)} does not speak TLS: {told}", hint="should the URL start with http://?")
    if "ALERT" in reason:
        hint = "set `cert_file` and `key_file` to a certificate that it accepts"
        return AccessRefused(f"{_server(url)} refused the TLS connection: {told}", hint=hint)
    return FetchError(f"no TLS connection to {_server(url)}: {told}")


def _server(url: str) -> str:
    scheme, host, port = origin(url)
    return repr(f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}")


def _system_says(error: BaseException) -> str | None:
    """asyncio writes words of its own over those of the system; TLS has numbers of its own."""
    if isinstance(error, ssl.SSLError):
        return "the TLS connection was ended"
    return os.strerror(error.errno) if isinstance(error, OSError) and error.errno else None


def _plain(text: str) -> str:
    return text[:1].lower() + text[1:]


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An error with all that led to it."""
    current: BaseException | None = error
    while current is not None:
        yield current
        if isinstance(current, BaseExceptionGroup):
            yield from _causes(current.exceptions[0])
        current = current.__cause__ or current.__context__


def _first(causes: list[BaseException], kind: type[E]) -> E | None:
    return next((error for error in causes if isinstance(error, kind)), None)
