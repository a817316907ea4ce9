"""Which version of a chart is taken: as by the helm programs, and by Helm's own library on 10,000 indexes (built with Go: slow)."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from helm_binaries import BINARIES
from version_questions import build, helm_chooses, questions

from sbkube.fetch.errors import FetchError
from sbkube.fetch.versions import choose, newest_first
from servers.charts import Chart, repository
from servers.http import Server


def chosen(versions: tuple[str, ...], wanted: str) -> str:
    try:
        return choose(newest_first(versions, str), str, wanted) or ""
    except FetchError:
        return ""


CHARTS = [
    Chart("web", version) for version in ("0.9.1", "1.0.0", "1.2.0", "1.10.0+b", "2.0.0-rc.1", "v2.0.0-rc.10")
]
WANTED = [
    "",
    "^1",
    "~1.2",
    "1.x",
    "1.10.0",
    "1.0 - 1.2",
    "<1 || >1.2",
    ">0.0.0-0",
    "^2",
    "v2.0.0-rc.10",
    "=1.1",
    "nope",
]


def test_the_helm_programs_take_the_same_from_the_same_repository(tmp_path: Path) -> None:
    versions = tuple(chart.version for chart in CHARTS)
    ours = {wanted: chosen(versions, wanted) for wanted in WANTED}
    with Server() as server:
        for path, content in repository(*CHARTS).items():
            server.files[path] = content
        for program in BINARIES.values():
            assert {wanted: helm_shows(program, server.url, wanted, tmp_path) for wanted in WANTED} == ours


def helm_shows(program: str, url: str, wanted: str, home: Path) -> str:
    version = ["--version", wanted] if wanted else []
    ended = subprocess.run(
        [program, "show", "chart", "web", "--repo", url, *version],
        env={"HOME": str(home), "PATH": "/usr/bin:/bin"}, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    lines = [
        line.removeprefix("version: ") for line in ended.stdout.splitlines() if line.startswith("version: ")
    ]
    assert (ended.returncode == 0) == bool(lines), ended
    return lines[0] if lines else ""


if shutil.which("go"):

    @pytest.mark.slow
    def test_of_ten_thousand_indexes_the_same_version_is_taken_as_by_helm(tmp_path: Path) -> None:
        program = build(tmp_path)
        assert program is not None
        asked = list(questions(10_000, seed=7))
        theirs = helm_chooses(asked, program)
        different = [
            (question, ours, helms)
            for question, helms in zip(asked, theirs, strict=True)
            if (ours := chosen(*question)) != helms
        ]
        assert different == []
        assert sum(map(bool, theirs)) > 4_000
