"""Charts of OCI registries, through `sbkube run`, from servers on this machine."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from servers import faults
from servers.certificates import Authority
from servers.charts import Chart
from servers.http import Server
from servers.registry import Registry, Tokens, bearer_of, digest_of

from .project import ProjectFolder
from .sources import metadata, rendered

WEB, NEWER, API = Chart("web", "1.1.0"), Chart("web", "1.2.0"), Chart("api", "0.3.0+b1")


@pytest.fixture
def registry(server: Server) -> Registry:
    registry = Registry()
    server.handlers.append(registry)
    for chart in (WEB, NEWER):
        registry.push("charts/web", chart)
    registry.push("charts/team/api", API)
    return registry


def host(server: Server) -> str:
    return server.url.partition("://")[2]


def sources(project: ProjectFolder, **registries: object) -> None:
    project.write({"sources.yaml": json.dumps({"oci_registries": registries})})


def plain(server: Server, path: str = "/charts", **more: object) -> dict[str, object]:
    return {"registry": f"{host(server)}{path}", "plain_http": True, **more}


def test_charts_of_a_registry_are_fetched_by_name_and_url_and_the_next_time_not_downloaded(
    project: ProjectFolder, server: Server, registry: Registry
) -> None:
    digest = registry.push("charts/web", WEB)
    sources(project, shop=plain(server))
    project.config(
        f"""
        web: {{type: helm, chart: shop/web, version: 1.1.0}}
        again: {{type: helm, chart: 'oci://{host(server)}/charts/web', version: ^1}}
        api: {{type: helm, chart: shop/team/api, depends_on: [web]}}
        pinned: {{type: helm, chart: 'oci://{host(server)}/charts/web@{digest}'}}
        """
    )
    assert project("validate").code == 0
    planned = project("plan")
    assert f"fetches oci://{host(server)}/charts/web 1.1.0" in planned.out
    assert server.count() == 0
    ended = project("run")
    assert ended.code == 0, ended
    assert "chart: web-1.1.0" in rendered(project, "web")
    assert "chart: web-1.2.0" in rendered(project, "again")
    assert "chart: api-0.3.0+b1" in rendered(project, "api")
    assert "chart: web-1.1.0" in rendered(project, "pinned")
    for chart in (WEB, NEWER):
        assert server.count(f"/v2/charts/web/blobs/{digest_of(chart.packed)}") == 1
    assert server.count("/v2/charts/web/tags/list") == 1
    server.forget()
    assert project.runs("--only", "prepare") == [
        "again:prepare",
        "api:prepare",
        "pinned:prepare",
        "web:prepare",
    ]
    asked = sorted(f"{it.method} {it.path.removeprefix('/v2/charts/')}" for it in server.asked())
    assert asked == [
        "GET team/api/tags/list",
        "GET web/tags/list",
        "HEAD team/api/manifests/0.3.0_b1",
        "HEAD web/manifests/1.1.0",
        "HEAD web/manifests/1.2.0",
    ]


def test_what_was_taken_is_in_the_log_and_in_the_record(
    project: ProjectFolder, server: Server, registry: Registry
) -> None:
    digest = registry.push("charts/web", WEB)
    sources(project, shop=plain(server))
    project.config("web: {type: helm, chart: shop/web, version: <1.2}")
    ended = project("run")
    source = f"oci://{host(server)}/charts/web:1.1.0@{digest}"
    assert f"chart shop/web 1.1.0 from {source} (SHA-256 {WEB.digest})" in ended.out + ended.err
    assert metadata(project, "web:prepare") == {"version": "1.1.0", "url": source, "sha256": WEB.digest}


def test_another_registry_or_version_is_fetched_by_a_resume_and_what_is_new_there_is_not(
    project: ProjectFolder, server: Server, registry: Registry
) -> None:
    sources(project, shop=plain(server))
    project.config("web: {type: helm, chart: shop/web, version: 1.1.0}\nany: {type: helm, chart: shop/web}")
    project.runs()
    registry.push("charts/web", Chart("web", "1.3.0"))
    assert project.runs("--resume") == []
    project.edit("config.yaml", "1.1.0", "1.2.0")
    assert project.runs("--resume") == [
        f"web:{stage}" for stage in ("build", "deploy", "prepare", "template")
    ]
    registry.push("other/web", Chart("web", "1.2.0"))
    registry.push("other/web", Chart("web", "1.3.0"))
    project.edit("sources.yaml", "/charts", "/other")
    assert project.runs("--resume", "--only", "prepare") == ["any:prepare", "web:prepare"]


@pytest.mark.parametrize(
    ("app", "told", "hint"),
    [
        ("chart: shpo/web", "config.yaml:4: `helm_repos` has no 'shpo', where chart 'shpo/web' would be", "did you mean 'shop'?"),
        ("chart: shop/Web", "config.yaml:4: 'oci://HOST/charts/Web' has capital letters", "write it like oci://"),
        ("chart: shop/web, version: newest", "config.yaml:4: 'newest' is neither a version nor a range of versions", "write it like 1.2.3"),
        ("chart: 'shop/web:1.1.0', version: 1.2.0", "config.yaml:4: 'oci://HOST/charts/web:1.1.0' is tag '1.1.0', and '1.2.0' is wanted", "change the one or the other"),
        ("chart: shop/wep", "config.yaml:4: there is no chart 'oci://HOST/charts/wep'", "check its path"),
        ("chart: shop/web, version: ^9", "config.yaml:4: chart 'oci://HOST/charts/web' has no version '^9'", "there are: 1.2.0, 1.1.0"),
        ("chart: shop/web, version: 1.1.5", "config.yaml:4: chart 'oci://HOST/charts/web' has no version '1.1.5'", "there are: 1.2.0, 1.1.0"),
        ("chart: 'oci://HOST/other/web'", "config.yaml:4: 'https://HOST' does not speak TLS", "set `plain_http: true` in `oci_registries`"),
    ],
)  # fmt: skip
def test_what_cannot_be_fetched_fails_its_step_with_its_line_and_no_other(
    project: ProjectFolder, server: Server, registry: Registry, app: str, told: str, hint: str
) -> None:
    sources(project, shop=plain(server))
    app, told = (text.replace("HOST", host(server)) for text in (app, told))
    project.config(f"bad: {{type: helm, {app}}}\ngood: {{type: helm, chart: shop/web, version: 1.1.0}}")
    ended = project("run")
    assert ended.code == 1
    assert told in ended.err
    assert hint in ended.err
    assert project.statuses("bad:prepare", "good:deploy") == ["failed", "completed"]


@pytest.mark.parametrize(
    "app",
    [
        "chart: shpo/web",
        "chart: shop/Web",
        "chart: shop/web, version: newest",
        "chart: 'oci://example.com'",
        "chart: 'shop/web:1.1.0', version: 1.2.0",
    ],
)
def test_what_nobody_need_be_asked_about_is_told_by_validate(
    project: ProjectFolder, server: Server, registry: Registry, app: str
) -> None:
    sources(project, shop=plain(server))
    project.config(f"bad: {{type: helm, {app}}}")
    ended = project("validate")
    assert ended.code == 2
    assert "so bad:prepare would fail" in ended.err + ended.out
    assert server.count() == 0


def test_a_registry_that_has_enough_for_a_moment_is_asked_again_and_one_that_refuses_is_not(
    project: ProjectFolder, server: Server, registry: Registry
) -> None:
    server.before.append(faults.first(2, faults.answer(429, Retry_After="0")))
    with Server() as closed:
        closed.before.append(faults.answer(403))
        sources(project, shop=plain(server), closed=plain(closed))
        retry = "version: 1.1.0, retry: {retries: 2, base: 0}"
        project.config(
            f"web: {{type: helm, chart: shop/web, {retry}}}\nno: {{type: helm, chart: closed/web, {retry}}}"
        )
        ended = project("run")
        assert closed.count() == 1
    assert ended.code == 1
    assert project.statuses("web:deploy", "no:prepare") == ["completed", "failed"]
    assert "the registry does not give" in ended.err


def test_a_blob_that_was_swapped_stops_its_app_with_both_digests(
    project: ProjectFolder, server: Server, registry: Registry
) -> None:
    registry.blobs[digest_of(NEWER.packed)] = WEB.packed
    sources(project, shop=plain(server))
    project.config("web: {type: helm, chart: shop/web}\nold: {type: helm, chart: shop/web, version: 1.1.0}")
    ended = project("run")
    assert ended.code == 1
    assert f"has the SHA-256 {WEB.digest}, not {NEWER.digest}" in ended.err
    assert project.statuses("web:prepare", "old:deploy") == ["failed", "completed"]
    registry.blobs[digest_of(NEWER.packed)] = NEWER.packed
    assert project("run", "--resume").code == 0


@pytest.mark.parametrize("by", ["settings", "docker"])
def test_logins_open_the_registry_and_are_nowhere_else(
    project: ProjectFolder, server: Server, registry: Registry, by: str
) -> None:
    tokens, home = Tokens("canary-user", "canary-password"), project.root.parent
    login: dict[str, object] = {}
    if by == "settings":
        login = {"username": "canary-user", "password": {"from_env": "SHOP_PASSWORD"}}
    else:
        auth = base64.b64encode(b"canary-user:canary-password").decode()
        (home / ".docker").mkdir()
        (home / ".docker/config.json").write_text(json.dumps({"auths": {host(server): {"auth": auth}}}))
    with Server() as realm, Server() as storage:
        realm.handlers.append(tokens)
        server.before.append(bearer_of(lambda: f"{realm.url}/token", tokens))
        storage.files["/blob"] = NEWER.packed
        elsewhere = faults.redirect(f"{storage.url}/blob?signature=canary", 307)
        blob = digest_of(NEWER.packed)
        server.before.append(lambda request: elsewhere(request) if request.path.endswith(blob) else None)
        wrong = {"username": "canary-user", "password": "canary-wrong"}
        sources(project, shop=plain(server, **login), wrong=plain(server, **wrong))
        project.config("web: {type: helm, chart: shop/web}\nwrong: {type: helm, chart: wrong/web}")
        environ = {"SHOP_PASSWORD": "canary-password"} if by == "settings" else {}
        ended = project("run", env={"HOME": str(home), **environ})
        assert ended.code == 1
        assert project.statuses("web:deploy", "wrong:prepare") == ["completed", "failed"]
        assert "authorization" not in storage.bytes_received.lower()
        assert "Basic" not in server.bytes_received
        assert {it.login for it in realm.asked()} == {
            ("canary-user", "canary-password"),
            ("canary-user", "canary-wrong"),
        }
    secrets = ("canary-password", "canary-wrong", "signature", *tokens.given)
    for folder in (project.state, home / ".cache/sbkube", project.root / "rendered"):
        for path in folder.rglob("*"):
            content = path.read_bytes() if path.is_file() else b""
            assert not any(secret.encode() in content or secret in path.name for secret in secrets), path
    assert not any(secret in ended.out + ended.err for secret in secrets)


def test_a_registry_with_its_own_authority_is_reached_with_its_file(project: ProjectFolder) -> None:
    authority = Authority.make(project.root / "tls")
    with Server(authority.server(clients=authority), "localhost") as server:
        registry = Registry()
        server.handlers.append(registry)
        registry.push("web", WEB)
        authority.client()
        tls = {"ca_file": "tls/ca.pem", "cert_file": "tls/client.pem", "key_file": "tls/client.key"}
        sources(project, mine={"registry": host(server), **tls}, unknown=host(server))
        project.config("web: {type: helm, chart: mine/web}\nno: {type: helm, chart: unknown/web}")
        ended = project("run")
    assert project.statuses("web:deploy", "no:prepare") == ["completed", "failed"]
    assert f"the certificate of '{server.url}' is not trusted" in ended.err


def test_no_login_is_in_the_arguments_of_a_helper(
    project: ProjectFolder, server: Server, registry: Registry, tmp_path: Path
) -> None:
    server.before.append(faults.login("canary-user", "canary-password"))
    home, seen = project.root.parent, tmp_path / "seen"
    helper = home / "bin/docker-credential-test"
    helper.parent.mkdir()
    helper.write_text(
        f'#!/bin/sh\necho "$*" >> {seen}\ncat >> {seen}\n'
        """echo '{"Username": "canary-user", "Secret": "canary-password"}'\n"""
    )
    helper.chmod(0o755)
    (home / ".docker").mkdir()
    (home / ".docker/config.json").write_text('{"credsStore": "test"}')
    sources(project, shop=plain(server))
    project.config("web: {type: helm, chart: shop/web}\napi: {type: helm, chart: shop/team/api}")
    ended = project("run", env={"HOME": str(home), "PATH": f"{helper.parent}:/usr/bin:/bin"})
    assert ended.code == 0, ended
    assert seen.read_text() == f"get\n{host(server)}"
    for path in project.state.rglob("*"):
        assert not path.is_file() or b"canary" not in path.read_bytes(), path
    assert "canary" not in ended.out + ended.err
