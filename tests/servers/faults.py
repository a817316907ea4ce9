"""Handlers that answer wrongly, late or never; `first(n, fault)` does so n times, then the files are served."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator

from .messages import Handler, Request, Response


def answer(status: int, **headers: str) -> Handler:
    """Header names are written with `_` for `-`."""
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda request: Response(status, f"status {status}\n".encode(), sent)


def redirect(url: str, status: int = 302) -> Handler:
    return lambda request: Response(status, headers={"Location": url})


def first(times: int, fault: Handler) -> Handler:
    left = itertools.chain(range(times))
    return lambda request: fault(request) if next(left, None) is not None else None


def login(user: str, password: str) -> Handler:
    """Before all else: without the right credentials there is nothing."""

    def check(request: Request) -> Response | None:
        if request.login == (user, password):
            return None
        return Response(401, b"who are you?\n", {"WWW-Authenticate": 'Basic realm="test"'})

    return check


def cut(served: Handler, share: float) -> Handler:
    """Of what another would send, a part; then the connection is reset."""

    def respond(request: Request) -> Response | None:
        whole = served(request)
        if whole is None or not isinstance(whole.body, bytes):
            return whole
        return Response(whole.status, whole.body, whole.headers, cut_after=int(len(whole.body) * share))

    return respond


def wrong_length(content: bytes, more: int) -> Handler:
    return lambda request: Response(200, content, length=len(content) + more)


def endless(chunk: bytes = b"x" * 65536) -> Handler:
    return lambda request: Response(200, itertools.repeat(chunk))


def stalled(begin: bytes, until: threading.Event) -> Handler:
    """Sends the beginning, then nothing more before `until` is set."""

    def body() -> Iterator[bytes]:
        yield begin
        until.wait()

    return lambda request: Response(200, body(), length=len(begin) + 1000)


def silent(until: threading.Event) -> Handler:
    """No answer at all before `until` is set."""

    def respond(request: Request) -> Response:
        until.wait()
        return Response(500)

    return respond
