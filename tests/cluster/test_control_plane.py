"""The control plane does what a real one does, and its pods do as they are told."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from .client import Cluster, Object, Refused
from .control_plane import ControlPlane
from .objects import definition, deployment, job, pods


def pod(annotations: dict[str, str] | None = None) -> Object:
    template = pods("one", annotations)
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        **template,
        "metadata": {**template["metadata"], "name": "one"},
    }


def became_ready(status: dict[str, Any]) -> datetime:
    (found,) = [each["lastTransitionTime"] for each in status["conditions"] if each["type"] == "Ready"]
    return datetime.fromisoformat(found)


# --- what any cluster does ------------------------------------------------------


def test_a_deployment_becomes_available(cluster: Cluster, namespace: str) -> None:
    cluster.apply(deployment("web", replicas=3), namespace=namespace)
    cluster.wait("condition=Available", "deployment/web", namespace=namespace)
    assert len(cluster.find("pods", namespace=namespace)) == 3


def test_a_custom_resource_is_served_once_its_definition_is_established(
    cluster: Cluster, namespace: str
) -> None:
    group = f"{namespace}.sbkube.test"
    cluster.apply(definition(group, "widgets", "Widget"))
    try:
        cluster.wait("condition=Established", f"crd/widgets.{group}")
        widget = {
            "apiVersion": f"{group}/v1",
            "kind": "Widget",
            "metadata": {"name": "w"},
            "spec": {"size": 3},
        }
        cluster.apply(widget, namespace=namespace)
        assert cluster.get(f"widgets.{group}", "w", namespace=namespace)["spec"] == {"size": 3}
    finally:
        cluster.kubectl("delete", "crd", f"widgets.{group}")


def test_a_quota_refuses_what_exceeds_it(cluster: Cluster, namespace: str) -> None:
    spec = {"hard": {"count/secrets": "0"}}
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none"}, "spec": spec}
    cluster.apply(quota, namespace=namespace)
    cluster.wait("jsonpath={.status.hard}", "resourcequota/none", namespace=namespace)
    with pytest.raises(Refused, match="exceeded quota: none"):
        cluster.kubectl("create", "secret", "generic", "one", "--namespace", namespace)


def test_a_deleted_namespace_goes_with_its_pods(cluster: Cluster, namespace: str) -> None:
    cluster.apply(deployment("web"), namespace=namespace)
    cluster.wait("condition=Available", "deployment/web", namespace=namespace)
    cluster.kubectl("delete", "namespace", namespace)
    assert cluster.find("pods", "--all-namespaces", f"--field-selector=metadata.namespace={namespace}") == []


# --- what ours can show ---------------------------------------------------------


def test_a_job_completes(control_plane: ControlPlane, namespace: str) -> None:
    control_plane.admin.apply(job("migrate"), namespace=namespace)
    control_plane.admin.wait("condition=Complete", "job/migrate", namespace=namespace)


def test_a_job_fails_whose_pod_fails(control_plane: ControlPlane, namespace: str) -> None:
    control_plane.admin.apply(job("migrate", annotations={"sbkube.test/pod": "fail"}), namespace=namespace)
    control_plane.admin.wait("condition=Failed", "job/migrate", namespace=namespace)


def test_a_pod_becomes_ready_when_it_is_told_to_and_not_before(
    control_plane: ControlPlane, namespace: str
) -> None:
    cluster = control_plane.admin
    cluster.apply(pod({"sbkube.test/after": "3s"}), namespace=namespace)
    cluster.wait("condition=Ready", "pod/one", namespace=namespace)
    status = cluster.get("pod", "one", namespace=namespace)["status"]
    waited = became_ready(status) - datetime.fromisoformat(status["startTime"])
    assert waited >= timedelta(seconds=2)  # the times have no fractions


@pytest.mark.parametrize(
    ("told", "phase", "state", "event"),
    [
        ("never-ready", "Running", {"running"}, "Unhealthy"),
        ("image-pull-error", "Pending", "ImagePullBackOff", "Failed"),
        ("crash", "Running", "CrashLoopBackOff", "BackOff"),
        ("fail", "Failed", {"terminated"}, None),
    ],
)
def test_a_pod_fails_in_the_way_it_is_told_to(
    control_plane: ControlPlane,
    namespace: str,
    told: str,
    phase: str,
    state: str | set[str],
    event: str | None,
) -> None:
    cluster = control_plane.admin
    cluster.apply(pod({"sbkube.test/pod": told}), namespace=namespace)
    cluster.wait("condition=Ready=False", "pod/one", namespace=namespace)
    status = cluster.get("pod", "one", namespace=namespace)["status"]
    (container,) = status["containerStatuses"]
    waiting = container["state"].get("waiting", {}).get("reason")
    assert (status["phase"], waiting or set(container["state"])) == (phase, state)
    if event:
        warnings = cluster.find_soon("events", "--field-selector=type=Warning", namespace=namespace)
        assert [each["reason"] for each in warnings] == [event]


def test_a_pod_that_no_node_has_room_for_is_unschedulable(
    control_plane: ControlPlane, namespace: str
) -> None:
    cluster = control_plane.admin
    huge = pod()
    huge["spec"]["containers"][0]["resources"] = {"requests": {"cpu": "5000"}}
    cluster.apply(huge, namespace=namespace)
    cluster.wait("condition=PodScheduled=False", "pod/one", namespace=namespace)
    (warning,) = cluster.find_soon("events", "--field-selector=type=Warning", namespace=namespace)
    assert "4 Insufficient cpu" in warning["message"]


def test_a_user_may_do_what_a_role_allows_and_nothing_else(
    control_plane: ControlPlane, namespace: str
) -> None:
    viewer, outsider = control_plane.as_user("viewer"), control_plane.as_user("outsider")
    bind = ["create", "rolebinding", "view", "--clusterrole=view", "--user=viewer", "--namespace", namespace]
    control_plane.admin.kubectl(*bind)
    assert viewer.find("pods", namespace=namespace) == []
    with pytest.raises(Refused, match='User "viewer" cannot create resource "configmaps"'):
        viewer.kubectl("create", "configmap", "one", "--namespace", namespace)
    with pytest.raises(Refused, match='User "outsider" cannot list resource "pods"'):
        outsider.find("pods", namespace=namespace)


def test_the_audit_log_has_each_write_and_no_read(control_plane: ControlPlane, namespace: str) -> None:
    bind = [
        "create",
        "rolebinding",
        "edit",
        "--clusterrole=edit",
        "--user=deployer",
        "--namespace",
        namespace,
    ]
    control_plane.admin.kubectl(*bind)
    deployer = control_plane.as_user("deployer")
    before = len(control_plane.writes("deployer"))
    create = ["create", "configmap", "one", "--namespace", namespace]
    deployer.kubectl(*create, "--dry-run=server")
    deployer.kubectl(*create)
    with pytest.raises(Refused, match="already exists"):
        deployer.kubectl(*create)
    deployer.find("configmaps", namespace=namespace)
    writes = control_plane.writes("deployer")[before:]
    assert [(write.verb, write.dry, write.code) for write in writes] == [
        ("create", True, 201),
        ("create", False, 201),
        ("create", False, 409),
    ]
    assert f"/namespaces/{namespace}/configmaps" in writes[0].uri
