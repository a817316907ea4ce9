from __future__ import annotations

from typing import Any

from sbkube.targets.cluster.causes import Snapshot, causes
from sbkube.targets.cluster.objects import objects_of

Object = dict[str, Any]
WEB = objects_of("apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\n")


def pod(name: str, **status: Any) -> Object:
    owner = {"kind": "ReplicaSet", "name": name.rpartition("-")[0]}
    return {"metadata": {"name": name, "ownerReferences": [owner]}, "status": status}


def waiting(reason: str, message: str) -> list[Object]:
    return [{"name": "main", "state": {"waiting": {"reason": reason, "message": message}}}]


def event(kind: str, name: str, reason: str, message: str) -> Object:
    return {"involvedObject": {"kind": kind, "name": name}, "reason": reason, "message": message}


def told(**seen: Any) -> list[str]:
    return causes(WEB, "shop", Snapshot(**seen))


def test_pods_in_the_same_straits_have_one_line_and_others_have_their_own() -> None:
    pulls = waiting("ImagePullBackOff", "Back-off pulling image")
    names = ("web-6fffd974d5-8b7q2", "web-6fffd974d5-vmbq7", "web-7864d7c78f-6zfpp")
    pods = [pod(name, containerStatuses=pulls) for name in names]
    crashed = pod("web-6fffd974d5-8t9pb", containerStatuses=waiting("CrashLoopBackOff", "back-off 40s"))
    assert told(pods=[*pods, crashed]) == [
        "Pod web-6fffd974d5-8b7q2 and 2 more: container main: ImagePullBackOff: Back-off pulling image",
        "Pod web-6fffd974d5-8t9pb: container main: CrashLoopBackOff: back-off 40s",
    ]


def test_events_that_differ_in_a_generated_name_only_are_told_once() -> None:
    said = 'Error creating: pods "web-6fffd974d5-{}" is forbidden: exceeded quota'
    events = [
        event("ReplicaSet", "web-6fffd974d5", "FailedCreate", before + said.format(name))
        for before, name in (("", "8b7q2"), ("", "vmbq7"), ("(combined from similar events): ", "ngtmc"))
    ]
    pods = [pod("web-6fffd974d5-9xk2z", phase="Running")]
    assert told(pods=pods, events=events) == [
        f"ReplicaSet web-6fffd974d5: FailedCreate: {said.format('8b7q2')}"
    ]


def test_an_event_that_a_pod_says_itself_is_left_out() -> None:
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "no nodes"}
    name = "web-6fffd974d5-8b7q2"
    events = [event("Pod", name, "FailedScheduling", "no nodes"), event("Pod", name, "Other", "else")]
    assert told(pods=[pod(name, conditions=[condition])], events=events) == [
        f"Pod {name}: Unschedulable: no nodes",
        f"Pod {name}: Other: else",
    ]


def test_what_others_have_in_the_namespace_is_not_told() -> None:
    pods = [pod("other-6fffd974d5-8b7q2", containerStatuses=waiting("CrashLoopBackOff", "x"))]
    assert told(pods=pods, events=[event("Pod", "other-6fffd974d5-8b7q2", "BackOff", "x")]) == []


def test_a_job_and_a_namespace_that_goes_away_are_told() -> None:
    found = objects_of("apiVersion: batch/v1\nkind: Job\nmetadata: {name: once}\n")
    failed = {"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded", "message": "limit"}
    jobs = [{"metadata": {"name": "once"}, "status": {"conditions": [failed]}}]
    assert causes(found, "shop", Snapshot(jobs=jobs, terminating=["shop", "other"])) == [
        "Namespace shop: is being deleted",
        "Job once: BackoffLimitExceeded: limit",
    ]
