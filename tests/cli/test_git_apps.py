"""`type: git` and what reads its files, through `sbkube run`, from repositories on this machine's own servers."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from servers.git import GitHttp, Repository

from .project import ProjectFolder, chart, manifest
from .sources import metadata, rendered


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "served/shop")


def commands_running() -> Iterator[bytes]:
    """Where there is `/proc`."""
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it has just ended
            yield file.read_bytes()


def test_who_reads_files_of_a_clone_waits_for_it_though_nothing_says_so(
    project: ProjectFolder, repository: Repository
) -> None:
    commit = repository.commit(
        {
            "deploy/a.yaml": manifest("a"),
            "deploy/b.yml": manifest("b"),
            "values.yaml": "greeting: from the clone\n",
            **chart("web"),
        }
    )
    project.config(
        f"""
        objects: {{type: yaml, manifests: ['${{repos.source}}/deploy']}}
        one: {{type: yaml, manifests: [./repos/source/deploy/b.yml]}}
        some: {{type: yaml, manifests: ['.sbkube/repos/source/deploy/*.yaml']}}
        web: {{type: helm, chart: ./repos/source/charts/web, values: ['${{repos.source}}/values.yaml']}}
        source: {{type: git, repo: '{repository.url}'}}
        """
    )
    assert project("validate").code == 0
    started = project("run", "--output", "ndjson")
    assert started.code == 0, started
    order = started.started
    for reader in ("objects:template", "one:template", "some:template", "web:prepare", "web:template"):
        assert order.index("source:prepare") < order.index(reader)
    assert "# Source: ${repos.source}/deploy/a.yaml" in rendered(project, "objects")
    assert "name: b" in rendered(project, "objects")
    assert "name: b" in rendered(project, "one")
    assert "name: a" in rendered(project, "some")
    assert "name: b" not in rendered(project, "some")
    assert "from the clone" in rendered(project, "web")
    assert metadata(project, "source:prepare")["commit"] == commit
    assert f"fetched: url {repository.url}, commit {commit}\n" in project("explain", "source:prepare").out


def test_overrides_shared_values_and_kustomizations_may_lie_in_a_clone(
    project: ProjectFolder, repository: Repository, tmp_path: Path
) -> None:
    repository.commit(
        {
            "k/base/kustomization.yaml": "resources: [a.yaml]\n",
            "k/base/a.yaml": manifest("base"),
            "k/live/kustomization.yaml": "resources: [../base]\n",
            "shared.yaml": "greeting: shared\n",
            "values.yaml": "greeting: overridden\nown: 1\n",
        }
    )
    program = tmp_path / "bin/kustomize"
    program.parent.mkdir()
    program.write_text('#!/bin/sh\ntest "$1" = build && cat "$2"/../base/a.yaml > "$4"\n')
    program.chmod(0o755)
    project.write(chart("web"))
    project.write({"sources.yaml": "cluster_values_file: ${repos.source}/shared.yaml\n"})
    project.config(
        f"""
        source: {{type: git, repo: '{repository.url}'}}
        k: {{type: kustomize, path: '${{repos.source}}/k/live'}}
        web: {{type: helm, chart: ./charts/web, overrides: [{{values.yaml: ./repos/source/values.yaml}}]}}
        """
    )
    ended = project("run", env={"PATH": f"{program.parent}:{os.environ['PATH']}"})
    assert ended.code == 0, ended
    assert "name: base" in rendered(project, "k")
    assert "greeting: shared" in rendered(project, "web").replace('"', "")
    output = project.state / "out" / project.view["steps"]["web:build"]["output"]["path"]
    assert (output / "chart/values.yaml").read_text() == "greeting: overridden\nown: 1\n"
    repository.commit({"k/base/a.yaml": manifest("newer"), "unread": "1"})
    path = {"PATH": f"{program.parent}:{os.environ['PATH']}"}
    assert project.runs("--only", "prepare", "--app", "source", env=path) == ["source:prepare"]
    assert project.runs("--resume", env=path) == ["k:deploy", "k:template"]


def test_commands_find_what_they_depend_on_where_clones_once_lay(
    project: ProjectFolder, repository: Repository
) -> None:
    first = repository.commit({"run.sh": "echo first >> ledger\n"})
    second = repository.commit({"run.sh": "echo second >> ledger\n"})
    project.config(
        f"""
        source: {{type: git, repo: '{repository.url}'}}
        go: {{type: exec, commands: ['sh .sbkube/repos/source/run.sh'], depends_on: [source]}}
        """
    )
    for profile, commit in (("one", first), ("two", second)):
        project.write({f"config-{profile}.yaml": f"apps: {{source: {{ref: {commit}}}}}\n"})
        project.runs("--profile", profile)
    assert project.new_effects() == ["first", "second"]
    assert project.runs("--resume", "--profile", "one") == []
    assert project.runs("--continue-from", "go:deploy", "--profile", "one") == ["go:deploy"]
    assert project.new_effects() == ["first"]
    project.write({"config-one.yaml": f"apps: {{source: {{ref: {second}}}}}\n"})
    assert project.runs("--resume", "--profile", "one") == ["go:deploy", "source:prepare"]
    assert project.new_effects() == ["second"]


def test_a_clone_that_lies_there_since_an_older_sbkube_is_neither_read_nor_touched(
    project: ProjectFolder, repository: Repository
) -> None:
    repository.commit({"a.yaml": manifest("now")})
    project.write(
        {".sbkube/repos/source/a.yaml": manifest("stale"), "repos/source/a.yaml": manifest("stale")}
    )
    project.config(
        f"""
        source: {{type: git, repo: '{repository.url}'}}
        a: {{type: yaml, manifests: [.sbkube/repos/source/a.yaml]}}
        b: {{type: yaml, manifests: [repos/source]}}
        go: {{type: exec, commands: ['true'], depends_on: [source]}}
        """
    )
    assert "`repos/source` of the state folder is not what was fetched now" in project("run").err
    assert "name: now" in rendered(project, "a")
    assert "name: now" in rendered(project, "b")
    assert (project.state / "repos/source/a.yaml").read_text() == manifest("stale")


def test_a_new_run_resolves_a_branch_again_and_a_resumed_one_does_not(
    project: ProjectFolder, repository: Repository
) -> None:
    repository.commit({"a.yaml": manifest("first")})
    project.config(
        f"""
        source: {{type: git, repo: '{repository.url}', branch: trunk}}
        objects: {{type: yaml, manifests: ['${{repos.source}}/a.yaml']}}
        """
    )
    project.runs()
    repository.commit({"a.yaml": manifest("second")})
    assert project.runs("--resume") == []
    assert "first" in rendered(project, "objects")
    assert project.runs() == ["objects:deploy", "objects:template", "source:prepare"]
    assert "second" in rendered(project, "objects")


def test_only_what_is_read_of_a_clone_counts(project: ProjectFolder, repository: Repository) -> None:
    first = repository.commit({"a.yaml": manifest("a"), "b.yaml": manifest("b")})
    second = repository.commit({"b.yaml": manifest("other")})
    project.config(
        f"""
        source: {{type: git, repo: '{repository.url}', ref: {first}}}
        a: {{type: yaml, manifests: ['${{repos.source}}/a.yaml']}}
        b: {{type: yaml, manifests: ['${{repos.source}}/b.yaml']}}
        """
    )
    project.runs()
    project.edit("config.yaml", first, second)
    assert project.runs("--resume") == ["b:deploy", "b:template", "source:prepare"]
    assert project.runs("--resume") == []


def test_a_clone_whose_output_is_lost_is_made_again_and_nothing_else(
    project: ProjectFolder, repository: Repository
) -> None:
    repository.commit({"a.yaml": manifest("a")})
    project.config(
        f"""
        source: {{type: git, repo: '{repository.url}'}}
        a: {{type: yaml, manifests: ['${{repos.source}}/a.yaml']}}
        """
    )
    project.runs()
    shutil.rmtree(project.state / "out/source")
    assert project.runs("--resume") == ["source:prepare"]


def test_a_run_of_another_profile_changes_nothing_that_this_one_reads(
    project: ProjectFolder, repository: Repository
) -> None:
    repository.commit({"a.yaml": manifest("trunk")})
    repository.run("checkout", "--quiet", "-b", "next")
    repository.commit({"a.yaml": manifest("next")})
    project.config(
        f"""
        source: {{type: git, repo: '{repository.url}'}}
        a: {{type: yaml, manifests: ['${{repos.source}}/a.yaml']}}
        """
    )
    for profile, branch in (("one", "trunk"), ("two", "next")):
        project.write({f"config-{profile}.yaml": f"apps: {{source: {{branch: {branch}}}}}\n"})
        project.runs("--profile", profile)
    assert "name: next" in rendered(project, "a")
    project.edit("config.yaml", "a: {type: yaml,", "a: {type: yaml, labels: {new: label},")
    assert project.runs("--resume", "--profile", "one") == ["a:deploy", "a:template"]
    assert "name: trunk" in rendered(project, "a")


def test_a_file_that_the_clone_does_not_have_fails_its_reader_and_says_what_is_near(
    project: ProjectFolder, repository: Repository
) -> None:
    repository.commit({"deploy/app.yaml": manifest("a"), "other/x": "1"})
    project.config(
        f"""
        source: {{type: git, repo: '{repository.url}'}}
        a: {{type: yaml, manifests: ['${{repos.source}}/deploy/ap.yaml']}}
        b: {{type: yaml, manifests: ['${{repos.source}}/deploy/app.yaml']}}
        c: {{type: helm, chart: ./repos/source/other}}
        """
    )
    ended = project("run")
    assert ended.code == 1
    assert (
        "config.yaml:5: manifest '${repos.source}/deploy/ap.yaml' is missing: what app 'source' fetches has no "
        "'deploy/ap.yaml'; it has: deploy/app.yaml" in ended.err
    )
    assert project.statuses("b:deploy", "a:template", "c:prepare") == ["completed", "failed", "failed"]


def test_paths_to_nowhere_are_told_before_anything_runs(project: ProjectFolder) -> None:
    project.config(
        """
        source: {type: git, repo: nowhere}
        off: {type: git, repo: 'https://example.com/x', enabled: false}
        a: {type: yaml, manifests: ['${repos.sorce}/a.yaml']}
        b: {type: yaml, manifests: ['${repos.off}/a.yaml']}
        c: {type: yaml, manifests: ['${repos.source}/../../etc/passwd']}
        """
    )
    project.write({"sources.yaml": "git_repos: {elsewhere: 'https://example.com/y'}\n"})
    told = project("validate")
    assert told.code == 2
    for line in (
        "config.yaml:4: `git_repos` has no 'nowhere', so source:prepare would fail",
        "config.yaml:6: manifest '${repos.sorce}/a.yaml' is missing: there is no app 'sorce' of type git",
        "manifest '${repos.off}/a.yaml' is missing: app 'off', which fetches it, is disabled",
        "it leads out of the repository",
    ):
        assert line in told.out + told.err, told


def test_a_kustomization_of_the_project_that_leads_to_what_is_fetched_is_told_beforehand(
    project: ProjectFolder,
) -> None:
    project.write({"k/kustomization.yaml": "resources: [../repos/source/base, crds.yaml, own.yaml]\n"})
    project.write({"k/own.yaml": manifest("own"), "k/crds.yaml": manifest("stale")})
    project.config(
        """
        source: {type: git, repo: 'https://example.com/x'}
        crds: {type: http, url: 'https://example.com/x', dest: k/crds.yaml}
        k: {type: kustomize, path: k}
        """
    )
    told = project("validate").err
    assert "config.yaml:6: resource 'repos/source/base' is missing: app 'source' fetches it" in told
    assert "config.yaml:6: resource 'k/crds.yaml' is missing: app 'crds' fetches it" in told
    assert "own.yaml" not in told


def test_a_chart_in_git_is_taken_from_its_folder(project: ProjectFolder, repository: Repository) -> None:
    repository.commit(chart("web"))
    repository.run("tag", "v1")
    repository.commit({"charts/web/values.yaml": "greeting: newer\n"})
    project.config(
        f"web: {{type: helm, chart: 'git+{repository.url}//charts/web?ref=v1', overrides: [{{NOTES.txt: n.txt}}]}}\n"
    )
    project.write({"n.txt": "x"})
    assert project("validate").code == 0
    assert project("run").code == 0
    assert "greeting: hello" in rendered(project, "web").replace('"', "")
    assert metadata(project, "web:prepare")["asked"] == "v1"
    assert project.runs("--resume") == []


def test_what_is_pinned_to_no_commit_is_said(project: ProjectFolder, repository: Repository) -> None:
    commit = repository.commit({"a.yaml": manifest("a")})
    project.config(
        f"""
        free: {{type: git, repo: '{repository.url}', branch: trunk}}
        pinned: {{type: git, repo: '{repository.url}', ref: {commit}}}
        web: {{type: helm, chart: 'git+{repository.url}//charts/web?ref=v1'}}
        """
    )
    told = project("plan").err
    assert "config.yaml:4: 'trunk' of app 'free' is not pinned" in told
    assert "of app 'web' is not pinned" in told
    assert "'pinned'" not in told


CANARY = "canary-7d21f0"


def test_a_token_opens_a_repository_and_stands_nowhere_afterwards(
    project: ProjectFolder, repository: Repository, tmp_path: Path
) -> None:
    """An old project: the entry in `git_repos` has another name than the app."""
    repository.commit({"a.yaml": manifest("a"), **chart("web")})
    with GitHttp(tmp_path / "served", accounts={"bot": CANARY}).serving() as server:
        project.config(
            f"""
            source: {{type: git, repo: ours}}
            a: {{type: yaml, manifests: ['${{repos.ours}}/a.yaml', ./repos/ours/a.yaml]}}
            web: {{type: helm, chart: 'git+{server.url}/shop//charts/web'}}
            """
        )
        project.write(
            {
                "sources.yaml": f"""
                git_repos:
                  ours: {{url: '{server.url}/shop', branch: trunk, username: bot, password: {{from_env: TOKEN}}}}
                """
            }
        )
        missing = project("run")
        assert "`git_repos.ours.password` comes from the environment variable 'TOKEN'" in missing.err
        ended = project("run", env={"TOKEN": CANARY})
        assert ended.code == 0, ended
        project.env["TOKEN"] = CANARY[:-1]
        refused = project("run")
        assert "was refused with the credentials given" in refused.err
    assert CANARY not in ended.out + ended.err + refused.err
    everything = [file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()]
    assert not any(CANARY[:-1].encode() in content for content in everything)


def test_a_server_that_is_not_well_is_asked_again_and_one_that_refuses_is_not(
    project: ProjectFolder, repository: Repository, tmp_path: Path
) -> None:
    repository.commit({"a.yaml": manifest("a")})
    with GitHttp(tmp_path / "served", answers=[503, 200]).serving() as server:
        project.config(
            f"""
            source: {{type: git, repo: '{server.url}/shop', retry: {{retries: 2, base: 0s}}}}
            gone: {{type: git, repo: '{server.url}/gone', depends_on: [source], retry: {{retries: 2, base: 0s}}}}
            """
        )
        ended = project("run", "--output", "ndjson")
    steps = project("status", "--output", "json").document["steps"]
    assert ended.code == 1
    assert (steps["source:prepare"]["attempt"], steps["source:prepare"]["status"]) == (2, "completed")
    assert (steps["gone:prepare"]["attempt"], steps["gone:prepare"]["status"]) == (1, "failed")
    assert json.dumps(steps["gone:prepare"]["error"]).count("there is no git repository") == 1


def test_a_git_that_gets_no_answer_ends_with_the_time_limit(
    project: ProjectFolder, repository: Repository, tmp_path: Path
) -> None:
    repository.commit({"a": "1"})
    with GitHttp(tmp_path / "served", stalls_at="/info/refs").serving() as server:
        project.config(f"source: {{type: git, repo: '{server.url}/shop', time_limit: 0.5s}}\n")
        assert "time limit of 0.5 s" in project("run").err
        assert not any(server.url.encode() in command for command in commands_running())
        server.goes_on.set()


@pytest.mark.parametrize("stalls_at", ["/info/refs", "/git-upload-pack"])
def test_a_run_that_is_killed_while_it_fetches_goes_on_as_if_nothing_had_been(
    project: ProjectFolder, repository: Repository, tmp_path: Path, stalls_at: str
) -> None:
    commit = repository.commit({"a.yaml": manifest("a")})
    with GitHttp(tmp_path / "served", stalls_at=stalls_at).serving() as server:
        project.config(
            f"""
            source: {{type: git, repo: '{server.url}/shop', ref: {commit if "pack" in stalls_at else "trunk"}}}
            a: {{type: yaml, manifests: ['${{repos.source}}/a.yaml']}}
            """
        )
        with project.start("run") as running:
            assert server.stalled.wait(30)
            running.kill()
        assert project.statuses("source:prepare", "a:template") == ["interrupted", "pending"]
        server.stalls_at = None  # the first request is not answered before all is over
        assert project.runs("--resume") == ["a:deploy", "a:template", "source:prepare"]
        server.goes_on.set()
    assert "name: a" in rendered(project, "a")
