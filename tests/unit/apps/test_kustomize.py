"""Which files a kustomization is made of, who renders it, and what is made of what it says."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from bench import Bench

from sbkube.apps.files import BadFile, FileMissing
from sbkube.apps.kustomization import follow, is_pinned, is_remote
from sbkube.apps.kustomize import KustomizeFailed, KustomizeMissing

pytestmark = pytest.mark.anyio

APP = "{type: kustomize, path: k}"
RENDERED = """\
apiVersion: v1
kind: ConfigMap
metadata: {name: web}
data: {text: "{{ braces }}"}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.example.com}
"""
# Writes down what it is called with, says something, and gives what lies beside it.
PROGRAM = """#!/bin/sh
here="$(dirname "$0")"
echo "$(basename "$0") $*" >> "$here/calls"
case "$1" in version) cat "$here/version"; exit;; esac
echo "# Warning: 'bases' is deprecated" >&2
[ -e "$here/refusal" ] && { cat "$here/refusal" >&2; exit 1; }
[ "$3" = -o ] && cp "$here/rendered" "$4"
"""


class Programs:
    """A folder for PATH with a Kustomize that renders what the test says."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        (folder / "version").write_text("Client Version: v1.36.3\nKustomize Version: v5.8.1\n")
        (folder / "rendered").write_text(RENDERED)

    def install(self, *names: str) -> None:
        for name in names:
            path = self.folder / name
            path.write_text(PROGRAM)
            path.chmod(path.stat().st_mode | stat.S_IXUSR)

    @property
    def env(self) -> dict[str, str]:
        return {"PATH": f"{self.folder}:/usr/bin:/bin"}

    @property
    def calls(self) -> list[str]:
        return (self.folder / "calls").read_text().splitlines()


@pytest.fixture
def programs(tmp_path: Path) -> Programs:
    return Programs(tmp_path / "bin")


def write(folder: Path, **kustomizations: str) -> None:
    for name, text in kustomizations.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / name / "kustomization.yaml").write_text(text)


# What it is made of


def test_a_kustomization_is_its_folder_and_those_that_it_leads_to(tmp_path: Path) -> None:
    write(
        tmp_path,
        prod="resources: [../base, below, app.yaml]\ncomponents: [../tls]",
        base="bases: [../common]",
        common="{}",
        tls="{}",
        stranger="{}",
    )
    write(tmp_path / "prod", below="transformers: [../../names]")
    write(tmp_path, names="{}")
    found = [os.path.relpath(path, tmp_path) for path in follow(tmp_path / "prod").folders]
    assert [os.path.normpath(path) for path in found] == ["prod", "base", "tls", "common", "names"]


def test_kustomizations_that_lead_to_each_other_come_to_an_end(tmp_path: Path) -> None:
    write(tmp_path, a="resources: [../b]", b="resources: [../a]")
    assert len(follow(tmp_path / "a").folders) == 2


@pytest.mark.parametrize("text", ["resources: {a: b}", "- a", "a: [", "resources: [1, null, {a: b}]"])
def test_what_cannot_be_followed_leads_nowhere(tmp_path: Path, text: str) -> None:
    write(tmp_path, a=text)
    assert follow(tmp_path / "a").folders == (tmp_path / "a",)


@pytest.mark.parametrize(
    "text",
    [
        "https://github.com/org/repo//base?ref=v1.0",
        "github.com/org/repo/base",
        "git@github.com:org/repo.git",
        "git::https://example.com/x.git",
        "ssh://git@example.com/x",
        "example.co.uk/x",
    ],
)
def test_a_url_or_a_host_before_a_path_is_fetched(text: str) -> None:
    assert is_remote(text)


@pytest.mark.parametrize("text", ["../base", "/abs", "deployment.yaml", "base", "a/b", "./v1.0/x", "v1.0/x"])
def test_a_path_is_not_fetched(text: str) -> None:
    assert not is_remote(text)


def test_only_a_commit_is_the_same_tomorrow() -> None:
    assert is_pinned(f"https://github.com/org/repo//base?timeout=9&ref={'a1' * 20}")
    assert not is_pinned("https://github.com/org/repo//base?ref=v1.0")
    assert not is_pinned("https://github.com/org/repo")


