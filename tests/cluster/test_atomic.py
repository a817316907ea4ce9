"""`atomic`: a deploy that fails leaves what was there before, whichever Helm does it, and says what became of it and why."""

from __future__ import annotations

import pytest

from contract.helm_binaries import BINARIES

from . import many, objects
from .client import Cluster, Refused
from .running import Project
from .test_failures import refused, write

HELMS = {"embedded": "embedded", **BINARIES}
pytestmark = pytest.mark.parametrize("helm", HELMS)
BROKEN = {"sbkube.test/pod": "image-pull-error"}


def told_of(project: Project, namespace: str, helm: str) -> str:
    return refused(project, namespace, "--helm", HELMS[helm])


def check(told: str, done: str) -> None:
    head, unready, *causes, end = told.splitlines()
    assert head == "not ready after 5 s (`timeout` of the app)"
    assert unready.startswith("  Deployment web: ")
    assert any("container main: ImagePullBackOff: Back-off pulling image" in line for line in causes)
    assert end == f"  it was {done}, as `atomic` says"


def test_an_install_that_fails_is_removed(
    project: Project, cluster: Cluster, namespace: str, helm: str
) -> None:
    broken = objects.deployment("web", annotations=BROKEN)
    write(project, namespace, objects.config_map("a"), broken, more=", atomic: true", timeout="5s")
    check(told_of(project, namespace, helm), "uninstalled")
    assert many.histories(cluster, namespace) == {}
    with pytest.raises(Refused, match="NotFound"):
        cluster.get("configmap", "a", namespace=namespace)


def test_an_upgrade_that_fails_is_rolled_back(
    project: Project, cluster: Cluster, namespace: str, helm: str
) -> None:
    write(project, namespace, objects.config_map("a", v="1"), more=", atomic: true")
    project.run("--helm", HELMS[helm])
    broken = objects.deployment("web", annotations=BROKEN)
    write(project, namespace, objects.config_map("a", v="2"), broken, more=", atomic: true", timeout="5s")
    check(told_of(project, namespace, helm), "rolled back")
    assert [one.status for one in many.histories(cluster, namespace)["web"]] == [
        "superseded",
        "failed",
        "deployed",
    ]
    assert cluster.get("configmap", "a", namespace=namespace)["data"] == {"v": "1"}
    with pytest.raises(Refused, match="NotFound"):
        cluster.get("deployment", "web", namespace=namespace)
