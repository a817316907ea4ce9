"""Charts of repositories and URLs, through `sbkube run`, from servers on this machine."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from servers import faults
from servers.certificates import Authority
from servers.charts import Chart
from servers.http import Server
from servers.proxy import Proxy

from .project import ProjectFolder
from .sources import metadata, rendered, serve

WEB, NEWER, DB = Chart("web", "1.1.0"), Chart("web", "1.2.0"), Chart("db", "0.3.0")


@pytest.fixture
def shop() -> Iterator[Server]:
    with Server() as server:
        serve(server, WEB, NEWER)
        yield server


@pytest.fixture
def data() -> Iterator[Server]:
    with Server() as server:
        serve(server, DB)
        yield server


def sources(project: ProjectFolder, **repositories: object) -> None:
    project.write({"sources.yaml": json.dumps({"helm_repos": repositories})})


def test_charts_of_two_repositories_are_fetched_once_and_the_next_time_not_at_all(
    project: ProjectFolder, shop: Server, data: Server
) -> None:
    sources(project, shop=shop.url, data={"url": data.url})
    project.config(
        f"""
        web: {{type: helm, chart: shop/web, version: 1.1.0}}
        again: {{type: helm, chart: shop/web, version: ^1}}
        db: {{type: helm, chart: data/db, depends_on: [web]}}
        own: {{type: helm, chart: '{shop.url}/{WEB.file}'}}
        """
    )
    assert project("validate").code == 0
    assert project("plan").code == 0
    assert shop.count() + data.count() == 0
    ended = project("run")
    assert ended.code == 0, ended
    assert "chart: web-1.1.0" in rendered(project, "web")
    assert "chart: web-1.2.0" in rendered(project, "again")
    assert "chart: web-1.1.0" in rendered(project, "own")
    assert "chart: db-0.3.0" in rendered(project, "db")
    assert (shop.count("/index.yaml"), data.count("/index.yaml")) == (1, 1)
    assert shop.count(f"/{NEWER.file}") == data.count(f"/{DB.file}") == 1

    shop.forget()
    data.forget()
    assert project.runs("--only", "prepare") == ["again:prepare", "db:prepare", "own:prepare", "web:prepare"]
    asked = [*shop.requests, *data.requests]
    assert {request.path for request in asked} == {"/index.yaml", f"/{WEB.file}"}
    assert len(asked) == 3
    assert all("if-none-match" in request.headers for request in asked)


def test_what_was_taken_is_in_the_log_and_in_the_record(project: ProjectFolder, shop: Server) -> None:
    sources(project, shop=shop.url)
    project.config("web: {type: helm, chart: shop/web, version: ~1.1}")
    ended = project("run")
    source = f"{shop.url}/{WEB.file}"
    assert f"chart shop/web 1.1.0 from {source} (SHA-256 {WEB.digest})" in ended.out + ended.err
    assert metadata(project, "web:prepare") == {"version": "1.1.0", "url": source, "sha256": WEB.digest}
    project("run")
    assert (
        f"chart shop/web 1.1.0 from the cache, once fetched from {source}"
        in project("logs", "web:prepare").out
    )


def test_another_version_in_the_config_is_fetched_by_a_resume_and_what_is_new_elsewhere_is_not(
    project: ProjectFolder, shop: Server
) -> None:
    sources(project, shop=shop.url)
    project.config("web: {type: helm, chart: shop/web, version: 1.1.0}\nany: {type: helm, chart: shop/web}")
    project.runs()
    serve(shop, WEB, NEWER, Chart("web", "1.3.0"))
    assert project.runs("--resume") == []
    project.edit("config.yaml", "1.1.0", "1.2.0")
    assert project.runs("--resume") == [
        f"web:{stage}" for stage in ("build", "deploy", "prepare", "template")
    ]
    assert "chart: web-1.2.0" in rendered(project, "web")
    assert "chart: web-1.2.0" in rendered(project, "any")


@pytest.mark.parametrize(
    ("app", "told", "hint"),
    [
        ("chart: shpo/web", "config.yaml:4: `helm_repos` has no 'shpo', where chart 'shpo/web' would be", "did you mean 'shop'?"),
        ("chart: charts/web", "config.yaml:4: `helm_repos` has no 'charts'", "a chart of the project is written `./charts/web`"),
        ("chart: shop/web, version: newest", "config.yaml:4: 'newest' is neither a version nor a range of versions", "write it like 1.2.3"),
        ("chart: shop/wep", "config.yaml:4: repository 'shop' has no chart 'wep'", "did you mean 'web'?"),
        ("chart: shop/web, version: ^9", "config.yaml:4: chart 'web' of repository 'shop' has no version '^9'", "the newest are: 1.2.0, 1.1.0"),
    ],
)  # fmt: skip
def test_what_cannot_be_fetched_fails_its_step_with_its_line_and_no_other(
    project: ProjectFolder, shop: Server, app: str, told: str, hint: str
) -> None:
    sources(project, shop=shop.url)
    project.write({"charts/web/Chart.yaml": "name: web\nversion: 1.0.0\n"})
    project.config(f"bad: {{type: helm, {app}}}\ngood: {{type: helm, chart: shop/web, version: 1.1.0}}")
    ended = project("run")
    assert ended.code == 1
    assert told in ended.err
    assert hint in ended.err
    assert project.statuses("bad:prepare", "good:deploy") == ["failed", "completed"]


@pytest.mark.parametrize("app", ["chart: shpo/web", "chart: shop/web, version: newest"])
def test_what_nobody_need_be_asked_about_is_told_by_validate(
    project: ProjectFolder, shop: Server, app: str
) -> None:
    sources(project, shop=shop.url)
    project.config(f"bad: {{type: helm, {app}}}")
    ended = project("validate")
    assert ended.code == 2
    assert "so bad:prepare would fail" in ended.err + ended.out
    assert shop.count() == 0


def test_a_server_that_fails_for_a_moment_is_asked_again_and_one_that_refuses_is_not(
    project: ProjectFolder, shop: Server, data: Server
) -> None:
    shop.before.append(faults.first(2, faults.answer(503, Retry_After="0")))
    data.before.append(faults.answer(403))
    sources(project, shop=shop.url, data=data.url)
    retry = "retry: {retries: 2, base: 0}"
    project.config(
        f"web: {{type: helm, chart: shop/web, {retry}}}\ndb: {{type: helm, chart: data/db, {retry}}}"
    )
    ended = project("run")
    assert ended.code == 1
    assert project.statuses("web:deploy", "db:prepare") == ["completed", "failed"]
    assert (shop.count("/index.yaml"), data.count()) == (3, 1)
    assert "answered 403 Forbidden" in ended.err


def test_an_archive_that_was_swapped_stops_its_app_with_both_digests(
    project: ProjectFolder, shop: Server
) -> None:
    shop.files[f"/{NEWER.file}"] = WEB.packed
    sources(project, shop=shop.url)
    project.config("web: {type: helm, chart: shop/web}\nold: {type: helm, chart: shop/web, version: 1.1.0}")
    ended = project("run")
    assert ended.code == 1
    assert f"has the SHA-256 {WEB.digest}, not {NEWER.digest}" in ended.err
    assert project.statuses("web:prepare", "old:deploy") == ["failed", "completed"]
    shop.files[f"/{NEWER.file}"] = NEWER.packed
    assert project("run", "--resume").code == 0


def test_credentials_open_the_repository_and_are_nowhere_else(
    project: ProjectFolder, shop: Server, data: Server
) -> None:
    shop.before.append(faults.login("canary-user", "canary-password"))
    data.before.append(faults.login("canary-user", "canary-other"))
    entry = {"username": "canary-user", "password": {"from_env": "SHOP_PASSWORD"}}
    sources(
        project,
        shop={"url": shop.url, **entry},
        data=data.url.replace("//", "//canary-user:canary-other@") + "?token=canary",
        wrong={"url": shop.url, "username": "canary-user", "password": "canary-wrong"},
    )
    project.config(
        """
        web: {type: helm, chart: shop/web}
        db: {type: helm, chart: data/db}
        wrong: {type: helm, chart: wrong/web}
        """
    )
    ended = project("run", env={"SHOP_PASSWORD": "canary-password"})
    assert ended.code == 1
    assert project.statuses("web:deploy", "db:deploy", "wrong:prepare") == [
        "completed",
        "completed",
        "failed",
    ]
    assert "canary-password" not in data.bytes_received
    cache = project.root.parent / ".cache/sbkube"
    for folder in (project.state, cache, project.root / "rendered"):
        for path in folder.rglob("*"):
            assert "canary" not in path.name
            assert not path.is_file() or b"canary" not in path.read_bytes(), path
    assert "canary" not in ended.out + ended.err
    ended = project("run")
    assert (
        "`helm_repos.shop.password` comes from the environment variable 'SHOP_PASSWORD', which is not set"
        in ended.err
    )


def test_a_repository_with_its_own_authority_is_reached_with_its_file(
    project: ProjectFolder, tmp_path: Path
) -> None:
    authority = Authority.make(project.root / "tls")
    with Server(authority.server(clients=authority), "localhost") as server:
        serve(server, WEB)
        authority.client()
        tls = {"ca_file": "tls/ca.pem", "cert_file": "tls/client.pem", "key_file": "tls/client.key"}
        sources(project, mine={"url": server.url, **tls}, unknown=server.url)
        project.config("web: {type: helm, chart: mine/web}\nno: {type: helm, chart: unknown/web}")
        ended = project("run")
    assert project.statuses("web:deploy", "no:prepare") == ["completed", "failed"]
    assert f"the certificate of '{server.url}' is not trusted" in ended.err


def test_the_proxies_of_the_settings_are_used_unless_the_environment_names_others(
    project: ProjectFolder, shop: Server
) -> None:
    project.config("web: {type: helm, chart: shop/web}")
    with Proxy() as first, Proxy() as second:
        project.write(
            {"sources.yaml": json.dumps({"helm_repos": {"shop": shop.url}, "http_proxy": first.url})}
        )
        assert project("run").code == 0
        assert len(first.seen) == 2
        assert project("run", env={"HTTP_PROXY": second.url}).code == 0
        assert (len(first.seen), len(second.seen)) == (2, 1)
        assert project("run", env={"NO_PROXY": "127.0.0.1"}).code == 0
        assert (len(first.seen), len(second.seen)) == (2, 1)
