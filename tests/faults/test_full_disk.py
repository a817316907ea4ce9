"""A disk that is full while steps run, where a small one can be had: a tmpfs in a mount namespace of its own.

The file of a log that is `/dev/full` can be had everywhere.
"""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from textwrap import dedent

import pytest

from .cli_project import SBKUBE, CliProject, Ended

NAMESPACE = ("unshare", "--map-root-user", "--mount")
_PROBE = [*NAMESPACE, "sh", "-c", 'mount -t tmpfs -o size=1m tmpfs "$1"', "sh"]


@pytest.fixture
def project(tmp_path: Path) -> Iterator[CliProject]:
    with closing(CliProject(tmp_path / "project")) as project:
        yield project


def _can_mount() -> bool:
    if shutil.which("unshare") is None:
        return False
    return subprocess.run([*_PROBE, "/mnt"], capture_output=True, check=False).returncode == 0


def on_a_small_disk(project: CliProject, script: str, size: str = "2m") -> Ended:
    """Runs a script with a disk at `$disk` that goes with it, and `sbkube` as a function."""
    disk = project.root / "disk"
    disk.mkdir(exist_ok=True)
    (project.root / "script").write_text(
        f'disk="$1"; sbkube() {{ {shlex.join(SBKUBE)} "$@"; }}\n'
        f'mount -t tmpfs -o size={size},mode=700 tmpfs "$disk"\n{dedent(script)}'
    )
    return project.run("script", str(disk), program=(*NAMESPACE, "/bin/sh"))


def big_manifest(project: CliProject, size: int) -> None:
    text = f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: big}}\ndata: {{a: {'x' * size}}}\n"
    (project.root / "big.yaml").write_text(text, encoding="utf-8")


BIG = {"type": "yaml", "manifests": ["big.yaml"]}
OTHERS = {f"e{n}": {"type": "exec", "commands": [f"echo e{n} >> ledger"]} for n in range(3)}


if _can_mount():

    def test_once_the_state_folders_disk_is_full_nothing_more_is_started(project: CliProject) -> None:
        big_manifest(project, 3_000_000)
        project.config({"big": BIG, **OTHERS})
        ended = on_a_small_disk(
            project,
            """
            sbkube run --state-dir "$disk/state" --max-parallel 1; echo "code $?"
            cat ledger 2>/dev/null
            sbkube status --state-dir "$disk/state" --output json >status.json
            mount -o remount,size=20m "$disk"
            sbkube run --resume --state-dir "$disk/state" --max-parallel 1
            """,
        )
        assert ended.out.splitlines() == ["code 5"]
        path = project.root / "disk/state/out/big/template"
        assert f"cannot write `{path}`: No space left on device" in ended.err
        assert "free some space there" in ended.err
        assert "since the disk of its state folder takes nothing more" in ended.err
        then = json.loads((project.root / "status.json").read_text())["steps"]
        assert then["big:template"]["status"] == "failed"
        assert {then[f"{app}:deploy"]["status"] for app in OTHERS} == {"pending"}
        assert ended.code == 0, ended
        assert project.ledger() == list(OTHERS)

    def test_a_target_whose_disk_is_full_fails_its_step_and_no_other(project: CliProject) -> None:
        big_manifest(project, 3_000_000)
        project.config({"big": BIG, **OTHERS})
        ended = on_a_small_disk(
            project, 'sbkube run --target "$disk/rendered"; code=$?; ls -A "$disk/rendered"; exit $code'
        )
        assert ended.code == 1
        assert f"cannot write `{project.root}/disk/rendered/big`: No space left on device" in ended.err
        assert "free some space there" in ended.err
        assert set(ended.out.split()) <= {".sbkube-apps.json"}
        assert sorted(project.ledger()) == sorted(OTHERS)

    def test_a_command_ends_as_it_would_though_its_log_does_not_fit(project: CliProject) -> None:
        command = f"yes {'x' * 999} | head -c 3000000; echo a >> ledger"
        project.config({"a": {"type": "exec", "commands": [command]}, **OTHERS})
        ended = on_a_small_disk(
            project,
            """
            sbkube run --state-dir "$disk/state" --max-parallel 1; echo "code $?"
            mount -o remount,size=20m "$disk"
            sbkube run --resume --state-dir "$disk/state" --rerun-interrupted
            """,
        )
        assert "code 5" in ended.out.splitlines()
        assert "the log of a:deploy is incomplete: cannot write `" in ended.err
        assert project.ledger()[0] == "a"
        assert ended.code == 0, ended
        assert set(project.ledger()) == {"a", *OTHERS}


RENDERS = """
import sys, tempfile
from pathlib import Path
import anyio
from sbkube.helm.base import HelmError, RenderRequest
from sbkube.helm.binary import BinaryHelm
disk = Path(sys.argv[1])
tempfile.tempdir = str(disk)
values = {"a": "x" * 3_000_000}
try:
    anyio.run(BinaryHelm("helm").render, RenderRequest(disk, "a", "b", values))
except HelmError as error:
    print(error, "|", error.hint)
"""

if _can_mount():

    def test_scratch_space_that_is_full_is_named_and_is_not_the_state_folder(project: CliProject) -> None:
        (project.root / "renders.py").write_text(RENDERS)
        ended = on_a_small_disk(project, f'{sys.executable} renders.py "$disk"')
        assert ended.out == (
            f"cannot write in `{project.root}/disk`: No space left on device"
            " | free some space there, or set TMPDIR to another folder\n"
        )


def test_a_log_that_cannot_be_written_stops_nothing_that_runs_and_is_told(project: CliProject) -> None:
    log = ".sbkube/runs/000001/logs/a.deploy.1.log"
    first = f"mkdir -p {Path(log).parent}; ln -s /dev/full {log}; echo one"
    project.config({"a": {"type": "exec", "commands": [first, "echo a >> ledger; echo two"]}, **OTHERS})
    ended = project.run("run", "--max-parallel", "1")
    assert ended.code == 5, ended
    told = f"the log of a:deploy is incomplete: cannot write `{project.root}/{log}`: No space left on device"
    assert told in ended.err
    assert "since the disk of its state folder takes nothing more" in ended.err
    assert project.ledger() == ["a"]
    assert project.recorded.steps["a:deploy"].metadata == {"log": told}
    assert project.run("run", "--resume", "--max-parallel", "1").code == 0
    assert project.ledger() == ["a", *OTHERS]


def test_a_log_that_may_not_be_written_is_told_and_the_run_goes_on(project: CliProject) -> None:
    log = ".sbkube/runs/000001/logs/a.deploy.1.log"
    project.config(
        {"a": {"type": "exec", "commands": [f"mkdir -p {log}; echo one; echo a >> ledger"]}, **OTHERS}
    )
    ended = project.run("run", "--max-parallel", "1")
    assert ended.code == 0, ended
    told = f"the log of a:deploy is incomplete: cannot write `{project.root}/{log}`: Is a directory"
    assert told in ended.err
    assert project.ledger() == ["a", *OTHERS]
