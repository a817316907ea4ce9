"""What a server was asked, and what it answers."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit


@dataclass(frozen=True, slots=True)
class Request:
    """`headers` have names in lower case; `target` is what stood in the first line."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes = b""

    @property
    def path(self) -> str:
        return unquote(urlsplit(self.target).path)

    @property
    def query(self) -> str:
        return urlsplit(self.target).query

    @property
    def login(self) -> tuple[str, str] | None:
        """Of basic authentication."""
        kind, _, token = self.headers.get("authorization", "").partition(" ")
        if kind.lower() != "basic":
            return None
        user, _, password = base64.b64decode(token).decode().partition(":")
        return user, password


@dataclass(frozen=True, slots=True)
class Response:
    """A body that is an iterable is sent as it comes, to the end of the connection unless `length` says otherwise."""

    status: int = 200
    body: bytes | Iterable[bytes] = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    length: int | None = None
    """What `Content-Length` says, if not the truth."""
    cut_after: int | None = None
    """Bytes of the body after which the connection is reset."""


Handler = Callable[[Request], Response | None]
"""None: the next one is asked."""


def not_found() -> Response:
    return Response(404, b"there is no such thing here\n")
