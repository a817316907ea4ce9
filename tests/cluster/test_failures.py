"""What can be wrong with a deploy, and what is said of it: its cause without kubectl, and how to go on."""

from __future__ import annotations

import json

import pytest

from . import many, objects
from .by_hand import ByHand
from .client import Cluster, Object, Refused
from .control_plane import ControlPlane
from .running import Project

pytestmark = pytest.mark.helms("helm-v4", "helm-v3")
CHART = "apiVersion: v2\nname: {}\nversion: 0.1.0\n"
DENIED = "no ConfigMap is called bad"


def yaml(*found: Object) -> str:
    return "---\n".join(json.dumps(one) + "\n" for one in found)


def write(project: Project, namespace: str, *found: Object, more: str = "", timeout: str = "10s") -> None:
    """One app, `web`, in line 3 of its config."""
    app = f"type: yaml, manifests: [web.yaml], timeout: {timeout}{more}"
    project.write(
        {
            "config.yaml": f"namespace: {namespace}\napps:\n  web: {{{app}}}\n",
            "web.yaml": yaml(*found),
        }
    )


def write_chart(project: Project, namespace: str, *found: Object, name: str = "web", more: str = "") -> None:
    app = f"type: helm, chart: ./chart, timeout: 10s{more}"
    project.write(
        {
            "config.yaml": f"namespace: {namespace}\napps:\n  web: {{{app}}}\n",
            "chart/Chart.yaml": CHART.format(name),
            "chart/templates/all.yaml": yaml(*found),
        }
    )


def refused(project: Project, namespace: str, *arguments: str) -> str:
    """What is told of the one step that failed, once it has ended."""
    done = project.fails(*arguments)
    assert done.said.count("✗ web:deploy failed") == 2  # when it did, and in the report
    report = done.said.rpartition("✗ web:deploy failed")[2].partition("    log: ")[0]
    lines = [line for line in report.splitlines()[1:] if not line.startswith("    | ")]
    about = f"    config.yaml:3: release 'web' in namespace '{namespace}': "
    assert lines[0].startswith(about), report
    assert len(lines) <= 20
    return "\n".join([lines[0].removeprefix(about), *(line[4:] for line in lines[1:])])


def named(kind: str, helm: str) -> str:
    """Of an object that is to be made Helm 3 has the API server's own word only."""
    return f"{kind.lower()}s" if helm == "helm-v3" else kind


def resumed(project: Project) -> None:
    project.run("--resume")
    assert project.outputs["web:deploy"]["release"] == "web"


def policy(name: str, namespace: str) -> list[Object]:
    rules = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"]}
    metadata = {"name": name}
    spec = {
        "matchConstraints": {"resourceRules": [{**rules, "resources": ["configmaps"]}]},
        "validations": [{"expression": "object.metadata.name != 'bad'", "message": DENIED}],
    }
    where = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}}
    bound = {"policyName": name, "validationActions": ["Deny"], "matchResources": where}
    group = "admissionregistration.k8s.io/v1"
    return [
        {"apiVersion": group, "kind": "ValidatingAdmissionPolicy", "metadata": metadata, "spec": spec},
        {
            "apiVersion": group,
            "kind": "ValidatingAdmissionPolicyBinding",
            "metadata": metadata,
            "spec": bound,
        },
    ]


def webhook(name: str, namespace: str) -> Object:
    """At which nobody is."""
    rules = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]}
    hook = {
        "name": "check.example.com",
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
        "timeoutSeconds": 1,
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
        "clientConfig": {"url": "https://127.0.0.1:1/check"},
        "rules": [rules],
    }
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": name},
        "webhooks": [hook],
    }


# What the API server does not let in


def test_one_object_that_admission_refuses_is_named_with_the_reason(
    project: Project, cluster: Cluster, namespace: str, helm: str
) -> None:
    cluster.apply(*policy(namespace, namespace))
    try:
        many.until(lambda: _is_denied(cluster, namespace), "the policy is not in force")
        write(project, namespace, objects.config_map("fine"), objects.config_map("bad"))
        told = refused(project, namespace)
    finally:
        kinds = "validatingadmissionpolicybinding,validatingadmissionpolicy"
        cluster.kubectl("delete", kinds, namespace)
    assert told == (
        f"{named('ConfigMap', helm)} bad: refused: ValidatingAdmissionPolicy '{namespace}' with binding '{namespace}' "
        f"denied request: {DENIED}"
    )
    write(project, namespace, objects.config_map("fine"))
    resumed(project)


