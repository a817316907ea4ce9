"""What a run would give to its target, without a trace of having asked."""

from __future__ import annotations

from pathlib import Path

import pytest

from sbkube import api
from sbkube.api import Request
from sbkube.choosing import TargetWishes
from sbkube.config.loading import load_project
from sbkube.config.project import Project
from sbkube.engine import NeedsNotMet
from sbkube.operations.rendering import rendered
from sbkube.selecting import Asked
from sbkube.wiring import open_workshop

pytestmark = pytest.mark.anyio
ENV = {"PATH": "/usr/bin:/bin"}
MANIFEST = "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {}}}\n"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def load(folder: Path, apps: str) -> Project:
    (folder / "config.yaml").write_text(f"target: {{directory: out}}\nnamespace: shop\napps:\n{apps}")
    for name in ("a", "b"):
        (folder / f"{name}.yaml").write_text(MANIFEST.format(name))
    return load_project(folder, environ=ENV)


def traces(folder: Path) -> dict[str, tuple[int, bytes]]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path): (path.stat().st_mtime_ns, path.read_bytes()) for path in files}


APPS = "  a: {type: yaml, manifests: [a.yaml]}\n  b: {type: yaml, manifests: [b.yaml], depends_on: [a]}\n"


async def test_apps_that_never_ran_are_rendered_and_leave_no_trace(tmp_path: Path) -> None:
    workshop = open_workshop(load(tmp_path, APPS), ENV, TargetWishes())
    before = traces(tmp_path)
    async with rendered(workshop, Asked()) as rendering:
        assert list(rendering.deployments) == ["a", "b"]
        assert "name: b" in rendering.deployments["b"].manifests.manifests
        assert rendering.deployments["b"].namespace == "shop"
    assert not rendering.scratch.exists()
    assert traces(tmp_path) == before


async def test_what_is_rendered_already_is_read_and_what_changed_is_rendered_anew(tmp_path: Path) -> None:
    project = load(tmp_path, APPS)
    await api.run(project, environ=ENV)
    (tmp_path / "b.yaml").write_text(MANIFEST.format("changed"))
    before = traces(tmp_path)
    workshop = open_workshop(project, ENV, TargetWishes())
    async with rendered(workshop, Asked()) as rendering:
        texts = {app: one.manifests.manifests for app, one in rendering.deployments.items()}
        made = [
            path.relative_to(rendering.scratch).parts[1] for path in rendering.scratch.glob("out/*/template")
        ]
    assert "name: a" in texts["a"]
    assert "name: changed" in texts["b"]
    assert made == ["b"]
    assert traces(tmp_path) == before


async def test_only_what_is_asked_for_is_rendered(tmp_path: Path) -> None:
    workshop = open_workshop(load(tmp_path, APPS), ENV, TargetWishes())
    async with rendered(workshop, Asked(apps=("b",))) as rendering:
        assert list(rendering.deployments) == ["b"]


async def test_an_app_that_cannot_be_rendered_says_why_and_hides_no_other(tmp_path: Path) -> None:
    project = load(tmp_path, APPS)
    (tmp_path / "a.yaml").write_text("kind: [")
    async with rendered(open_workshop(project, ENV, TargetWishes()), Asked()) as rendering:
        assert list(rendering.deployments) == ["b"]
        assert rendering.failures["a"].startswith("template: ")


async def test_no_command_is_run(tmp_path: Path) -> None:
    apps = APPS + "  seed: {type: exec, depends_on: [a], commands: ['touch ran']}\n"
    async with rendered(open_workshop(load(tmp_path, apps), ENV, TargetWishes()), Asked()) as rendering:
        assert rendering.commands == ("seed",)
    assert not (tmp_path / "ran").exists()


MADE = (
    "  make: {type: exec, commands: ['cp a.yaml made.yaml']}\n"
    "  c: {type: yaml, manifests: [made.yaml], depends_on: [make]}\n"
)


async def test_an_app_made_from_what_a_command_has_yet_to_make_is_refused_until_it_did(
    tmp_path: Path,
) -> None:
    project = load(tmp_path, MADE)
    workshop = open_workshop(project, ENV, TargetWishes())
    with pytest.raises(NeedsNotMet, match="make:deploy"):
        async with rendered(workshop, Asked()):
            pass
    await api.run(project, environ=ENV)
    async with rendered(open_workshop(project, ENV, TargetWishes()), Asked()) as rendering:
        assert list(rendering.deployments) == ["c"]


async def test_a_run_that_failed_is_gone_on_with(tmp_path: Path) -> None:
    project = load(tmp_path, APPS)
    (tmp_path / "a.yaml").write_text("kind: [")
    await api.run(project, Request(), environ=ENV)
    (tmp_path / "a.yaml").write_text(MANIFEST.format("a"))
    async with rendered(open_workshop(project, ENV, TargetWishes()), Asked()) as rendering:
        assert list(rendering.deployments) == ["a", "b"]


async def test_of_what_is_current_nothing_is_rendered_and_what_is_not_is_left_out(tmp_path: Path) -> None:
    project = load(tmp_path, APPS)
    workshop = open_workshop(project, ENV, TargetWishes())
    async with rendered(workshop, Asked(), only_current=True) as rendering:
        assert list(rendering.deployments) == []
    await api.run(project, environ=ENV)
    (tmp_path / "b.yaml").write_text(MANIFEST.format("changed"))
    async with rendered(open_workshop(project, ENV, TargetWishes()), Asked(), only_current=True) as rendering:
        assert list(rendering.deployments) == ["a"]
        assert not list(rendering.scratch.glob("out/*/template"))
