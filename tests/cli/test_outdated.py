"""`sbkube outdated`: what has newer versions, from servers and repositories on this machine."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from servers import faults
from servers.charts import Chart
from servers.git import Repository
from servers.http import Server
from servers.registry import Registry

from .helpers import check_golden
from .project import ProjectFolder, chart
from .sources import serve

SHOP = [Chart("web", version) for version in ("1.1.0", "1.2.0", "2.0.0", "2.1.0-rc.1")] + [
    Chart("db", "0.3.0")
]
APPS = """
web: {type: helm, chart: shop/web, version: ^1}
exact: {type: helm, chart: shop/web, version: 1.1.0}
any: {type: helm, chart: shop/web}
next: {type: helm, chart: shop/web, version: 2.1.0-rc.1}
db: {type: helm, chart: shop/db, version: 0.x, labels: {team: data}}
api: {type: helm, chart: team/api, version: 0.3.0}
infra: {type: git, repo: source, ref: v1.2.0}
cloned: {type: helm, chart: 'git+GIT//charts/web?ref=web-1.9.0'}
branch: {type: git, repo: source, branch: trunk}
archive: {type: helm, chart: 'HTTP/web-1.1.0.tgz'}
own: {type: helm, chart: ./charts/own}
off: {type: helm, chart: absent/web, enabled: false}
"""


@pytest.fixture
def shop() -> Iterator[Server]:
    with Server() as server:
        serve(server, *SHOP)
        yield server


@pytest.fixture
def hub() -> Iterator[Server]:
    with Server() as server:
        registry = Registry()
        server.handlers.append(registry)
        for version in ("0.3.0", "0.4.0", "0.5.0-beta"):
            registry.push("charts/api", Chart("api", version))
        yield server


@pytest.fixture
def source(tmp_path: Path) -> Repository:
    repository = Repository(tmp_path / "served/shop")
    repository.commit(chart("web"))
    for tag in ("v1.2.0", "v1.10.0", "v2.0.0-rc.1", "web-1.9.0", "web-1.9.1", "latest"):
        repository.run("tag", tag)
    return repository


@pytest.fixture
def given(project: ProjectFolder, shop: Server, hub: Server, source: Repository) -> ProjectFolder:
    host = hub.url.partition("://")[2]
    registries = {"team": {"registry": f"{host}/charts", "plain_http": True}}
    found = {
        "helm_repos": {"shop": shop.url},
        "oci_registries": registries,
        "git_repos": {"source": source.url},
    }
    project.write({"sources.yaml": json.dumps(found), **chart("own")})
    project.config(APPS.replace("GIT", source.url).replace("HTTP", shop.url))
    return project


def states(project: ProjectFolder, *args: str) -> dict[str, tuple[str | None, str | None]]:
    ended = project("outdated", "--output", "json", *args)
    assert ended.code == 0, ended
    return {one["app"]: (one["now"], one["newest"]) for one in ended.document["apps"]}


def test_what_a_person_is_told(given: ProjectFolder, shop: Server, source: Repository) -> None:
    told = []
    for args in ("", "--app web", "--all"):
        ended = given("outdated", *args.split(), env={"COLUMNS": "80"})
        assert ended.code == 0, ended
        shown = re.sub(r"(?<=file://)\S*/served/shop", "/srv/git/shop", ended.out + ended.err)
        told.append(f"$ sbkube outdated {args}\n{shown.replace(shop.url, 'http://charts.test')}")
    check_golden("outdated", "\n".join(told))


def test_a_newer_stable_version_is_one_and_a_pre_release_or_another_sort_of_tag_is_none(
    given: ProjectFolder,
) -> None:
    assert states(given) == {
        "web": ("1.2.0", "2.0.0"),
        "exact": ("1.1.0", "2.0.0"),
        "api": ("0.3.0", "0.4.0"),
        "infra": ("v1.2.0", "v1.10.0"),
        "cloned": ("web-1.9.0", "web-1.9.1"),
    }


def test_only_what_is_asked_for_is_asked_about(given: ProjectFolder, shop: Server, hub: Server) -> None:
    assert states(given, "--label", "team=data", "--all") == {"db": ("0.3.0", "0.3.0")}
    assert [request.path for request in shop.requests] == ["/index.yaml"]
    assert hub.count() == 0


def test_each_index_and_list_of_tags_is_asked_for_once_and_no_chart_is_fetched(
    given: ProjectFolder, shop: Server, hub: Server
) -> None:
    given.edit("config.yaml", "api: {", "again: {type: helm, chart: team/api}\n  api: {")
    given("outdated")
    assert [request.path for request in shop.requests] == ["/index.yaml"]
    assert [request.path.partition("?")[0] for request in hub.requests] == ["/v2/charts/api/tags/list"]
    assert not given.state.exists()


def test_the_detailed_exit_code_says_whether_something_is_outdated(given: ProjectFolder) -> None:
    assert given("outdated", "--detailed-exitcode").code == 2
    assert given("outdated", "--detailed-exitcode", "--app", "db").code == 0
    assert given("outdated", "--detailed-exitcode", "--app", "nobody").code == 1
    assert given("outdated", "--app", "nobody").code == 2


def test_a_repository_that_cannot_be_asked_is_told_for_its_apps_and_hides_no_other(
    given: ProjectFolder, shop: Server
) -> None:
    shop.before.append(faults.answer(403))
    ended = given("outdated", "--detailed-exitcode")
    assert ended.code == 1
    assert [row.split()[0] for row in ended.out.splitlines()] == ["app", "api", "infra", "cloned"]
    told = [line for line in ended.err.splitlines() if line.startswith("error: ")]
    assert len(told) == 5
    assert told[0].startswith("error: app 'web' cannot be compared: config.yaml:4: ")
    assert "403" in told[0]
    data = given("outdated", "-o", "json")
    assert data.code == 1
    assert list(data.document["failed"]) == ["web", "exact", "any", "next", "db"]
    assert given("outdated", "--app", "api").code == 0


@pytest.mark.parametrize(
    ("old", "new", "told", "hint"),
    [
        ("version: ^1", "version: ^9", "chart 'shop/web' has no version '^9'", "the newest is 2.0.0"),
        ("version: ^1", "version: newest", "'newest' is neither a version nor a range", "write it like"),
        ("chart: shop/web, version: ^1", "chart: shop/wep", "repository 'shop' has no chart 'wep'", "did you mean 'web'"),
        ("chart: shop/web, version: ^1", "chart: shpo/web", "`helm_repos` has no 'shpo'", "did you mean 'shop'"),
        ("ref: v1.2.0", "ref: v9.0.0", "", "there is no such tag"),
        ("ref: v1.2.0", "ref: trunk", "", "follows a branch, or a tag that is no version"),
    ],
)  # fmt: skip
def test_what_is_not_there_is_told_with_its_line_or_why_it_is_not_compared(
    given: ProjectFolder, old: str, new: str, told: str, hint: str
) -> None:
    given.edit("config.yaml", old, new)
    ended = given("outdated", "--all")
    assert ended.code == bool(told)
    assert told in ended.err
    assert hint in ended.out + ended.err
    assert "infra" in ended.out


def test_a_server_that_does_not_answer_is_given_up_after_the_time_limit(
    given: ProjectFolder, shop: Server
) -> None:
    until = threading.Event()
    shop.before.append(faults.silent(until))
    given.edit("config.yaml", "version: 0.x", "version: 0.x, time_limit: 0.2")
    try:
        ended = given("outdated", "--app", "db", "--app", "api")
    finally:
        until.set()
    assert ended.code == 1
    assert "error: app 'db' cannot be compared: config.yaml:8: no answer within its time limit" in ended.err
    assert ended.out.splitlines()[1].startswith("api")


def test_a_login_is_given_to_its_repository_alone_and_told_to_nobody(
    given: ProjectFolder, shop: Server, hub: Server
) -> None:
    shop.before.append(faults.login("canary-user", "canary-password"))
    assert given("outdated", "--app", "web").code == 1
    shop.forget()
    login = {"url": shop.url, "username": "canary-user", "password": {"from_env": "CANARY"}}
    given.edit("sources.yaml", json.dumps(shop.url), json.dumps(login))
    ended = given("outdated", "--app", "web", "--app", "api", "--all", env={"CANARY": "canary-password"})
    assert ended.code == 0, ended
    assert "canary" not in ended.out + ended.err + hub.bytes_received
    assert all("authorization" in request.headers for request in shop.requests)


def test_the_name_of_older_versions_means_the_same_and_no_config_is_edited(given: ProjectFolder) -> None:
    before = (given.root / "config.yaml").read_bytes()
    assert given("check-updates", "--all") == given("outdated", "--all")
    ended = given("check-updates", "--update-config")
    assert ended.code == 2
    assert "sbkube edits no config" in ended.err
    assert (given.root / "config.yaml").read_bytes() == before


def test_what_the_lock_file_holds_back_is_outdated_and_told_how_it_moves(
    given: ProjectFolder, shop: Server
) -> None:
    assert given("lock").code == 0
    serve(shop, *SHOP, Chart("web", "1.3.0"), Chart("db", "0.4.0"))
    ended = given("outdated", "--app", "web", "--app", "exact", "--app", "db")
    assert [row.split()[:5] for row in ended.out.splitlines()[1:]] == [
        ["web", "outdated", "^1", "1.2.0", "2.0.0"],
        ["exact", "outdated", "1.1.0", "1.1.0", "2.0.0"],
        ["db", "outdated", "0.x", "0.3.0", "0.4.0"],
    ]
    upgrade = "lock --upgrade web --upgrade db"
    assert f"`sbkube {upgrade}` takes what is allowed: web 1.3.0, db 0.4.0\n" in ended.err
    assert given(*upgrade.split()).code == 0
    assert states(given, "--app", "web", "--app", "db") == {"web": ("1.3.0", "2.0.0")}
    (web,) = given("outdated", "--app", "web", "-o", "json").document["apps"]
    assert (web["allowed"], web["is_locked"]) == ("1.3.0", True)
    assert "takes what is allowed" not in given("outdated").err
