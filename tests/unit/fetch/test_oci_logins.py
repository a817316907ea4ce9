"""Who we are is told to a registry and its token server when they ask, and to nobody else; where it comes from."""

from __future__ import annotations

import base64
import json
import os
import threading
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.to_thread import run_sync
from oci_bench import Oci

from sbkube.fetch.access import Access
from sbkube.fetch.cache import Cache
from sbkube.fetch.errors import AccessRefused, FetchError, Unreachable
from sbkube.fetch.oci_errors import BadAnswer, InsecureRealm, RegistryRefused
from sbkube.fetch.stored_logins import BadLogins, HelperFailed, Login, StoredLogins
from servers import faults
from servers.charts import Chart
from servers.http import Server
from servers.messages import Request, Response
from servers.registry import Registry, Tokens, bearer_of, digest_of

pytestmark = pytest.mark.anyio

ME = Access(username="me", password="secret")


@pytest.fixture
def tokens(server: Server, other: Server, registry: Registry) -> Tokens:
    """`server` wants tokens, `other` gives them."""
    tokens = Tokens()
    other.handlers.append(tokens)
    server.before.append(bearer_of(lambda: f"{other.url}/token", tokens))
    registry.push("web", Chart("web"))
    registry.push("team/api", Chart("api"))
    return tokens


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def host(server: Server) -> str:
    return server.url.partition("://")[2]


def logged_in(home: Path, **config: Any) -> None:
    (home / ".docker").mkdir(parents=True, exist_ok=True)
    (home / ".docker/config.json").write_text(json.dumps(config))


def auth(user: str = "me", password: str = "secret") -> dict[str, str]:
    return {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}


def sent(server: Server) -> set[str]:
    return {it.headers["authorization"] for it in server.asked() if "authorization" in it.headers}


# Tokens


async def test_a_token_is_had_for_the_password_which_the_registry_never_sees(
    server: Server, other: Server, tokens: Tokens, oci: Oci
) -> None:
    fetched = await oci.fetch(server, "web", "1.0.0", ME)
    assert oci.content(fetched) == Chart("web").packed
    assert other.count() == 1
    assert other.asked()[0].login == ("me", "secret")
    assert all(told.startswith("Bearer token-") for told in sent(server))
    assert [it.path.split("/")[3] for it in server.asked()] == ["manifests", "manifests", "blobs"]


async def test_a_second_chart_costs_a_token_and_no_refusal(
    server: Server, other: Server, tokens: Tokens, oci: Oci
) -> None:
    await oci.fetch(server, "web", "1.0.0", ME)
    server.forget()
    await oci.fetch(server, "team/api", "1.0.0", ME)
    assert server.count() == 2
    assert other.count() == 2
    await oci.find(server, "team/api", "^1.0", ME)
    assert other.count() == 2


async def test_many_who_want_one_repository_share_a_token(
    server: Server, other: Server, tokens: Tokens, oci: Oci
) -> None:
    async with anyio.create_task_group() as tasks:
        for wanted in ("1.0.0", "^1.0", "~1", None, "1.x"):
            tasks.start_soon(oci.fetch, server, "web", wanted, ME)
    assert other.count() == 1


async def test_a_token_that_has_ended_is_replaced_before_a_question_and_before_a_download(
    server: Server, other: Server, tokens: Tokens, oci: Oci
) -> None:
    found = await oci.find(server, "web", "1.0.0", ME)
    tokens.revoke()
    assert oci.content(await oci.charts.fetch(found)) == Chart("web").packed
    tokens.revoke()
    assert (await oci.find(server, "web", "^1.0", ME)).version == "1.0.0"
    assert other.count() == 3


async def test_a_pinned_chart_whose_archive_is_gone_is_fetched_with_a_token(
    server: Server, tokens: Tokens, oci: Oci, cache: Cache
) -> None:
    found = await oci.find(server, "web", "1.0.0", ME)
    server.forget()
    again = await oci.anew().charts.fetch(found)
    assert oci.content(again) == Chart("web").packed


async def test_without_a_login_a_token_for_anyone_is_had(
    server: Server, other: Server, tokens: Tokens, oci: Oci
) -> None:
    tokens.anonymous = True
    await oci.fetch(server, "web", "1.0.0")
    assert sent(other) == set()


