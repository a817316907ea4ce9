"""The programs of `examples/embed`, as real processes that are really killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAMS = Path(__file__).parents[3] / "examples" / "embed"
pytestmark = pytest.mark.parametrize("backend", ["asyncio", "trio"])


def run(program: str, folder: Path, backend: str, die_at: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", PROGRAMS / program, folder],
        env={**os.environ, "BACKEND": backend, "DIE_AT": die_at},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def view(folder: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads((folder / "runs" / "latest.json").read_text())
    return found


@pytest.mark.parametrize("die_at", ["extract", "transform", "load"])
def test_a_program_with_its_own_loop_goes_on_where_it_was_killed(
    tmp_path: Path, backend: str, die_at: str
) -> None:
    names = ["extract", "transform", "load"]
    place = names.index(die_at)

    killed = run("tracked.py", tmp_path, backend, die_at)
    assert killed.returncode == -signal.SIGKILL
    assert killed.stdout.splitlines() == [f"working on {name}" for name in names[: place + 1]]

    resumed = run("tracked.py", tmp_path, backend)
    assert (resumed.returncode, resumed.stderr) == (0, "")
    assert resumed.stdout.splitlines() == [f"working on {name}" for name in names[place:]]

    found = view(tmp_path)
    assert (found["run"], found["status"], found["counts"]) == (1, "completed", {"completed": 3})


def test_a_program_that_is_killed_again_and_again_still_gets_to_its_end(tmp_path: Path, backend: str) -> None:
    for die_at in ("extract", "extract", "transform", "load"):
        assert run("tracked.py", tmp_path, backend, die_at).returncode == -signal.SIGKILL

    resumed = run("tracked.py", tmp_path, backend)
    assert resumed.stdout == "working on load\n"
    assert view(tmp_path)["status"] == "completed"


def test_a_program_that_is_complete_starts_a_new_run(tmp_path: Path, backend: str) -> None:
    first, second = run("tracked.py", tmp_path, backend), run("tracked.py", tmp_path, backend)

    assert first.stdout == second.stdout == "working on extract\nworking on transform\nworking on load\n"
    assert view(tmp_path)["run"] == 2


def test_a_graph_uses_a_result_from_before_the_kill(tmp_path: Path, backend: str) -> None:
    killed = run("graph.py", tmp_path, backend, die_at="load")
    assert killed.returncode == -signal.SIGKILL
    assert killed.stdout == "extracting\nloading [1, 2, 3]\n"

    resumed = run("graph.py", tmp_path, backend)
    assert (resumed.returncode, resumed.stderr) == (0, "")
    assert resumed.stdout == "loading [1, 2, 3]\nloaded 6\n"
    assert view(tmp_path)["status"] == "completed"
