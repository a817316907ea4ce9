"""The contract of releases: the same refusals, locks and failures whichever Helm it is (see `test_releases.py`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from typing import Any

import anyio
import pytest
from release_labs import ENDING, Lab, RealLab, cancelled_half_way, data_of, helms, story

from sbkube.helm.base import HelmCrashed, HelmTimeout, RenderError, ValuesError
from sbkube.helm.looking import Query
from sbkube.helm.releases import (
    ClusterUnreachable,
    DeployRequest,
    NotReady,
    OwnedByOther,
    Release,
    ReleaseError,
    ReleaseLocked,
    ReleaseMissing,
    Releases,
    ReleaseStatus,
    RollbackRequest,
    UninstallRequest,
)

pytestmark = pytest.mark.anyio

Deploy = Callable[..., DeployRequest]


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def _nothing_runs_on(lab: Lab) -> Iterator[None]:
    """A worker may stay; the programs of calls may not."""
    yield
    assert len(helms()) <= 1


# --- refusals -------------------------------------------------------------


async def test_a_name_that_is_taken_is_not_taken_again(lab: Lab, deploy: Deploy) -> None:
    await lab.releases.install(deploy())
    with pytest.raises(ReleaseLocked, match=r"cannot re-?use a name that is still in use"):
        await lab.releases.install(deploy())


async def test_of_several_installs_at_once_one_is_made(lab: Lab, name: str, deploy: Deploy) -> None:
    ended: list[Release | ReleaseLocked] = []

    async def install() -> None:
        try:
            ended.append(await lab.releases.install(deploy()))
        except ReleaseLocked as error:
            ended.append(error)

    async with anyio.create_task_group() as tasks:
        for _ in range(4):
            tasks.start_soon(install)
    assert sum(isinstance(one, Release) for one in ended) == 1
    assert await story(lab, name) == [(1, "deployed")]


async def test_what_is_not_installed_can_be_neither_upgraded_nor_rolled_back(
    lab: Lab, name: str, deploy: Deploy
) -> None:
    with pytest.raises(ReleaseError, match=f'"{name}" has no deployed releases'):
        await lab.releases.upgrade(deploy())
    with pytest.raises(ReleaseMissing, match=f"release '{name}' in namespace .*: release: not found"):
        await lab.releases.rollback(RollbackRequest(name, lab.namespace, 1))
    await lab.releases.install(deploy())
    with pytest.raises(ReleaseMissing, match="release has no 7 version"):
        await lab.releases.rollback(RollbackRequest(name, lab.namespace, 7))


async def test_an_object_of_another_release_is_refused_by_the_name_of_its_owner(
    lab: Lab, name: str, deploy: Deploy
) -> None:
    await lab.releases.install(deploy("fixed", name=f"{name}-owner"))
    with pytest.raises(OwnedByOther, match='"fixed"') as caught:
        await lab.releases.install(deploy("fixed"))
    assert caught.value.owner == f"{name}-owner"
    assert await story(lab, name) == []
    await lab.releases.install(deploy())
    with pytest.raises(OwnedByOther) as caught:
        await lab.releases.upgrade(deploy("fixed"))
    assert caught.value.owner == f"{name}-owner"
    await lab.releases.uninstall(UninstallRequest(f"{name}-owner", lab.namespace))


async def test_an_object_of_nobody_is_refused_unless_it_may_be_taken_over(
    lab: Lab, name: str, deploy: Deploy
) -> None:
    lab.put(name, v="theirs")
    with pytest.raises(OwnedByOther) as caught:
        await lab.releases.install(deploy())
    assert caught.value.owner is None
    made = await lab.releases.install(deploy(take_ownership=True, force_conflicts=True))
    assert made.status is ReleaseStatus.DEPLOYED
    assert (await data_of(lab, name) or {})["v"] == "one"


async def test_a_namespace_that_is_missing_is_named(lab: Lab, deploy: Deploy) -> None:
    with pytest.raises(ReleaseError, match='namespaces "missing" not found'):
        await lab.releases.install(deploy(namespace="missing"))


@pytest.mark.parametrize(
    ("chart", "words"),
    [
        ("broken", r"broken/templates/a\.yaml:8"),
        ("not-yaml", r"YAML parse error on not-yaml/templates/a\.yaml"),
    ],
)
async def test_a_chart_that_cannot_be_rendered_leaves_no_release(
    chart: str, words: str, lab: Lab, name: str, deploy: Deploy
) -> None:
    with pytest.raises(RenderError, match=words):
        await lab.releases.install(deploy(chart))
    assert await story(lab, name) == []
    await lab.releases.install(deploy())
    with pytest.raises(RenderError, match=words):
        await lab.releases.upgrade(deploy(chart))
    assert await story(lab, name) == [(1, "deployed")]


async def test_values_that_json_cannot_say_are_refused(lab: Lab, deploy: Deploy) -> None:
    with pytest.raises(ValuesError, match="values cannot be given to Helm"):
        await lab.releases.install(deploy(values={"v": float("nan")}))


async def test_labels_that_kubernetes_does_not_take_are_refused(lab: Lab, name: str, deploy: Deploy) -> None:
    with pytest.raises(ReleaseError, match="must be no more than 63 bytes"):
        await lab.releases.install(deploy(labels={"a": "x" * 64}))
    with pytest.raises(ReleaseError, match="system reserved label name"):
        await lab.releases.install(deploy(labels={"status": "x"}))
    assert await story(lab, name) == []


async def test_a_cluster_that_does_not_answer_is_unreachable(lab: Lab, deploy: Deploy) -> None:
    async with aclosing(lab.cut_off()) as gone:
        await refused_by_all_calls(gone, deploy())


async def refused_by_all_calls(gone: Releases, request: DeployRequest) -> None:
    calls: list[Callable[[], Any]] = [
        partial(gone.install, request),
        partial(gone.upgrade, request),
        partial(gone.rollback, RollbackRequest("demo", "shop", 1)),
        partial(gone.uninstall, UninstallRequest("demo", "shop")),
        partial(gone.history, "demo", "shop"),
        partial(gone.get, "demo", "shop"),
        gone.list,
        gone.server,
        partial(gone.look, [Query("v1", "ConfigMap", "shop")]),
    ]
    for call in calls:
        with pytest.raises(ClusterUnreachable, match="connection refused"):
            await call()


# --- pending --------------------------------------------------------------


async def test_a_deploy_that_was_cut_short_locks_the_release_until_it_is_rolled_back_to_itself(
    lab: Lab, name: str, deploy: Deploy
) -> None:
    lab.hang(name)
    await cancelled_half_way(
        lab, partial(lab.releases.install, deploy("hanging")), name, ReleaseStatus.PENDING_INSTALL
    )
    with pytest.raises(ReleaseLocked, match=r"cannot re-?use"):
        await lab.releases.install(deploy())
    with pytest.raises(ReleaseLocked, match=r"another operation .* is in progress"):
        await lab.releases.upgrade(deploy())
    unlock = RollbackRequest(name, lab.namespace, 1, wait="hooks", disable_hooks=True)
    assert (await lab.releases.rollback(unlock)).revision == 2
    lab.hang(name)
    await cancelled_half_way(
        lab, partial(lab.releases.upgrade, deploy("hanging")), name, ReleaseStatus.PENDING_UPGRADE
    )
    with pytest.raises(ReleaseLocked, match=r"another operation .* is in progress"):
        await lab.releases.upgrade(deploy())
    await lab.releases.rollback(replace(unlock, revision=3))
    made = await lab.releases.upgrade(deploy(values={"v": "two"}))
    assert made.revision == 5
    assert (await data_of(lab, name) or {})["v"] == "two"
    statuses = ["pending-install", "superseded", "pending-upgrade", "superseded", "deployed"]
    assert await story(lab, name) == list(enumerate(statuses, 1))


async def test_a_deploy_over_its_time_limit_is_ended_and_left_pending(
    lab: Lab, name: str, deploy: Deploy
) -> None:
    lab.hang(name)
    with pytest.raises(HelmTimeout, match="time limit of 2 s"):
        await lab.releases.install(deploy("hanging", time_limit=2.0))
    assert await story(lab, name) == [(1, "pending-install")]


async def test_a_killed_helm_is_a_crash_and_the_next_call_works(lab: Lab, name: str, deploy: Deploy) -> None:
    async def install() -> None:
        with pytest.raises(HelmCrashed, match=r"killed by SIGKILL|code 137"):
            await lab.releases.install(deploy("hanging"))

    async with aclosing(lab.open()) as other, anyio.create_task_group() as tasks:
        if not isinstance(lab, RealLab):
            lab.kill(name)
        tasks.start_soon(install)
        with anyio.fail_after(ENDING):
            while not await other.history(name, lab.namespace):  # noqa: ASYNC110
                await anyio.sleep(0.05)
        if isinstance(lab, RealLab):
            lab.kill(name)
    assert await story(lab, name) == [(1, "pending-install")]
    assert (await lab.releases.install(deploy(name=f"{name}-next"))).revision == 1


# --- readiness ------------------------------------------------------------


@pytest.mark.parametrize("wait", ["watcher", "legacy"])
async def test_what_is_not_ready_in_time_fails(wait: str, lab: Lab, name: str, deploy: Deploy) -> None:
    lab.hold(name)
    with pytest.raises(NotReady, match="context deadline exceeded"):
        await lab.releases.install(deploy("late", values={"node": name}, wait=wait, timeout=1.0))
    assert await story(lab, name) == [(1, "failed")]


@pytest.mark.parametrize("wait", ["watcher", "legacy"])
async def test_what_becomes_ready_later_is_waited_for(wait: str, lab: Lab, name: str, deploy: Deploy) -> None:
    lab.hold(name)
    ended = anyio.Event()

    async def install() -> None:
        made = await lab.releases.install(deploy("late", values={"node": name}, wait=wait, timeout=60.0))
        assert made.status is ReleaseStatus.DEPLOYED
        ended.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(install)
        with anyio.fail_after(ENDING):
            while await data_of(lab, name) is None:  # noqa: ASYNC110
                await anyio.sleep(0.05)
        assert await story(lab, name) == [(1, "pending-install")]
        assert not ended.is_set()
        lab.let_go(name)
    assert await story(lab, name) == [(1, "deployed")]


async def test_who_does_not_wait_is_done_at_once(lab: Lab, name: str, deploy: Deploy) -> None:
    lab.hold(name)
    made = await lab.releases.install(deploy("late", values={"node": name}, wait="hooks"))
    assert made.status is ReleaseStatus.DEPLOYED


async def test_a_failed_atomic_install_leaves_nothing(lab: Lab, name: str, deploy: Deploy) -> None:
    lab.hold(name)
    with pytest.raises(NotReady, match="has been uninstalled due to"):
        await lab.releases.install(
            deploy("late", values={"node": name}, wait="watcher", timeout=1.0, atomic=True)
        )
    assert await story(lab, name) == []
    assert await data_of(lab, name) is None


async def test_a_failed_atomic_upgrade_goes_back(lab: Lab, name: str, deploy: Deploy) -> None:
    await lab.releases.install(deploy(labels={"a": "1"}))
    lab.hold(name)
    with pytest.raises(NotReady, match="has been rolled back due to"):
        await lab.releases.upgrade(
            deploy(
                "late",
                values={"node": name, "v": "two"},
                labels={"a": "2"},
                wait="watcher",
                timeout=1.0,
                atomic=True,
            )
        )
    history = await lab.releases.history(name, lab.namespace)
    assert [(one.status.value, one.labels["a"]) for one in history] == [
        ("superseded", "1"),
        ("failed", "2"),
        ("deployed", "1"),
    ]
    assert (await data_of(lab, name) or {})["v"] == "one"