async def test_a_refused_login_says_whose_it_was_and_not_which(
    server: Server, tokens: Tokens, oci: Oci
) -> None:
    with pytest.raises(RegistryRefused, match=r"does not give 'oci://.*/web' to user 'me'") as caught:
        await oci.find(server, "web", "1.0.0", Access(username="me", password="canary"))
    assert "check `username` and `password`" in str(caught.value.hint)
    assert not caught.value.transient
    with pytest.raises(RegistryRefused, match=r"does not give 'oci://.*/web' to just anyone") as caught:
        await oci.find(server, "web", "1.0.0")
    assert "set `username` and `password` in `oci_registries`, or log in" in str(caught.value.hint)


async def test_a_registry_that_refuses_its_own_tokens_is_asked_twice_and_no_more(
    server: Server, other: Server, tokens: Tokens, oci: Oci
) -> None:
    challenge = f'Bearer realm="{other.url}/token",service="test"'
    server.before.insert(0, faults.answer(401, WWW_Authenticate=challenge))
    with pytest.raises(RegistryRefused):
        await oci.find(server, "web", "1.0.0", ME)
    assert server.count() == 2


async def test_what_a_login_may_not_see_is_refused_at_once(
    server: Server, registry: Registry, oci: Oci
) -> None:
    server.before.append(faults.answer(403))
    with pytest.raises(RegistryRefused):
        await oci.find(server, "web", "1.0.0", ME)
    assert server.count() == 1


async def test_a_token_server_that_has_enough_is_asked_again_later(
    server: Server, other: Server, tokens: Tokens, oci: Oci
) -> None:
    other.before.append(faults.first(1, faults.answer(429, Retry_After="3")))
    with pytest.raises(Unreachable) as caught:
        await oci.find(server, "web", "1.0.0", ME)
    assert (caught.value.transient, caught.value.after) == (True, 3.0)
    assert (await oci.find(server, "web", "1.0.0", ME)).version == "1.0.0"


@pytest.mark.parametrize(
    "body",
    [b"<html>", b"[]", b"{}", b'{"token": 7}', b'{"token": "canary\\r\\nX-Evil: 1"}', b'{"token": ""}'],
)
async def test_a_token_that_is_none_is_refused_and_not_told(
    server: Server, other: Server, tokens: Tokens, oci: Oci, body: bytes
) -> None:
    other.before.append(lambda request: Response(200, body))
    with pytest.raises(BadAnswer) as caught:
        await oci.find(server, "web", "1.0.0", ME)
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize("silent", ["registry", "realm"])
async def test_who_waits_for_a_silent_server_is_cancelled_at_once_and_others_go_on(
    server: Server, other: Server, tokens: Tokens, oci: Oci, silent: str
) -> None:
    held, asked = server if silent == "registry" else other, threading.Event()

    def hold(request: Request) -> Response:
        asked.set()
        held.closing.wait()
        return Response(500)

    held.before.insert(0, faults.first(1, hold))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(oci.find, server, "web", "1.0.0", ME)
        await run_sync(asked.wait)
        tasks.cancel_scope.cancel()
    assert (await oci.find(server, "web", "1.0.0", ME)).version == "1.0.0"


# Not to others


async def test_a_realm_without_encryption_gets_no_login_from_a_registry_with_it(
    authority: Any, other: Server, oci: Oci
) -> None:
    with Server(authority.server()) as server:
        server.before.append(bearer_of(lambda: f"{other.url}/token", Tokens()))
        access = Access("me", "canary", ca_file=authority.file)
        with pytest.raises(InsecureRealm, match="which is not encrypted"):
            await oci.find(server, "web", "1.0.0", access)
    assert other.count() == 0


async def test_a_realm_that_redirects_takes_no_token_along(
    server: Server, other: Server, tokens: Tokens, oci: Oci, home: Path
) -> None:
    logged_in(home, auths={host(server): {"identitytoken": "canary"}})
    with Server() as third:
        other.before.append(faults.redirect(f"{third.url}/token", 307))
        with pytest.raises(FetchError, match="answered 307"):
            await oci.find(server, "web", "1.0.0")
        assert third.count() == 0


@pytest.mark.parametrize("login", ["token", "password"])
async def test_a_blob_that_lies_elsewhere_is_fetched_without_a_login(
    server: Server, other: Server, tokens: Tokens, oci: Oci, login: str
) -> None:
    if login == "password":
        server.before[0] = faults.login("me", "secret")
    blob = digest_of(Chart("web").packed)
    with Server() as storage:
        storage.files["/blob"] = Chart("web").packed
        elsewhere = faults.redirect(f"{storage.url}/blob?signature=s", 307)
        server.before.append(lambda request: elsewhere(request) if request.path.endswith(blob) else None)
        assert oci.content(await oci.fetch(server, "web", "1.0.0", ME)) == Chart("web").packed
        assert [it.method for it in storage.asked()] == ["GET"]
        assert sent(storage) == set()
    assert sent(server) != set()


