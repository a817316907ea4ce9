"""A forward proxy: whole URLs are passed on, `CONNECT` opens a tunnel. What passes is counted."""

from __future__ import annotations

import contextlib
import http.client
import selectors
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self, cast
from urllib.parse import urlsplit


class Proxy:
    """`seen` are the first lines of requests, as (method, target, headers)."""

    def __init__(self, login: str | None = None) -> None:
        """`login`: the value of `Proxy-Authorization` without which nothing passes."""
        self.login = login
        self.seen: list[tuple[str, str, dict[str, str]]] = []
        self._listener = _Listener(self)
        self.port = int(self._listener.server_address[1])
        self.url = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._listener.serve_forever, args=(0.02,))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._listener.shutdown()
        self._thread.join()
        self._listener.server_close()


class _Listener(ThreadingHTTPServer):
    daemon_threads = True  # a tunnel lasts as long as its two ends

    def __init__(self, proxy: Proxy) -> None:
        super().__init__(("127.0.0.1", 0), _Connection)
        self.proxy = proxy

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Both ends may hang up whenever they like."""


class _Connection(BaseHTTPRequestHandler):
    def _is_let_through(self) -> bool:
        proxy = cast(_Listener, self.server).proxy
        headers = {name.lower(): value for name, value in self.headers.items()}
        proxy.seen.append((self.command, self.path, headers))
        if proxy.login is None or headers.get("proxy-authorization") == proxy.login:
            return True
        self.send_response_only(407)
        self.send_header("Content-Length", "0")
        self.end_headers()
        return False

    def do_GET(self) -> None:
        if not self._is_let_through():
            return
        url = urlsplit(self.path)
        origin = http.client.HTTPConnection(cast(str, url.hostname), url.port, timeout=30)
        kept = {
            n: v for n, v in self.headers.items() if n.lower() not in ("proxy-authorization", "connection")
        }
        with contextlib.closing(origin):
            origin.request("GET", f"{url.path}?{url.query}" if url.query else url.path, headers=kept)
            answer = origin.getresponse()
            body = answer.read()
        self.send_response_only(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("connection", "transfer-encoding"):
                self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def do_CONNECT(self) -> None:
        if not self._is_let_through():
            return
        host, _, port = self.path.partition(":")
        with socket.create_connection((host, int(port)), timeout=30) as there:
            self.send_response_only(200)
            self.end_headers()
            self.wfile.flush()
            _tunnel(self.connection, there)
        self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None: ...


def _tunnel(here: socket.socket, there: socket.socket) -> None:
    with selectors.DefaultSelector() as selector, contextlib.suppress(OSError):
        selector.register(here, selectors.EVENT_READ, there)
        selector.register(there, selectors.EVENT_READ, here)
        while True:
            for key, _ in selector.select():
                data = cast(socket.socket, key.fileobj).recv(65536)
                if not data:
                    return
                key.data.sendall(data)
