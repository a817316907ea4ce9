"""`type: http` and what reads its files, through `sbkube run`, from a server on this machine."""

from __future__ import annotations

import hashlib
from pathlib import Path

from servers import faults
from servers.git import Repository
from servers.http import Server

from .project import ProjectFolder, chart, manifest
from .sources import metadata, rendered


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def test_who_reads_a_downloaded_file_waits_for_it_though_nothing_says_so(
    project: ProjectFolder, server: Server
) -> None:
    server.files["/crds.yaml"] = manifest("fetched")
    server.files["/values.yaml"] = "greeting: fetched\n"
    project.write({"manifests/own.yaml": manifest("own"), "manifests/crds.yaml": manifest("stale")})
    project.write(chart("web"))
    project.config(
        f"""
        one: {{type: yaml, manifests: [./manifests/crds.yaml]}}
        folder: {{type: yaml, manifests: [manifests]}}
        some: {{type: yaml, manifests: ['manifests/c*.yaml']}}
        web: {{type: helm, chart: ./charts/web, values: [web.yaml]}}
        crds: {{type: http, url: '{server.url}/crds.yaml', dest: manifests/crds.yaml}}
        values: {{type: http, url: '{server.url}/values.yaml', dest: ./values/web.yaml}}
        """
    )
    assert project("validate").code == 0
    assert server.count() == 0
    ended = project("run", "--output", "ndjson")
    assert ended.code == 0, ended
    for reader in ("one:template", "folder:template", "some:template"):
        assert ended.started.index("crds:prepare") < ended.started.index(reader)
    for app in ("one", "folder", "some"):
        assert "name: fetched" in rendered(project, app)
        assert "stale" not in rendered(project, app)
    assert "name: own" in rendered(project, "folder")
    assert "greeting: fetched" in rendered(project, "web").replace('"', "")
    assert (project.root / "manifests/crds.yaml").read_text() == manifest("stale")
    assert not (project.root / "values").exists()
    assert metadata(project, "crds:prepare")["sha256"] == digest(manifest("fetched"))


def test_an_old_project_with_a_clone_and_a_download_runs_unchanged(
    project: ProjectFolder, server: Server, tmp_path: Path
) -> None:
    """The spellings of 0.3: `files`, `specs`, a list of repositories; no `depends_on` anywhere."""
    repository = Repository(tmp_path / "served/shop")
    repository.commit({"deploy/app.yaml": manifest("cloned"), "chart/values.yaml": "", **chart("web")})
    server.files["/crd.yaml"] = manifest("downloaded")
    project.write(
        {
            "sources.yaml": f"git_repos:\n- {{name: ours, url: '{repository.url}', branch: trunk}}\n",
            "config.yaml": f"""
            namespace: shop
            target: {{directory: rendered}}
            apps:
              objects:
                type: yaml
                specs:
                  files: ['${{repos.ours}}/deploy/app.yaml', manifests/crd.yaml]
              web:
                type: helm
                chart: ./repos/ours/charts/web
              clone:
                type: git
                specs: {{repo: ours}}
              definitions:
                type: http
                url: {server.url}/crd.yaml
                dest: manifests/crd.yaml
            """,
        }
    )
    ended = project("run")
    assert ended.code == 0, ended
    assert "name: cloned" in rendered(project, "objects")
    assert "name: downloaded" in rendered(project, "objects")
    assert "greeting" in rendered(project, "web")
    assert project.runs("--resume") == []


def test_a_file_is_asked_for_anew_by_a_new_run_only_and_comes_again_only_if_it_changed(
    project: ProjectFolder, server: Server
) -> None:
    server.files["/a.yaml"] = manifest("first")
    project.config(
        f"""
        a: {{type: http, url: '{server.url}/a.yaml', dest: a.yaml}}
        b: {{type: yaml, manifests: [a.yaml]}}
        """
    )
    project.runs()
    project.runs("--resume")
    assert server.count() == 1
    project.runs()
    assert server.count() == 2
    assert "if-none-match" in server.asked()[1].headers
    assert "name: first" in rendered(project, "b")
    server.files["/a.yaml"] = manifest("second")
    project.runs()
    assert "name: second" in rendered(project, "b")


