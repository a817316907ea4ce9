"""The contract of releases where the fake has nothing to say: rights, schemas, conflicts, and one Helm after another."""

from __future__ import annotations

import base64
import gzip
import json
import os
import random
from collections.abc import Awaitable, Callable, Iterator
from contextlib import aclosing
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest
from release_charts import CONFIG_MAP, write_chart
from release_labs import ENDING, MAKERS, REAL, Lab, RealLab, cancelled_half_way, data_of, helms, story

from cluster.client import Cluster as Kubernetes
from sbkube.helm.base import ChartError, RenderError, ValuesError
from sbkube.helm.binary_releases import BinaryReleases
from sbkube.helm.looking import Query
from sbkube.helm.releases import (
    ApplyConflict,
    Cluster,
    ClusterUnreachable,
    DeployRequest,
    Forbidden,
    NotReady,
    ReleaseError,
    Releases,
    ReleaseStatus,
    RollbackRequest,
    UninstallRequest,
)

pytestmark = [pytest.mark.anyio, pytest.mark.cluster]

Deploy = Callable[..., DeployRequest]
Chart = Callable[..., Path]

JOB = """\
apiVersion: batch/v1
kind: Job
metadata:
  name: {{ .Release.Name }}-job
  annotations: {HOOK}
spec:
  backoffLimit: 0
  activeDeadlineSeconds: 1
  template:
    spec:
      restartPolicy: Never
      nodeSelector: {sbkube.dev/there-is: no-such-node}
      containers: [{name: main, image: "registry.k8s.io/pause:{{ .Values.v }}"}]
"""


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module", params=REAL)
def lab(
    request: pytest.FixtureRequest, cluster: Kubernetes, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RealLab]:
    lab = RealLab(request.param, cluster, tmp_path_factory.mktemp("kubeconfigs"))
    yield lab
    lab.close()


@pytest.fixture(autouse=True)
async def _closed(lab: RealLab) -> Any:
    yield
    await lab.releases.aclose()
    assert helms() == []


@pytest.fixture
def chart(tmp_path: Path) -> Chart:
    def make(template: str = CONFIG_MAP, files: dict[str, str] | None = None, **metadata: Any) -> Path:
        return write_chart(tmp_path, "chart", {"templates/a.yaml": template, **(files or {})}, **metadata)

    return make


def as_user(lab: RealLab, user: dict[str, Any]) -> Cluster:
    config = lab.config()
    for known in config["users"]:
        known["user"] = known["user"] | user
    return Cluster(lab.kubeconfig(config), lab.context)


# --- who asks, and whom ---------------------------------------------------


async def test_who_may_do_nothing_is_forbidden_everything_but_to_ask_the_server(
    lab: RealLab, deploy: Deploy
) -> None:
    async with aclosing(lab.open(as_user(lab, {"as": "sbkube-nobody"}))) as nobody:
        calls: list[Callable[[], Awaitable[Any]]] = [
            partial(nobody.install, deploy()),
            partial(nobody.upgrade, deploy()),
            partial(nobody.history, "demo", lab.namespace),
            partial(nobody.get, "demo", lab.namespace),
            partial(nobody.uninstall, UninstallRequest("demo", lab.namespace)),
            partial(nobody.list),
            partial(nobody.list, lab.namespace),
            partial(nobody.look, [Query("v1", "Secret", lab.namespace)]),
        ]
        for call in calls:
            with pytest.raises(Forbidden, match=r'User "sbkube-nobody" cannot (get|list) resource'):
                await call()
        server = await nobody.server()
        assert (server.uid, server.version[:3]) == ("", "v1.")


async def test_who_is_not_known_does_not_reach_the_cluster(lab: RealLab) -> None:
    stranger = {"token": "wrong", "client-certificate-data": None, "client-key-data": None}
    async with aclosing(lab.open(as_user(lab, stranger))) as releases:
        with pytest.raises(ClusterUnreachable, match="provide credentials"):
            await releases.list()


async def test_a_list_has_every_release_however_many_there_are(lab: RealLab) -> None:
    names = [f"many-{number:03}" for number in range(300)]
    items = [stored(name, lab.other_namespace, {"kept": name}) for name in names]
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": items})
    lab.kubernetes.kubectl("create", "-f", "-", stdin=text)
    try:
        for namespace in (lab.other_namespace, None):
            listed = [one for one in await lab.releases.list(namespace) if one.name.startswith("many-")]
            assert sorted(one.name for one in listed) == names
            assert all(one.labels == {"kept": one.name} for one in listed)
    finally:
        # All in one request: kubectl would delete five in a second.
        path = f"/api/v1/namespaces/{lab.other_namespace}/secrets?labelSelector=kept"
        lab.kubernetes.kubectl("delete", "--raw", path)