def _is_denied(cluster: Cluster, namespace: str) -> bool:
    manifest = json.dumps(objects.config_map("bad"))
    try:
        cluster.kubectl("create", "--dry-run=server", "-n", namespace, "-f", "-", stdin=manifest)
    except Refused as error:
        return DENIED in str(error)
    return False


def test_a_webhook_that_does_not_answer_is_asked_again_and_then_named(
    project: Project, cluster: Cluster, namespace: str, helm: str
) -> None:
    cluster.apply(webhook(namespace, namespace))
    try:
        write(project, namespace, objects.config_map("a"), more=", retry: {retries: 1, base: 0.1}")
        done = project.fails()
    finally:
        cluster.kubectl("delete", "validatingwebhookconfiguration", namespace)
    assert "↻ web:deploy attempt 1 failed, again in " in done.said
    about = "" if helm == "helm-v3" else "ConfigMap a: "  # it does not say of what
    assert (
        f"{about}the webhook check.example.com, which is to check it, does not answer: "
        'Post "https://127.0.0.1:1/check?timeout=1s": dial tcp 127.0.0.1:1: connect: connection refused'
    ) in done.said
    resumed(project)


def test_a_webhook_that_stays_away_costs_no_more_than_half_of_the_history(
    project: Project, cluster: Cluster, namespace: str
) -> None:
    write(project, namespace, objects.config_map("a"), more=", max_history: 4")
    project.run()
    cluster.apply(webhook(namespace, namespace))
    try:
        more = (objects.config_map("a"), objects.config_map("b"))
        write(project, namespace, *more, more=", max_history: 4")
        done = project.fails()
    finally:
        cluster.kubectl("delete", "validatingwebhookconfiguration", namespace)
    assert "↻ web:deploy attempt 1 failed, again in 1" in done.said
    revisions = [(one.number, one.status) for one in many.histories(cluster, namespace)["web"]]
    assert revisions == [(1, "deployed"), (2, "failed"), (3, "failed")]
    resumed(project)


def test_a_kind_and_a_resource_of_it_deploy_in_one_app_and_in_two(
    project: Project, cluster: Cluster, namespace: str
) -> None:
    group = f"{namespace}.example.com"
    kinds = [objects.definition(group, f"{word}s", word.capitalize()) for word in ("one", "two")]
    made = [{"apiVersion": f"{group}/v1", "kind": kind, "metadata": {"name": "x"}} for kind in ("One", "Two")]
    project.write(
        {
            "config.yaml": f"namespace: {namespace}\napps:\n"
            "  kinds: {type: yaml, manifests: [kinds.yaml]}\n"
            "  both: {type: yaml, manifests: [both.yaml]}\n"
            "  after: {type: yaml, manifests: [after.yaml], depends_on: [kinds]}\n",
            "kinds.yaml": yaml(kinds[1]),
            "both.yaml": yaml(made[0], kinds[0]),
            "after.yaml": yaml(made[1]),
        }
    )
    try:
        project.run()
    finally:
        cluster.kubectl("delete", "crd", f"ones.{group}", f"twos.{group}", "--ignore-not-found")


def test_a_kind_that_nobody_defines_is_named_with_where_it_could_be(project: Project, namespace: str) -> None:
    write(
        project, namespace, {"apiVersion": "no.example.com/v1", "kind": "Widget", "metadata": {"name": "w"}}
    )
    assert refused(project, namespace) == (
        "Widget w: the cluster knows no kind Widget of no.example.com/v1 (its CustomResourceDefinition must be there "
        "before: in `crds/` of the chart, among the manifests of the same `yaml` or `kustomize` app, or in an app that "
        "'web' depends on)"
    )


