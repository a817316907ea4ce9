"""What charts depend on: rendered as `helm template` does after `helm dependency build`, and locked as the helm programs lock."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from helm_binaries import BINARIES

from cli.project import ProjectFolder
from sbkube.apps.helm import KUBE_VERSION
from servers.charts import Chart, repository
from servers.http import Server
from servers.registry import Registry

TEMPLATE = """\
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ .Release.Name }}-{{ .Chart.Name }}
data:
  version: {{ .Chart.Version | quote }}
  values: {{ toJson .Values | quote }}
"""
VALUES = """\
size: 1
exports:
  data: {exported: here}
"""


def files(name: str, version: str, needs: str = "", more: str = "") -> dict[str, str]:
    written = f"dependencies:{needs}\n" if needs else ""
    return {
        "Chart.yaml": f"apiVersion: v2\nname: {name}\nversion: {version}\n{written}",
        "values.yaml": VALUES + more,
        "templates/config.yaml": TEMPLATE,
    }


def packed(name: str, version: str, holds: dict[str, str] | None = None, needs: str = "") -> Chart:
    return Chart(name, version, {**files(name, version, needs), **(holds or {})})


INNER = {f"charts/inner/{path}": text for path, text in files("inner", "0.1.0").items()}


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        registry = Registry()
        server.handlers.append(registry)
        for version in ("2.0.0", "2.1.0", "3.0.0"):
            registry.push("charts/queue", packed("queue", version))
        needs = "\n- {name: inner, version: 0.1.0, repository: ''}"
        charts = [packed("db", version, INNER, needs) for version in ("1.0.0", "1.4.0", "2.0.0")]
        for path, content in repository(*charts, packed("cache", "1.0.0")).items():
            server.files[path] = content
        yield server


CASES = {
    "http, by name and by URL": (
        "\n- {name: db, version: ^1, repository: '@shop'}\n- {name: cache, version: '>=1 <2', repository: 'URL'}",
        {},
    ),
    "alias of a name": ("\n- {name: db, version: 1.x, repository: 'alias:shop'}", {"db": {"size": 3}}),
    "file": ("\n- {name: common, version: 0.x, repository: 'file://../common'}", {"common": {"size": 2}}),
    "registry, by range": ("\n- {name: queue, version: ~2.0 || ^2.1, repository: 'oci://HOST/charts'}", {}),
    "registry, by version": ("\n- {name: queue, version: 2.0.0, repository: 'oci://HOST/charts'}", {}),
    "one chart under two names": (
        ("\n- {name: db, version: 1.0.0, repository: '@shop'}"
        "\n- {name: db, version: 1.0.0, repository: '@shop', alias: replica}"),
        {"replica": {"size": 5}},
    ),
    "two versions of one chart": (
        ("\n- {name: db, version: 1.0.0, repository: '@shop', alias: old}"
        "\n- {name: db, version: 2.0.0, repository: '@shop', alias: new}"),
        {"old": {"size": 5}},
    ),
    "a condition that is off": (
        ("\n- {name: db, version: ^1, repository: '@shop', condition: 'db.enabled,global.db'}"
        "\n- {name: common, version: '*', repository: 'file://../common', condition: common.enabled}"),
        {"db": {"enabled": False}, "common": {"enabled": True}},
    ),
    "tags": (
        ("\n- {name: db, version: ^1, repository: '@shop', tags: [back, 'a<b']}"
        "\n- {name: common, version: '*', repository: 'file://../common', tags: [front]}"),
        {"tags": {"back": False, "front": True}},
    ),
    "imported values": (
        "\n- {name: common, version: '*', repository: 'file://../common', import-values: [data, {parent: mine, child: exports.data}]}",
        {},
    ),
}  # fmt: skip


def place(server: Server, root: Path, needs: str) -> None:
    host = server.url.partition("://")[2]
    needs = needs.replace("URL", server.url).replace("HOST", host)
    for name, version, wanted in (("web", "1.0.0", needs), ("common", "0.3.0", "")):
        for path, text in files(name, version, wanted).items():
            target = root / "charts" / name / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text)


def ours(project: ProjectFolder, server: Server, values: object) -> list[object]:
    host = server.url.partition("://")[2]
    opened = {"q": {"registry": f"{host}/charts", "plain_http": True}}
    project.write(
        {"sources.yaml": json.dumps({"helm_repos": {"shop": server.url}, "oci_registries": opened})}
    )
    project.config(f"web: {{type: helm, chart: ./charts/web, values: [{json.dumps(values)}]}}")
    ended = project("run")
    assert ended.code == 0, ended
    return documents((project.root / "rendered/web/manifests.yaml").read_text())


def documents(text: str) -> list[object]:
    found = [it for it in yaml.load_all(text, Loader=yaml.BaseLoader) if it]
    return sorted(found, key=lambda it: json.dumps(it, sort_keys=True))


class Program:
    def __init__(self, program: str, home: Path) -> None:
        self.program, self.home = program, home

    def __call__(self, *args: str | Path, fails: bool = False) -> str:
        env = {"HOME": str(self.home), "PATH": os.environ["PATH"]}
        ended = subprocess.run(
            [self.program, *args], env=env, capture_output=True, text=True, check=False, timeout=60
        )
        assert bool(ended.returncode) == fails, ended
        return ended.stderr if fails else ended.stdout


def build(helm: Program, server: Server, charts: Path) -> None:
    helm("repo", "add", "shop", server.url)
    helm("dependency", "build", charts / "web", "--plain-http")


@pytest.fixture
def project(tmp_path: Path) -> ProjectFolder:
    (tmp_path / "project").mkdir()
    return ProjectFolder(tmp_path / "project")


@pytest.mark.parametrize("program", BINARIES)
@pytest.mark.parametrize("case", CASES)
def test_a_chart_with_dependencies_is_rendered_as_by_helm_with_or_without_its_lock(
    case: str, program: str, project: ProjectFolder, server: Server, tmp_path: Path
) -> None:
    needs, values = CASES[case]
    place(server, project.root, needs)
    theirs = shutil.copytree(project.root / "charts", tmp_path / "theirs")
    helm = Program(BINARIES[program], tmp_path)
    build(helm, server, theirs)
    (tmp_path / "values.yaml").write_text(json.dumps(values))
    options = ("-n", "shop", "-f", tmp_path / "values.yaml", "--kube-version", KUBE_VERSION)
    expected = documents(helm("template", "web", theirs / "web", *options))
    assert len(expected) > 1
    assert ours(project, server, values) == expected
    shutil.copy(theirs / "web/Chart.lock", project.root / "charts/web")
    assert ours(project, server, values) == expected


@pytest.mark.parametrize("program", BINARIES)
def test_a_lock_that_helm_refuses_is_refused_and_the_command_that_is_named_mends_it(
    program: str, project: ProjectFolder, server: Server, tmp_path: Path
) -> None:
    place(server, project.root, CASES["file"][0])
    helm = Program(BINARIES[program], tmp_path)
    web = project.root / "charts/web"
    helm("dependency", "update", web)
    shutil.rmtree(web / "charts")
    ours(project, server, {})
    project.edit("charts/web/Chart.yaml", "0.x", "<1")
    assert "out of sync" in helm("dependency", "build", web, fails=True)
    ended = project("run")
    assert ended.code != 0
    assert "does not fit its dependencies any more" in ended.out + ended.err
    helm("dependency", "update", web)
    shutil.rmtree(web / "charts")
    ours(project, server, {})


@pytest.mark.parametrize("program", BINARIES)
def test_requirements_of_old_are_read_and_their_lock_is_respected(
    program: str, project: ProjectFolder, server: Server, tmp_path: Path
) -> None:
    place(server, project.root, "")
    web = project.root / "charts/web"
    (web / "Chart.yaml").write_text("apiVersion: v1\nname: web\nversion: 1.0.0\n")
    (web / "requirements.yaml").write_text(
        f"dependencies:\n- {{name: db, version: ^1, repository: '{server.url}'}}\n- {{name: common, version: 0.3, repository: 'file://../common'}}\n"
    )
    theirs = shutil.copytree(project.root / "charts", tmp_path / "theirs")
    helm = Program(BINARIES[program], tmp_path)
    build(helm, server, theirs)
    expected = documents(
        helm("template", "web", theirs / "web", "-n", "shop", "--kube-version", KUBE_VERSION)
    )
    assert ours(project, server, {}) == expected
    shutil.copy(theirs / "web/requirements.lock", web)
    assert ours(project, server, {}) == expected
    (web / "requirements.yaml").write_text((web / "requirements.yaml").read_text().replace("^1", "^1.0"))
    assert project("run").code != 0


@pytest.mark.parametrize("program", BINARIES)
def test_what_a_dependency_depends_on_is_as_if_helm_had_built_each_by_itself(
    program: str, project: ProjectFolder, server: Server, tmp_path: Path
) -> None:
    place(server, project.root, CASES["file"][0])
    common = project.root / "charts/common/Chart.yaml"
    common.write_text(common.read_text() + "dependencies: [{name: db, version: ^1, repository: '@shop'}]\n")
    theirs = shutil.copytree(project.root / "charts", tmp_path / "theirs")
    helm = Program(BINARIES[program], tmp_path)
    helm("repo", "add", "shop", server.url)
    helm("dependency", "build", theirs / "common")
    helm("dependency", "build", theirs / "web")
    expected = documents(
        helm("template", "web", theirs / "web", "-n", "shop", "--kube-version", KUBE_VERSION)
    )
    assert ours(project, server, {}) == expected
