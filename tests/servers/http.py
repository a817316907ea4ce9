"""An HTTP or HTTPS server in threads, since what is tested may run a loop of its own.

    with Server() as server:
        server.files["/index.yaml"] = b"..."
        server.before.append(faults.first(2, faults.answer(500)))
        ...
        assert server.count("/index.yaml") == 3

`handlers` are asked in turn after `before` and the files: a registry or a git server is one more of them.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self, cast

from .files import Files
from .messages import Handler, Request, Response, not_found


class Server:
    """`host` is the name in its URL: 127.0.0.1 and localhost are two hosts to whoever asks."""

    def __init__(self, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> None:
        self.files = Files()
        self.before: list[Handler] = []
        self.handlers: list[Handler] = []
        self.requests: list[Request] = []
        self.closing = threading.Event()
        """Set when the server ends, for handlers that wait."""
        self._lock = threading.Lock()
        self._listener = _Listener(self, tls)
        self.host, self.port = host, int(self._listener.server_address[1])
        self.url = f"{'https' if tls else 'http'}://{host}:{self.port}"
        self._thread = threading.Thread(target=self._listener.serve_forever, args=(0.02,))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.closing.set()
        self._listener.shutdown()
        self._thread.join()
        self._listener.server_close()

    def count(self, path: str | None = None) -> int:
        return len(self.asked(path))

    def asked(self, path: str | None = None) -> list[Request]:
        with self._lock:
            return [request for request in self.requests if path is None or request.path == path]

    def forget(self) -> None:
        with self._lock:
            self.requests.clear()

    @property
    def bytes_received(self) -> str:
        """All that came over the wire as text, to look for what should not have."""
        return "\n".join(f"{it.method} {it.target} {dict(it.headers)} {it.body!r}" for it in self.asked())

    def answer(self, request: Request) -> Response:
        with self._lock:
            self.requests.append(request)
        for handler in (*self.before, self.files, *self.handlers):
            response = handler(request)
            if response is not None:
                return response
        return not_found()


class _Listener(ThreadingHTTPServer):
    daemon_threads = False
    request_queue_size = 128

    def __init__(self, server: Server, tls: ssl.SSLContext | None) -> None:
        super().__init__(("127.0.0.1", 0), _Connection)
        self.server, self.tls = server, tls
        self._open: set[socket.socket] = set()

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """The handshake belongs to the connection's thread: one who does not finish it holds up no other."""
        if self.tls is not None:
            request = self.tls.wrap_socket(request, server_side=True, do_handshake_on_connect=False)
            try:
                request.do_handshake()
            except OSError:
                self._refuse(request)
                return
        self._open.add(request)
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._open.discard(request)

    def _refuse(self, request: ssl.SSLSocket) -> None:
        """Reads to the end first: a reset would overtake the alert that says why."""
        with contextlib.suppress(OSError):
            request.settimeout(5)
            request.shutdown(socket.SHUT_WR)
            while request.recv(65536):
                pass
        self.shutdown_request(request)

    def server_close(self) -> None:
        """Connections that are kept open end now."""
        for connection in list(self._open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        super().server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Whoever is tested may hang up whenever it likes."""


class _Connection(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def handle_one_request(self) -> None:
        self.raw_requestline = self.rfile.readline(65537)
        if not self.raw_requestline or not self.parse_request():
            self.close_connection = True
            return
        headers = {name.lower(): value for name, value in self.headers.items()}
        body = self.rfile.read(int(headers.get("content-length", "0")))
        request = Request(self.command, self.path, headers, body)
        self._send(request, cast(_Listener, self.server).server.answer(request))

    def _send(self, request: Request, response: Response) -> None:
        body, length = response.body, response.length
        if isinstance(body, bytes):
            length = len(body) if length is None else length
        self.send_response_only(response.status)
        for name, value in response.headers.items():
            self.send_header(name, value)
        if length is not None and response.status != 304:
            self.send_header("Content-Length", str(length))
        if not isinstance(body, bytes) or length != len(body):
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()
        if request.method != "HEAD":
            self._send_body(body if not isinstance(body, bytes) else [body], response.cut_after)

    def _send_body(self, chunks: Any, cut_after: int | None) -> None:
        if cut_after is not None:
            self.wfile.write(b"".join(chunks)[:cut_after])
            self._reset()
            return
        with contextlib.suppress(OSError):
            for chunk in cast(Iterator[bytes], chunks):
                self.wfile.write(chunk)

    def _reset(self) -> None:
        """The other side reads what was sent, then that the connection is gone."""
        self.close_connection = True
        self.wfile.flush()
        self.connection.shutdown(socket.SHUT_WR)

    def log_message(self, format: str, *args: Any) -> None: ...
