"""Dependencies of charts, through `sbkube run`, from servers and folders on this machine."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from servers import faults
from servers.charts import TEMPLATE, Chart, index
from servers.git import Repository
from servers.http import Server
from servers.messages import Request, Response
from servers.registry import Registry

from .project import ProjectFolder
from .sources import rendered, serve

NAMED = TEMPLATE.replace("{{ .Release.Name }}", "{{ .Release.Name }}-{{ .Chart.Name }}")


def chart(name: str, version: str = "1.0.0", needs: str = "") -> Chart:
    return Chart(name, version, more(name, version, needs))


def more(name: str, version: str, needs: str) -> dict[str, str]:
    written = f"dependencies: {needs}\n" if needs else ""
    return {
        "Chart.yaml": f"apiVersion: v2\nname: {name}\nversion: {version}\n{written}",
        "templates/config.yaml": NAMED,
    }


def own(
    project: ProjectFolder, name: str, needs: str = "", version: str = "1.0.0", at: str = "charts"
) -> None:
    project.write({f"{at}/{name}/{path}": text for path, text in more(name, version, needs).items()})


@pytest.fixture
def shop() -> Iterator[Server]:
    with Server() as server:
        yield server


@pytest.fixture
def repository_of_git(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "served/shop")


def tree(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


def test_what_a_chart_depends_on_is_fetched_at_all_depths_and_no_folder_of_the_user_is_written_to(
    project: ProjectFolder, shop: Server
) -> None:
    registry = Registry()
    shop.handlers.append(registry)
    host = shop.url.partition("://")[2]
    registry.push("charts/queue", chart("queue", "3.1.0"))
    serve(
        shop,
        chart("db", "1.1.0"),
        chart("db", "1.2.0", f"[{{name: queue, version: ^3, repository: 'oci://{host}/charts'}}]"),
        chart("db", "2.0.0"),
    )
    project.write(
        {
            "sources.yaml": json.dumps(
                {
                    "helm_repos": {"shop": shop.url},
                    "oci_registries": {"q": {"registry": f"{host}/charts", "plain_http": True}},
                }
            )
        }
    )
    own(
        project,
        "web",
        f"""
- {{name: db, version: ^1, repository: '@shop'}}
- {{name: db, version: 1.x, repository: '{shop.url}/', alias: replica}}
- {{name: db, version: 2.0.0, repository: '{shop.url}', alias: newer}}
- {{name: common, version: '>=0.1', repository: 'file://../common'}}
- {{name: off, repository: 'file://../off', condition: off.enabled}}""",
    )
    own(project, "common", "[{name: deep, repository: 'file://../../deep'}]", "0.2.0")
    own(project, "off")
    own(project, "deep", at=".")
    project.config("web: {type: helm, chart: ./charts/web, values: [{off: {enabled: false}}]}")
    before = tree(project.root / "charts")
    assert project("validate").code == 0
    planned = project("plan")
    assert "what chart ./charts/web depends on: db ^1" in planned.out
    assert shop.count() == 0
    ended = project("run")
    assert ended.code == 0, ended
    text = rendered(project, "web")
    for name in ("web-1.0.0", "db-1.2.0", "db-2.0.0", "queue-3.1.0", "common-0.2.0", "deep-1.0.0"):
        assert f"chart: {name}" in text or name.startswith("db"), name
    assert {"name: web-replica", "name: web-newer", "name: web-db"} <= set(map(str.strip, text.splitlines()))
    assert "chart: off" not in text
    assert shop.count("/index.yaml") == shop.count("/db-1.2.0.tgz") == shop.count("/db-2.0.0.tgz") == 1
    assert tree(project.root / "charts") == before
    out = project("logs", "web:prepare").out
    assert f"dependency 'db' of chart ./charts/web: 1.2.0 from {shop.url}/db-1.2.0.tgz (SHA-256 " in out
    assert "dependency 'deep' of chart ./charts/web > common from file://../../deep" in out


def test_a_change_in_a_folder_that_a_chart_depends_on_is_seen_by_a_resume(project: ProjectFolder) -> None:
    own(project, "web", "[{name: common, repository: 'file://../common'}]")
    own(project, "common", "[{name: deep, repository: 'file://../deep'}]")
    own(project, "deep")
    own(project, "other")
    project.config("web: {type: helm, chart: ./charts/web}\nother: {type: helm, chart: ./charts/other}")
    project.runs()
    assert project.runs("--resume") == []
    project.edit("charts/deep/templates/config.yaml", "data:", "data:\n  more: here")
    assert project.runs("--resume") == [
        f"web:{stage}" for stage in ("build", "deploy", "prepare", "template")
    ]
    assert "more: here" in rendered(project, "web")


LOCK = """\
dependencies:
- name: db
  repository: {url}
  version: 1.1.0
