"""The programs are built once, however many ask, and what stands in the way is said."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from .binaries import PROGRAMS

ROOT = Path(__file__).parents[2]
GO = """#!/bin/sh
# takes the place of Go: waits for the gate to open, then makes the file that `-o` names
echo "$*" >> "$BUILDS"
cat "$GATE" >/dev/null || exit 1
while [ "$1" != -o ]; do shift; done
echo built > "$2"
"""
BROKEN_GO = "#!/bin/sh\necho no such module >&2; exit 1\n"


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "bin").mkdir()
    folders = {"SBKUBE_TEST_CACHE": "cache", "BUILDS": "builds", "GATE": "gate", "PATH": "bin"}
    return {**os.environ, **{name: str(tmp_path / below) for name, below in folders.items()}}


def install(go: str, environment: dict[str, str]) -> None:
    for program in ("sh", "cat"):
        (Path(environment["PATH"]) / program).symlink_to(f"/bin/{program}")
    path = Path(environment["PATH"]) / "go"
    path.write_text(go)
    path.chmod(0o755)


def builder(environment: dict[str, str]) -> subprocess.Popen[str]:
    line = [sys.executable, "-m", "tests.cluster", "build"]
    return subprocess.Popen(line, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True)


def test_two_builders_at_once_build_each_program_once(environment: dict[str, str]) -> None:
    install(GO, environment)
    gate = Path(environment["GATE"])
    os.mkfifo(gate)
    with builder(environment) as first:
        opening = gate.open("w")  # returns when the first builder is in its first build
        with builder(environment) as second:
            assert second.stderr
            assert second.stderr.readline() == "waiting for another build of the control plane\n"
            gate.unlink()
            gate.touch()
            opening.close()
    assert (first.returncode, second.returncode) == (0, 0)
    assert len(Path(environment["BUILDS"]).read_text().splitlines()) == len(PROGRAMS)


def test_a_failed_build_leaves_nothing_and_shows_what_go_said(environment: dict[str, str]) -> None:
    install(BROKEN_GO, environment)
    with builder(environment) as process:
        _, said = process.communicate()
    assert process.returncode == 1
    assert said.endswith(f"{PROGRAMS[0].name} {PROGRAMS[0].version} cannot be built:\nno such module\n")
    assert not list(Path(environment["SBKUBE_TEST_CACHE"]).glob("*/*"))


def test_without_go_and_programs_it_says_so(environment: dict[str, str]) -> None:
    with builder(environment) as process:
        _, said = process.communicate()
    assert process.returncode == 1
    assert said.startswith("no Go here to build a Kubernetes control plane with: install Go")
