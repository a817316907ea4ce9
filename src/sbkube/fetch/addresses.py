"""URLs: what of them may be told, which server they mean, and where a relative one leads."""

from __future__ import annotations

import hashlib
from urllib.parse import SplitResult, unquote, urljoin, urlsplit, urlunsplit

HIDDEN = "…"
"""Stands for a query."""
_PORTS = {"http": 80, "https": 443}


def redacted(url: str) -> str:
    """For messages, records and names: without login and query, either of which may be a secret."""
    try:
        parts = urlsplit(url)
        return urlunsplit(
            parts._replace(netloc=_place(parts), query=HIDDEN if parts.query else "", fragment="")
        )
    except ValueError:
        return url.rpartition("@")[2].partition("?")[0]


def told_apart(url: str) -> str:
    """As it is told, and yet another for every URL: a query is there as its digest."""
    query = url.partition("?")[2]
    return redacted(url) + (hashlib.sha256(query.encode()).hexdigest()[:16] if query else "")


def origin(url: str) -> tuple[str, str, int]:
    """Scheme, host and port: credentials are for one of these. Raises ValueError."""
    parts = urlsplit(url)
    scheme = parts.scheme.lower()
    port = _PORTS.get(scheme) if parts.port is None else parts.port
    if not parts.hostname or port is None:
        raise ValueError(f"{redacted(url)!r} is no URL of http or https")
    return scheme, parts.hostname.lower(), port


def split_login(url: str) -> tuple[str, tuple[str, str] | None]:
    """The URL without its user and password, and these. One that is no URL is left for whoever asks for it."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return url, None
    if "@" not in parts.netloc:
        return url, None
    bare = urlunsplit(parts._replace(netloc=_place(parts)))
    return bare, (unquote(parts.username or ""), unquote(parts.password or ""))


def beneath(base: str, url: str) -> str:
    """What stands in the index of a repository: an URL, or a path from the repository's own. Its query goes along.

    Raises ValueError.
    """
    parts = urlsplit(base)
    path = parts.path.rstrip("/") + "/"
    joined = urljoin(urlunsplit(parts._replace(path=path, query="", fragment="")), url)
    if not parts.query or urlsplit(url).scheme or origin(joined) != origin(base):
        return joined
    return urlunsplit(urlsplit(joined)._replace(query=parts.query))


def _place(parts: SplitResult) -> str:
    return parts.netloc.rpartition("@")[2]
