"""`--offline`: what was fetched once is enough, what was not fails by name, and nobody is asked for anything."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from servers.charts import Chart
from servers.git import GitHttp, Repository
from servers.http import Server
from servers.registry import Registry

from .project import ProjectFolder, manifest
from .sources import rendered, serve

WEB, NEWER, API = Chart("web", "1.1.0"), Chart("web", "1.2.0"), Chart("api", "0.3.0")


@pytest.fixture
def shop(project: ProjectFolder, server: Server, clones: GitHttp) -> ProjectFolder:
    """An app of every kind of source."""
    serve(server, WEB, NEWER)
    server.files["/crds.yaml"] = manifest("downloaded")
    registry = Registry()
    server.handlers.append(registry)
    registry.push("charts/api", API)
    sources = {
        "helm_repos": {"shop": server.url},
        "oci_registries": {"ours": {"registry": f"{server.url[7:]}/charts", "plain_http": True}},
        "git_repos": {"shop": {"url": f"{clones.url}/shop", "branch": "trunk"}},
    }
    project.write({"sources.yaml": json.dumps(sources)})
    project.config(
        f"""
        web: {{type: helm, chart: shop/web, version: ^1}}
        exact: {{type: helm, chart: shop/web, version: 1.1.0}}
        at-url: {{type: helm, chart: '{server.url}/{WEB.file}'}}
        api: {{type: helm, chart: ours/api}}
        own: {{type: helm, chart: 'git+{clones.url}/shop//charts/own'}}
        base: {{type: git, repo: shop}}
        objects: {{type: yaml, manifests: ['${{repos.base}}/deploy']}}
        crds: {{type: http, url: '{server.url}/crds.yaml', dest: crds.yaml}}
        """
    )
    return project


REMOTE = ["api", "at-url", "base", "crds", "exact", "own", "web"]


def test_what_was_fetched_once_is_enough_and_nobody_is_asked(
    shop: ProjectFolder, server: Server, clones: GitHttp, served: Repository
) -> None:
    assert shop("run").code == 0
    serve(server, WEB, NEWER, Chart("web", "1.3.0"))
    served.commit({"deploy/a.yaml": manifest("moved")})
    asked = (server.count(), len(clones.requests))
    for args, env in (("--offline", {}), ("--no-progress", {"SBKUBE_OFFLINE": "1"})):
        ended = shop("run", args, env=env)
        assert ended.code == 0, ended
        assert "chart: web-1.2.0" in rendered(shop, "web")
        assert "name: cloned" in rendered(shop, "objects")
    assert (server.count(), len(clones.requests)) == asked


def test_what_was_never_fetched_fails_its_step_by_name_and_at_once(
    shop: ProjectFolder, server: Server, clones: GitHttp
) -> None:
    ended = shop("run", "--offline", "--only", "prepare", "--output", "json")
    assert ended.code == 1
    assert (server.count(), len(clones.requests)) == (0, 0)
    steps = ended.document["steps"]
    failed = {id: step for id, step in steps.items() if step["status"] == "failed"}
    assert sorted(failed) == [f"{app}:prepare" for app in REMOTE]
    assert {step["attempt"] for step in failed.values()} == {1}
    for app, told in {
        "web": "chart 'web' ^1 of repository 'shop' is not in the cache",
        "exact": "chart 'web' 1.1.0 of repository 'shop' is not in the cache",
        "at-url": f"'{server.url}/{WEB.file}' is not in the cache",
        "api": f"chart oci://{server.url[7:]}/charts/api is not in the cache",
        "own": f"the commit that trunk of {clones.url}/shop means is not in the cache",
        "base": f"the commit that trunk of {clones.url}/shop means is not in the cache",
        "crds": f"'{server.url}/crds.yaml' is not in the cache",
    }.items():
        assert told in failed[f"{app}:prepare"]["error"]
        assert "without `--offline`" in shop("logs", f"{app}:prepare").out
    assert shop("run", "--resume").code == 0


def test_a_version_that_the_index_has_and_the_cache_has_not_is_missed_by_name(
    shop: ProjectFolder, server: Server
) -> None:
    shop("prepare", "--app", "exact")
    asked = server.count()
    ended = shop("prepare", "--offline", "--app", "web")
    assert ended.code == 1
    assert "chart 'web' ^1 of repository 'shop' is not in the cache" in ended.err
    assert server.count() == asked


def test_a_repository_on_this_disk_is_no_network(project: ProjectFolder, tmp_path: Path) -> None:
    repository = Repository(tmp_path / "served/shop")
    repository.commit({"a.yaml": manifest("here")})
    project.config(
        f"""
        base: {{type: git, repo: '{repository.url}'}}
        objects: {{type: yaml, manifests: ['${{repos.base}}/a.yaml']}}
        """
    )
    assert project("run", "--offline").code == 0
    assert "name: here" in rendered(project, "objects")


def test_commands_know_that_there_is_no_network(project: ProjectFolder) -> None:
    project.config("a: {type: exec, commands: ['echo offline=$SBKUBE_OFFLINE >> ledger']}\n")
    project("run", "--offline")
    project("run")
    assert project.new_effects() == ["offline=1", "offline="]


def test_a_variable_that_may_mean_either_is_refused(project: ProjectFolder) -> None:
    project.config("a: {type: noop}\n")
    ended = project("run", env={"SBKUBE_OFFLINE": "maybe"})
    assert ended.code == 2
    assert "SBKUBE_OFFLINE must be 1 or 0, not 'maybe'" in ended.err


def test_kustomize_is_not_let_fetch_by_itself(project: ProjectFolder, tmp_path: Path) -> None:
    program = tmp_path / "bin/kustomize"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho started >> ledger\n")
    program.chmod(0o755)
    project.write({"k/kustomization.yaml": "resources: ['https://code.test/shop//base?ref=v1']\n"})
    project.config("k: {type: kustomize, path: k}\n")
    ended = project("run", "--offline", env={"PATH": f"{program.parent}:/usr/bin:/bin"})
    assert ended.code == 1
    assert "to which kustomization 'k' refers, is not in the cache" in ended.err
    assert project.new_effects() == []