def test_a_namespace_that_is_going_away_is_told_before_anything_is_sent(
    project: Project, cluster: Cluster, namespace: str
) -> None:
    held = objects.config_map("held")
    held["metadata"]["finalizers"] = ["example.com/held"]
    cluster.apply(held, namespace=namespace)
    cluster.kubectl("delete", "namespace", namespace, "--wait=false")
    try:
        write(project, namespace, objects.config_map("a"), more=", create_namespace: true")
        told = refused(project, namespace)
    finally:
        patch = '{"metadata": {"finalizers": null}}'
        cluster.kubectl("patch", "configmap", "held", "-n", namespace, "--type=merge", "-p", patch)
    assert told.startswith(f"the namespace '{namespace}' is being deleted, nothing can be made in it")
    assert told.endswith(f"(`kubectl wait --for=delete namespace {namespace}`, then resume)")
    cluster.kubectl("wait", "--for=delete", "namespace", namespace)
    resumed(project)


def test_a_kind_that_may_not_be_deployed_is_told_with_who_and_what(
    control_plane: ControlPlane, project: Project, namespace: str
) -> None:
    allowed = [{"apiGroups": [""], "resources": ["secrets", "configmaps"], "verbs": ["*"]}]
    role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "deployer"}}
    of = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "deployer"}
    bound = {**role, "kind": "RoleBinding", "roleRef": of, "subjects": [{"kind": "User", "name": "deployer"}]}
    control_plane.admin.apply({**role, "rules": allowed}, bound, namespace=namespace)
    deployer = Project(project.folder, control_plane.as_user("deployer"))
    write(deployer, namespace, objects.config_map("a"), objects.deployment("web"))
    assert refused(deployer, namespace) == (
        f"Deployment web: user 'deployer' may not get deployments.apps in namespace {namespace} (a deploy needs get, "
        "list, watch, create, update, patch and delete of it: let a Role give them to 'deployer', or deploy as "
        "somebody else)"
    )
    write(deployer, namespace, objects.config_map("a"))
    resumed(deployer)


def test_who_may_do_nothing_is_told_that_helm_keeps_releases_in_secrets(
    control_plane: ControlPlane, project: Project, namespace: str
) -> None:
    outsider = Project(project.folder, control_plane.as_user("outsider"))
    write(outsider, namespace, objects.config_map("a"))
    told = refused(outsider, namespace)
    assert told.startswith(
        f"user 'outsider' may not list secrets in namespace {namespace}, where releases are kept ("
    )


def test_a_quota_that_is_exceeded_is_told_for_each_object(
    project: Project, cluster: Cluster, namespace: str, helm: str
) -> None:
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "small"}}
    cluster.apply({**quota, "spec": {"hard": {"services": "0"}}}, namespace=namespace)
    cluster.wait("jsonpath={.status.hard}", "resourcequota/small", namespace=namespace)
    service: Object = {"apiVersion": "v1", "kind": "Service", "spec": {"ports": [{"port": 80}]}}
    write(project, namespace, *({**service, "metadata": {"name": name}} for name in ("a", "b")))
    first, second, hint = refused(project, namespace).splitlines()
    exceeds = "exceeds the quota `small` of the namespace: requested services=1, used services=0, limited services=0"
    assert sorted(line.strip() for line in (first, second)) == [
        f"{named('Service', helm)} {name}: {exceeds}" for name in ("a", "b")
    ]
    assert hint == f"(make room in namespace {namespace}, ask for less, or raise the quota)"
    cluster.kubectl("delete", "resourcequota", "small", "-n", namespace)
    resumed(project)


def test_a_field_that_cannot_change_is_told_with_both_ways_out(
    project: Project, cluster: Cluster, namespace: str
) -> None:
    deployed = objects.deployment("web")
    write(project, namespace, deployed)
    project.run()
    other = objects.deployment("web")
    other["spec"]["selector"]["matchLabels"] = {"app": "other"}
    other["spec"]["template"]["metadata"]["labels"] = {"app": "other"}
    write(project, namespace, other)
    assert refused(project, namespace) == (
        "Deployment web: `spec.selector` cannot be changed in an object that is there (leave that field as it was; or "
        f"`kubectl delete Deployment web -n {namespace}`, and a run with `--resume` makes it anew)"
    )
    cluster.kubectl("delete", "Deployment", "web", "-n", namespace)
    resumed(project)


