"""What the fake cluster offers to tests besides what every Helm does."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from sbkube.helm.base import HelmCrashed
from sbkube.helm.fake import FakeHelm
from sbkube.helm.fake_cluster import Dies, Fails, Key
from sbkube.helm.looking import Query
from sbkube.helm.releases import (
    ApplyConflict,
    Cluster,
    DeployRequest,
    Forbidden,
    Releases,
    ReleaseStatus,
    RollbackRequest,
    UninstallRequest,
)

pytestmark = pytest.mark.anyio

APP = """\
kind: ConfigMap
apiVersion: v1
metadata: {name: web}
---
kind: Namespace
apiVersion: v1
metadata: {name: extra, annotations: {helm.sh/resource-policy: keep}}
---
kind: Job
apiVersion: batch/v1
metadata: {name: migrate, annotations: {helm.sh/hook: "pre-install, post-upgrade"}}
"""
CRD = "kind: CustomResourceDefinition\napiVersion: apiextensions.k8s.io/v1\nmetadata: {name: widgets.example.org}\n"


@pytest.fixture
def helm() -> FakeHelm:
    return FakeHelm()


@pytest.fixture
def releases(helm: FakeHelm) -> Releases:
    return helm.releases(Cluster(context="here"))


@pytest.fixture
def web(tmp_path: Path) -> DeployRequest:
    for path, text in {
        "Chart.yaml": "{name: app, version: '1'}",
        "templates/a.yaml": APP,
        "crds/a.yaml": CRD,
    }.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text)
    return DeployRequest(tmp_path, "web", "default")


def names(helm: FakeHelm) -> set[str]:
    return {f"{key.kind}/{key.name}" for key in helm.cluster("here").objects}


async def test_objects_hooks_and_calls_are_there_to_be_looked_at(
    helm: FakeHelm, releases: Releases, web: DeployRequest
) -> None:
    await releases.install(web)
    await releases.upgrade(web)
    cluster = helm.cluster("here")
    assert cluster.hooks == ["pre-install Job/migrate", "post-upgrade Job/migrate"]
    assert [call.what for call in cluster.calls] == ["install", "upgrade"]
    assert names(helm) == {
        "ConfigMap/web",
        "Namespace/extra",
        "Job/migrate",
        "CustomResourceDefinition/widgets.example.org",
    }
    assert "extra" in cluster.namespaces
    assert cluster.objects[Key("v1", "ConfigMap", "default", "web")]["metadata"]["namespace"] == "default"


async def test_an_uninstall_leaves_what_is_to_be_kept_and_what_was_never_the_releases(
    helm: FakeHelm, releases: Releases, web: DeployRequest
) -> None:
    await releases.install(web)
    await releases.uninstall(UninstallRequest("web", "default"))
    assert names(helm) == {"Namespace/extra", "Job/migrate", "CustomResourceDefinition/widgets.example.org"}


async def test_an_object_keeps_its_uid_as_long_as_it_lives(releases: Releases, web: DeployRequest) -> None:
    async def uid() -> str:
        (found,) = await releases.look([Query("v1", "ConfigMap", "default", "web")])
        return str(found["metadata"]["uid"])

    await releases.install(web)
    first = await uid()
    await releases.upgrade(web)
    assert await uid() == first
    await releases.uninstall(UninstallRequest("web", "default"))
    await releases.install(web)
    assert await uid() != first


async def test_a_test_says_what_befalls_the_next_deploys(
    helm: FakeHelm, releases: Releases, web: DeployRequest
) -> None:
    helm.cluster("here").fail(
        "web", Fails('Apply failed with 1 conflict: conflict with "kubectl": .data.v'), Dies()
    )
    with pytest.raises(ApplyConflict):
        await releases.install(web)
    with pytest.raises(HelmCrashed):
        await releases.upgrade(web)
    await releases.rollback(RollbackRequest("web", "default", 2))
    statuses = [one.status for one in await releases.history("web", "default")]
    assert statuses == [ReleaseStatus.FAILED, ReleaseStatus.PENDING_UPGRADE, ReleaseStatus.DEPLOYED]


async def test_what_is_held_becomes_ready_when_the_test_says_so(
    helm: FakeHelm, releases: Releases, web: DeployRequest
) -> None:
    helm.cluster("here").hold("web")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(releases.install, web)
        await anyio.wait_all_tasks_blocked()
        assert [one.status for one in await releases.list()] == [ReleaseStatus.PENDING_INSTALL]
        helm.cluster("here").make_ready("web")
    assert [one.status for one in await releases.list()] == [ReleaseStatus.DEPLOYED]


async def test_each_context_is_a_cluster_of_its_own(helm: FakeHelm, web: DeployRequest) -> None:
    here, there = (helm.releases(Cluster(context=name)) for name in ("here", "there"))
    await here.install(web)
    assert await there.list() == []
    assert (await here.server()).uid != (await there.server()).uid
    assert len(await helm.releases(Cluster(context="here")).list()) == 1


async def test_a_wide_list_may_be_forbidden(helm: FakeHelm, releases: Releases, web: DeployRequest) -> None:
    await releases.install(web)
    helm.cluster("here").may_list_everywhere = False
    with pytest.raises(Forbidden):
        await releases.list()
    assert [one.name for one in await releases.list("default")] == ["web"]
