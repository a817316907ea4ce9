"""How far workloads are, by what their controllers say."""

from __future__ import annotations

from typing import Any

import pytest

from sbkube.targets.cluster.readiness import readiness_of

KINDS = {
    "Deployment": "apps/v1",
    "StatefulSet": "apps/v1",
    "DaemonSet": "apps/v1",
    "Pod": "v1",
    "Job": "batch/v1",
}


def found(kind: str, spec: dict[str, Any], status: dict[str, Any], generation: int = 1) -> dict[str, Any]:
    metadata = {"name": "a", "namespace": "ns", "generation": generation}
    return {"apiVersion": KINDS[kind], "kind": kind, "metadata": metadata, "spec": spec, "status": status}


@pytest.mark.parametrize(
    ("kind", "spec", "status", "ready", "desired"),
    [
        ("Deployment", {}, {}, 0, 1),
        ("Deployment", {"replicas": 0}, {}, 0, 0),
        ("Deployment", {"replicas": 2}, {"updatedReplicas": 2, "availableReplicas": 2}, 2, 2),
        ("Deployment", {"replicas": 2}, {"updatedReplicas": 1, "availableReplicas": 2}, 1, 2),
        ("StatefulSet", {"replicas": 3}, {"readyReplicas": 3, "updatedReplicas": 1}, 1, 3),
        (
            "StatefulSet",
            {"replicas": 3, "updateStrategy": {"rollingUpdate": {"partition": 2}}},
            {"readyReplicas": 3, "updatedReplicas": 1},
            3,
            3,
        ),
        (
            "DaemonSet",
            {},
            {"desiredNumberScheduled": 4, "numberAvailable": 4, "updatedNumberScheduled": 3},
            3,
            4,
        ),
        (
            "DaemonSet",
            {"updateStrategy": {"type": "OnDelete"}},
            {"desiredNumberScheduled": 4, "numberAvailable": 4, "updatedNumberScheduled": 3},
            4,
            4,
        ),
        ("Pod", {}, {"conditions": [{"type": "Ready", "status": "True"}]}, 1, 1),
        ("Pod", {}, {"conditions": [{"type": "Ready", "status": "False"}]}, 0, 1),
        ("Pod", {}, {"phase": "Succeeded"}, 1, 1),
    ],
)
def test_ready_is_what_is_up_to_date_and_available(
    kind: str, spec: dict[str, Any], status: dict[str, Any], ready: int, desired: int
) -> None:
    readiness = readiness_of([found(kind, spec, status)])
    (workload,) = readiness.workloads
    assert (workload.ready, workload.desired) == (ready, desired)
    assert readiness.is_ready == (ready == desired)


def test_a_status_of_an_older_wish_says_nothing_of_the_newest() -> None:
    status = {"observedGeneration": 1, "updatedReplicas": 1, "availableReplicas": 1}
    assert not readiness_of([found("Deployment", {}, status, generation=2)]).is_ready
    assert readiness_of([found("Deployment", {}, status, generation=1)]).is_ready


def test_a_failed_job_is_told_with_its_reason_and_one_that_runs_is_no_complaint() -> None:
    failed = {"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded", "message": "too often"}
    readiness = readiness_of([found("Job", {}, {"conditions": [failed]}), found("Job", {}, {"active": 1})])
    assert readiness.complaints == ["Job ns/a: failed: BackoffLimitExceeded: too often"]
    assert not readiness.is_ready


def test_what_has_no_workloads_is_ready() -> None:
    other = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}
    assert readiness_of([other]).is_ready
