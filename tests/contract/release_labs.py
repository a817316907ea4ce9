"""A cluster with one Helm before it, and the hands of somebody else in it: the fake one, and those of a real cluster."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

import anyio
import pytest
import yaml
from helm_binaries import BINARIES

from cluster.client import Cluster as Kubernetes
from sbkube.helm.binary_releases import BinaryReleases
from sbkube.helm.embedded_releases import EmbeddedReleases
from sbkube.helm.fake import FakeHelm
from sbkube.helm.fake_cluster import Dies, FakeCluster, Hangs
from sbkube.helm.looking import Query
from sbkube.helm.releases import Cluster, Releases
from sbkube.helm.select import embedded_is_installed

ENDING = 20.0  # seconds until something that happens has happened

Make = Callable[[Cluster, Mapping[str, str]], Releases]
MAKERS: dict[str, Make] = {
    **({"embedded": EmbeddedReleases} if embedded_is_installed() else {}),
    **{
        version: lambda cluster, environ, program=program: BinaryReleases(program, cluster, environ)  # type: ignore[misc]
        for version, program in BINARIES.items()
    },
}
REAL = [pytest.param(name, marks=pytest.mark.cluster) for name in MAKERS]


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

    def __init__(self, kind: str, kubernetes: Kubernetes, scratch: Path) -> None:
        self.kind = kind
        self.kubernetes = kubernetes
        self.scratch = scratch
        self.context = kubernetes.kubectl("config", "current-context").strip()
        self.cluster = Cluster(str(kubernetes.kubeconfig), self.context)
        self.namespace = f"sbkube-test-{uuid4().hex[:8]}"
        self.other_namespace = f"{self.namespace}-other"
        for namespace in (self.namespace, self.other_namespace):
            kubernetes.kubectl("create", "namespace", namespace)
        self.releases = self.open()
        self._labels: list[str] = []

    def open(self, cluster: Cluster | None = None, **environ: str) -> Releases:
        return MAKERS[self.kind](cluster or self.cluster, {**self.kubernetes.environment, **environ})

    def cut_off(self) -> Releases:
        config = self.config()
        for cluster in config["clusters"]:
            cluster["cluster"]["server"] = "https://127.0.0.1:1"
        return self.open(Cluster(self.kubeconfig(config), self.context))

    def config(self) -> dict[str, Any]:
        config: dict[str, Any] = yaml.safe_load(
            self.kubernetes.kubectl("config", "view", "--raw", "--flatten")
        )
        return config

    def kubeconfig(self, config: Mapping[str, Any]) -> str:
        path = self.scratch / f"{uuid4().hex}.yaml"
        path.touch(0o600)
        path.write_text(json.dumps(config))
        return str(path)

    def put(self, name: str, **data: str) -> None:
        flags = ["--server-side", "--force-conflicts", "--namespace", self.namespace]
        self.kubernetes.kubectl("apply", *flags, "-f", "-", stdin=json.dumps(config_map(name, data)))

    def hang(self, release: str) -> None: ...

    def hold(self, release: str) -> None: ...

    def let_go(self, release: str) -> None:
        self._labels.append(f"sbkube.dev/{release}")
        self.kubernetes.kubectl("label", "nodes", "--all", f"{self._labels[-1]}=yes")

    def kill(self, release: str) -> None:
        for pid in helms():
            os.killpg(os.getpgid(pid), signal.SIGKILL)

    def close(self) -> None:
        for label in self._labels:
            self.kubernetes.kubectl("label", "nodes", "--all", f"{label}-")
        self.kubernetes.kubectl("delete", "namespace", self.namespace, self.other_namespace, "--wait=false")


async def data_of(lab: Lab, name: str) -> dict[str, str] | None:
    """That of a ConfigMap; None: there is none."""
    (found,) = await lab.releases.look([Query("v1", "ConfigMap", lab.namespace, name)])
    return found.get("data", {}) if found else None


async def story(lab: Lab, name: str) -> list[tuple[int, str]]:
    return [(one.revision, one.status.value) for one in await lab.releases.history(name, lab.namespace)]


async def cancelled_half_way(lab: Lab, act: Callable[[], Any], name: str, status: str) -> None:
    """Start something that hangs, and end it as soon as the release has this status."""
    with anyio.fail_after(ENDING):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(act)
            while [said for _, said in await story(lab, name)][-1:] != [status]:  # noqa: ASYNC110
                await anyio.sleep(0.05)
            tasks.cancel_scope.cancel()


def config_map(name: str, data: Mapping[str, str]) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": dict(data)}


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
