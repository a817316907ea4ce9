"""Projects and profiles with one target: what is said before it is pruned, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from .project import TARGET, ProjectFolder, effect, manifest

SHARED = "target: {directory: ../rendered}\n"


def yaml(*apps: str) -> str:
    return "".join(f"{app}: {{type: yaml, manifests: [a.yaml]}}\n" for app in apps)


def project_of(root: Path, *apps: str, target: str = SHARED) -> ProjectFolder:
    root.mkdir()
    project = ProjectFolder(root)
    project.config(yaml(*apps), target=target)
    project.write({"a.yaml": manifest(root.name)})
    return project


@pytest.fixture
def shop(tmp_path: Path) -> ProjectFolder:
    shop = project_of(tmp_path / "shop", "web", "db", "old", "older")
    assert shop("run").code == 0
    shop.config(yaml("web", "db"), target=SHARED)
    return shop


@pytest.fixture
def rendered(tmp_path: Path) -> Path:
    return tmp_path / "rendered"


def listed(rendered: Path) -> dict[str, Any]:
    apps: dict[str, Any] = json.loads((rendered / ".sbkube-apps.json").read_text())["apps"]
    return apps


# What is said before


@pytest.mark.parametrize("command", [["plan"], ["run", "--dry-run"], ["plan", "--resume"]])
def test_a_plan_says_what_a_run_would_prune(shop: ProjectFolder, rendered: Path, command: list[str]) -> None:
    ended = shop(*command)
    assert "\nwould prune from the target: old, older\nwould run " in "\n" + ended.err
    assert shop(*command, "--output", "json").document["would_prune"] == ["old", "older"]
    assert (rendered / "old").is_dir()


def test_a_run_says_what_it_would_prune_before_anything_runs_and_then_what_it_did(
    shop: ProjectFolder, rendered: Path
) -> None:
    lines = shop("run", "--no-progress").err.splitlines()
    announced = lines.index("  would prune from the target: old, older")
    assert announced < min(number for number, line in enumerate(lines) if "web:" in line)
    assert lines.index("pruned from the target: old, older") > announced
    assert sorted(listed(rendered)) == ["db", "web"]


@pytest.mark.parametrize("output", ["json", "ndjson"])
def test_a_run_as_data_ends_with_what_it_pruned(shop: ProjectFolder, output: str) -> None:
    assert shop("run", "--output", output).events[-1]["pruned"] == ["old", "older"]
    assert shop("run", "--output", output).events[-1]["pruned"] == []


@pytest.mark.parametrize("part", [["--app", "web"], ["--only", "template"], ["--target", "elsewhere"]])
def test_a_run_that_prunes_nothing_says_nothing_of_it(shop: ProjectFolder, part: list[str]) -> None:
    assert shop("plan", *part, "--output", "json").document["would_prune"] == []
    assert "prune" not in shop("plan", *part).err
    assert "prune" not in shop("run", *part).err


def test_an_emptied_project_says_that_it_prunes_nothing(shop: ProjectFolder) -> None:
    shop.config("nothing: {type: noop}\n", target=SHARED)
    assert shop("plan", "--output", "json").document["would_prune"] == []


def test_a_plan_refuses_a_target_that_a_run_would_refuse(project: ProjectFolder) -> None:
    project.config(yaml("web"))
    project.write({"a.yaml": manifest("a"), "file": ""})
    assert "cannot be the target: it is a file" in project("plan", "--target", "file").err
    (project.root / "rendered").mkdir()
    (project.root / "rendered/.sbkube-apps.json").write_text('{"format": 9}')
    ended = project("plan")
    assert ended.code == 2
    assert "has format 9, this sbkube writes 2" in ended.err


# Two projects


def test_a_project_leaves_alone_what_another_deployed_into_its_target(
    shop: ProjectFolder, rendered: Path, tmp_path: Path
) -> None:
    blog = project_of(tmp_path / "blog", "posts")
    assert "would prune" not in blog("plan").err
    assert blog("run").code == 0
    assert "pruned from the target: old, older\n" in shop("run").err
    assert listed(rendered) == {
        "db": {"project": "../shop", "profile": None},
        "posts": {"project": "../blog", "profile": None},
        "web": {"project": "../shop", "profile": None},
    }


def test_an_app_that_another_project_deployed_is_replaced_only_if_that_is_accepted(
    shop: ProjectFolder, rendered: Path, tmp_path: Path
) -> None:
    blog = project_of(tmp_path / "blog", "posts", "web")
    ended = blog("run", "--no-progress")
    assert ended.code == 1
    told = f"app 'web' would replace `{rendered / 'web'}`, which belongs to the project `{shop.root}`"
    assert told in ended.err
    assert "`--accept-target-change`" in ended.err
    assert "shop" in (rendered / "web/manifests.yaml").read_text()
    assert blog.statuses("posts:deploy", "web:deploy") == ["completed", "failed"]
    assert blog.runs("--retry-failed", "--accept-target-change") == ["web:deploy"]
    assert "blog" in (rendered / "web/manifests.yaml").read_text()
    ended = shop("run")
    assert ended.code == 1
    assert f"belongs to the project `{blog.root}`" in ended.err


def test_the_commands_that_go_on_accept_what_the_run_accepted(project: ProjectFolder) -> None:
    project.config("a: {type: exec, commands: ['exit 3']}\n" + effect("b"))
    ended = project("run", "--accept-target-change", "--target", "out")
    assert "sbkube run --resume --target out --accept-target-change  #" in ended.err
    assert "sbkube logs a:deploy  " in ended.err


# Two profiles


def test_profiles_with_one_target_prune_their_own_apps_and_take_over_those_of_the_other(
    project: ProjectFolder,
) -> None:
    project.config(yaml("web"))
    project.write({"a.yaml": manifest("a")})
    project.config(yaml("only-dev"), target="", name="config-dev.yaml")
    project.config(yaml("only-prod"), target="", name="config-prod.yaml")
    for profile in ("dev", "prod", "dev"):
        ended = project("run", "--profile", profile)
        assert ended.code == 0
        assert "prune" not in ended.err
    assert listed(project.root / "rendered") == {
        "only-dev": {"project": "..", "profile": "dev"},
        "only-prod": {"project": "..", "profile": "prod"},
        "web": {"project": "..", "profile": "dev"},
    }
    project.config(effect("web"), target=TARGET)
    assert "pruned from the target: web\n" in project("run", "--profile", "dev").err
