"""The contract of releases: the same life and the same refusals whichever Helm does it.

It always runs on the fake, and where SBKUBE_TEST_KUBECONFIG names a cluster also there, on the embedded Helm and on each
helm program; `test_releases_on_a_cluster.py` has what the fake does not know.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import anyio
import pytest
from release_charts import write_charts
from release_labs import LABS, Lab, RealLab, helms

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

NUMBERS = count(1)
ENDING = 20.0  # seconds until a test that should be over long since is


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def charts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_charts(tmp_path_factory.mktemp("charts"))


@pytest.fixture(scope="module", params=LABS)
async def lab(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, anyio_backend: str
) -> AsyncIterator[Lab]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SBKUBE_TEST_SCRATCH", str(tmp_path_factory.mktemp("kubeconfigs")))
        lab = LABS[request.param]()
        try:
            yield lab
            await lab.releases.aclose()
            assert helms() == []
        finally:
            lab.close()


@pytest.fixture
def name() -> str:
    return f"demo-{next(NUMBERS)}"


@pytest.fixture
def deploy(lab: Lab, charts: Path, name: str) -> Callable[..., DeployRequest]:
    def make(chart: str = "app", **options: Any) -> DeployRequest:
        given = {"name": name, "namespace": lab.namespace, "wait": "none"} | options
        return DeployRequest(charts / chart, **given)

    return make


Deploy = Callable[..., DeployRequest]


async def data_of(lab: Lab, name: str) -> dict[str, str] | None:
    (found,) = await lab.releases.look([Query("v1", "ConfigMap", lab.namespace, name)])
    return found["data"] if found else None


async def story(lab: Lab, name: str) -> list[tuple[int, str]]:
    return [(one.revision, one.status.value) for one in await lab.releases.history(name, lab.namespace)]


async def cancelled_half_way(lab: Lab, act: Callable[[], Any], name: str, status: str) -> None:
    """Start a deploy that hangs, and end it as soon as the release is pending."""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(act)
        with anyio.fail_after(ENDING):
            while (await story(lab, name))[-1:] == [] or (await story(lab, name))[-1][1] != status:  # noqa: ASYNC110
                await anyio.sleep(0.05)
            tasks.cancel_scope.cancel()
    await anyio.lowlevel.checkpoint()


# --- a life ---------------------------------------------------------------


async def test_an_install_makes_revision_1_and_its_objects(lab: Lab, name: str, deploy: Deploy) -> None:
    made = await lab.releases.install(deploy(values={"v": "two"}, labels={"a": "b", "c.d/e": "f"}))
    assert (made.name, made.namespace, made.revision) == (name, lab.namespace, 1)
    assert (made.status, made.chart, made.labels) == (
        ReleaseStatus.DEPLOYED,
        "app-1.2.3",
        {"a": "b", "c.d/e": "f"},
    )
    assert await data_of(lab, name) == {"v": "two", "u": "grüße ☃"}
    assert await lab.releases.history(name, lab.namespace) == [made]


async def test_an_upgrade_carries_labels_on_and_forgets_values(lab: Lab, name: str, deploy: Deploy) -> None:
    await lab.releases.install(deploy(values={"v": "two"}, labels={"a": "b", "kept": "yes"}))
    made = await lab.releases.upgrade(deploy(labels={"a": "c"}))
    assert (made.revision, made.status) == (2, ReleaseStatus.DEPLOYED)
    assert made.labels["a"] == "c"
    first, second = await lab.releases.history(name, lab.namespace)
    assert (first.status, first.labels) == (ReleaseStatus.SUPERSEDED, {"a": "b", "kept": "yes"})
    assert (second.status, second.labels) == (ReleaseStatus.DEPLOYED, {"a": "c", "kept": "yes"})
    assert await data_of(lab, name) == {"v": "one", "u": "grüße ☃"}


async def test_an_upgrade_removes_what_left_the_chart(lab: Lab, name: str, deploy: Deploy) -> None:
    await lab.releases.install(deploy())
    await lab.releases.upgrade(deploy("fixed"))
    assert await data_of(lab, name) is None
    assert await data_of(lab, "fixed") == {"v": "one"}
    await lab.releases.uninstall(UninstallRequest(name, lab.namespace))


async def test_a_rollback_returns_the_new_revision_with_the_labels_of_the_old(
    lab: Lab, name: str, deploy: Deploy
) -> None:
    await lab.releases.install(deploy(labels={"a": "1"}))
    await lab.releases.upgrade(deploy(values={"v": "two"}, labels={"a": "2", "b": "2"}))
    made = await lab.releases.rollback(RollbackRequest(name, lab.namespace, 1, wait="none"))
    assert (made.revision, made.status, made.chart, made.labels) == (
        3,
        ReleaseStatus.DEPLOYED,
        "app-1.2.3",
        {"a": "1"},
    )
    assert await story(lab, name) == [(1, "superseded"), (2, "superseded"), (3, "deployed")]
    assert (await data_of(lab, name) or {})["v"] == "one"


async def test_an_uninstall_says_whether_there_was_a_release(lab: Lab, name: str, deploy: Deploy) -> None:
    await lab.releases.install(deploy())
    assert await lab.releases.uninstall(UninstallRequest(name, lab.namespace))
    assert await data_of(lab, name) is None
    assert await story(lab, name) == []
    assert not await lab.releases.uninstall(UninstallRequest(name, lab.namespace))


async def test_a_kept_history_goes_on_when_the_name_is_taken_again(
    lab: Lab, name: str, deploy: Deploy
) -> None:
    await lab.releases.install(deploy())
    await lab.releases.uninstall(UninstallRequest(name, lab.namespace, keep_history=True))
    assert await story(lab, name) == [(1, "uninstalled")]
    with pytest.raises(ReleaseError, match="already deleted"):
        await lab.releases.uninstall(UninstallRequest(name, lab.namespace, keep_history=True))
    with pytest.raises(ReleaseLocked, match=r"cannot re-?use a name"):
        await lab.releases.install(deploy())
    made = await lab.releases.install(deploy(replace=True))
    assert made.revision == 2
    assert await story(lab, name) == [(1, "superseded"), (2, "deployed")]


async def test_a_history_is_as_long_as_it_may_be(lab: Lab, name: str, deploy: Deploy) -> None:
    await lab.releases.install(deploy())
    for number in range(4):
        await lab.releases.upgrade(deploy(values={"v": str(number)}, max_history=3))
    assert await story(lab, name) == [(3, "superseded"), (4, "superseded"), (5, "deployed")]


async def test_hooks_run_unless_they_are_disabled(lab: Lab, name: str, deploy: Deploy) -> None:
    await lab.releases.install(deploy("hooked", disable_hooks=True))
    assert await data_of(lab, f"{name}-hook") is None
    (found,) = await lab.releases.look([Query("v1", "ConfigMap", lab.namespace, f"{name}-hook")])
    assert found is None
    await lab.releases.rollback(RollbackRequest(name, lab.namespace, 1, wait="none"))
    (found,) = await lab.releases.look([Query("v1", "ConfigMap", lab.namespace, f"{name}-hook")])
    assert found["metadata"]["name"] == f"{name}-hook"


# --- looking --------------------------------------------------------------


async def test_a_revision_is_given_with_all_it_was_made_of(lab: Lab, name: str, deploy: Deploy) -> None:
    values = {
        "v": "zwölf ☃",
        "none": None,
        "number": 1_000_000,
        "list": [1.5, {"a": True}],
        "text": "a\n---\nb",
    }
    await lab.releases.install(deploy("hooked", values=values, labels={"a": "b"}))
    await lab.releases.upgrade(deploy())
    contents = await lab.releases.get(name, lab.namespace, 1)
    assert contents is not None
    assert contents.release == (await lab.releases.history(name, lab.namespace))[0]
    assert contents.values == values
    assert contents.manifest.startswith("---\n# Source: hooked/templates/a.yaml\napiVersion: v1\n")
    assert 'v: "zwölf ☃"' in contents.manifest
    assert "pre-install" not in contents.manifest
    assert contents.hooks.startswith("---\n# Source: hooked/templates/hook.yaml\napiVersion: v1\n")
    assert contents.notes == ""
    newest = await lab.releases.get(name, lab.namespace)
    assert newest is not None
    assert (newest.release.revision, newest.values, newest.hooks) == (2, {}, "")
    assert newest.notes == f"Thank you for {name}\n"


async def test_what_is_not_there_is_none_or_empty(lab: Lab, name: str, deploy: Deploy) -> None:
    await lab.releases.install(deploy())
    assert await lab.releases.get(name, lab.namespace, 7) is None
    assert await lab.releases.get("missing", lab.namespace) is None
    assert await lab.releases.get("missing", "missing", 7) is None
    assert await lab.releases.history("missing", lab.namespace) == []
    assert await lab.releases.list("missing") == []


async def test_a_list_has_the_newest_revision_of_each_release_whatever_its_status(
    lab: Lab, name: str, deploy: Deploy
) -> None:
    kept, there = f"{name}-kept", lab.other_namespace
    await lab.releases.install(deploy(labels={"a": "1"}))
    second = await lab.releases.upgrade(deploy(labels={"a": "2"}))
    await lab.releases.install(deploy(name=kept, namespace=there, labels={"a": "3"}))
    await lab.releases.uninstall(UninstallRequest(kept, there, keep_history=True))
    await lab.releases.install(deploy(namespace=there))
    here = {one.name: one for one in await lab.releases.list(lab.namespace)}
    assert here[name] == second
    assert kept not in here
    everywhere = {(one.namespace, one.name): one for one in await lab.releases.list()}
    assert everywhere[lab.namespace, name] == second
    assert everywhere[there, name].revision == 1
    gone = everywhere[there, kept]
    assert (gone.status, gone.labels) == (ReleaseStatus.UNINSTALLED, {"a": "3"})
    assert {one.name for one in await lab.releases.list(there)} >= {name, kept}


async def test_looking_gives_objects_lists_and_none(lab: Lab, name: str, deploy: Deploy) -> None:
    await lab.releases.install(deploy())
    queries = [
        Query("v1", "ConfigMap", lab.namespace, name),
        Query("v1", "ConfigMap", lab.namespace, "missing"),
        Query("v1", "ConfigMap", lab.namespace),
        Query("v1", "ConfigMap", "missing"),
    ]
    one, missing, several, nothing = await lab.releases.look(queries)
    annotations = one["metadata"]["annotations"]
    assert annotations["meta.helm.sh/release-name"] == name
    assert missing is None
    assert name in [found["metadata"]["name"] for found in several["items"]]
    assert nothing["items"] == []


async def test_the_server_is_told_by_version_apis_and_uid(lab: Lab) -> None:
    server = await lab.releases.server()
    assert server.version.startswith("v1.")
    assert {"v1", "apps/v1"} <= {*server.api_versions}
    assert server.uid
    async with aclosing(lab.open()) as other:
        assert await other.server() == server


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


# --- many -----------------------------------------------------------------


async def test_sixty_installs_at_once_are_sixty_releases(lab: Lab, name: str, deploy: Deploy) -> None:
    wanted = [f"{name}-{number}" for number in range(60)]
    async with anyio.create_task_group() as tasks:
        for one in wanted:
            tasks.start_soon(lab.releases.install, deploy(name=one, labels={"of": name}))
    found = {one.name for one in await lab.releases.list(lab.namespace) if one.labels.get("of") == name}
    assert found == set(wanted)


@pytest.fixture(autouse=True)
def _nothing_runs_on(lab: Lab) -> Iterator[None]:
    """A worker may stay; the programs of calls may not."""
    yield
    assert len(helms()) <= 1
