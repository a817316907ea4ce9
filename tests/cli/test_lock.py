"""`sbkube lock`, and runs that follow what it wrote."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from servers.charts import Chart, repository
from servers.git import GitHttp, Repository
from servers.http import Server
from servers.registry import Registry

from .project import ProjectFolder, manifest
from .sources import metadata, rendered, serve

WEB, NEWER, NEWEST, API = (
    Chart("web", "1.1.0"),
    Chart("web", "1.2.0"),
    Chart("web", "1.3.0"),
    Chart("api", "0.3.0"),
)
REMOTE = ["api", "at-url", "base", "crds", "own", "web"]


@pytest.fixture
def registry(server: Server) -> Registry:
    registry = Registry()
    server.handlers.append(registry)
    registry.push("charts/api", API)
    return registry


@pytest.fixture
def shop(project: ProjectFolder, server: Server, registry: Registry, clones: GitHttp) -> ProjectFolder:
    """An app of every kind of source."""
    serve(server, WEB, NEWER)
    server.files["/crds.yaml"] = manifest("downloaded")
    sources = {
        "helm_repos": {"shop": server.url},
        "oci_registries": {"ours": {"registry": f"{server.url[7:]}/charts", "plain_http": True}},
        "git_repos": {"shop": {"url": f"{clones.url}/shop", "branch": "trunk"}},
    }
    project.write({"sources.yaml": json.dumps(sources)})
    project.config(
        f"""
        web: {{type: helm, chart: shop/web, version: ^1}}
        at-url: {{type: helm, chart: '{server.url}/{WEB.file}'}}
        api: {{type: helm, chart: ours/api}}
        own: {{type: helm, chart: 'git+{clones.url}/shop//charts/own'}}
        base: {{type: git, repo: shop}}
        objects: {{type: yaml, manifests: ['${{repos.base}}/deploy']}}
        crds: {{type: http, url: '{server.url}/crds.yaml', dest: crds.yaml}}
        off: {{type: http, url: '{server.url}/off.yaml', dest: off.yaml, enabled: false}}
        """
    )
    return project


def lock_file(project: ProjectFolder, name: str = "sbkube.lock") -> str:
    return (project.root / name).read_text()


def move_on(server: Server, registry: Registry, served: Repository) -> None:
    """Everything that a name may lead to is another now."""
    serve(server, WEB, NEWER, NEWEST)
    registry.push("charts/api", Chart("api", "0.4.0"))
    served.commit({"deploy/a.yaml": manifest("moved")})


def test_runs_take_what_is_locked_whatever_is_newest_and_ask_nobody_for_it(
    shop: ProjectFolder, server: Server, registry: Registry, clones: GitHttp, served: Repository
) -> None:
    written = shop("lock", "--output", "json")
    assert written.code == 0, written
    assert sorted(written.document["sources"]) == written.document["changed"] == REMOTE
    move_on(server, registry, served)
    assert shop("run").code == 0
    asked = (server.count(), len(clones.requests))
    ended = shop("run")
    assert ended.code == 0, ended
    assert "chart: web-1.2.0" in rendered(shop, "web")
    assert "chart: api-0.3.0" in rendered(shop, "api")
    assert "name: cloned" in rendered(shop, "objects")
    assert (server.count(), len(clones.requests)) == asked
    assert "not pinned" not in ended.err


def test_another_machine_takes_the_same_and_writes_the_same(
    shop: ProjectFolder, server: Server, registry: Registry, served: Repository, tmp_path: Path
) -> None:
    shop("lock")
    first = lock_file(shop)
    other = {"SBKUBE_CACHE_DIR": str(tmp_path / "other"), "TZ": "Asia/Tokyo"}
    (shop.root / "sbkube.lock").unlink()
    assert shop("lock", env=other).code == 0
    assert lock_file(shop) == first
    move_on(server, registry, served)
    third = {"SBKUBE_CACHE_DIR": str(tmp_path / "third")}
    assert shop("run", env=third).code == 0
    assert "chart: web-1.2.0" in rendered(shop, "web")
    assert "name: cloned" in rendered(shop, "objects")
    assert server.count(f"/{NEWEST.file}") == 0


def test_only_what_asks_for_something_else_is_asked_for_again(
    shop: ProjectFolder, server: Server, registry: Registry, clones: GitHttp, served: Repository
) -> None:
    shop("lock")
    before = lock_file(shop)
    move_on(server, registry, served)
    asked = (server.count(), len(clones.requests))
    assert shop("lock").code == shop("lock", "--check").code == 0
    assert lock_file(shop) == before
    assert (server.count(), len(clones.requests)) == asked
    shop.edit("config.yaml", "version: ^1", "version: ^1.0")
    ended = shop("lock")
    assert (ended.code, ended.out) == (0, "web: 1.3.0\n")
    assert len(clones.requests) == asked[1]
    changed = [line for line in lock_file(shop).splitlines() if line not in before.splitlines()]
    assert len(changed) == 4
    assert changed[:2] == ['      version: "^1.0"', "    version: 1.3.0"]


def test_upgrade_asks_anew_for_those_that_are_named_or_for_all(
    shop: ProjectFolder, server: Server, registry: Registry, served: Repository
) -> None:
    shop("lock")
    move_on(server, registry, served)
    ended = shop("lock", "--upgrade", "web")
    assert (ended.code, ended.out) == (0, "web: 1.2.0 -> 1.3.0\n")
    ended = shop("lock", "--upgrade", "--output", "json")
    assert ended.document["changed"] == ["api", "base", "own"]
    shop("run")
    assert "name: moved" in rendered(shop, "objects")
    refused = shop("lock", "--upgrade", "objects")
    assert refused.code == 2
    assert "these do: api, at-url, base, crds, own, web" in refused.err


def test_check_says_what_is_out_of_date_and_asks_nobody(
    shop: ProjectFolder, server: Server, clones: GitHttp
) -> None:
    assert shop("lock", "--check").code == 1
    shop("lock")
    asked = (server.count(), len(clones.requests))
    shop.edit("config.yaml", "version: ^1", "version: ^1.0")
    shop.edit("config.yaml", "  api: {", "  renamed: {")
    ended = shop("lock", "--check")
    assert ended.code == 1
    assert ended.out.splitlines() == [
        "renamed: not in it",
        "web: asks for something else",
        "api: no longer there",
    ]
    assert shop("lock", "--check", "--output", "json").document["gone"] == ["api"]
    assert (server.count(), len(clones.requests)) == asked
    assert shop("lock", "--check", "--upgrade").code == 2


def test_what_is_not_what_was_locked_stops_its_app_with_both_digests_and_no_other(
    shop: ProjectFolder, server: Server, tmp_path: Path
) -> None:
    shop("lock")
    fresh = {"SBKUBE_CACHE_DIR": str(tmp_path / "fresh")}
    serve(server, Chart("web", "1.2.0", {"templates/extra.yaml": manifest("extra")}), WEB)
    server.files["/crds.yaml"] = manifest("swapped")
    ended = shop("run", "--output", "json", env=fresh)
    assert ended.code == 1
    steps = ended.document["steps"]
    failed = {id: step["error"] for id, step in steps.items() if step["status"] == "failed"}
    assert sorted(failed) == ["crds:prepare", "web:prepare"]
    for app in ("web", "crds"):
        locked = next(
            line for line in lock_file(shop).partition(f"  {app}:")[2].splitlines() if "sha256" in line
        )
        assert locked.split()[1].strip('"') in failed[f"{app}:prepare"]
        assert f"`sbkube lock --upgrade {app}`" in shop("logs", f"{app}:prepare").out
    assert steps["api:deploy"]["status"] == "completed"
    assert shop("lock", "--upgrade", env=fresh).code == 0
    assert shop("run", "--resume", env=fresh).code == 0


def test_a_tag_that_was_moved_stops_its_app_with_both_commits(
    project: ProjectFolder, served: Repository, clones: GitHttp, tmp_path: Path
) -> None:
    first = served.commit({"deploy/a.yaml": manifest("first")})
    served.run("tag", "v1")
    project.config(
        f"""
        base: {{type: git, repo: '{clones.url}/shop', ref: v1}}
        objects: {{type: yaml, manifests: ['${{repos.base}}/deploy']}}
        """
    )
    project("lock")
    now = served.commit({"deploy/a.yaml": manifest("moved")})
    fresh = {"SBKUBE_CACHE_DIR": str(tmp_path / "fresh")}
    assert project("run", env=fresh).code == 0
    served.run("tag", "--force", "v1")
    other = {"SBKUBE_CACHE_DIR": str(tmp_path / "other")}
    ended = project("run", env=other)
    assert ended.code == 1
    assert f"was moved: it was commit {first}, and is {now}" in project("logs", "base:prepare").out
    assert "`sbkube lock --upgrade base`" in project("logs", "base:prepare").out
    assert project("run", env=fresh).code == 0  # what was fetched before it was moved is what was locked


def test_an_app_without_an_entry_is_resolved_and_said(shop: ProjectFolder, server: Server) -> None:
    shop("lock")
    shop.edit("config.yaml", "version: ^1", "version: 1.1.0")
    ended = shop("run")
    assert ended.code == 0
    assert "`sbkube.lock` has no answer to what these ask for now: web" in ended.err
    assert "chart: web-1.1.0" in rendered(shop, "web")


def test_what_is_locked_is_an_input_of_the_step_that_takes_it(
    shop: ProjectFolder, server: Server, registry: Registry, served: Repository
) -> None:
    shop("lock")
    shop("run")
    assert shop.runs("--resume") == []
    move_on(server, registry, served)
    shop("lock", "--upgrade", "web")
    assert "changed: locked" in shop("plan", "--resume").out
    assert "web:prepare" in shop.runs("--resume")
    assert metadata(shop, "web:prepare")["version"] == "1.3.0"


def test_a_profile_has_a_file_for_what_it_asks_otherwise(shop: ProjectFolder, server: Server) -> None:
    shop.write({"config-prod.yaml": "apps: {web: {version: 1.1.0}}\n"})
    shop("lock")
    assert shop("lock", "--check", "--profile", "prod").code == 1
    assert shop("lock", "--profile", "prod").out == "web: 1.1.0\n"
    own = lock_file(shop, "sbkube-prod.lock")
    assert "  web:" in own
    assert "  api:" not in own
    assert shop("lock", "--check", "--profile", "prod").code == shop("lock", "--check").code == 0
    shop("run", "--profile", "prod")
    assert "chart: web-1.1.0" in rendered(shop, "web")
    shop.write({"config-prod.yaml": "apps: {web: {namespace: prod}}\n"})
    assert shop("lock", "--profile", "prod").code == 0
    assert not (shop.root / "sbkube-prod.lock").exists()


def test_where_one_gets_no_answer_nothing_is_written(shop: ProjectFolder, server: Server) -> None:
    shop("lock")
    before = lock_file(shop)
    shop.edit("config.yaml", "version: ^1", "version: ^9")
    ended = shop("lock", "--upgrade")
    assert ended.code == 1
    assert "web: " in ended.err
    assert "no version '^9'" in ended.err
    assert lock_file(shop) == before


def test_a_secret_query_is_not_in_the_lock_and_the_chart_comes_all_the_same(
    project: ProjectFolder, server: Server
) -> None:
    serve(server, WEB)
    index = repository(WEB)["/index.yaml"]
    text = index.decode() if isinstance(index, bytes) else str(index)
    server.files["/index.yaml"] = text.replace(WEB.file, f"{WEB.file}?sig=CANARY")
    project.write({"sources.yaml": json.dumps({"helm_repos": {"shop": server.url}})})
    project.config("web: {type: helm, chart: shop/web}\n")
    assert project("lock").code == 0
    assert "CANARY" not in lock_file(project)
    assert project("run").code == 0
    assert "chart: web-1.1.0" in rendered(project, "web")
