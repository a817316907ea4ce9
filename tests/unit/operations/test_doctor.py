"""What a project leans on, where something of it is missing."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from sbkube import api
from sbkube.api import Diagnosis, Request
from sbkube.config.loading import load_project
from sbkube.config.project import Project

pytestmark = pytest.mark.anyio
YAML = "  web: {type: yaml, manifests: [web.yaml]}\n"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """With no program but those that a test puts there."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/sh").symlink_to(shutil.which("sh") or "/bin/sh")
    return {"PATH": str(tmp_path / "bin"), "HOME": str(tmp_path)}


def program(environ: dict[str, str], name: str, says: str, code: int = 0) -> None:
    path = Path(environ["PATH"], name)
    path.write_text(f"#!/bin/sh\necho '{says}'\nexit {code}\n")
    path.chmod(0o755)


def load(folder: Path, environ: dict[str, str], apps: str = YAML, target: str = "cluster") -> Project:
    (folder / "config.yaml").write_text(f"target: {target}\nnamespace: shop\napps:\n{apps}")
    (folder / "web.yaml").write_text("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n")
    return load_project(folder, environ=environ)


async def examined(project: Project | None, environ: dict[str, str], **request: str) -> dict[str, Diagnosis]:
    found = await api.doctor(project, Request(**request), environ=environ)  # type: ignore[arg-type]
    return {one.about: one for one in found}


async def test_without_a_kubeconfig_it_says_so_and_what_it_could_not_look_at(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    found = await examined(load(tmp_path, environ), environ)
    assert found["target"].verdict == "problem"
    assert "there is no kubeconfig" in found["target"].told
    assert found["target"].fix is not None
    assert found["cluster"].verdict == "warning"
    assert "not looked at" in found["cluster"].told
    assert not (tmp_path / ".sbkube").exists()


async def test_a_cluster_that_does_not_answer_is_a_problem_and_the_rest_is_looked_at(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    kubeconfig = (
        "{apiVersion: v1, kind: Config, current-context: t, users: [{name: u, user: {}}],"
        " clusters: [{name: c, cluster: {server: 'http://127.0.0.1:1'}}],"
        " contexts: [{name: t, context: {cluster: c, user: u}}]}"
    )
    (tmp_path / "kubeconfig").write_text(kubeconfig)
    found = await examined(load(tmp_path, environ), {**environ, "KUBECONFIG": str(tmp_path / "kubeconfig")})
    assert (found["target"].verdict, found["api"].verdict, found["cluster"].verdict) == (
        "ok",
        "problem",
        "warning",
    )
    assert "cannot be reached" in found["api"].told
    assert "rights" in found["cluster"].told


@pytest.mark.parametrize(("target", "verdict"), [("cluster", "problem"), ("{directory: out}", "warning")])
async def test_a_missing_kubectl_is_a_problem_only_where_it_is_needed(
    tmp_path: Path, environ: dict[str, str], target: str, verdict: str
) -> None:
    found = await examined(load(tmp_path, environ, target=target), environ)
    assert (found["kubectl"].verdict, found["kubectl"].fix) == (verdict, "install kubectl")


async def test_programs_are_told_with_their_versions(tmp_path: Path, environ: dict[str, str]) -> None:
    program(environ, "kubectl", "Client Version: v1.36.3")
    program(environ, "helm", "v3.22.0")
    program(environ, "git", "git version 2.39.5")
    found = await examined(None, environ, helm="binary")
    assert found["kubectl"].told.startswith("kubectl v1.36.3 (")
    assert found["helm"].told.startswith("Helm v3.22.0, ")
    assert found["git"].told.startswith("git 2.39.5 (")
    assert found["kustomize"].told.startswith("that of kubectl (")


async def test_a_program_that_does_not_run_is_told_in_its_words(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    program(environ, "kubectl", "cannot execute: exec format error", code=3)
    found = await examined(load(tmp_path, environ), environ)
    assert found["kubectl"].verdict == "problem"
    assert "exec format error" in found["kubectl"].told


async def test_a_helm_that_was_asked_for_and_is_not_there_is_told_with_where_to_get_it(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    found = await examined(load(tmp_path, environ), environ, helm="binary")
    assert (found["helm"].verdict, found["helm"].told) == ("problem", "no `helm` on PATH")
    assert found["helm"].fix is not None


async def test_the_state_of_the_last_run_is_told_with_the_command_that_goes_on(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    apps = "  a: {type: exec, commands: ['exit 3']}\n"
    project = load(tmp_path, environ, apps, target="{directory: out}")
    assert (await examined(project, environ))["state"].told == "no run is recorded yet"
    await api.run(project, environ=environ)
    found = (await examined(project, environ))["state"]
    assert (found.verdict, found.told) == ("warning", "run 1 is failed: 1 failed")
    assert found.fix == "`sbkube run --resume` goes on with it"


async def test_a_damaged_record_is_a_problem(tmp_path: Path, environ: dict[str, str]) -> None:
    project = load(tmp_path, environ, "  a: {type: exec, commands: ['true']}\n", target="{directory: out}")
    await api.run(project, environ=environ)
    for journal in (tmp_path / ".sbkube").rglob("*.jsonl"):
        journal.write_bytes(b"{}\n" + journal.read_bytes()[3:])
    assert (await examined(project, environ))["state"].verdict == "problem"


async def test_a_folder_that_cannot_be_the_target_is_a_problem(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    (tmp_path / "out").write_text("a file")
    found = await examined(load(tmp_path, environ, target="{directory: out}"), environ)
    assert found["target"].verdict == "problem"
