"""What a project reads, where that is in the way of what is written, or no file at all."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from .project import CONFIG_MAP, ProjectFolder, chart, effect, manifest

# A chart that is the project's own folder

CHART = {
    "Chart.yaml": "apiVersion: v2\nname: web\nversion: 1.0.0\n",
    "values.yaml": "greeting: hello\n",
    "templates/config.yaml": CONFIG_MAP,
}


def own_chart(project: ProjectFolder, target: str = "rendered", more: str = "") -> None:
    project.config("web: {type: helm, chart: .}\n" + more, target=f"target: {{directory: {target}}}\n")
    project.write(CHART)


def chart_taken(project: ProjectFolder) -> set[str]:
    output = project.state / "out" / project.view["steps"]["web:prepare"]["output"]["path"] / "chart"
    return {path.relative_to(output).as_posix() for path in output.rglob("*") if path.is_file()}


@pytest.mark.parametrize("target", ["rendered", "deep/er/rendered", ".", "templates/rendered"])
def test_what_runs_leave_in_a_chart_is_no_part_of_it(project: ProjectFolder, target: str) -> None:
    own_chart(project, target, "other: {type: yaml, manifests: [other.yaml]}\n")
    project.write({"other.yaml": manifest("other"), ".gitignore": "x\n"})
    for _ in range(2):
        assert project("run").code == 0
        assert chart_taken(project) == {*CHART, "config.yaml", "other.yaml", ".gitignore"}
    assert project.runs("--resume") == []
    assert (project.root / target / "web/manifests.yaml").exists()
    project.write({"values.yaml": "greeting: bye\n"})
    assert project.runs("--resume") == ["web:build", "web:deploy", "web:prepare", "web:template"]


def test_neither_are_another_state_folder_nor_the_target_of_another_profile(project: ProjectFolder) -> None:
    own_chart(project)
    project.write({"config-prod.yaml": "target: {directory: rendered-prod}\n"})
    assert project("run").code == 0
    taken = chart_taken(project)
    assert project("run", "--profile", "prod", "--state-dir", "elsewhere").code == 0
    assert project.runs("--resume") == []
    assert project("run").code == 0
    assert chart_taken(project) == taken == {*CHART, "config.yaml", "config-prod.yaml"}


def test_what_helm_would_not_load_is_neither_taken_nor_waited_for(project: ProjectFolder) -> None:
    own_chart(project)
    project.write({".helmignore": "node_modules/\n*.md\n", "node_modules/x.js": "x", "README.md": "x"})
    os.mkfifo(project.root / "pipe.md")
    assert project("run").code == 0
    assert chart_taken(project) == {*CHART, "config.yaml", ".helmignore"}
    project.write({"README.md": "y", "node_modules/y.js": "y"})
    assert project.runs("--resume") == []
    project.write({".helmignore": "node_modules/\n*.md\n*.txt\n"})
    assert "web:prepare" in project.runs("--resume")


def test_patterns_and_folders_do_not_find_what_was_rendered(project: ProjectFolder) -> None:
    project.config("a: {type: yaml, manifests: ['**/*.yml']}\nb: {type: yaml, manifests: [objects]}\n")
    project.write({"objects/one.yml": manifest("one"), "objects/rendered.yaml": manifest("two")})
    assert project("run").code == 0
    for folder in (project.state, project.root / "rendered/a"):
        (folder / "found.yml").write_text("no: manifest\n")
    assert project("run").code == 0
    assert (project.root / "rendered/a/manifests.yaml").read_text().count("kind:") == 1
    project.config("c: {type: yaml, manifests: ['rendered/*/manifests.yaml']}\n", name="other.yaml")
    found = project("run", "--config-file", "other.yaml", "--target", "second")
    assert found.code == 0, found
    assert (project.root / "second/c/manifests.yaml").read_text().count("kind:") == 3


# What is no file


def as_pipe(path: Path) -> None:
    os.mkfifo(path)


def as_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def as_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(path))


MADE: dict[str, Callable[[Path], None]] = {
    "a named pipe": as_pipe,
    "a device": as_device,
    "a socket": as_socket,
    "a folder": Path.mkdir,
}
NAMED = {
    "values file": "web: {type: helm, chart: ./charts/web, values: [thing]}\n",
    "manifest": "web: {type: yaml, manifests: [thing]}\n",
    "chart": "web: {type: helm, chart: ./thing}\n",
    "override": "web: {type: helm, chart: ./charts/web, overrides: [{values.yaml: thing}]}\n",
}


MAY_BE_FOLDERS = ("manifest", "chart")


@pytest.mark.parametrize(
    ("what", "kind"),
    [(what, kind) for what in NAMED for kind in MADE if kind != "a folder" or what not in MAY_BE_FOLDERS],
)
def test_what_is_no_file_is_named_with_its_line_and_not_waited_for(
    project: ProjectFolder, monkeypatch: pytest.MonkeyPatch, what: str, kind: str
) -> None:
    monkeypatch.chdir(project.root)
    project.config(NAMED[what] + effect("b"))
    project.write(chart("web"))
    MADE[kind](project.root / "thing")
    told = f"config.yaml:4: {what} "
    ending = f"cannot be read: `{project.root}/thing` is {kind}"
    for command, code in (("validate", 2), ("plan", 0), ("run", 1)):
        ended = project(command)
        assert ended.code == code, ended
        assert told in ended.err
        assert ending in ended.err
    assert project.new_effects() == ["b"]


@pytest.mark.parametrize("kind", ["a named pipe", "a device", "a socket", "a link to nothing"])
def test_what_is_no_file_in_a_chart_is_named_with_the_line_of_the_chart(
    project: ProjectFolder, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.chdir(project.root)
    project.config("web: {type: helm, chart: ./charts/web}\n" + effect("b"))
    project.write(chart("web"))
    thing = project.root / "charts/web/templates/thing"
    MADE.get(kind, lambda path: path.symlink_to("nowhere"))(thing)
    ended = project("run")
    assert ended.code == 1
    assert f"config.yaml:4: chart './charts/web' holds 'templates/thing', which is {kind}" in ended.err
    assert project.new_effects() == ["b"]
    thing.unlink()
    assert project("run", "--resume").code == 0


def test_links_in_a_chart_are_followed_but_in_no_circle(project: ProjectFolder) -> None:
    project.config("web: {type: helm, chart: ./charts/web}\n")
    project.write({**chart("web"), "shared/extra.yaml": CONFIG_MAP, "shared/deep/x.txt": "x"})
    for name, to in {"shared": "../../shared", "again": "../../shared", "circle": "../web"}.items():
        (project.root / "charts/web" / name).symlink_to(to)
    assert project("run").code == 0
    assert {name for name in chart_taken(project) if "extra" in name} == {
        "shared/extra.yaml",
        "again/extra.yaml",
    }
    project.write({"shared/deep/x.txt": "y"})
    assert "web:prepare" in project.runs("--resume")
