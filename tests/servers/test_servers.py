"""The servers that other tests lean on do what a server does, and fail as they are told to."""

from __future__ import annotations

import http.client
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from servers import faults
from servers.certificates import Authority
from servers.charts import Chart, repository
from servers.http import Server
from servers.proxy import Proxy


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        server.files["/a"] = b"0123456789"
        yield server


def ask(server: Server, path: str = "/a", **headers: str) -> tuple[int, bytes, dict[str, str]]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    try:
        connection.request(
            "GET", path, headers={name.replace("_", "-"): value for name, value in headers.items()}
        )
        answer = connection.getresponse()
        return answer.status, answer.read(), dict(answer.getheaders())
    finally:
        connection.close()


def test_a_file_is_sent_again_only_if_it_changed(server: Server) -> None:
    status, content, headers = ask(server)
    assert (status, content) == (200, b"0123456789")
    assert ask(server, If_None_Match=headers["ETag"])[0] == 304
    assert ask(server, If_Modified_Since=headers["Last-Modified"])[0] == 304
    server.files["/a"] = b"other"
    assert ask(server, If_None_Match=headers["ETag"])[1] == b"other"
    assert ask(server, If_Modified_Since=headers["Last-Modified"])[1] == b"other"
    assert server.count("/a") == 5
    assert server.asked("/a")[1].headers["if-none-match"] == headers["ETag"]


def test_the_rest_of_a_file_is_sent_if_it_is_still_the_same(server: Server) -> None:
    tag = ask(server)[2]["ETag"]
    status, content, headers = ask(server, Range="bytes=7-", If_Range=tag)
    assert (status, content, headers["Content-Range"]) == (206, b"789", "bytes 7-9/10")
    assert ask(server, Range="bytes=7-", If_Range='"other"')[0] == 200
    assert ask(server, Range="bytes=10-")[0] == 416


def test_without_the_right_login_nothing_is_given(server: Server) -> None:
    server.before.append(faults.login("me", "secret"))
    assert ask(server)[0] == 401
    assert ask(server, Authorization="Basic bWU6c2VjcmV0")[0] == 200


def test_a_fault_passes_after_as_often_as_it_was_asked_for(server: Server) -> None:
    server.before.append(faults.first(2, faults.answer(503, Retry_After="7")))
    assert [ask(server)[0] for _ in range(3)] == [503, 503, 200]


def test_a_body_that_is_cut_ends_before_its_length(server: Server) -> None:
    server.before.append(faults.cut(server.files, 0.5))
    with pytest.raises(http.client.IncompleteRead) as caught:
        ask(server)
    assert caught.value.partial == b"01234"


def test_a_server_of_tls_wants_a_client_it_knows(tmp_path: Path) -> None:
    authority, clients = Authority.make(tmp_path / "a"), Authority.make(tmp_path / "b")
    with Server(authority.server(clients=clients)) as server:
        server.files["/a"] = b"x"
        context = ssl.create_default_context(cafile=str(authority.file))
        with pytest.raises((urllib.error.URLError, ssl.SSLError, ConnectionError)):
            urllib.request.urlopen(f"{server.url}/a", context=context, timeout=20).read()
        context.load_cert_chain(*clients.client())
        with urllib.request.urlopen(f"{server.url}/a", context=context, timeout=20) as answer:
            assert answer.read() == b"x"


def test_a_proxy_passes_on_what_it_is_asked_for(server: Server) -> None:
    with Proxy() as proxy:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({"http": proxy.url}))
        with opener.open(f"{server.url}/a", timeout=20) as answer:
            assert answer.read() == b"0123456789"
        assert [seen[:2] for seen in proxy.seen] == [("GET", f"{server.url}/a")]


def test_a_repository_has_the_same_bytes_each_time() -> None:
    made = repository(Chart("web"), Chart("web", "1.1.0"))
    assert made == repository(Chart("web"), Chart("web", "1.1.0"))
    assert Chart("web").digest in made["/index.yaml"].decode()
