"""Requests over HTTP: who is told what, how many at once, and how each failure reads."""

from __future__ import annotations

import socket
import ssl
import threading
from datetime import UTC, datetime
from pathlib import Path

import anyio
import httpx2
import pytest

from sbkube.fetch.access import Access, BadTlsFile, Proxies
from sbkube.fetch.addresses import beneath, redacted, told_apart
from sbkube.fetch.errors import AccessRefused, FetchError, NotThere, Unreachable
from sbkube.fetch.http import Http, HttpLimits
from sbkube.fetch.http_errors import (
    BadUrl,
    CertificateRefused,
    TooLarge,
    TooManyRedirects,
    failure,
    retry_after,
)
from servers import faults
from servers.certificates import Authority
from servers.http import Server
from servers.messages import Request, Response
from servers.proxy import Proxy

pytestmark = pytest.mark.anyio

ME = Access(username="me", password="canary-password", headers=(("X-Token", "canary-token"),))


async def get(http: Http, url: str, access: Access | None = None) -> bytes:
    return (await http.read(url, access or Access(), limit=1000))[1]


async def failed(http: Http, url: str, access: Access | None = None) -> FetchError:
    with pytest.raises(FetchError) as caught:
        await get(http, url, access)
    return caught.value


# Credentials


async def test_credentials_go_to_the_server_they_are_for(http: Http, server: Server) -> None:
    server.files["/a"] = b"hello"
    server.before.append(faults.login("me", "canary-password"))
    assert await get(http, f"{server.url}/a", ME) == b"hello"
    assert server.requests[0].headers["x-token"] == "canary-token"


async def test_a_login_in_the_url_counts_and_is_never_told(http: Http, server: Server) -> None:
    server.files["/a"] = b"hello"
    server.before.append(faults.login("me", "p@ss"))
    assert await get(http, server.url.replace("//", "//me:p%40ss@") + "/a") == b"hello"
    error = await failed(http, server.url.replace("//", "//me:wrong@") + "/a?token=canary")
    assert "wrong" not in str(error)
    assert "canary" not in str(error)


async def test_a_redirect_to_another_server_carries_no_credentials(
    http: Http, server: Server, other: Server
) -> None:
    other.files["/b"] = b"hello"
    server.handlers.append(faults.redirect(f"{other.url}/b"))
    assert await get(http, f"{server.url}/a", ME) == b"hello"
    assert other.count("/b") == 1
    assert "canary" not in other.bytes_received
    assert other.requests[0].login is None


async def test_a_redirect_there_and_back_carries_none_either(
    http: Http, server: Server, other: Server
) -> None:
    server.files["/c"] = b"hello"
    server.before.append(
        lambda it: Response(302, headers={"Location": f"{other.url}/b"}) if it.path == "/a" else None
    )
    other.handlers.append(faults.redirect(f"{server.url}/c"))
    await get(http, f"{server.url}/a", ME)
    assert [request.login for request in server.requests] == [("me", "canary-password"), None]


async def test_a_redirect_on_the_same_server_keeps_them(http: Http, server: Server) -> None:
    server.files["/b"] = b"hello"
    server.handlers.append(faults.redirect("b"))
    await get(http, f"{server.url}/a", ME)
    assert [request.login for request in server.requests] == [("me", "canary-password")] * 2


async def test_who_needs_them_after_a_redirect_says_why_they_were_not_sent(
    http: Http, server: Server, other: Server
) -> None:
    other.before.append(faults.login("me", "canary-password"))
    server.handlers.append(faults.redirect(f"{other.url}/b"))
    error = await failed(http, f"{server.url}/a", ME)
    assert error.message == f"'{other.url}/b' answered 401 Unauthorized"
    assert error.hint == (
        f"the credentials for '{server.url}' were not sent to '{other.url}', to which it redirects"
    )


@pytest.mark.parametrize("value", ["canary\nX: y", "canary-é", "canary\x00"])
async def test_a_secret_that_is_no_header_is_not_told(http: Http, server: Server, value: str) -> None:
    error = await failed(http, f"{server.url}/a", Access(headers=(("X-Token", value),)))
    assert (
        error.message == f"'{server.url}/a' cannot be asked for: a header has a sign that headers cannot have"
    )
    assert not error.transient
    assert server.count() == 0


async def test_redirects_end(http: Http, server: Server) -> None:
    server.handlers.append(faults.redirect("/a"))
    with pytest.raises(TooManyRedirects, match="redirects more than 10 times"):
        await get(http, f"{server.url}/a")
    assert server.count() == 11


