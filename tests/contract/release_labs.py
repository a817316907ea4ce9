"""A cluster with one Helm before it, and the hands of somebody else in it: the fake one, and those of a real cluster.

SBKUBE_TEST_KUBECONFIG names the kubeconfig of a cluster that may be thrown away; its current context is taken. The helm
programs are those of `helm_binaries.py`, and `kubectl` must be on PATH.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

import yaml
from helm_binaries import BINARIES

from sbkube.helm.binary_releases import BinaryReleases
from sbkube.helm.embedded_releases import EmbeddedReleases
from sbkube.helm.fake import FakeHelm
from sbkube.helm.fake_cluster import Dies, FakeCluster, Hangs
from sbkube.helm.releases import Cluster, Releases
from sbkube.helm.select import embedded_is_installed

KUBECONFIG = os.environ.get("SBKUBE_TEST_KUBECONFIG")


class Lab(Protocol):
    releases: Releases
    namespace: str
    other_namespace: str

    def open(self) -> Releases:
        """One more, to be closed by whoever asked."""
        ...

    def cut_off(self) -> Releases:
        """Those of a cluster that does not answer."""
        ...

    def put(self, name: str, **data: str) -> None:
        """A ConfigMap that is no release's."""
        ...

    def hang(self, release: str) -> None:
        """The next deploy of the chart `hanging` comes to no end."""
        ...

    def hold(self, release: str) -> None:
        """The chart `late` does not become ready until it is released."""
        ...

    def let_go(self, release: str) -> None: ...

    def kill(self, release: str) -> None:
        """What works on releases now, or on the next one."""
        ...

    def close(self) -> None: ...


class FakeLab:
    namespace, other_namespace = "shop", "other"

    def __init__(self) -> None:
        self.helm = FakeHelm()
        self.helm.clusters["here"] = FakeCluster(namespaces={"default", self.namespace, self.other_namespace})
        self.cluster = self.helm.clusters["here"]
        self.releases = self.open()

    def open(self) -> Releases:
        return self.helm.releases(Cluster(context="here"))

    def cut_off(self) -> Releases:
        self.helm.clusters["gone"] = FakeCluster(is_reachable=False)
        return self.helm.releases(Cluster(context="gone"))

    def put(self, name: str, **data: str) -> None:
        self.cluster.put(config_map(name, data), namespace=self.namespace)

    def hang(self, release: str) -> None:
        self.cluster.fail(release, Hangs())

    def hold(self, release: str) -> None:
        self.cluster.hold(release)

    def let_go(self, release: str) -> None:
        self.cluster.make_ready(release)

    def kill(self, release: str) -> None:
        self.cluster.fail(release, Dies())

    def close(self) -> None: ...


class RealLab:
    """On a cluster, in two namespaces of its own."""

    def __init__(self, make: Callable[[Cluster], Releases]) -> None:
        assert KUBECONFIG is not None
        self.make = make
        self.context = kubectl("config", "current-context").strip()
        self.cluster = Cluster(KUBECONFIG, self.context)
        self.namespace = f"sbkube-test-{uuid4().hex[:8]}"
        self.other_namespace = f"{self.namespace}-other"
        for namespace in (self.namespace, self.other_namespace):
            kubectl("create", "namespace", namespace)
        self.releases = self.open()

    def open(self) -> Releases:
        return self.make(self.cluster)

    def cut_off(self) -> Releases:
        config = yaml.safe_load(kubectl("config", "view", "--raw"))
        for cluster in config["clusters"]:
            cluster["cluster"]["server"] = "https://127.0.0.1:1"
        return self.make(Cluster(self.kubeconfig(config), self.context))

    def kubeconfig(self, config: Mapping[str, Any]) -> str:
        path = Path(os.environ["SBKUBE_TEST_SCRATCH"]) / f"{uuid4().hex}.yaml"
        path.touch(0o600)
        path.write_text(json.dumps(config))
        return str(path)

    def put(self, name: str, **data: str) -> None:
        flags = ["--server-side", "--force-conflicts", "--namespace", self.namespace]
        kubectl("apply", *flags, "-f", "-", stdin=json.dumps(config_map(name, data)))

    def hang(self, release: str) -> None: ...

    def hold(self, release: str) -> None: ...

    def let_go(self, release: str) -> None:
        kubectl("label", "nodes", "--all", f"sbkube.dev/{release}=yes")

    def kill(self, release: str) -> None:
        for pid in helms():
            os.killpg(os.getpgid(pid), signal.SIGKILL)

    def close(self) -> None:
        kubectl("delete", "namespace", self.namespace, self.other_namespace, "--wait=false")


def config_map(name: str, data: Mapping[str, str]) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": dict(data)}


def kubectl(*arguments: str, stdin: str | None = None) -> str:
    called = ["kubectl", f"--kubeconfig={KUBECONFIG}", *arguments]
    ended = subprocess.run(called, input=stdin, capture_output=True, text=True, check=False)
    assert not ended.returncode, ended.stderr
    return ended.stdout


def helms() -> list[int]:
    """The processes below this one in which a Helm runs."""
    return [pid for pid in _below(os.getpid()) if _program(pid).endswith("helm")]


def _below(parent: int) -> Iterator[int]:
    for children in Path(f"/proc/{parent}/task").glob("*/children"):
        try:
            pids = children.read_text().split()
        except OSError:
            continue
        for pid in map(int, pids):
            yield pid
            yield from _below(pid)


def _program(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().split("\0")[0]
    except OSError:
        return ""


def _real(make: Callable[[Cluster], Releases]) -> Callable[[], Lab]:
    return lambda: RealLab(make)


REAL: dict[str, Callable[[Cluster], Releases]] = {}
if KUBECONFIG:
    if embedded_is_installed():
        REAL["embedded"] = lambda cluster: EmbeddedReleases(cluster, os.environ)
    for version, program in BINARIES.items():
        REAL[version] = lambda cluster, program=program: BinaryReleases(program, cluster, os.environ)  # type: ignore[misc]
LABS: dict[str, Callable[[], Lab]] = {"fake": FakeLab, **{name: _real(make) for name, make in REAL.items()}}
