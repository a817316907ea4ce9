"""Runners on different machines, each with a checkout of its own: one at a time deploys."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from contract.lease_cases import ME, LeaseContract
from sbkube.helm.releases import Cluster as Named
from sbkube.targets.cluster.kubectl import Kubectl
from sbkube.targets.cluster.lease import KubectlLeases, LeasePlace, NoNamespaceForLock, claimed

from .client import Cluster
from .control_plane import ControlPlane
from .objects import deployment
from .running import Project

STARTS = int(os.environ.get("SBKUBE_TEST_STARTS", "5"))
PATIENCE = 60.0
"""Seconds after which something that must happen never will."""


def kubectl_of(cluster: Cluster) -> Kubectl:
    found = Kubectl.find(Named(str(cluster.kubeconfig), None), cluster.environment)
    assert found is not None
    return found


class TestTheApiServerKeepsLeases(LeaseContract):
    @pytest.fixture
    def anyio_backend(self) -> str:
        return "asyncio"

    @pytest.fixture
    def place(self, namespace: str) -> LeasePlace:
        return LeasePlace(namespace, "sbkube.contract", 30)

    @pytest.fixture
    def leases(self, cluster: Cluster, place: LeasePlace) -> KubectlLeases:
        return KubectlLeases(kubectl_of(cluster), place)

    @pytest.fixture
    def remove(self, cluster: Cluster, place: LeasePlace) -> Callable[[], Awaitable[None]]:
        async def removed() -> None:
            cluster.kubectl("delete", "lease", place.name, "--namespace", place.namespace)

        return removed

    async def test_a_namespace_that_is_not_there_is_made_where_the_project_says_so(
        self, cluster: Cluster, place: LeasePlace
    ) -> None:
        elsewhere = LeasePlace(f"{place.namespace}-new", place.name, 30)
        with pytest.raises(NoNamespaceForLock):
            await KubectlLeases(kubectl_of(cluster), elsewhere).create(claimed(elsewhere, None, ME))
        try:
            leases = KubectlLeases(kubectl_of(cluster), elsewhere, makes_namespace=True)
            assert await leases.create(claimed(elsewhere, None, ME)) == await leases.get()
        finally:
            cluster.kubectl("delete", "namespace", elsewhere.namespace, "--wait=false")


class Runners:
    """Checkouts of one project, whose commands tell the test when they begin and wait until it lets them go on."""

    def __init__(self, root: Path, namespace: str) -> None:
        self.root, self.namespace = root, namespace
        for name in ("told", "gate"):
            os.mkfifo(root / name)
        self._told = os.open(root / "told", os.O_RDWR)
        self._gate = os.open(root / "gate", os.O_RDWR)
        self._children: list[subprocess.Popen[str]] = []

    def close(self) -> None:
        for child in self._children:
            if child.poll() is None:
                child.send_signal(signal.SIGCONT)
                child.kill()
            child.communicate()
        os.close(self._gate)
        os.close(self._told)

    def checkout(self, name: str, cluster: Cluster, lease_time: str, **apps: object) -> Project:
        folder = self.root / name
        folder.mkdir()
        gated = f"echo begin {name} > {self.root}/told; read go < {self.root}/gate; echo {name} >> {self.root}/ledger"
        slow = {"type": "exec", "commands": [gated], "on_interrupt": "rerun"}
        lock = {"cluster": "shop", "lease_time": lease_time}
        config = {"namespace": self.namespace, "lock": lock, "apps": {"slow": slow, **apps}}
        project = Project(folder, cluster)
        project.write({"config.yaml": json.dumps(config)})
        return project

    def start(self, project: Project, *words: str) -> subprocess.Popen[str]:
        streams = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
        self._children.append(project.start("run", *words, stdin=subprocess.DEVNULL, **streams))
        return self._children[-1]

    def wait_begun(self) -> str:
        ready, _, _ = select.select([self._told], [], [], PATIENCE)
        assert ready, "nothing begins"
        return os.read(self._told, 4096).decode().split()[-1]

    def let_go(self) -> None:
        os.write(self._gate, b"\n")

    @property
    def ledger(self) -> list[str]:
        path = self.root / "ledger"
        return path.read_text().split() if path.exists() else []

    def transitions(self, cluster: Cluster) -> int:
        lease = cluster.get("lease", "sbkube.shop", namespace=self.namespace)
        assert "holderIdentity" not in lease["spec"]
        return int(lease["spec"]["leaseTransitions"])


@pytest.fixture
def runners(tmp_path: Path, namespace: str) -> Iterator[Runners]:
    runners = Runners(tmp_path, namespace)
    yield runners
    runners.close()


def ended(child: subprocess.Popen[str]) -> tuple[int, str]:
    _, said = child.communicate(timeout=PATIENCE)
    return child.returncode, said


def first_to_end(children: list[subprocess.Popen[str]]) -> subprocess.Popen[str]:
    descriptors = [os.pidfd_open(child.pid) for child in children]
    try:
        ready, _, _ = select.select(descriptors, [], [], PATIENCE)
        assert ready, "nobody gives up"
        return children[descriptors.index(ready[0])]
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def runs_in(folder: Path) -> list[int]:
    """What runs in a folder, where every command does."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            found += [int(pid)] if os.readlink(f"/proc/{pid}/cwd") == str(folder) else []
        except OSError:
            continue
    return found