@pytest.mark.parametrize("target", ["ftp://x/y", "file:///etc/passwd", "http://[x", "http://x:port/"])
async def test_a_redirect_to_what_is_no_web_server_is_refused(
    http: Http, server: Server, target: str
) -> None:
    server.handlers.append(faults.redirect(target))
    with pytest.raises(BadUrl):
        await get(http, f"{server.url}/a")


# Answers that say no


@pytest.mark.parametrize(
    ("status", "kind", "transient"),
    [
        (400, FetchError, False),
        (401, AccessRefused, False),
        (403, AccessRefused, False),
        (404, NotThere, False),
        (410, NotThere, False),
        (408, Unreachable, True),
        (429, Unreachable, True),
        (500, Unreachable, True),
        (503, Unreachable, True),
        (599, Unreachable, True),
    ],
)
async def test_a_refusal_is_repeated_only_if_it_may_pass(
    http: Http, server: Server, status: int, kind: type[FetchError], transient: bool
) -> None:
    server.before.append(faults.answer(status, Retry_After="7"))
    error = await failed(http, f"{server.url}/a?key=canary")
    assert type(error) is kind
    assert error.transient is transient
    assert error.after == (7.0 if transient else None)
    assert f"'{server.url}/a?…' answered {status}" in error.message


def test_the_other_side_says_how_long_to_wait_in_seconds_or_by_date() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    assert retry_after("120") == 120
    assert retry_after("Thu, 01 Jan 2026 00:01:30 GMT", now) == 90
    assert retry_after("Wed, 31 Dec 2025 00:00:00 GMT", now) == 0
    assert retry_after("soon") is None


# No answer, or half of one


async def test_a_server_that_is_not_there_may_be_there_in_a_moment(http: Http) -> None:
    with Server() as gone:
        pass
    error = await failed(http, f"{gone.url}/a")
    assert (type(error), error.transient) == (Unreachable, True)
    assert error.message == f"'{gone.url}' cannot be reached: connection refused"


@pytest.mark.parametrize(
    ("number", "transient"), [(socket.EAI_NONAME, False), (socket.EAI_AGAIN, True), (socket.EAI_FAIL, False)]
)
def test_a_host_without_an_address_is_asked_for_again_only_if_the_resolver_says_so(
    number: int, transient: bool
) -> None:
    error = httpx2.ConnectError("")
    error.__cause__ = OSError("all attempts failed")
    error.__cause__.__context__ = socket.gaierror(number, "no such name")
    told = failure("http://nowhere.test/a", error, None, connect=1, idle=1)
    assert told.message == "'http://nowhere.test:80' cannot be reached: no such name"
    assert told.transient is transient


async def test_a_connection_that_is_cut_may_hold_the_next_time(http: Http, server: Server) -> None:
    server.files["/a"] = b"x" * 500
    server.before.append(faults.cut(server.files, 0.9))
    error = await failed(http, f"{server.url}/a")
    assert (type(error), error.transient) == (Unreachable, True)
    assert f"'{server.url}' broke off while '{server.url}/a' was fetched: " in error.message


async def test_silence_has_a_limit(server: Server) -> None:
    http = Http(limits=HttpLimits(idle=0.1))
    server.before.append(faults.first(1, faults.silent(server.closing)))
    server.before.append(faults.stalled(b"begin", server.closing))
    for _ in range(2):
        error = await failed(http, f"{server.url}/a")
        assert error.transient
        assert (
            error.message == f"'{server.url}' sent nothing for 0.1 seconds while '{server.url}/a' was fetched"
        )
    await http.aclose()


async def test_an_answer_without_end_has_a_limit(http: Http, server: Server) -> None:
    server.before.append(faults.endless())
    with pytest.raises(TooLarge, match="is larger than 1000 bytes"):
        await get(http, f"{server.url}/a")


async def test_who_waits_for_an_answer_can_be_cancelled(http: Http, server: Server) -> None:
    asked = threading.Event()

    def silent(request: Request) -> Response:
        asked.set()
        server.closing.wait()
        return Response(500)

    server.before.append(silent)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(get, http, f"{server.url}/a")
        await anyio.to_thread.run_sync(asked.wait)
        tasks.cancel_scope.cancel()


@pytest.mark.parametrize("url", ["x", "ftp://a/b", "http://", "http://[x", "https://a:b/"])
async def test_what_is_no_url_of_the_web_is_refused(http: Http, url: str) -> None:
    with pytest.raises(BadUrl, match="is no URL of http or https"):
        await get(http, url)


# At once


