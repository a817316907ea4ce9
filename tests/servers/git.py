"""Git repositories, and what serves them: files, `git daemon`, smart HTTP with accounts, and ssh without a host."""

from __future__ import annotations

import base64
import os
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

_WHO = {
    f"GIT_{role}_{what}": value
    for role in ("AUTHOR", "COMMITTER")
    for what, value in (("NAME", "somebody"), ("EMAIL", "somebody@example.com"))
}
_ENV = {
    "PATH": os.environ["PATH"],
    "HOME": "/nonexistent",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    **_WHO,
}


def git(*arguments: str, cwd: Path) -> str:
    done = subprocess.run(
        ["git", *arguments], cwd=cwd, env=_ENV, capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


class Repository:
    """One with files and commits of its own; its branch is `trunk`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True)
        git("init", "--quiet", "--initial-branch=trunk", cwd=folder)

    @property
    def url(self) -> str:
        return f"file://{self.folder}"

    def commit(
        self, files: Mapping[str, str | bytes | None], *, links: Mapping[str, str] | None = None
    ) -> str:
        """With these files written, or removed if None; its id."""
        for name, content in files.items():
            path = self.folder / name
            if content is None:
                path.unlink()
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        for name, goal in (links or {}).items():
            (self.folder / name).symlink_to(goal)
        git("add", "--all", cwd=self.folder)
        git("commit", "--quiet", "--allow-empty", "--message=changed", cwd=self.folder)
        return git("rev-parse", "HEAD", cwd=self.folder)

    def run(self, *arguments: str) -> str:
        return git(*arguments, cwd=self.folder)


def free_port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port: int = taken.getsockname()[1]
        return port


@contextmanager
def git_daemon(folder: Path) -> Iterator[str]:
    """The URL under which the repositories below the folder are served."""
    port = free_port()
    served = subprocess.Popen(
        [
            *("git", "daemon", "--reuseaddr", "--export-all", "--listen=127.0.0.1", f"--port={port}"),
            *(f"--base-path={folder}", str(folder)),
        ],
        env=_ENV,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        _until_it_listens(port)
        yield f"git://127.0.0.1:{port}"
    finally:
        os.killpg(served.pid, 15)
        served.wait(10)


def _until_it_listens(port: int) -> None:
    ends = time.monotonic() + 10
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            assert time.monotonic() < ends


class _Listener(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """Whoever is tested may hang up whenever it likes."""


@dataclass(slots=True)
class GitHttp:
    """Smart HTTP: git's own backend behind accounts. `answers` come first, one for each request: a status each."""

    folder: Path
    accounts: Mapping[str, str] = field(default_factory=dict)
    answers: list[int] = field(default_factory=list)
    requests: list[tuple[str, str | None]] = field(default_factory=list)
    """Paths, each with the credentials that came along."""
    redirects_to: str | None = None
    is_old: bool = False
    """Speaks the first protocol alone, and gives no commit but what has a name."""
    port: int = 0
    stalls_at: str | None = None
    """The end of a path at which it waits until `goes_on`."""
    stalled: threading.Event = field(default_factory=threading.Event)
    goes_on: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def fetches(self) -> int:
        return sum(path.endswith("/git-upload-pack") for path, _ in self.requests)

    @contextmanager
    def serving(self) -> Iterator[GitHttp]:
        served = _Listener(("127.0.0.1", 0), self._handler())
        self.port = served.server_address[1]
        thread = threading.Thread(target=served.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield self
        finally:
            served.shutdown()
            served.server_close()
            thread.join()

    def is_let_in(self, authorization: str | None) -> bool:
        if not self.accounts:
            return True
        given = [
            "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()
            for name, password in self.accounts.items()
        ]
        return authorization in given

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._answer()

            do_POST = do_GET

            def _answer(self) -> None:
                path = self.path.partition("?")[0]
                authorization = self.headers.get("Authorization")
                server.requests.append((path, authorization))
                body = self._body()
                if server.stalls_at is not None and path.endswith(server.stalls_at):
                    server.stalled.set()
                    server.goes_on.wait(30)
                if server.answers and (status := server.answers.pop(0)) != 200:
                    self.send_error(status)
                elif server.redirects_to is not None:
                    self.send_response(302)
                    self.send_header("Location", server.redirects_to + self.path)
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                elif not server.is_let_in(authorization):
                    self.send_response(401)
                    self.send_header("WWW-Authenticate", 'Basic realm="git"')
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                else:
                    self._backend(path, body)

            def _body(self) -> bytes:
                if self.headers.get("Transfer-Encoding") == "chunked":
                    parts = []
                    while size := int(self.rfile.readline(), 16):
                        parts.append(self.rfile.read(size))
                        self.rfile.readline()
                    self.rfile.readline()
                    return b"".join(parts)
                return self.rfile.read(int(self.headers.get("Content-Length") or 0))

            def _backend(self, path: str, body: bytes) -> None:
                env = {
                    **_ENV,
                    "GIT_PROJECT_ROOT": str(server.folder),
                    "GIT_HTTP_EXPORT_ALL": "1",
                    "GIT_PROTOCOL": "" if server.is_old else self.headers.get("Git-Protocol", ""),
                    "REQUEST_METHOD": self.command,
                    "PATH_INFO": path,
                    "QUERY_STRING": self.path.partition("?")[2],
                    "CONTENT_TYPE": self.headers.get("Content-Type", ""),
                    "CONTENT_LENGTH": str(len(body)),
                    "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
                }
                done = subprocess.run(
                    ["git", "http-backend"], env=env, input=body, capture_output=True, timeout=30, check=False
                )
                head, _, content = done.stdout.partition(b"\r\n\r\n")
                headers = dict(line.split(": ", 1) for line in head.decode().splitlines())
                self.send_response(int(headers.pop("Status", "200").split()[0]))
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, format: str, *args: object) -> None:
                pass

        return Handler


def ssh_program(folder: Path, *, says: str = "") -> Path:
    """An `ssh` that runs here what the other host would, and notes how it was called; or only `says` something and fails."""
    folder.mkdir(exist_ok=True)
    program = folder / "ssh"
    then = f'echo "{says}" >&2; exit 255' if says else 'for last; do :; done; exec sh -c "$last"'
    program.write_text(f'#!/bin/sh\nprintf "%s\\n" "$*" >> {folder}/calls\n{then}\n')
    program.chmod(0o755)
    return program
