"""Why a deploy did not become ready, by what was seen while it was waited for."""

from __future__ import annotations

import json
from typing import Any

import anyio
import pytest
from trio.testing import MockClock

from sbkube.helm.fake import FakeHelm
from sbkube.helm.fake_cluster import FakeCluster
from sbkube.helm.releases import Cluster, NotReady, Release
from sbkube.targets.base import Deployment, DeployOptions, Manifests
from sbkube.targets.cluster.unready import Watch

pytestmark = pytest.mark.anyio

WEB: dict[str, Any] = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web"}}
PULLING = {"state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}, "name": "main"}


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    """Virtual time: it jumps to the next deadline whenever nothing else can go on."""
    return "trio", {"clock": MockClock(autojump_threshold=0)}


@pytest.fixture
def helm() -> FakeHelm:
    return FakeHelm()


@pytest.fixture
def cluster(helm: FakeHelm) -> FakeCluster:
    return helm.cluster()


async def why(helm: FakeHelm, cluster: FakeCluster, *, undoes: bool, says: str) -> tuple[str, list[str]]:
    """What is told of a deploy whose pod pulls in vain, and what stands in the log; Helm may undo it in the end."""
    deployment = Deployment(
        "web",
        "web",
        "default",
        Manifests(manifests=json.dumps(WEB)),
        options=DeployOptions(atomic=undoes),
    )
    logged: list[str] = []

    async def log(line: str) -> None:
        logged.append(line)

    async def deploy() -> Release:
        cluster.put({**WEB, "status": {"phase": "Pending", "containerStatuses": [PULLING]}})
        await anyio.sleep(10)
        if undoes:
            cluster.delete(list(cluster.objects))
        raise NotReady("web", "default", says)

    with pytest.raises(NotReady) as caught:
        await Watch().during(deploy, helm.releases(Cluster()), deployment, log)
    return caught.value.said, logged


@pytest.mark.parametrize("undoes", [False, True])
@pytest.mark.parametrize(
    "says", ["context deadline exceeded", "Pod/default/web not ready. status: InProgress, "]
)
async def test_the_cause_is_told_also_if_what_failed_is_gone_by_then(
    helm: FakeHelm, cluster: FakeCluster, undoes: bool, says: str
) -> None:
    told, logged = await why(helm, cluster, undoes=undoes, says=says)
    cause = "Pod web: container main: ImagePullBackOff: no such image"
    head, *lines = told.splitlines()
    assert head == says
    assert lines[-1] == f"  {cause}"
    assert len(lines) == (1 if "Pod/" in says else 2), "what Helm names need not be named again"
    assert logged == [f"not ready: {cause}"]
