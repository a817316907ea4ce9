"""How apps become releases of a cluster, told by what Helm is asked."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

from sbkube.helm.base import HelmError
from sbkube.helm.fake import FakeHelm
from sbkube.helm.fake_cluster import Dies, Fails, FakeCluster
from sbkube.helm.releases import Cluster, ClusterUnreachable, DeployRequest, OwnedByOther, Releases
from sbkube.targets.base import Deployment, DeployOptions, Manifests
from sbkube.targets.cluster.adoption import existing
from sbkube.targets.cluster.identity import Identities
from sbkube.targets.cluster.objects import objects_of
from sbkube.targets.cluster.target import ClusterTarget
from sbkube.targets.cluster.waiting import MOST_WATCHED

pytestmark = pytest.mark.anyio

CUSTOM = {"apiVersion": "acme.io/v1", "kind": "Widget"}
CRD = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "widgets.acme.io"},
}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def helm() -> FakeHelm:
    return FakeHelm()


@pytest.fixture
def cluster(helm: FakeHelm) -> FakeCluster:
    cluster = helm.cluster()
    cluster.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "default"}})
    return cluster


def target(helm: FakeHelm, folder: Path, namespaces: Mapping[str, int]) -> ClusterTarget:
    async def releases() -> Releases:
        return helm.releases(Cluster())

    identities = Identities(folder / "cluster.json", None)
    return ClusterTarget(
        Cluster(), releases, None, folder / "scratch", lambda: "us", identities, namespaces=namespaces
    )


async def test_a_server_that_is_not_there_is_not_taken_for_one_without_objects(
    helm: FakeHelm, cluster: FakeCluster
) -> None:
    objects = objects_of(stream({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}))
    assert await existing(helm.releases(Cluster()), objects, "default") == []
    cluster.is_reachable = False
    with pytest.raises(ClusterUnreachable):
        await existing(helm.releases(Cluster()), objects, "default")


def stream(*objects: Mapping[str, Any]) -> str:
    return "".join(f"---\n{json.dumps(one)}\n" for one in objects)


def app(folder: Path, name: str, *objects: Mapping[str, Any], **options: Any) -> Deployment:
    """Of a chart with these objects, or with one ConfigMap."""
    whole = [
        {"metadata": {"name": name}, **one} for one in objects or ({"apiVersion": "v1", "kind": "ConfigMap"},)
    ]
    text = stream(*whole)
    chart = folder / "charts" / name
    (chart / "templates").mkdir(parents=True)
    (chart / "Chart.yaml").write_text(f"apiVersion: v2\nname: {name}\nversion: 1.0.0\n")
    (chart / "templates/all.yaml").write_text(text)
    crds = options.pop("has_crds", "")
    hooks = [one for one in whole if "annotations" in one["metadata"]]
    plain = [one for one in whole if one not in hooks]
    rendered = Manifests(crds=crds, manifests=stream(*plain), hooks=stream(*hooks))
    return Deployment(name, name, "default", rendered, chart, options=DeployOptions(**options))


def hook(name: str, events: str) -> Mapping[str, Any]:
    metadata = {"name": name, "annotations": {"helm.sh/hook": events}}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata}


async def log(_: str) -> None: ...


def requests(cluster: FakeCluster) -> dict[str, DeployRequest]:
    """The last for each release."""
    return {
        call.request.name: call.request for call in cluster.calls if isinstance(call.request, DeployRequest)
    }


async def all_at_once(target: ClusterTarget, cluster: FakeCluster, *apps: Deployment) -> dict[str, str]:
    """How Helm is asked to wait for each, while none becomes ready."""
    for one in apps:
        cluster.hold(one.release)
    async with anyio.create_task_group() as tasks:
        for one in apps:
            tasks.start_soon(target.deploy, one, log)
        with anyio.fail_after(10):
            while len(requests(cluster)) < len(apps):
                await checkpoint()
        for one in apps:
            cluster.make_ready(one.release)
    return {name: request.wait for name, request in requests(cluster).items()}


async def test_few_releases_are_watched(helm: FakeHelm, cluster: FakeCluster, tmp_path: Path) -> None:
    apps = [app(tmp_path, f"app-{n}") for n in range(20)]
    waits = await all_at_once(target(helm, tmp_path, {"default": 20}), cluster, *apps)
    assert set(waits.values()) == {"watcher"}


async def test_in_a_crowded_namespace_only_some_are_watched(
    helm: FakeHelm, cluster: FakeCluster, tmp_path: Path
) -> None:
    apps = [app(tmp_path, f"app-{n}") for n in range(20)]
    waits = list((await all_at_once(target(helm, tmp_path, {"default": 200}), cluster, *apps)).values())
    assert waits.count("watcher") == MOST_WATCHED // 200
    assert waits.count("legacy") == 20 - MOST_WATCHED // 200


@pytest.mark.parametrize(
    ("objects", "options"),
    [((CUSTOM,), {}), ((), {"atomic": True}), ((), {"wait_for_jobs": True})],
    ids=["custom", "atomic", "jobs"],
)
async def test_what_the_older_way_would_not_see_is_watched_in_every_crowd(
    helm: FakeHelm,
    cluster: FakeCluster,
    tmp_path: Path,
    objects: tuple[Mapping[str, Any], ...],
    options: Mapping[str, Any],
) -> None:
    crowded = target(helm, tmp_path, {"default": 10 * MOST_WATCHED})
    special = app(tmp_path, "special", *objects, **options)
    waits = await all_at_once(crowded, cluster, app(tmp_path, "plain"), special)
    assert waits == {"plain": "legacy", "special": "watcher"}


async def test_watchers_are_given_back(helm: FakeHelm, cluster: FakeCluster, tmp_path: Path) -> None:
    alone = target(helm, tmp_path, {"default": MOST_WATCHED})
    for name in ("first", "second"):
        await alone.deploy(app(tmp_path, name), log)
    assert {request.wait for request in requests(cluster).values()} == {"watcher"}


@pytest.mark.parametrize("options", [{}, {"atomic": True}, {"has_crds": json.dumps(CRD)}], ids=str)
async def test_an_object_that_nobody_owns_is_refused_and_nothing_is_changed(
    helm: FakeHelm, cluster: FakeCluster, tmp_path: Path, options: Mapping[str, Any]
) -> None:
    cluster.put({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "web"}})
    before = dict(cluster.objects)
    with pytest.raises(OwnedByOther, match="exists already and no release owns it: ConfigMap web"):
        await target(helm, tmp_path, {}).deploy(app(tmp_path, "web", **options), log)
    assert cluster.objects == before


async def test_an_atomic_install_over_what_is_there_already_is_not_undone(
    helm: FakeHelm, cluster: FakeCluster, tmp_path: Path
) -> None:
    mine = {"meta.helm.sh/release-name": "web", "meta.helm.sh/release-namespace": "default"}
    metadata = {"name": "web", "annotations": mine}
    cluster.put({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata})
    await target(helm, tmp_path, {}).deploy(app(tmp_path, "web", atomic=True), log)
    assert not requests(cluster)["web"].atomic


WEBHOOK = 'Internal error occurred: failed calling webhook "a.example.com": failed to call webhook: '
ANSWERLESS = WEBHOOK + 'Post "https://a.svc:443/": dial tcp 10.0.0.1:443: connect: connection refused'


async def tries(web: Deployment, target: ClusterTarget) -> int:
    """Until the error says that the next would be no better."""
    for count in range(1, 100):
        with pytest.raises(HelmError) as caught:
            await target.deploy(web, log)
        if not caught.value.transient:
            return count
    raise AssertionError("there is no end")


@pytest.mark.parametrize(("max_history", "expected"), [(10, 5), (4, 2), (3, 1), (1, 1)])
async def test_the_tries_of_a_run_leave_half_of_the_history_to_what_was_deployed(
    helm: FakeHelm, cluster: FakeCluster, tmp_path: Path, max_history: int, expected: int
) -> None:
    web = app(tmp_path, "web", max_history=max_history)
    for value in range(12):
        await target(helm, tmp_path, {}).deploy(replace(web, values={"v": value}), log)
    cluster.fail("web", *[Fails(ANSWERLESS)] * 20)
    changed = replace(web, values={"v": "other"})
    assert await tries(changed, target(helm, tmp_path, {})) == expected
    kept = [one.status for one in cluster.releases["default", "web"]]
    assert kept.count("deployed") == 1
    assert len(kept) - kept.count("failed") >= max_history // 2
    assert await tries(changed, target(helm, tmp_path, {})) == expected, "the next run counts anew"


async def test_a_server_that_cannot_be_reached_leaves_no_revision_and_is_tried_again(
    helm: FakeHelm, cluster: FakeCluster, tmp_path: Path
) -> None:
    to, web = target(helm, tmp_path, {}), app(tmp_path, "web", max_history=1)
    cluster.is_reachable = False
    for _ in range(10):
        with pytest.raises(ClusterUnreachable) as caught:
            await to.deploy(web, log)
        assert caught.value.transient
    cluster.is_reachable = True
    assert (await to.deploy(web, log)).record["revision"] == 1


MIGRATE = hook("migrate", "pre-install")
SEED = hook("seed", "post-install,pre-upgrade")
CONFIG = {"apiVersion": "v1", "kind": "ConfigMap"}


@pytest.mark.parametrize("fault", [Fails("no room"), Dies()], ids=["failed", "cut off"])
async def test_an_install_that_did_not_end_well_is_completed_with_its_hooks(
    helm: FakeHelm, cluster: FakeCluster, tmp_path: Path, fault: Fails | Dies
) -> None:
    web = app(tmp_path, "web", MIGRATE, SEED, CONFIG)
    cluster.fail("web", fault)
    with pytest.raises(HelmError):
        await target(helm, tmp_path, {}).deploy(web, log)
    cluster.hooks.clear()
    deployed = await target(helm, tmp_path, {}).deploy(web, log)
    assert cluster.hooks == ["pre-upgrade Job/migrate", "pre-upgrade Job/seed", "post-upgrade Job/seed"]
    assert cluster.releases["default", "web"][-1].release.chart == "web-1.0.0"
    again = await target(helm, tmp_path, {}).deploy(web, log)
    assert (again.digest, again.record["action"]) == (deployed.digest, "unchanged")


async def test_hooks_of_an_install_run_once_in_what_was_installed(
    helm: FakeHelm, cluster: FakeCluster, tmp_path: Path
) -> None:
    web = app(tmp_path, "web", MIGRATE, CONFIG)
    await target(helm, tmp_path, {}).deploy(web, log)
    cluster.fail("web", Fails("no room"))
    changed = replace(web, values={"any": "thing"})
    with pytest.raises(HelmError):
        await target(helm, tmp_path, {}).deploy(changed, log)
    await target(helm, tmp_path, {}).deploy(changed, log)
    assert cluster.hooks == ["pre-install Job/migrate"]