def stored(name: str, namespace: str, labels: dict[str, str]) -> dict[str, Any]:
    """A release as Helm keeps it."""
    at = "2026-01-01T00:00:00Z"
    release = {
        "name": name,
        "namespace": namespace,
        "version": 1,
        "info": {"status": "deployed", "first_deployed": at, "last_deployed": at},
        "chart": {"metadata": {"apiVersion": "v2", "name": "app", "version": "1.2.3"}},
    }
    packed = base64.b64encode(gzip.compress(json.dumps(release).encode()))
    own = {"owner": "helm", "name": name, "status": "deployed", "version": "1"}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "helm.sh/release.v1",
        "metadata": {
            "name": f"sh.helm.release.v1.{name}.v1",
            "namespace": namespace,
            "labels": {**labels, **own},
        },
        "data": {"release": base64.b64encode(packed).decode()},
    }


async def test_an_unknown_context_is_named(lab: RealLab) -> None:
    async with aclosing(lab.open(Cluster(lab.cluster.kubeconfig, "unknown"))) as releases:
        with pytest.raises(ClusterUnreachable, match='context "unknown" does not exist'):
            await releases.list()


async def test_several_kubeconfigs_are_read_as_one(lab: RealLab) -> None:
    config = lab.config()
    parts = [lab.kubeconfig({key: config[key]}) for key in ("contexts", "clusters", "users")]
    joined = os.pathsep.join(["/missing/kubeconfig", *parts])
    async with aclosing(lab.open(Cluster(joined, lab.context))) as releases:
        assert await releases.server() == await lab.releases.server()


async def test_variables_of_helm_do_not_lead_elsewhere(lab: RealLab, name: str, deploy: Deploy) -> None:
    elsewhere = {
        "HELM_KUBEAPISERVER": "https://127.0.0.1:1",
        "HELM_KUBECONTEXT": "other",
        "HELM_NAMESPACE": "other",
        "HELM_DEBUG": "true",
    }
    async with aclosing(lab.open(**elsewhere)) as releases:
        assert (await releases.install(deploy())).namespace == lab.namespace
        with pytest.raises(ReleaseError) as caught:
            await releases.upgrade(deploy(name="missing"))
    assert caught.value.said == '"missing" has no deployed releases'


# --- what cannot be deployed ----------------------------------------------


async def test_values_against_the_schema_are_refused(lab: RealLab, deploy: Deploy, chart: Chart) -> None:
    schema = {"values.schema.json": '{"properties": {"v": {"type": "string"}}}'}
    with pytest.raises(ValuesError, match="got number, want string"):
        await lab.releases.install(deploy(chart(files=schema), values={"v": 3}))


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        ({"type": "library"}, "library charts are not installable"),
        ({"kubeVersion": "<1.2"}, "chart requires kubeVersion: <1.2 which is incompatible"),
        ({"dependencies": [{"name": "absent", "version": "1"}]}, r"missing in charts/ directory: absent"),
        ({"version": ""}, "chart.metadata.version is required"),
    ],
)
async def test_a_chart_that_is_not_fit_is_refused(
    metadata: dict[str, Any], words: str, lab: RealLab, name: str, deploy: Deploy, chart: Chart
) -> None:
    with pytest.raises(ChartError, match=words):
        await lab.releases.install(deploy(chart(**metadata)))
    assert await story(lab, name) == []


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("apiVersion: example.com/v1\nkind: Widget\nmetadata: {name: x}\n", 'no matches for kind "Widget"'),
        (CONFIG_MAP.replace("{{ .Release.Name }}", "Not_A_Name"), "lowercase RFC 1123"),
    ],
)
async def test_an_object_that_is_none_is_refused_by_the_server(
    template: str, words: str, lab: RealLab, deploy: Deploy, chart: Chart
) -> None:
    with pytest.raises(ReleaseError, match=words) as caught:
        await lab.releases.install(deploy(chart(template)))
    assert type(caught.value) is ReleaseError


