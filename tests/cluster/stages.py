"""How pods behave on the control plane's nodes: kwok plays the kubelet after these stages.

A pod runs, is ready at once, and completes if it belongs to a Job. Annotations of the pod (template) change that:

    sbkube.test/pod: never-ready        runs, but its readiness probe fails
    sbkube.test/pod: image-pull-error   its image cannot be pulled
    sbkube.test/pod: crash              its containers crash again and again
    sbkube.test/pod: fail               its containers fail once, and the pod with them
    sbkube.test/after: 5s               becomes ready, or what is said above, so much later
"""

from __future__ import annotations

import json
from typing import Any

POD = '.metadata.annotations["sbkube.test/pod"]'
AFTER = '.metadata.annotations["sbkube.test/after"]'
READY = '.status.conditions.[] | select( .type == "Ready" ) | .status'
OWNER = ".metadata.ownerReferences.[].kind"
DELETED = ".metadata.deletionTimestamp"

ANY = "*"
Selector = dict[str, str | None]  # what is found at each path: this, ANY, or None for nothing
NEW: Selector = {DELETED: None, ".status.podIP": None}
RUNNING: Selector = {DELETED: None, ".status.phase": "Running"}

PLACED = """
hostIP: {{ NodeIPWith .spec.nodeName | Quote }}
podIP: {{ PodIPWith .spec.nodeName false .metadata.uid .metadata.name .metadata.namespace | Quote }}
startTime: {{ Now | Quote }}
initContainerStatuses:
{{ range .spec.initContainers }}
- {name: {{ .name }}, image: {{ .image | Quote }}, imageID: "", ready: true, restartCount: 0,
   state: {terminated: {exitCode: 0, reason: Completed, startedAt: {{ Now | Quote }}, finishedAt: {{ Now | Quote }}}}}
{{ end }}
"""
STATUS = """
phase: %(phase)s
conditions:
- {type: Initialized, status: "True", lastTransitionTime: {{ Now | Quote }}}
- {type: ContainersReady, status: "%(ready)s", lastTransitionTime: {{ Now | Quote }}}
- {type: Ready, status: "%(ready)s", lastTransitionTime: {{ Now | Quote }}}
{{ range .spec.readinessGates }}
- {type: {{ .conditionType | Quote }}, status: "True", lastTransitionTime: {{ Now | Quote }}}
{{ end }}
containerStatuses:
{{ range .spec.containers }}
- {name: {{ .name }}, image: {{ .image | Quote }}, imageID: "", ready: %(is_ready)s, restartCount: %(restarts)d,
   state: {%(state)s}, lastState: {%(last)s}}
{{ end }}
"""
RUNS = "running: {startedAt: {{ Now | Quote }}}"
ENDED = "terminated: {exitCode: %d, reason: %s, startedAt: {{ Now | Quote }}, finishedAt: {{ Now | Quote }}}"
COMPLETED = ENDED % (0, "Completed")
FAILED = ENDED % (1, "Error")
NO_IMAGE = "waiting: {reason: ImagePullBackOff, message: Back-off pulling image {{ .image | Quote }}}"
CRASHES = "waiting: {reason: CrashLoopBackOff, message: back-off 40s restarting failed container}"


def stages() -> str:
    """The configuration file of kwok."""
    return "\n---\n".join(
        json.dumps(stage)
        for stage in (
            _stage("ready", {**NEW, POD: None, AFTER: None}, PLACED + _status("Running", RUNS, ready=True)),
            _stage("start", {**NEW, POD: None, AFTER: ANY}, PLACED + _status("Running", RUNS)),
            _late(
                "late",
                {**RUNNING, POD: None, AFTER: ANY, READY: "False"},
                _status("Running", RUNS, ready=True),
            ),
            _stage("complete", {**RUNNING, OWNER: "Job", READY: "True"}, _status("Succeeded", COMPLETED)),
            _late(
                "never-ready",
                {**NEW, POD: "never-ready"},
                PLACED + _status("Running", RUNS),
                ("Unhealthy", "Readiness probe failed: HTTP probe failed with statuscode: 503"),
            ),
            _late(
                "image-pull-error",
                {**NEW, POD: "image-pull-error"},
                PLACED + _status("Pending", NO_IMAGE),
                ("Failed", "Failed to pull image: manifest unknown"),
            ),
            _late(
                "crash",
                {**NEW, POD: "crash"},
                PLACED + _status("Running", CRASHES, last=FAILED, restarts=3),
                ("BackOff", "Back-off restarting failed container"),
            ),
            _late("fail", {**NEW, POD: "fail"}, PLACED + _status("Failed", FAILED)),
            _object("delete", {DELETED: ANY}, {"next": {"finalizers": {"empty": True}, "delete": True}}),
        )
    )


def _status(phase: str, state: str, *, ready: bool = False, restarts: int = 0, last: str = "") -> str:
    return STATUS % {
        "phase": phase,
        "state": state,
        "ready": ready,
        "is_ready": str(ready).lower(),
        "restarts": restarts,
        "last": last,
    }


def _stage(name: str, selector: Selector, status: str) -> dict[str, Any]:
    return _object(name, selector, {"next": {"statusTemplate": status}})


def _late(
    name: str, selector: Selector, status: str, warning: tuple[str, str] | None = None
) -> dict[str, Any]:
    event = {"event": {"type": "Warning", "reason": warning[0], "message": warning[1]}} if warning else {}
    delay = {"durationMilliseconds": 0, "durationFrom": {"expressionFrom": AFTER}}
    return _object(name, selector, {"delay": delay, "next": {"statusTemplate": status, **event}})


def _object(name: str, selector: Selector, spec: dict[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": "kwok.x-k8s.io/v1alpha1",
        "kind": "Stage",
        "metadata": {"name": name},
        "spec": {
            "resourceRef": {"apiGroup": "v1", "kind": "Pod"},
            "selector": {"matchExpressions": [_expression(path, value) for path, value in selector.items()]},
            **spec,
        },
    }


def _expression(path: str, value: str | None) -> dict[str, Any]:
    if value is None:
        return {"key": path, "operator": "DoesNotExist"}
    if value == ANY:
        return {"key": path, "operator": "Exists"}
    return {"key": path, "operator": "In", "values": [value]}