async def test_where_a_blob_lies_no_login_of_the_registry_helps(
    server: Server, tokens: Tokens, oci: Oci
) -> None:
    blob = digest_of(Chart("web").packed)
    with Server() as storage:
        storage.before.append(faults.answer(403))
        elsewhere = faults.redirect(f"{storage.url}/blob", 307)
        server.before.append(lambda request: elsewhere(request) if request.path.endswith(blob) else None)
        with pytest.raises(AccessRefused) as caught:
            await oci.fetch(server, "web", "1.0.0", ME)
        assert "were not sent to" in str(caught.value.hint)
        assert sent(storage) == set()


async def test_a_password_is_told_only_when_it_is_asked_for(
    server: Server, registry: Registry, oci: Oci
) -> None:
    registry.push("web", Chart("web"))
    await oci.fetch(server, "web", "1.0.0", ME)
    assert sent(server) == set()
    server.before.append(faults.login("me", "secret"))
    await oci.anew().find(server, "web", "^1.0", ME)
    assert len(sent(server)) == 1


async def test_no_login_is_in_the_cache(
    server: Server, tokens: Tokens, oci: Oci, cache: Cache, home: Path
) -> None:
    await oci.fetch(server, "web", "1.0.0", ME)
    kept = b"".join(
        path.read_bytes() + str(path).encode() for path in cache.folder.rglob("*") if path.is_file()
    )
    for secret in ("secret", *tokens.given, auth()["auth"]):
        assert secret.encode() not in kept


# What Docker and Helm have kept


async def test_a_login_of_docker_opens_a_registry(
    server: Server, other: Server, tokens: Tokens, oci: Oci, home: Path
) -> None:
    logged_in(home, auths={host(server): auth()})
    await oci.fetch(server, "web", "1.0.0")
    assert other.asked()[0].login == ("me", "secret")


async def test_a_refresh_token_is_sent_in_a_form(
    server: Server, other: Server, tokens: Tokens, oci: Oci, home: Path
) -> None:
    logged_in(home, auths={host(server): {**auth("00000000", ""), "identitytoken": "refresh-me"}})
    await oci.fetch(server, "web", "1.0.0")
    (request,) = other.asked()
    assert request.method == "POST"
    assert b"refresh_token=refresh-me" in request.body
    assert "authorization" not in request.headers


async def test_a_token_for_the_registry_itself_is_sent_as_it_is(
    server: Server, other: Server, tokens: Tokens, oci: Oci, home: Path
) -> None:
    tokens.given["mine"] = "repository:web:pull"
    logged_in(home, auths={host(server): {"registrytoken": "mine"}})
    await oci.fetch(server, "web", "1.0.0")
    assert other.count() == 0


async def test_what_is_given_wins_over_what_is_stored(
    server: Server, other: Server, tokens: Tokens, oci: Oci, home: Path
) -> None:
    logged_in(home, auths={host(server): auth("other", "other")})
    await oci.fetch(server, "web", "1.0.0", ME)
    assert other.asked()[0].login == ("me", "secret")


@pytest.mark.parametrize(
    ("written", "host"),
    [
        ("example.com", "example.com"),
        ("https://example.com/v2/", "example.com"),
        ("example.com:5000", "example.com:5000"),
        ("https://index.docker.io/v1/", "docker.io"),
        ("https://index.docker.io/v1/", "registry-1.docker.io"),
    ],
)
async def test_hosts_are_found_however_they_were_written(home: Path, written: str, host: str) -> None:
    logged_in(home, auths={"example.org": auth("no", "no"), written: auth()})
    assert await StoredLogins({"HOME": str(home)}).of(host) == Login("me", "secret")


async def test_who_is_logged_in_nowhere_is_nobody(home: Path) -> None:
    assert await StoredLogins({"HOME": str(home)}).of("example.com") is None
    logged_in(home, auths={"example.com": {}, "example.org": auth()})
    assert await StoredLogins({"HOME": str(home)}).of("example.com") is None


async def test_logins_of_helm_come_first_and_folders_may_be_named(tmp_path: Path, home: Path) -> None:
    logged_in(home, auths={"example.com": auth("docker", "x")})
    named = tmp_path / "docker"
    named.mkdir()
    (named / "config.json").write_text(json.dumps({"auths": {"example.com": auth("named", "x")}}))
    helm = tmp_path / "helm/registry"
    helm.mkdir(parents=True)
    (helm / "config.json").write_text(json.dumps({"auths": {"example.com": auth("helm", "x")}}))
    environ = {"HOME": str(home)}
    for more, user in (
        ({}, "docker"),
        ({"DOCKER_CONFIG": str(named)}, "named"),
        ({"HELM_CONFIG_HOME": str(tmp_path / "helm")}, "helm"),
        ({"XDG_CONFIG_HOME": str(tmp_path)}, "helm"),
        ({"HELM_REGISTRY_CONFIG": str(named / "config.json")}, "named"),
    ):
        found = await StoredLogins({**environ, **more}).of("example.com")
        assert found == Login(user, "x")