def test_a_file_that_is_not_what_was_pinned_stops_its_readers_alone_and_both_digests_are_told(
    project: ProjectFolder, server: Server
) -> None:
    server.files["/a.yaml"] = manifest("swapped")
    server.files["/b.yaml"] = manifest("b")
    pinned = digest(manifest("pinned"))
    project.config(
        f"""
        a: {{type: http, url: '{server.url}/a.yaml', dest: a.yaml, sha256: {pinned}}}
        b: {{type: http, url: '{server.url}/b.yaml', dest: b.yaml}}
        reads-a: {{type: yaml, manifests: [a.yaml]}}
        reads-b: {{type: yaml, manifests: [b.yaml]}}
        """
    )
    ended = project("run")
    assert ended.code == 1
    assert pinned in ended.err
    assert digest(manifest("swapped")) in ended.err
    assert project.statuses("reads-a:template", "reads-b:deploy") == ["blocked", "completed"]
    assert "'b.yaml'" not in project("plan").err.replace(f"{server.url}/b.yaml", "")
    server.files["/a.yaml"] = manifest("pinned")
    project.runs("--resume")
    assert "name: pinned" in rendered(project, "reads-a")
    server.forget()
    project.runs()
    assert server.count("/a.yaml") == 0  # what is pinned and here is asked of nobody


def test_a_download_that_breaks_off_goes_on_where_it_was(project: ProjectFolder, server: Server) -> None:
    text = manifest("large", data="x" * 300_000)
    server.files["/a.yaml"] = text
    server.before.append(faults.first(1, faults.cut(server.files, 0.9)))
    project.config(
        f"""
        a: {{type: http, url: '{server.url}/a.yaml', dest: deep/er/a.yaml, retry: {{base: 0s}}}}
        b: {{type: yaml, manifests: [deep/er/a.yaml]}}
        """
    )
    ended = project("run")
    assert ended.code == 0, ended
    assert "range" in server.asked()[1].headers
    assert metadata(project, "a:prepare")["sha256"] == digest(text)


CANARY = "canary-51ce"


def test_a_token_in_a_header_goes_to_its_server_and_is_left_nowhere(
    project: ProjectFolder, server: Server, tmp_path: Path
) -> None:
    server.files["/a.yaml"] = manifest("a")
    with Server(host="localhost") as front:
        front.before.append(faults.redirect(f"{server.url}/a.yaml"))
        project.config(
            f"""
            a:
              type: http
              url: '{front.url}/a.yaml'
              dest: a.yaml
              headers: {{X-Token: {{from_env: TOKEN}}, Accept: text/yaml}}
            """
        )
        assert "`headers.X-Token` comes from the environment variable 'TOKEN'" in project("run").err
        ended = project("run", env={"TOKEN": CANARY})
        assert ended.code == 0, ended
        assert front.asked()[0].headers["x-token"] == CANARY
    assert CANARY not in server.bytes_received + ended.out + ended.err
    files = [file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()]
    assert not any(CANARY.encode() in content for content in files)


def test_more_than_what_may_come_is_refused_with_its_line(project: ProjectFolder, server: Server) -> None:
    server.files["/a.yaml"] = "x" * 2001
    project.config(
        f"""
        a:
          type: http
          url: '{server.url}/a.yaml'
          dest: a.yaml
          max_size: 2kB
        """
    )
    assert "config.yaml:8: " in project("run").err
    project.edit("config.yaml", "2kB", "2Ki")
    assert project("run").code == 0


def test_where_a_download_may_appear_and_how_much_is_checked_beforehand(project: ProjectFolder) -> None:
    project.config(
        """
        a: {type: http, url: 'https://example.com/a', dest: ../a}
        b: {type: http, url: 'https://example.com/a', dest: b, sha256: abc}
        c: {type: http, url: 'https://example.com/a', dest: c, max_size: much}
        """
    )
    told = project("validate").err
    assert "must be the path of a file in the folder of the project, not '../a'" in told
    assert "`sha256` of app 'b'" in told
    assert "must be text such as `500MB` or `2Gi`" in told


def test_what_would_be_fetched_is_told_and_not_fetched(project: ProjectFolder, server: Server) -> None:
    project.config(
        f"""
        a: {{type: http, url: '{server.url}/a.yaml?token=secret', dest: a.yaml}}
        b: {{type: git, repo: '{server.url}/b', branch: trunk}}
        c: {{type: helm, chart: 'git+{server.url}/c//chart?ref=v1'}}
        """
    )
    plan = project("plan")
    assert f"fetches {server.url}/a.yaml?…" in plan.out
    assert f"fetches trunk of {server.url}/b" in plan.out
    assert f"fetches v1 of {server.url}/c" in plan.out
    assert f"a:prepare fetches {server.url}/a.yaml?…, which is not looked at here" in project("validate").err
    steps = {step["step"]: step["fetches"] for step in project("plan", "--output", "json").document["steps"]}
    assert steps["b:prepare"] == f"trunk of {server.url}/b"
    assert "secret" not in plan.out + plan.err
    assert server.count() == 0
