"""That the benchmarks measure what they say; never how fast anything is."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]


def measured(tmp_path: Path, *arguments: str) -> tuple[dict[str, dict[str, Any]], str]:
    report = tmp_path / "report.json"
    command = [sys.executable, "-m", "benchmarks", "--tiny", "--disk", str(tmp_path), "--json", str(report)]
    done = subprocess.run([*command, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    figures = json.loads(report.read_text())["figures"]
    return {figure["figure"]: figure for figure in figures}, done.stdout


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_each_workload_runs_in_every_engine_and_is_reported(tmp_path: Path, backend: str) -> None:
    figures, table = measured(tmp_path, "speed", "naps", "--backend", backend)
    assert {name.split(",")[0] for name in figures} == {"W1", "W2", "WY", "W3"}
    assert all(value > 0 for figure in figures.values() for value in figure["values"])
    assert all(name in table for name in figures)
    assert "durable / bare" in table


def test_what_completed_is_not_run_again_after_a_failure_or_a_kill(tmp_path: Path) -> None:
    figures, _ = measured(tmp_path, "mishaps")
    asked = [figure for figure in figures.values() if figure["first_house"]]
    assert len(asked) == 4
    assert all(figure["reached"] for figure in asked)


def test_growth_resume_and_starting_are_reported_and_nothing_is_left_behind(tmp_path: Path) -> None:
    figures, _ = measured(tmp_path, "growth", "resume", "starting")
    assert len(figures) == 11
    assert [path.name for path in tmp_path.iterdir()] == ["report.json"]


def test_unknown_figures_are_refused_by_name() -> None:
    command = [sys.executable, "-m", "benchmarks", "velocity"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "'velocity'" in done.stderr
