"""A call of the helm program does not outlive whoever made it."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from pathlib import Path

import pytest

from sbkube.helm.program import run_helm, scratch

ENDING = 20.0  # seconds until something that happens has happened
HELM = """#!/bin/sh
(exec sleep 1000) &
echo "$$ $!" >"$TOLD"
wait
"""
CALLER = """
import os, sys
from pathlib import Path
import anyio
from sbkube.helm.program import run_helm

async def call():
    await run_helm(sys.argv[1], [], Path(sys.argv[2]), dict(os.environ), time_limit=1000, refuse=None)

anyio.run(call)
"""


def write(path: Path, script: str) -> str:
    path.write_text(script)
    path.chmod(0o755)
    return str(path)


def test_a_helm_is_killed_with_all_it_has_started_when_its_caller_is_killed(tmp_path: Path) -> None:
    helm, told = write(tmp_path / "helm", HELM), tmp_path / "told"
    os.mkfifo(told)
    command = [sys.executable, "-c", CALLER, helm, str(tmp_path)]
    with subprocess.Popen(command, env={**os.environ, "TOLD": str(told)}) as caller:
        descriptors = [os.pidfd_open(int(pid)) for pid in told.read_text().split()]
        caller.kill()
    try:
        for descriptor in descriptors:
            ready, _, _ = select.select([descriptor], [], [], ENDING)
            assert ready, "it lives on"
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


@pytest.mark.anyio
async def test_a_helm_that_has_ended_leaves_nothing_open(tmp_path: Path) -> None:
    helm = write(tmp_path / "helm", "#!/bin/sh\necho said; cat\n")
    before = os.listdir("/dev/fd")
    with scratch() as folder:
        said = await run_helm(helm, [], folder, dict(os.environ), time_limit=ENDING, refuse=None)
    assert said == "said\n"
    assert len(os.listdir("/dev/fd")) == len(before)