async def test_no_server_is_asked_more_at_once_than_it_should_be(server: Server) -> None:
    http = Http(limits=HttpLimits(per_host=3))
    lock, now, most = threading.Lock(), 0, 0
    together = threading.Barrier(3)

    def count(request: Request) -> Response:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        together.wait(timeout=30)
        with lock:
            now -= 1
        return Response(200, b"x")

    server.before.append(count)
    async with anyio.create_task_group() as tasks:
        for _ in range(12):
            tasks.start_soon(get, http, f"{server.url}/a")
    await http.aclose()
    assert most == 3


# TLS


def https(authority: Authority, **options: object) -> Server:
    server = Server(authority.server(**options), "localhost")  # type: ignore[arg-type]
    server.files["/a"] = b"hello"
    return server


async def test_an_authority_that_is_named_is_trusted(http: Http, authority: Authority) -> None:
    with https(authority) as server:
        assert await get(http, f"{server.url}/a", Access(ca_file=authority.file)) == b"hello"


async def test_an_unknown_authority_is_not_trusted_and_not_asked_again(
    http: Http, authority: Authority
) -> None:
    with https(authority) as server:
        error = await failed(http, f"{server.url}/a", ME)
        assert server.count() == 0
    assert (type(error), error.transient) == (CertificateRefused, False)
    assert error.message.startswith(f"the certificate of '{server.url}' is not trusted: ")
    assert error.hint == "name the authority that signed it in `ca_file`"


async def test_an_expired_certificate_is_told_as_that(http: Http, authority: Authority) -> None:
    with https(authority, expired=True) as server:
        error = await failed(http, f"{server.url}/a", Access(ca_file=authority.file))
    assert error.message == f"the certificate of '{server.url}' is not trusted: certificate has expired"
    assert (error.hint, error.transient) == ("its owner has to renew it", False)


async def test_a_certificate_of_another_host_is_refused(http: Http, tmp_path: Path) -> None:
    authority = Authority.make(tmp_path / "other")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.ca.issue_cert("example.test").configure_cert(context)
    with Server(context, "localhost") as server:
        error = await failed(http, f"{server.url}/a", Access(ca_file=authority.file))
    assert isinstance(error, CertificateRefused)
    assert error.hint == "the URL must name the host as the certificate does"


async def test_whoever_asks_for_no_check_gets_none(http: Http, authority: Authority) -> None:
    with https(authority, expired=True) as server:
        assert await get(http, f"{server.url}/a", Access(insecure=True)) == b"hello"
        assert isinstance(await failed(http, f"{server.url}/a"), CertificateRefused)


async def test_a_server_that_wants_a_certificate_gets_it_and_no_other_does(
    http: Http, authority: Authority, tmp_path: Path
) -> None:
    clients = Authority.make(tmp_path / "clients")
    certificate, key = clients.client()
    access = Access(ca_file=authority.file, cert_file=certificate, key_file=key)
    with https(authority, clients=clients) as server, https(authority, clients=clients) as other:
        assert await get(http, f"{server.url}/a", access) == b"hello"
        error = await failed(http, f"{server.url}/a", Access(ca_file=authority.file))
        assert (type(error), error.transient) == (AccessRefused, False)
        assert error.hint == "set `cert_file` and `key_file` to a certificate that it accepts"
        server.before.append(faults.redirect(f"{other.url}/a"))
        assert isinstance(await failed(http, f"{server.url}/a", access), AccessRefused)
        assert other.count() == 0


async def test_a_redirect_is_trusted_by_the_authority_that_was_named(
    http: Http, authority: Authority
) -> None:
    with https(authority) as server, https(authority) as other:
        server.before.append(faults.redirect(f"{other.url}/a"))
        assert await get(http, f"{server.url}/a", Access(ca_file=authority.file)) == b"hello"


async def test_a_server_without_tls_is_told_as_that(http: Http, server: Server) -> None:
    error = await failed(http, server.url.replace("http:", "https:") + "/a")
    assert "does not speak TLS" in error.message
    assert (error.hint, error.transient) == ("should the URL start with http://?", False)


async def test_a_tls_file_that_is_not_there_is_named(http: Http, tmp_path: Path) -> None:
    with pytest.raises(BadTlsFile, match=r"with ca_file '.*/no\.pem': there is no file '.*/no\.pem'"):
        await get(http, "https://localhost:1/a", Access(ca_file=tmp_path / "no.pem"))


# Proxies