@pytest.mark.parametrize(
    "text",
    ["{", '{"auths": {"example.com": {"auth": "canary"}}}', '{"auths": {"example.com": {"auth": "bWU="}}}'],
)
async def test_logins_that_cannot_be_read_are_named_and_not_told(home: Path, text: str) -> None:
    (home / ".docker").mkdir(parents=True)
    (home / ".docker/config.json").write_text(text)
    with pytest.raises(BadLogins, match=r"/\.docker/config\.json` cannot be read") as caught:
        await StoredLogins({"HOME": str(home)}).of("example.com")
    assert "canary" not in str(caught.value)


# Helpers

HELPER = """#!/bin/sh
test "$*" = get || exit 9
read host
echo "$host" >> "$0.asked"
case "$host" in
    known) printf 'a warning\\n' >&2; printf '{"ServerURL": "%s", "Username": "me", "Secret": "secret"}\\n' "$host";;
    refreshing) echo '{"Username": "<token>", "Secret": "refresh-me"}';;
    broken) echo canary; exit 3;;
    odd) echo '{"Secret": "canary"}';;
    *) echo "credentials not found in native keychain"; exit 1;;
esac
"""


@pytest.fixture
def helper(tmp_path: Path) -> Path:
    program = tmp_path / "bin/docker-credential-test"
    program.parent.mkdir()
    program.write_text(HELPER)
    program.chmod(0o755)
    return program


def with_path(home: Path, helper: Path) -> dict[str, str]:
    return {"HOME": str(home), "PATH": f"{helper.parent}:{os.environ['PATH']}"}


@pytest.mark.parametrize("config", [{"credsStore": "test"}, {"credHelpers": {"known": "test"}}])
async def test_a_helper_is_asked_once_for_the_host(home: Path, helper: Path, config: dict[str, Any]) -> None:
    logged_in(home, auths={"known": {}}, **config)
    stored = StoredLogins(with_path(home, helper))
    for _ in range(2):
        assert await stored.of("known") == Login("me", "secret")
    assert helper.with_suffix(".asked").read_text() == "known\n"


async def test_a_helper_may_have_a_token_or_nothing(home: Path, helper: Path) -> None:
    logged_in(home, credsStore="test")
    stored = StoredLogins(with_path(home, helper))
    assert await stored.of("refreshing") == Login(refresh="refresh-me")
    assert await stored.of("unknown") is None


@pytest.mark.parametrize(
    ("host", "why"), [("broken", "ended with exit code 3"), ("odd", "did not say what Docker's helpers say")]
)
async def test_a_helper_that_fails_is_named_and_what_it_said_is_not(
    home: Path, helper: Path, host: str, why: str
) -> None:
    logged_in(home, credsStore="test")
    with pytest.raises(HelperFailed, match=why) as caught:
        await StoredLogins(with_path(home, helper)).of(host)
    assert "canary" not in f"{caught.value} {caught.value.hint} {caught.value.__cause__}"


@pytest.mark.parametrize(
    ("name", "why"),
    [("missing", "was not found"), ("../bin/docker-credential-test", "is no name of a program")],
)
async def test_a_helper_that_is_not_there_or_elsewhere_is_refused(
    home: Path, helper: Path, name: str, why: str
) -> None:
    logged_in(home, credsStore=name)
    with pytest.raises(HelperFailed, match=why):
        await StoredLogins(with_path(home, helper)).of("known")


@pytest.fixture
def waiting(helper: Path) -> Path:
    """Where the helper says who it is before it waits for ever."""
    fifo = helper.with_suffix(".pid")
    os.mkfifo(fifo)
    helper.write_text(f"#!/bin/sh\necho $$ > {fifo}\nsleep 1000\n")
    return fifo


async def test_a_helper_that_waits_is_ended_with_whoever_wanted_it(
    home: Path, helper: Path, waiting: Path
) -> None:
    logged_in(home, credsStore="test")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(StoredLogins(with_path(home, helper)).of, "known")
        pid = int(await run_sync(waiting.read_text))
        tasks.cancel_scope.cancel()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