def test_of_two_that_start_together_one_runs_and_the_other_says_who_holds_the_lock(
    cluster: Cluster, runners: Runners
) -> None:
    checkouts = [runners.checkout(name, cluster, "6s") for name in ("one", "two")]
    winners = []
    for _ in range(STARTS):
        children = [runners.start(checkout) for checkout in checkouts]
        winners.append(runners.wait_begun())
        refused = first_to_end(children)
        (holder,) = [child for child in children if child is not refused]
        code, said = ended(refused)
        assert code == 3, said
        assert "the lock 'sbkube.shop' in namespace" in said
        assert f"is held by process {holder.pid} of " in said
        assert "Traceback" not in said
        runners.let_go()
        assert ended(holder)[0] == 0
    assert runners.ledger == winners
    assert runners.transitions(cluster) == STARTS - 1


def test_after_a_kill_of_the_holder_the_next_takes_over_when_the_lease_is_over(
    cluster: Cluster, runners: Runners
) -> None:
    one, two = (runners.checkout(name, cluster, "3s") for name in ("one", "two"))
    holder = runners.start(one)
    assert runners.wait_begun() == "one"
    holder.kill()
    next_one = runners.start(two)
    assert runners.wait_begun() == "two"
    # Its command outlived it, for as long as the lease went, and no longer.
    assert runs_in(one.folder) == []
    runners.let_go()
    code, said = ended(next_one)
    assert code == 0, said
    assert f"process {holder.pid} of" in said
    assert runners.ledger == ["two"]
    assert runners.transitions(cluster) == 1


def test_who_waits_for_the_lock_runs_when_it_is_free(cluster: Cluster, runners: Runners) -> None:
    one, two = (runners.checkout(name, cluster, "6s") for name in ("one", "two"))
    holder = runners.start(one)
    assert runners.wait_begun() == "one"
    waiting = runners.start(two, "--wait-lock", "5m")
    assert waiting.stderr is not None
    assert f"held by process {holder.pid} of" in waiting.stderr.readline()
    runners.let_go()
    assert runners.wait_begun() == "two"
    assert ended(holder)[0] == 0
    runners.let_go()
    assert ended(waiting)[0] == 0
    assert runners.ledger == ["one", "two"]


@pytest.mark.helms("helm-v4")
def test_what_changes_releases_waits_for_the_lock_too(cluster: Cluster, runners: Runners) -> None:
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "web"}}
    one = runners.checkout("one", cluster, "6s")
    two = runners.checkout("two", cluster, "6s", web={"type": "yaml", "manifests": ["web.yaml"]})
    two.write({"web.yaml": json.dumps(config)})
    runners.let_go()
    assert ended(runners.start(two))[0] == 0
    assert runners.wait_begun() == "two"
    holder = runners.start(one)
    assert runners.wait_begun() == "one"
    refused = two.sbkube("delete", "--yes")
    assert refused.code == 3, refused.everything
    assert f"held by process {holder.pid} of" in refused.said
    assert cluster.get("configmap", "web", namespace=runners.namespace)
    runners.let_go()
    deleted = two.sbkube("delete", "--yes", "--wait-lock", "5m")
    assert deleted.code == 0, deleted.everything
    assert ended(holder)[0] == 0
    assert "web" not in [one["metadata"]["name"] for one in cluster.find("cm", namespace=runners.namespace)]


@pytest.mark.helms("helm-v4")
def test_a_holder_that_is_suspended_past_its_lease_writes_nothing_after_the_next_took_over(
    control_plane: ControlPlane, runners: Runners
) -> None:
    """In the middle of a deploy, which goes on in another process, and of a command."""
    never = deployment("web", annotations={"sbkube.test/pod": "never-ready"})
    web = {"type": "yaml", "manifests": ["web.yaml"], "timeout": "60s"}
    one = runners.checkout("one", control_plane.as_user("admin"), "3s", web=web)
    two = runners.checkout("two", control_plane.as_user("controllers"), "3s", web=web)
    one.write({"web.yaml": json.dumps(never)})
    two.write({"web.yaml": json.dumps(deployment("web", replicas=2))})
    holder = runners.start(one)
    assert runners.wait_begun() == "one"
    watcher = control_plane.as_user("controllers")
    watcher.find_soon("deployments", namespace=runners.namespace)
    holder.send_signal(signal.SIGSTOP)
    next_one = runners.start(two)
    assert runners.wait_begun() == "two"
    assert runs_in(one.folder) == [holder.pid]
    runners.let_go()
    code, said = ended(next_one)
    assert code == 0, said
    before = control_plane.writes("admin")
    holder.send_signal(signal.SIGCONT)
    code, said = ended(holder)
    assert code == 7, said
    assert "was lost: it was not renewed for" in said
    assert control_plane.writes("admin") == before
    assert runners.ledger == ["two"]
    assert watcher.get("deployment", "web", namespace=runners.namespace)["spec"]["replicas"] == 2
    assert runners.transitions(watcher) == 1


def test_a_run_that_cannot_renew_its_lock_is_stopped(
    another_control_plane: ControlPlane, tmp_path: Path
) -> None:
    runners = Runners(tmp_path, "default")
    try:
        one = runners.checkout("one", another_control_plane.admin, "3s")
        holder = runners.start(one)
        assert runners.wait_begun() == "one"
        another_control_plane.api_server.kill()
        code, said = ended(holder)
        assert code == 7, said
        assert "was lost: it was not renewed for" in said
        assert runs_in(one.folder) == []
        assert runners.ledger == []
    finally:
        runners.close()