def test_a_field_that_somebody_else_has_set_is_told_with_who_did(
    project: Project, cluster: Cluster, namespace: str, helm: str
) -> None:
    write(project, namespace, objects.config_map("a", a="1", b="1"))
    project.run()
    patch = '{"data": {"a": "2", "b": "2"}}'
    cluster.kubectl("patch", "configmap", "a", "-n", namespace, "--type=merge", "-p", patch)
    write(project, namespace, objects.config_map("a", a="3", b="3"))
    if helm == "helm-v3":  # it merges by itself, without a word of whose the fields are
        project.run()
        assert cluster.get("configmap", "a", namespace=namespace)["data"] == {"a": "3", "b": "3"}
        return
    assert refused(project, namespace) == (
        "ConfigMap a: `.data.a`, `.data.b` was set by 'kubectl-patch', whose it is now (`force_conflicts: true` of app "
        "'web' takes it back; or leave the field out of what is deployed)"
    )
    write(project, namespace, objects.config_map("a", a="3", b="3"), more=", force_conflicts: true")
    resumed(project)


# What does not become ready


@pytest.mark.parametrize(
    ("pods", "causes"),
    [
        ("never-ready", ["Unhealthy: Readiness probe failed: HTTP probe failed with statuscode: 503"]),
        (
            "image-pull-error",
            [
                'container main: ImagePullBackOff: Back-off pulling image "registry.k8s.io/pause:3.10"',
                "Failed: Failed to pull image: manifest unknown",
            ],
        ),
        (
            "crash",
            [
                "container main: CrashLoopBackOff: back-off 40s restarting failed container",
                "container main: Error: exit code 1",
                "BackOff: Back-off restarting failed container",
            ],
        ),
    ],
)
def test_pods_that_are_not_ready_in_time_are_told_with_why(
    control_plane: ControlPlane, project: Project, namespace: str, pods: str, causes: list[str], helm: str
) -> None:
    found = objects.deployment("web", replicas=3, annotations={"sbkube.test/pod": pods})
    write(project, namespace, found, timeout="4s")
    head, what, *why = refused(project, namespace).splitlines()
    assert head == "not ready after 4 s (`timeout` of the app)"
    # what Helm 3 waited for it does not say, so it is looked up
    assert what == "  Deployment web: " + ("0 of 3 ready" if helm == "helm-v3" else "Available: 0/3")
    assert [line.partition(" and 2 more: ")[2] for line in why] == causes
    assert all(line.startswith("  Pod web-") for line in why)
    write(project, namespace, objects.deployment("web"))
    resumed(project)


@pytest.mark.parametrize("events", ["pre-install,pre-upgrade", "pre-install"])
def test_a_hook_that_fails_is_told_at_once_and_runs_again(
    control_plane: ControlPlane, project: Project, namespace: str, events: str, helm: str
) -> None:
    hook = objects.job("migrate", annotations={"sbkube.test/pod": "fail"})
    hook["metadata"]["annotations"] = {"helm.sh/hook": events}
    write_chart(project, namespace, hook, objects.config_map("a"))
    head, *causes, hint = refused(project, namespace).splitlines()
    why = "BackoffLimitExceeded" if helm == "helm-v3" else "Job Failed. failed: 1/1"
    assert head == f"its pre-install hook failed: Job migrate: {why}"
    assert "  Job migrate: BackoffLimitExceeded: Job has reached the specified backoff limit" in causes
    assert any(line.endswith(": container main: Error: exit code 1") for line in causes)
    assert hint == f"(`kubectl logs Job/migrate -n {namespace}` shows what it printed)"
    hook["spec"]["template"]["metadata"]["annotations"] = {}
    write_chart(project, namespace, hook, objects.config_map("a"))
    resumed(project)
    control_plane.admin.wait("condition=complete", "job/migrate", namespace=namespace)


# What others have made


@pytest.fixture
def by_hand(project: Project, cluster: Cluster, namespace: str) -> ByHand:
    return ByHand(project.folder, cluster, namespace)