async def test_a_proxy_is_asked_for_what_is_not_excepted(server: Server) -> None:
    server.files["/a"] = b"hello"
    with Proxy() as proxy:
        http = Http(Proxies(http=proxy.url))
        assert await get(http, f"{server.url}/a", ME) == b"hello"
        assert [seen[:2] for seen in proxy.seen] == [("GET", f"{server.url}/a")]
        await http.aclose()
        http = Http(Proxies(http=proxy.url, no_proxy=("127.0.0.0/8",)))
        await get(http, f"{server.url}/a")
        assert len(proxy.seen) == 1
        await http.aclose()


async def test_a_proxy_sees_nothing_of_what_goes_through_its_tunnel(authority: Authority) -> None:
    with https(authority) as server, Proxy() as proxy:
        http = Http(Proxies(https=proxy.url.replace("//", "//me:secret@")))
        access = Access(username="me", password="canary", ca_file=authority.file)
        assert await get(http, f"{server.url}/a", access) == b"hello"
        ((method, target, headers),) = proxy.seen
        assert (method, target) == ("CONNECT", f"localhost:{server.port}")
        assert headers["proxy-authorization"] == "Basic bWU6c2VjcmV0"
        assert "authorization" not in headers
        assert "proxy-authorization" not in server.requests[0].headers
        await http.aclose()


async def test_a_proxy_that_refuses_is_named_without_its_password(authority: Authority) -> None:
    with https(authority) as server, Proxy(login="Basic other") as proxy:
        http = Http(Proxies(https=proxy.url.replace("//", "//me:canary@")))
        error = await failed(http, f"{server.url}/a")
        await http.aclose()
    assert error.message.startswith(
        f"'{server.url}' through the proxy '{proxy.url}' cannot be reached: the proxy answered 407"
    )
    assert not error.transient


@pytest.mark.parametrize("proxy", ["socks5://me:canary@127.0.0.1:1", "ftp://x", "http://[x", "::"])
async def test_what_is_no_proxy_is_told_without_its_password(proxy: str) -> None:
    http = Http(Proxies(http=proxy))
    error = await failed(http, "http://127.0.0.1:1/a")
    assert "is no proxy that can be used" in error.message
    assert "canary" not in error.message
    await http.aclose()


@pytest.mark.parametrize(
    ("entry", "is_direct"),
    [
        ("example.com", True),
        (".example.com", True),
        ("*.example.com", True),
        ("EXAMPLE.com", True),
        ("a.example.com:8443", True),
        ("a.example.com:443", False),
        ("ample.com", False),
        ("*", True),
        ("10.0.0.0/8", False),
        ("", False),
    ],
)
def test_a_host_is_excepted_from_the_proxy_with_all_below_it(entry: str, is_direct: bool) -> None:
    proxies = Proxies(https="proxy:3128", no_proxy=(entry,))
    assert proxies.of("https://a.example.com:8443/x") == (None if is_direct else "http://proxy:3128")


@pytest.mark.parametrize(
    ("host", "is_direct"), [("10.1.2.3", True), ("11.1.2.3", False), ("[fd00::1]", True)]
)
def test_addresses_are_excepted_by_network(host: str, is_direct: bool) -> None:
    proxies = Proxies(http="http://proxy:3128", no_proxy=("10.0.0.0/8", "fd00::/8"))
    assert (proxies.of(f"http://{host}/x") is None) is is_direct


# URLs


@pytest.mark.parametrize(
    ("base", "url", "whole"),
    [
        ("https://h/charts", "web.tgz", "https://h/charts/web.tgz"),
        ("https://h/charts/", "sub/web.tgz", "https://h/charts/sub/web.tgz"),
        ("https://h/charts", "/web.tgz", "https://h/web.tgz"),
        ("https://h/charts", "../web.tgz", "https://h/web.tgz"),
        ("https://h/charts", "https://other/web.tgz", "https://other/web.tgz"),
        ("https://h/charts?token=x", "web.tgz", "https://h/charts/web.tgz?token=x"),
        ("https://h/charts?token=x", "//other/web.tgz", "https://other/web.tgz"),
        ("https://h/charts?token=x", "https://h/web.tgz", "https://h/web.tgz"),
    ],
)
def test_what_an_index_names_is_beneath_its_repository(base: str, url: str, whole: str) -> None:
    assert beneath(base, url) == whole


def test_what_is_told_of_a_url_holds_no_secret() -> None:
    assert redacted("https://me:pw@h:8080/a/b?token=x#y") == "https://h:8080/a/b?…"
    assert "pw" not in redacted("https://me:pw@[h/a?token=x")
    assert "canary" not in told_apart("https://h/a?token=canary")
    assert told_apart("https://h/a?token=x") != told_apart("https://h/a?token=y")