def test_what_is_fetched_and_not_pinned_is_told_wherever_it_stands(tmp_path: Path) -> None:
    pinned = f"github.com/org/repo?ref={'0' * 40}"
    write(tmp_path, a="resources: [../b]", b=f"resources: [github.com/org/repo/x, '{pinned}']")
    assert follow(tmp_path / "a").unpinned == ["github.com/org/repo/x"]


def test_the_inputs_are_the_folders(bench: Bench) -> None:
    write(bench.folder, k="resources: [../base]", base="{}")
    place = bench.place(APP)
    read = place.app.reads("template", place)
    assert [file.component for file in read.files] == ["kustomization k", "kustomization base"]
    assert read.settings["path"] == "k"


# Who renders it


async def test_kustomize_comes_before_the_one_in_kubectl(bench: Bench, programs: Programs) -> None:
    write(bench.folder, k="{}")
    programs.install("kustomize", "kubectl")
    (programs.folder / "version").write_text("v5.6.0\n")
    await bench.perform("template", APP, programs.env)
    version, build = programs.calls
    assert version == "kustomize version"
    assert build.startswith(f"kustomize build {bench.folder}/k -o ")
    assert bench.log[0] == f"rendering with kustomize v5.6.0 ({programs.folder}/kustomize)"


async def test_without_kustomize_kubectl_renders(bench: Bench, programs: Programs) -> None:
    write(bench.folder, k="{}")
    programs.install("kubectl")
    await bench.perform("template", APP, programs.env)
    version, build = programs.calls
    assert version == "kubectl version --client"
    assert build.startswith(f"kubectl kustomize {bench.folder}/k -o ")
    assert bench.log[0] == f"rendering with kustomize v5.8.1 ({programs.folder}/kubectl)"


async def test_without_either_both_are_named_with_the_line(bench: Bench) -> None:
    write(bench.folder, k="{}")
    with pytest.raises(
        KustomizeMissing, match=r"config\.yaml:3: neither `kustomize` nor `kubectl` is on PATH"
    ):
        await bench.perform("template", APP, {"PATH": ""})


# What is made of it


async def test_what_is_rendered_is_split_and_otherwise_as_it_was(bench: Bench, programs: Programs) -> None:
    write(bench.folder, k="{}")
    programs.install("kustomize")
    await bench.perform("template", APP, programs.env)
    folder = bench.inputs["template"]
    assert sorted(os.listdir(folder)) == ["crds.yaml", "manifests.yaml"]
    assert (folder / "manifests.yaml").read_text() == "---\n# Source: k\n" + RENDERED.partition("---\n")[0]
    assert "widgets.example.com" in (folder / "crds.yaml").read_text()
    assert bench.log[1:] == ["# Warning: 'bases' is deprecated"]


async def test_labels_are_put_on_what_is_rendered(bench: Bench, programs: Programs) -> None:
    write(bench.folder, k="{}")
    programs.install("kustomize")
    app = "{type: kustomize, path: k, labels: {team: a}}"
    await bench.perform("template", app, programs.env)
    for name in ("crds.yaml", "manifests.yaml"):
        assert "team: a" in (bench.inputs["template"] / name).read_text()


async def test_a_refusal_is_told_in_kustomizes_words_with_the_line(bench: Bench, programs: Programs) -> None:
    write(bench.folder, k="{}")
    programs.install("kustomize")
    (programs.folder / "refusal").write_text("Error: accumulating resources: no such file\n")
    with pytest.raises(
        KustomizeFailed, match=r"config\.yaml:3: kustomization 'k' cannot be rendered: "
    ) as caught:
        await bench.perform("template", APP, programs.env)
    assert caught.value.message.endswith("Error: accumulating resources: no such file")


async def test_an_object_without_a_name_is_refused(bench: Bench, programs: Programs) -> None:
    write(bench.folder, k="{}")
    programs.install("kustomize")
    (programs.folder / "rendered").write_text("apiVersion: v1\nkind: ConfigMap\n")
    with pytest.raises(BadFile, match="a ConfigMap has no `metadata`"):
        await bench.perform("template", APP, programs.env)


async def test_a_folder_without_a_kustomization_is_missing(bench: Bench, programs: Programs) -> None:
    (bench.folder / "k").mkdir()
    with pytest.raises(FileMissing, match=r"config\.yaml:3: kustomization 'k' is missing") as caught:
        await bench.perform("template", APP, programs.env)
    assert f"{bench.folder}/k/kustomization.yml" in str(caught.value.hint)