def test_a_release_that_a_hand_made_of_the_same_chart_is_taken_over_and_said_to_be(
    project: Project, namespace: str, by_hand: ByHand
) -> None:
    write_chart(project, namespace, objects.config_map("a"))
    by_hand.install("web", project.folder / "chart")
    assert "revision 1 is deployed, made without sbkube, upgrading to revision 2" in project.run().said


def test_a_release_of_that_name_that_is_something_else_is_left_alone(
    project: Project, cluster: Cluster, namespace: str, by_hand: ByHand
) -> None:
    write_chart(project, namespace, objects.config_map("theirs"), name="nginx")
    by_hand.install("web", project.folder / "chart")
    write(project, namespace, objects.config_map("ours"))
    assert refused(project, namespace) == (
        "its name is taken: somebody else's Helm made it of nginx-0.1.0, and what this app deploys is web, which would "
        "remove all that is there (`release_name` gives this app another name; `--accept-target-change` takes 'web' "
        "over all the same)"
    )
    assert many.histories(cluster, namespace)["web"][-1].number == 1
    project.run("--resume", "--accept-target-change")
    assert project.revisions == {"web:deploy": 2}


def test_an_object_of_another_release_is_refused_and_one_without_an_owner_is_adopted_also_later(
    project: Project, cluster: Cluster, namespace: str, by_hand: ByHand
) -> None:
    write(project, namespace, objects.config_map("a"))
    project.run()
    write_chart(project, namespace, objects.config_map("theirs"))
    by_hand.install("other", project.folder / "chart")
    cluster.apply(objects.config_map("unowned", old="1"), namespace=namespace)
    write(project, namespace, objects.config_map("a"), objects.config_map("theirs"))
    told = refused(project, namespace)
    assert told == (
        f"ConfigMap theirs belongs to the release {namespace}/other (remove it from one of the two, or uninstall "
        f"{namespace}/other)"
    )
    write(project, namespace, objects.config_map("a"), objects.config_map("unowned", new="1"))
    resumed(project)
    assert cluster.get("configmap", "unowned", namespace=namespace)["data"] == {"new": "1"}


def test_what_somebody_else_left_pending_is_unlocked_by_order_only(
    control_plane: ControlPlane, project: Project, cluster: Cluster, namespace: str, by_hand: ByHand
) -> None:
    write_chart(project, namespace, objects.deployment("a", annotations={"sbkube.test/pod": "never-ready"}))
    by_hand.install_and_die("web", project.folder / "chart")
    write_chart(project, namespace, objects.deployment("a"))
    told = refused(project, namespace)
    assert told.startswith(
        "somebody else's Helm works on it, or was killed over it: revision 1 (web-0.1.0) is `pending-install` since 20"
    )
    assert told.endswith(
        " s ago (`--pending wait` waits for its end; if whoever did it is gone, `--pending rollback` unlocks it, as "
        f"`helm rollback web 1 -n {namespace} --no-hooks` does)"
    )
    refused(project, namespace, "--pending", "fail")
    assert many.pending(cluster, namespace) == ["web"]
    done = project.run("--pending", "rollback")
    assert "revision 1 is pending-install: it was cut off; unlocking it" in done.said
    assert [one.status for one in many.histories(cluster, namespace)["web"]][-1] == "deployed"


def test_who_waits_for_somebody_else_goes_on_after_it(
    control_plane: ControlPlane, project: Project, cluster: Cluster, namespace: str, by_hand: ByHand
) -> None:
    write_chart(project, namespace, objects.deployment("a", annotations={"sbkube.test/after": "3s"}))
    with by_hand.installing("web", project.folder / "chart"):
        done = project.run("--pending", "wait")
    assert "revision 1 is pending-install, waiting for whoever does it" in done.said
    assert [one.status for one in many.histories(cluster, namespace)["web"]] == ["superseded", "deployed"]


def test_a_forced_run_makes_a_revision_of_what_is_as_it_should_be(project: Project, namespace: str) -> None:
    write(project, namespace, objects.config_map("a"))
    project.run()
    project.run("--force")
    assert project.revisions == {"web:deploy": 2}