async def test_a_field_that_is_none_is_refused_except_by_helm_3(
    lab: RealLab, deploy: Deploy, chart: Chart
) -> None:
    path = chart(CONFIG_MAP.replace("\ndata:", "\ndatta:"))
    if lab.kind == "helm-v3":  # the server drops the field, and Helm's own validation finds nothing
        await lab.releases.install(deploy(path))
    else:
        with pytest.raises(ReleaseError, match=r"\.datta: field not declared in schema"):
            await lab.releases.install(deploy(path))


async def test_a_nil_pointer_in_a_template_is_the_templates(
    lab: RealLab, deploy: Deploy, chart: Chart
) -> None:
    with pytest.raises(RenderError, match=r"chart/templates/a\.yaml:1:"):
        await lab.releases.install(deploy(chart("{{ .Values.a.b.c }}")))


async def test_a_field_that_must_not_change_is_no_fault_of_the_template(
    lab: RealLab, deploy: Deploy, chart: Chart
) -> None:
    path = chart(JOB.replace("HOOK", "").replace("  activeDeadlineSeconds: 1\n", ""))
    await lab.releases.install(deploy(path))
    with pytest.raises(ReleaseError, match=r"spec\.template: Invalid value.*field is immutable"):
        await lab.releases.upgrade(deploy(path, values={"v": "3.10"}))


async def test_a_quota_is_not_taken_for_a_missing_right(lab: RealLab, deploy: Deploy, name: str) -> None:
    there = lab.other_namespace
    lab.kubernetes.kubectl("create", "quota", name, "--hard=configmaps=0", "--namespace", there)
    with anyio.fail_after(ENDING):
        while not lab.kubernetes.get("quota", name, namespace=there).get("status", {}).get("used"):  # noqa: ASYNC110
            await anyio.sleep(0.1)
    try:
        with pytest.raises(ReleaseError, match="exceeded quota") as caught:
            await lab.releases.install(deploy(namespace=there))
        assert type(caught.value) is ReleaseError
    finally:
        lab.kubernetes.kubectl("delete", "quota", name, "--namespace", there)


async def test_a_large_chart_is_deployed_and_one_that_is_too_large_is_refused(
    lab: RealLab, name: str, deploy: Deploy, chart: Chart
) -> None:
    noise = random.Random(1).randbytes(600_000).hex()
    template = CONFIG_MAP + '  noise: "{{ .Files.Get "noise" | trunc (int .Values.size) }}"\n'
    path = chart(template, files={"noise": noise[:300_000]})
    await lab.releases.install(deploy(path, values={"size": 300_000}))
    contents = await lab.releases.get(name, lab.namespace)
    assert contents is not None
    assert noise[:300_000] in contents.manifest
    path = chart(template, files={"noise": noise})
    with pytest.raises(ReleaseError, match=r"Request entity too large|Too long") as caught:
        await lab.releases.upgrade(deploy(path, values={"size": 900_000}))
    assert len(str(caught.value)) < 5000


# --- whose field it is ----------------------------------------------------


async def test_a_field_that_somebody_else_took_is_a_conflict_until_it_is_forced(
    lab: RealLab, name: str, deploy: Deploy
) -> None:
    await lab.releases.install(deploy())
    lab.put(name, v="theirs")
    if lab.kind == "helm-v3":  # it patches from the client, and asks nobody
        await lab.releases.upgrade(deploy(values={"v": "two"}))
    else:
        with pytest.raises(ApplyConflict, match=r'conflict with "kubectl": \.data\.v'):
            await lab.releases.upgrade(deploy(values={"v": "two"}))
        await lab.releases.upgrade(deploy(values={"v": "two"}, force_conflicts=True))
    assert (await data_of(lab, name) or {})["v"] == "two"


@pytest.mark.parametrize("other", MAKERS)
async def test_what_one_helm_made_another_upgrades_and_rolls_back_without_a_conflict(
    other: str, lab: RealLab, name: str, deploy: Deploy
) -> None:
    async with aclosing(MAKERS[other](lab.cluster, lab.kubernetes.environment)) as others:
        await lab.releases.install(deploy(labels={"by": "1"}))
        for number in range(2, 6):
            helm = others if number % 2 == 0 else lab.releases
            made = await helm.upgrade(deploy(values={"v": str(number)}, labels={"by": str(number)}))
            assert (made.revision, made.status) == (number, ReleaseStatus.DEPLOYED)
            assert (await data_of(lab, name) or {})["v"] == str(number)
        made = await others.rollback(RollbackRequest(name, lab.namespace, 4, wait="none"))
        assert await lab.releases.history(name, lab.namespace) == await others.history(name, lab.namespace)
        assert (await lab.releases.history(name, lab.namespace))[-1] == made
        await lab.releases.upgrade(deploy(values={"v": "last"}))
        assert await others.uninstall(UninstallRequest(name, lab.namespace))
    assert await data_of(lab, name) is None


