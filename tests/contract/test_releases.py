"""The contract of releases: the same life whichever Helm does it; `test_release_refusals.py` has what can go wrong.

It is kept by the fake always and, in tests marked `cluster` (`make test-cluster`), on a real cluster by the embedded Helm and
each helm program; `test_releases_on_a_cluster.py` has what the fake does not know.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import aclosing

import anyio
import pytest
from release_labs import Lab, data_of, helms, story

from sbkube.helm.looking import Query
from sbkube.helm.releases import (
    DeployRequest,
    NotReady,
    ReleaseError,
    ReleaseLocked,
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


async def test_what_is_deployed_stays_in_the_history_however_often_an_upgrade_fails(
    lab: Lab, name: str, deploy: Deploy
) -> None:
    await lab.releases.install(deploy())
    lab.hold(name)
    for _ in range(3):
        with pytest.raises(NotReady):
            await lab.releases.upgrade(
                deploy("late", values={"node": name}, wait="watcher", timeout=0.5, max_history=2)
            )
    assert await story(lab, name) == [(1, "deployed"), (4, "failed")]


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


# --- many -----------------------------------------------------------------


async def test_sixty_installs_at_once_are_sixty_releases(lab: Lab, name: str, deploy: Deploy) -> None:
    wanted = [f"{name}-{number}" for number in range(60)]
    async with anyio.create_task_group() as tasks:
        for one in wanted:
            tasks.start_soon(lab.releases.install, deploy(name=one, labels={"of": name}))
    found = {one.name for one in await lab.releases.list(lab.namespace) if one.labels.get("of") == name}
    assert found == set(wanted)