digest: {digest}
generated: "2026-01-02T03:04:05Z"
"""


def test_a_lock_says_the_version_and_one_that_does_not_fit_any_more_stops_the_app(
    project: ProjectFolder, shop: Server
) -> None:
    from sbkube.apps.dependency_locks import digest

    serve(shop, chart("db", "1.1.0"), chart("db", "1.2.0"))
    own(project, "web", f"[{{name: db, version: ^1, repository: '{shop.url}'}}]")
    counted = {"name": "db", "version": "^1", "repository": shop.url}
    right = digest([[counted], [{**counted, "version": "1.1.0"}]])
    project.write({"charts/web/Chart.lock": LOCK.format(url=shop.url, digest=right)})
    project.config("web: {type: helm, chart: ./charts/web}")
    project.runs()
    assert "chart: db-1.1.0" in rendered(project, "web")
    project.edit("charts/web/Chart.yaml", "^1", "^1.1")
    for command in ("validate", "run"):
        ended = project(command)
        assert ended.code != 0
        said = " ".join((ended.out + ended.err).split())
        assert (
            "charts/web/Chart.lock: `Chart.lock` of chart './charts/web' does not fit its dependencies"
            in said
        )
        assert f"helm dependency update {project.root / 'charts/web'}" in said


def test_what_lies_in_charts_is_taken_as_it_is_and_nobody_asked(project: ProjectFolder, shop: Server) -> None:
    needs = (
        f"[{{name: db, version: ^1, repository: '{shop.url}'}}, {{name: q, version: 1.0.0, repository: ''}}]"
    )
    own(project, "web", needs)
    own(project, "q", at="charts/web/charts")
    (project.root / "charts/web/charts/whatever.tgz").write_bytes(chart("db", "1.0.1").packed)
    project.config("web: {type: helm, chart: ./charts/web}")
    project.runs()
    assert "chart: db-1.0.1" in rendered(project, "web")
    assert shop.count() == 0
    project.edit("charts/web/Chart.yaml", "^1", "^2")
    ended = project("run")
    told = "charts/web/Chart.yaml:4: dependency 'db' of chart './charts/web' is at version 1.0.1 in `charts/`, which does not satisfy the constraint '^2'"
    assert told in ended.out + ended.err


@pytest.mark.parametrize(
    ("needs", "told", "hint"),
    [
        ("{name: db}", "dependency 'db' of chart './charts/web' is not in `charts/`, and names no repository", "put it there"),
        ("{name: db, repository: '@shpo'}", "`helm_repos` has no 'shpo'", "did you mean 'shop'?"),
        ("{name: db, repository: stable}", "'stable' is no repository", "it is a URL"),
        ("{name: db, version: new, repository: '@shop'}", "'new' is neither a version nor a range of versions", "write it like"),
        ("{name: db, version: ^9, repository: '@shop'}", "chart 'db' of repository 'shop' has no version '^9'", "the newest are: 1.0.0"),
        ("{name: bd, repository: '@shop'}", "(@shop): repository 'shop' has no chart 'bd'", "did you mean 'db'?"),
        ("{name: db, repository: 'file://../nothing'}", "dependency 'db' of chart './charts/web' is not at 'file://../nothing'", "looked at: "),
        ("{name: db, repository: 'file://../other'}", "is a chart of another name: 'other'", ""),
        ("{name: other, version: ^2, repository: 'file://../other'}", "is at version 1.0.0 in 'file://../other', which does not satisfy the constraint '^2'", "helm dependency update"),
    ],
)  # fmt: skip
def test_what_cannot_be_had_is_told_with_its_line_and_no_other_app_fails(
    project: ProjectFolder, shop: Server, needs: str, told: str, hint: str
) -> None:
    serve(shop, chart("db"))
    project.write({"sources.yaml": json.dumps({"helm_repos": {"shop": shop.url}})})
    own(project, "web", f"\n- {needs}")
    own(project, "other")
    project.config("web: {type: helm, chart: ./charts/web}\nother: {type: helm, chart: ./charts/other}")
    ended = project("run")
    said = ended.out + ended.err
    assert ended.code != 0
    assert told in said, said
    assert hint in said
    assert "charts/web/Chart.yaml:5: " in said


def test_charts_that_depend_on_each_other_in_a_circle_are_refused_with_the_way_of_it(
    project: ProjectFolder, shop: Server
) -> None:
    own(project, "web", "[{name: a, repository: 'file://../a'}]")
    own(project, "a", "[{name: b, repository: 'file://../b'}]")
    own(project, "b", "[{name: a, repository: 'file://../a'}]")
    needs = "[{{name: {}, repository: '{}'}}]"
    serve(shop, chart("p", needs=needs.format("q", shop.url)), chart("q", needs=needs.format("p", shop.url)))
    project.write({"sources.yaml": json.dumps({"helm_repos": {"shop": shop.url}})})
    project.config("web: {type: helm, chart: ./charts/web}\nfar: {type: helm, chart: shop/p}")
    ended = project("run")
    said = ended.out + ended.err
    assert "charts depend on each other in a circle: a > b > a" in said
    assert "charts depend on each other in a circle: p > q > p" in said, said


def test_a_chart_from_elsewhere_reads_nothing_of_this_machine(project: ProjectFolder, shop: Server) -> None:
    own(project, "secret", at=".")
    for at, path in enumerate((f"{project.root}/secret", "../../../../../../../../../../secret")):
        serve(shop, chart("web", needs=f"[{{name: secret, repository: 'file://{path}'}}]"))
        project.write({"sources.yaml": json.dumps({"helm_repos": {f"shop{at}": shop.url}})})
        project.config(f"web: {{type: helm, chart: shop{at}/web}}")
        ended = project("run")
        assert ended.code != 0
        assert "which leads out of what was fetched" in ended.out + ended.err


def test_a_name_that_is_a_path_leads_nowhere(project: ProjectFolder, shop: Server) -> None:
    evil = Chart("evil", "1.0.0", more("../../../evil", "1.0.0", ""))
    shop.files["/index.yaml"] = (
        f'apiVersion: v1\nentries:\n  "../../../evil":\n  - {{name: "../../../evil", version: 1.0.0, urls: [{evil.file}]}}\n'
    )
    shop.files[f"/{evil.file}"] = evil.packed
    own(project, "web", f"[{{name: ../../../evil, repository: '{shop.url}'}}]")
    project.config("web: {type: helm, chart: ./charts/web}")
    ended = project("run")
    assert ended.code != 0
    assert "is no chart that Helm takes: '../../../evil' '1.0.0'" in ended.out + ended.err


def test_thirty_dependencies_are_each_fetched_once_and_a_loss_in_between_is_tried_again(
    project: ProjectFolder, shop: Server
) -> None:
    charts = [chart(f"part{n}") for n in range(30)]
    serve(shop, *charts)
    own(project, "web", "".join(f"\n- {{name: {it.name}, repository: '{shop.url}'}}" for it in charts))
    project.config(
        "web: {type: helm, chart: ./charts/web, retry: {base: 0.01}}\nagain: {type: helm, chart: ./charts/web, retry: {base: 0.01}}"
    )
    lost = faults.first(1, faults.answer(503, Retry_After="0"))
    shop.before.append(lambda request: lost(request) if request.path == f"/{charts[7].file}" else None)
    project.runs()
    assert all(f"chart: {it.name}-1.0.0" in rendered(project, "again") for it in charts)
    assert shop.count("/index.yaml") == 1
    assert [it.name for it in charts if shop.count(f"/{it.file}") != 1] == ["part7"]


def test_what_has_neither_lock_nor_version_is_said_to_be_unpinned(
    project: ProjectFolder, shop: Server
) -> None:
    serve(shop, chart("db"), chart("q"))
    own(
        project,
        "web",
        f"[{{name: db, version: ^1, repository: '{shop.url}'}}, {{name: q, version: 1.0.0, repository: '{shop.url}'}}]",
    )
    project.config("web: {type: helm, chart: ./charts/web}")
    said = project("validate")
    assert f"'{shop.url} db ^1' of app 'web' is not pinned" in said.out + said.err
    assert " q 1.0.0'" not in said.out + said.err


def test_a_chart_in_git_finds_the_charts_beside_it_and_none_outside(
    project: ProjectFolder, repository_of_git: Repository
) -> None:
    git = repository_of_git
    files = {
        "common": more("common", "0.2.0", ""),
        "web": more("web", "1.0.0", "[{name: common, repository: 'file://../common'}]"),
    }
    commit = {f"charts/{name}/{path}": text for name, texts in files.items() for path, text in texts.items()}
    git.commit(commit)
    project.config(
        f"""
        web: {{type: helm, chart: 'git+{git.url}//charts/web'}}
        source: {{type: git, repo: '{git.url}', path: charts}}
        same: {{type: helm, chart: '${{repos.source}}/charts/web'}}
        """
    )
    project.runs()
    for app in ("web", "same"):
        assert "chart: common-0.2.0" in rendered(project, app)
    outputs = project.state / "out/web/prepare"
    assert [sorted(it.name for it in output.iterdir()) for output in outputs.iterdir()] == [["chart"]]
    own(project, "secret", at=".")
    needs = f"[{{name: secret, repository: 'file://{project.root}/secret'}}]"
    git.commit({"charts/web/Chart.yaml": more("web", "1.0.0", needs)["Chart.yaml"]})
    ended = project("run")
    assert ended.code != 0
    assert (ended.out + ended.err).count("failed after") >= 2
    assert "dependency 'secret' of chart '${repos.source}/charts/web' is at" in ended.out + ended.err
    assert "which leads out of what was fetched" in ended.out + ended.err


def test_a_packed_chart_of_the_project_gets_what_it_does_not_hold(
    project: ProjectFolder, shop: Server
) -> None:
    serve(shop, chart("db"))
    packed = chart("web", needs=f"[{{name: db, repository: '{shop.url}'}}]").packed
    (project.root / "web.tgz").write_bytes(packed)
    project.config("web: {type: helm, chart: ./web.tgz}")
    project.runs()
    assert "chart: db-1.0.0" in rendered(project, "web")


def test_logins_are_told_to_the_repository_that_they_are_for_however_it_is_written_and_to_no_other(
    project: ProjectFolder, shop: Server
) -> None:
    with Server() as other:
        serve(other, chart("part"))
        serve(
            shop,
            chart(
                "web",
                needs=f"[{{name: db, repository: '{shop.url}/'}}, {{name: part, repository: '{other.url}'}}]",
            ),
            chart("db"),
        )
        shop.before.append(faults.login("canary-user", "canary-password"))
        project.env["CHARTS"] = "canary-password"
        entry = {"url": shop.url, "username": "canary-user", "password": {"from_env": "CHARTS"}}
        project.write({"sources.yaml": json.dumps({"helm_repos": {"shop": entry}})})
        project.config("web: {type: helm, chart: shop/web, version: 1.0.0}")
        ended = project("run")
        assert ended.code == 0, ended
        assert "chart: part-1.0.0" in rendered(project, "web")
        assert other.count() == 2
        assert not any("authorization" in request.headers for request in other.requests)
        assert "canary-password" not in ended.out + ended.err


def test_offline_dependencies_come_from_the_cache_and_one_that_is_not_there_is_named(
    project: ProjectFolder, shop: Server
) -> None:
    serve(shop, chart("db"), chart("q"))
    own(project, "web", f"[{{name: db, version: 1.0.0, repository: '{shop.url}'}}]")
    project.config("web: {type: helm, chart: ./charts/web}")
    project.runs()
    shop.forget()
    project.runs("--offline")
    project.edit("charts/web/Chart.yaml", "name: db", "name: q")
    ended = project("run", "--offline")
    assert ended.code != 0
    assert "dependency 'q' of chart './charts/web'" in ended.out + ended.err, ended
    assert "chart 'q' 1.0.0 of repository" in ended.out + ended.err, ended
    assert shop.count() == 0


def test_one_that_changes_its_url_by_name_is_fetched_anew_by_a_resume(
    project: ProjectFolder, shop: Server
) -> None:
    with Server() as other:
        serve(shop, chart("db"))
        serve(other, chart("db", "2.0.0"))
        own(project, "web", "[{name: db, repository: '@shop'}]")
        project.config("web: {type: helm, chart: ./charts/web}")
        project.write({"sources.yaml": json.dumps({"helm_repos": {"shop": shop.url}})})
        project.runs()
        project.write({"sources.yaml": json.dumps({"helm_repos": {"shop": other.url}})})
        assert "web:prepare" in project.runs("--resume")
        assert "chart: db-2.0.0" in rendered(project, "web")


def test_a_server_that_makes_up_ever_more_charts_is_left_soon(project: ProjectFolder, shop: Server) -> None:
    def made_up(request: Request) -> Response | None:
        number = int(request.path.removeprefix("/x").removesuffix("-1.0.0.tgz"))
        needs = f"[{{name: x{number + 1}, repository: '{shop.url}'}}]"
        return Response(200, chart(f"x{number}", needs=needs).packed)

    listed = index({f"x{n}": [chart(f"x{n}").entry(digest="")] for n in range(1000)})
    shop.files["/index.yaml"] = listed
    shop.before.append(lambda request: made_up(request) if request.path.startswith("/x") else None)
    own(project, "web", f"[{{name: x0, repository: '{shop.url}'}}]")
    project.config("web: {type: helm, chart: ./charts/web}")
    ended = project("run")
    assert ended.code != 0
    assert "charts depend on each other more than 20 deep (web > x0 > x1 > " in ended.out + ended.err
    assert shop.count() < 30


def test_where_no_version_is_asked_for_any_that_lies_there_will_do(project: ProjectFolder) -> None:
    own(project, "web", "[{name: db, repository: 'file://../db'}, {name: q, repository: ''}]")
    own(project, "db", version="1.0.0-rc.1")
    own(project, "q", version="0.0.1-dev", at="charts/web/charts")
    project.config("web: {type: helm, chart: ./charts/web}")
    project.runs()
    assert "chart: db-1.0.0-rc.1" in rendered(project, "web")
    assert "chart: q-0.0.1-dev" in rendered(project, "web")
