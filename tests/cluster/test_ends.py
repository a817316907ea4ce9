"""Control planes beside each other, restarted, and gone: when they are told to, and when their starter is killed."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from .client import Cluster, Refused
from .control_plane import ControlPlane
from .objects import config_map, deployment

TESTS = Path(__file__).parents[1]


def test_a_restarted_api_server_has_its_data_and_its_address(another_control_plane: ControlPlane) -> None:
    cluster = another_control_plane.admin
    cluster.apply(config_map("kept", word="here"), namespace="default")
    another_control_plane.api_server.kill()
    with pytest.raises(Refused, match="refused"):
        cluster.get("configmap", "kept", namespace="default")
    another_control_plane.api_server.start()
    another_control_plane.api_server.wait_ready()
    assert cluster.get("configmap", "kept", namespace="default")["data"] == {"word": "here"}
    another_control_plane.start_controllers()
    cluster.apply(deployment("web"), namespace="default")
    cluster.wait("condition=Available", "deployment/web", namespace="default")


def test_two_control_planes_share_a_context_name_and_nothing_else(
    control_plane: ControlPlane, another_control_plane: ControlPlane
) -> None:
    clusters = [control_plane.admin, another_control_plane.admin]
    assert len({each.kubectl("config", "current-context") for each in clusters}) == 1
    assert len({each.get("namespace", "kube-system")["metadata"]["uid"] for each in clusters}) == 2
    clusters[0].apply(config_map("mine"), namespace="default")
    assert another_control_plane.writes() == []
    clusters[0].kubectl("delete", "configmap", "mine", "--namespace", "default")


STARTER = """
import sys
from pathlib import Path
from cluster.control_plane import ControlPlane

with ControlPlane(Path(sys.argv[1])) as plane:
    print(*(process.pid for process in plane.processes), flush=True)
    sys.stdin.read()
"""


@pytest.mark.usefixtures("programs")
def test_everything_ends_when_the_starter_is_killed(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(TESTS)}
    command = [sys.executable, "-c", STARTER, str(tmp_path)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True
    ) as starter:
        assert starter.stdout
        started = starter.stdout.readline().split()
        assert len(living(started)) == 5
        starter.send_signal(signal.SIGKILL)
    with (tmp_path / "lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # free when the last of them is gone
    assert living(started) == []


def living(pids: list[str]) -> list[str]:
    listed = subprocess.run(
        ["ps", "-o", "stat=", "-p", ",".join(pids)], capture_output=True, text=True, check=False
    ).stdout
    return [state for state in listed.split() if not state.startswith("Z")]


@pytest.mark.usefixtures("programs")
def test_one_started_by_hand_runs_until_it_is_taken_down(tmp_path: Path) -> None:
    def by_hand(command: str) -> subprocess.CompletedProcess[str]:
        line = [sys.executable, "-m", "tests.cluster", command, "--folder", str(tmp_path)]
        return subprocess.run(line, cwd=TESTS.parent, capture_output=True, text=True, timeout=90, check=False)

    try:
        kubeconfig = Path(by_hand("up").stdout.strip().removeprefix("export KUBECONFIG="))
        assert kubeconfig == Path(by_hand("kubeconfig").stdout.strip())
        assert len(Cluster(kubeconfig).find("nodes")) == 4
        again = by_hand("up")
        assert again.returncode == 1
        assert again.stderr.startswith(f"a control plane already runs in {tmp_path}; ")
    finally:
        assert by_hand("down").stderr == "the control plane has ended\n"
    assert by_hand("down").stderr == "no control plane runs\n"
