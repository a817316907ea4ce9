"""Stands between a project and its API server, and lets through, holds back, refuses or cuts off what goes there.

Each connection carries one request: so it is decided for each of them anew, and nothing has to be understood of what is
answered. It speaks with the API server's own certificate, so a kubeconfig differs by the port only.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager, suppress
from typing import Literal, Self
from urllib.parse import urlsplit

import anyio
from anyio.abc import AnyByteStream, TaskStatus
from anyio.from_thread import start_blocking_portal
from anyio.streams.buffered import BufferedByteReceiveStream
from anyio.streams.tls import TLSListener

from .client import Cluster
from .control_plane import ControlPlane

LONGEST_HEAD = 64 * 1024
BUSY = b"""HTTP/1.1 429 Too Many Requests\r
Retry-After: 1\r
Content-Type: application/json\r
Connection: close\r
\r
{"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": "too many requests, please try again later",
"reason": "TooManyRequests", "code": 429}"""
_ENDED = (anyio.EndOfStream, anyio.BrokenResourceError, anyio.IncompleteRead, OSError, ssl.SSLError)


class Faults:
    """`with Faults(plane) as faults`; works in a thread of its own."""

    mode: Literal["open", "cut", "busy"] = "open"
    latency = 0.0
    """Seconds that each request waits before it goes on."""
    refused = 0
    """Requests that were told to come again later."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane
        self._certificate = plane.folder / "certs" / "apiserver.crt"
        self._key = plane.folder / "certs" / "apiserver.key"
        self._port = 0
        self._serving: Future[None] | None = None
        self._connections: set[anyio.CancelScope] = set()
        self._open = ExitStack()

    def __enter__(self) -> Self:
        self._portal = self._open.enter_context(start_blocking_portal())
        self._open.callback(self.refuse)
        self.listen()
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    @property
    def server(self) -> str:
        return f"https://127.0.0.1:{self._port}"

    @property
    def admin(self) -> Cluster:
        """The same cluster, by way of this."""
        text = self._plane.kubeconfig.read_text()
        path = self._plane.folder / f"by-way-of-{self._port}.kubeconfig"
        path.write_text(text.replace(self._plane.server, self.server))
        return Cluster(path, self._plane.admin.programs)

    def listen(self) -> None:
        self._serving, self._port = self._portal.start_task(self._serve)

    def refuse(self) -> None:
        """Until it is to `listen` again, nobody is at the port."""
        if self._serving is not None:
            self._serving.cancel()
            self._serving = None
        self._portal.call(self._cut)

    def cut(self) -> None:
        """What is under way ends without an answer, and so does what comes until the mode changes."""
        self.mode = "cut"
        self._portal.call(self._cut)

    def let_through(self) -> None:
        self.mode = "open"

    async def _cut(self) -> None:
        for connection in self._connections:
            connection.cancel()

    async def _serve(self, *, task_status: TaskStatus[int]) -> None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self._certificate, self._key)
        sockets = await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=self._port)
        async with TLSListener(sockets, context, standard_compatible=False) as listener:
            task_status.started(sockets.extra(anyio.abc.SocketAttribute.local_port))
            await listener.serve(self._answer)

    async def _answer(self, client: AnyByteStream) -> None:
        with self._one_of_many(), suppress(*_ENDED):
            async with client:
                received = BufferedByteReceiveStream(client)
                head = await received.receive_until(b"\r\n\r\n", LONGEST_HEAD)
                await anyio.sleep(self.latency)
                if self.mode == "busy":
                    self.refused += 1
                    await client.send(BUSY)
                if self.mode == "open":
                    await self._pass_on(head, received, client)

    @contextmanager
    def _one_of_many(self) -> Iterator[None]:
        with anyio.CancelScope() as scope:
            self._connections.add(scope)
            try:
                yield
            finally:
                self._connections.discard(scope)

    async def _pass_on(self, head: bytes, received: BufferedByteReceiveStream, client: AnyByteStream) -> None:
        url = urlsplit(self._plane.server)
        context = ssl.create_default_context(cafile=str(self._certificate))
        assert url.hostname is not None
        assert url.port is not None
        upstream = await anyio.connect_tcp(
            url.hostname, url.port, ssl_context=context, tls_standard_compatible=False
        )
        async with upstream, anyio.create_task_group() as tasks:
            with suppress(*_ENDED):
                await upstream.send(head + b"\r\nConnection: close\r\n\r\n")
            tasks.start_soon(_copy, received, upstream)
            await _copy(upstream, client)
            tasks.cancel_scope.cancel()


async def _copy(source: BufferedByteReceiveStream | AnyByteStream, sink: AnyByteStream) -> None:
    with suppress(*_ENDED):
        while True:
            await sink.send(await source.receive())