async def test_the_field_manager_is_helm(lab: RealLab, name: str, deploy: Deploy) -> None:
    await lab.releases.install(deploy())
    found = lab.kubernetes.find("configmaps", "--show-managed-fields", namespace=lab.namespace)
    (fields,) = [one["metadata"]["managedFields"] for one in found if one["metadata"]["name"] == name]
    how = "Update" if lab.kind == "helm-v3" else "Apply"
    assert [(entry["manager"], entry["operation"]) for entry in fields] == [("helm", how)]


# --- what fails, and what is cut short ------------------------------------


@pytest.mark.parametrize("event", ["pre-install", "post-install"])
async def test_a_hook_that_fails_is_named_with_its_event(
    event: str, lab: RealLab, name: str, deploy: Deploy, chart: Chart
) -> None:
    path = chart(JOB.replace("HOOK", f"helm.sh/hook: {event}"))
    with pytest.raises(NotReady, match=f"failed {event}: .*(?s:.*){name}-job"):
        await lab.releases.install(deploy(path, timeout=30.0))
    assert await story(lab, name) == [(1, "failed")]


@pytest.mark.parametrize("wait", ["watcher", "legacy"])
async def test_a_job_that_fails_is_not_ready(
    wait: str, lab: RealLab, name: str, deploy: Deploy, chart: Chart
) -> None:
    path = chart(JOB.replace("HOOK", ""))
    with pytest.raises(NotReady, match=r"Job Failed|context deadline exceeded"):
        await lab.releases.install(deploy(path, wait=wait, wait_for_jobs=True, timeout=4.0))
    assert await story(lab, name) == [(1, "failed")]


async def test_an_uninstall_that_was_cut_short_is_done_again(
    lab: RealLab, name: str, deploy: Deploy, chart: Chart
) -> None:
    hanging = JOB.replace("HOOK", "helm.sh/hook: pre-delete").replace("  activeDeadlineSeconds: 1\n", "")
    path = chart(CONFIG_MAP, files={"templates/hook.yaml": hanging})
    await lab.releases.install(deploy(path))
    request = UninstallRequest(name, lab.namespace)
    await cancelled_half_way(lab, partial(lab.releases.uninstall, request), name, ReleaseStatus.UNINSTALLING)
    with pytest.raises(ReleaseError, match="has no deployed releases"):
        await lab.releases.upgrade(deploy())
    assert await lab.releases.uninstall(UninstallRequest(name, lab.namespace, disable_hooks=True))
    assert await data_of(lab, name) is None


# --- the programs ---------------------------------------------------------


async def test_a_program_carries_the_environment_of_its_request(
    lab: RealLab, name: str, deploy: Deploy
) -> None:
    if isinstance(lab.releases, BinaryReleases):
        assert await environments(lab, name, deploy("hanging", environment={"A_KEY": name})) == [name]


async def environments(lab: Lab, name: str, request: DeployRequest) -> list[str | None]:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lab.releases.install, request)
        with anyio.fail_after(ENDING):
            while not await story(lab, name):  # noqa: ASYNC110
                await anyio.sleep(0.05)
        found = [environment_of(pid).get("A_KEY") for pid in helms()]
        tasks.cancel_scope.cancel()
    return found


def environment_of(pid: int) -> dict[str, str]:
    pairs = Path(f"/proc/{pid}/environ").read_text().split("\0")
    return dict(pair.split("=", 1) for pair in pairs if pair)


async def test_without_kubectl_the_newest_revision_of_a_history_still_has_its_labels(
    lab: RealLab, name: str, deploy: Deploy
) -> None:
    await lab.releases.install(deploy(labels={"a": "1"}))
    await lab.releases.upgrade(deploy(labels={"a": "2"}))
    releases: Releases = lab.open(PATH=str(lab.scratch))
    async with aclosing(releases):
        history = await releases.history(name, lab.namespace)
        assert history[-1] == (await lab.releases.history(name, lab.namespace))[-1]
        assert name in [one.name for one in await releases.list(lab.namespace)]
