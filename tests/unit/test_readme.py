"""What the README shows is what there is."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import asyncclick as click
import pytest

from sbkube import api
from sbkube.cli.failures import exit_code_of
from sbkube.cli.main import COMMANDS, load_command
from sbkube.engine import Fenced, RunLocked, StateCorrupt, StateNotSaved

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_the_program_that_tracks_its_steps_is_the_one_that_is_tested() -> None:
    program = (ROOT / "examples/embed/tracked.py").read_text()
    shown = next(block for block in blocks("python") if "ExecutionTracker" in block)

    assert shown.strip() in program
    assert shown.lstrip().startswith("import os")


async def test_the_project_to_copy_is_valid(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(blocks("yaml")[0])
    for chart in ("postgres", "web"):
        (tmp_path / "charts" / chart).mkdir(parents=True)
        (tmp_path / "charts" / chart / "Chart.yaml").write_text(
            f"apiVersion: v2\nname: {chart}\nversion: 1.0.0\n"
        )
    for name in ("manifests/settings.yaml", "values/db.yaml"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text("")

    project = api.load(tmp_path, environ={})
    checked = await api.check(project)

    assert checked.findings == ()
    assert project.notices == []


COMMAND_LINES = re.findall(r"`sbkube ([a-z][^`]*)`", README) + re.findall(
    r"sbkube ([a-z]+ --[^`\n#]*)", README
)


@pytest.mark.parametrize("line", sorted(set(COMMAND_LINES)))
def test_each_command_line_is_understood(line: str) -> None:
    name, *words = shlex.split(line.replace("…", ""))
    command = load_command(name)
    assert isinstance(command, click.Command), name
    known = {option for parameter in command.params for option in parameter.opts}

    assert {word.rstrip(",") for word in words if word.startswith("-")} <= known
    assert name in COMMANDS


def test_each_exit_code_is_the_one_that_is_given(tmp_path: Path) -> None:
    table = dict(re.findall(r"^\| (\d) \| (.+?) \|$", README, re.MULTILINE))

    assert "lock" in table[str(exit_code_of(RunLocked(tmp_path, None)))]
    assert "corrupt" in table[str(exit_code_of(StateCorrupt(tmp_path, 1, 0, "")))]
    assert "could not be saved" in table[str(exit_code_of(StateNotSaved("")))]
    assert "took this run over" in table[str(exit_code_of(Fenced(tmp_path)))]
