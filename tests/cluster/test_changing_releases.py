"""`delete`, `rollback`, `prune` and `upgrade` on a real API server."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from collections.abc import Mapping

import pytest

from .client import Cluster, Refused
from .running import Done, Project

pytestmark = pytest.mark.helms("helm-v4")
CHART = {
    "chart/Chart.yaml": "{apiVersion: v2, name: demo, version: 0.1.0}\n",
    "chart/templates/all.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: '{{ .Release.Name }}'}\n"
    "data: {a: {{ .Values.a | quote }}}\n---\napiVersion: v1\nkind: ServiceAccount\n"
    "metadata: {name: '{{ .Release.Name }}'}\n",
}
CRD = """apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {{name: {plural}.sbkube.test}}
spec:
  group: sbkube.test
  scope: Namespaced
  names: {{plural: {plural}, singular: {plural}, kind: {kind}}}
  versions:
  - name: v1
    served: true
    storage: true
    schema: {{openAPIV3Schema: {{type: object, x-kubernetes-preserve-unknown-fields: true}}}}
---
apiVersion: v1
kind: ConfigMap
metadata: {{name: beside-the-crd}}
"""
NAMES = ("a", "b", "c", "d", "e")


def config(namespace: str, apps: Mapping[str, str], top: str = "") -> dict[str, str]:
    lines = "".join(f"  {name}: {{{fields}}}\n" for name, fields in apps.items())
    return {**CHART, "config.yaml": f"namespace: {namespace}\ntarget: cluster\n{top}apps:\n{lines}"}


def helm(value: str = "1", more: str = "") -> str:
    return f"type: helm, chart: ./chart, set_values: {{a: '{value}'}}{more}"


def ok(done: Done) -> Done:
    assert done.code == 0, done.everything
    return done


def values(cluster: Cluster, namespace: str) -> dict[str, str]:
    """Of the objects that the charts make."""
    found = cluster.find("configmaps", namespace=namespace)
    return {one["metadata"]["name"]: one["data"]["a"] for one in found if "a" in one.get("data", {})}


def newest(cluster: Cluster, namespace: str) -> dict[str, int]:
    """The newest revision of each release."""
    secrets = cluster.find("secrets", "-l", "owner=helm", namespace=namespace)
    labels = [secret["metadata"]["labels"] for secret in secrets]
    return {
        name: max(int(one["version"]) for one in labels if one["name"] == name)
        for name in sorted({one["name"] for one in labels})
    }


def listing(cluster: Cluster, namespace: str) -> set[str]:
    """Every object of the namespace, and all that belongs to none."""
    found = set[str]()
    for scope in ("true", "false"):
        kinds = cluster.kubectl(
            "api-resources", "--verbs=list", f"--namespaced={scope}", "-o", "name"
        ).split()
        kinds = [kind for kind in kinds if not kind.startswith("events") and kind != "componentstatuses"]
        where = ["--namespace", namespace] if scope == "true" else []
        found |= set(cluster.kubectl("get", ",".join(kinds), *where, "-o", "name").split())
    # Those of other tests come and go, and the API server makes its own of CRDs.
    return {name for name in found if not name.startswith(("lease.", "namespace/", "apiservice."))}


@pytest.mark.helms("helm-v4", "helm-v3")
def test_a_run_is_undone_for_every_release_it_changed_and_for_no_other(
    project: Project, cluster: Cluster, namespace: str
) -> None:
    project.write(config(namespace, {**dict.fromkeys(NAMES, helm()), "same": helm()}))
    project.run()
    before = values(cluster, namespace)
    changed = {**dict.fromkeys(NAMES, helm("2")), "same": helm(), "new": helm("2")}
    project.write(config(namespace, changed))
    project.run()
    assert newest(cluster, namespace) == {**dict.fromkeys(NAMES, 2), "new": 1, "same": 1}

    shown = ok(project.sbkube("rollback", "--run", "2", "--dry-run"))
    assert newest(cluster, namespace) == {**dict.fromkeys(NAMES, 2), "new": 1, "same": 1}
    assert sorted(shown.output.splitlines()) == [
        *(f"{name}: roll back {name} in {namespace} from revision 2 to 1" for name in NAMES),
        f"new: uninstall new in {namespace} (revision 1)",
    ]
    done = ok(project.sbkube("rollback", "--run", "2", "--yes"))
    assert "`sbkube run --resume` would deploy it again" in done.said
    assert values(cluster, namespace) == before
    assert newest(cluster, namespace) == {**dict.fromkeys(NAMES, 3), "same": 1}

    assert "nothing to do" in ok(project.sbkube("rollback", "--run", "2", "--yes")).said
    project.run("--resume")
    assert values(cluster, namespace) == {**dict.fromkeys(NAMES, "2"), "same": "1", "new": "2"}
    assert newest(cluster, namespace) == {**dict.fromkeys(NAMES, 4), "new": 1, "same": 1}


def test_what_came_after_a_run_is_undone_with_it_and_that_is_said(
    project: Project, cluster: Cluster, namespace: str
) -> None:
    for value in ("1", "2", "3"):
        project.write(config(namespace, {"a": helm(value)}))
        project.run()
    done = ok(project.sbkube("rollback", "--run", "2", "a", "--yes"))
    assert "which also undoes revision 3, made after run 2" in done.said
    assert values(cluster, namespace) == {"a": "1"}


def test_a_deploy_that_failed_is_undone_though_it_recorded_nothing(
    project: Project, cluster: Cluster, namespace: str
) -> None:
    project.write(config(namespace, {"a": helm()}))
    project.run()
    broken = CHART["chart/templates/all.yaml"] + "---\napiVersion: v1\nkind: Service\nmetadata: {name: '-'}\n"
    project.write({**config(namespace, {"a": helm("2")}), "chart/templates/all.yaml": broken})
    project.fails()
    ok(project.sbkube("rollback", "--run", "2", "--yes"))
    assert values(cluster, namespace) == {"a": "1"}
    assert newest(cluster, namespace) == {"a": 3}


def test_one_release_goes_to_the_revision_before_or_to_the_one_that_is_named(
    project: Project, cluster: Cluster, namespace: str
) -> None:
    for value in ("1", "2", "3"):
        project.write(config(namespace, {"a": helm(value)}))
        project.run()
    ok(project.sbkube("rollback", "a", "--yes"))
    assert values(cluster, namespace) == {"a": "2"}
    ok(project.sbkube("rollback", "a", "--to", "1", "--yes"))
    assert values(cluster, namespace) == {"a": "1"}
    refused = project.sbkube("rollback", "a", "--to", "9", "--yes")
    assert (refused.code, "there are: 1, 2, 3, 4, 5" in refused.said) == (2, True)


@pytest.mark.helms("helm-v4", "helm-v3")
def test_delete_leaves_nothing_of_ours_and_takes_dependents_first(
    project: Project, cluster: Cluster, namespace: str
) -> None:
    before = listing(cluster, namespace)
    kind = "K" + namespace.replace("-", "")
    project.write(
        {
            **config(
                namespace,
                {
                    "crds": "type: yaml, manifests: [crd.yaml]",
                    "db": helm("1", ", depends_on: [crds]"),
                    "gate": "type: noop, depends_on: [db]",
                    "web": helm("1", ", depends_on: [gate]"),
                    "mark": "type: exec, commands: ['true']",
                },
            ),
            "crd.yaml": CRD.format(plural=kind.lower(), kind=kind),
        }
    )
    project.run()
    deployed = listing(cluster, namespace)
    asked = project.sbkube("delete")
    assert asked.code == 2
    assert "`sbkube delete --yes` asks nothing" in asked.said
    assert listing(cluster, namespace) == deployed

    done = ok(project.sbkube("delete", "--yes"))
    ends = [line.split()[1] for line in done.said.splitlines() if line.startswith("✓")]
    assert ends == ["web:", "db:", "crds:", "crds:"]
    assert "nothing to delete of gate (noop), mark (exec): no release" in done.said
    crd = f"customresourcedefinition.apiextensions.k8s.io/{kind.lower()}.sbkube.test"
    assert listing(cluster, namespace) == before | {crd}

    assert ok(project.sbkube("status")).output.count(" deleted since (") == 3
    plan = ok(project.sbkube("plan", "--resume")).output
    assert [line.split()[0] for line in plan.splitlines() if ":deploy" in line] == ["run"] * 3 + ["keep"]
    project.run("--resume")
    assert listing(cluster, namespace) == deployed
    ok(project.sbkube("delete", "--yes", "--with-crds"))
    assert listing(cluster, namespace) == before

    assert project.sbkube("delete", "--yes", "--app", "web").code == 1
    ok(project.sbkube("delete", "--yes", "--skip-not-found"))


def test_in_a_terminal_a_person_is_asked_and_only_yes_counts(
    project: Project, cluster: Cluster, namespace: str
) -> None:
    project.write(config(namespace, {"a": helm()}))
    project.run()
    assert in_terminal(project, "n\n", "delete") == 1
    assert in_terminal(project, signal.SIGINT, "delete") == 130
    assert newest(cluster, namespace) == {"a": 1}
    assert in_terminal(project, "y\n", "delete") == 0
    assert newest(cluster, namespace) == {}


def in_terminal(project: Project, answer: str | signal.Signals, *arguments: str) -> int:
    """The exit code, after this answer to the question."""
    master, slave = os.openpty()
    process = project.start(*arguments, stdin=slave, stderr=slave)
    os.close(slave)
    told = b""
    while b"do it? [y/N]" not in told:
        told += os.read(master, 4096)
    if isinstance(answer, str):
        os.write(master, answer.encode())
    else:
        process.send_signal(answer)
    with contextlib.suppress(OSError):  # how a terminal says that nobody has it open any more
        while os.read(master, 4096):
            pass
    os.close(master)
    return process.wait(60)


def test_what_cannot_be_deleted_holds_up_what_it_depends_on_and_nothing_else(
    project: Project, cluster: Cluster, namespace: str
) -> None:
    slow = helm("1", ", timeout: 2s, depends_on: [db]")
    project.write(config(namespace, {"db": helm(), "web": slow, "other": helm()}))
    project.run()
    cluster.kubectl(
        "patch", "configmap", "web", "-n", namespace, "-p", '{"metadata":{"finalizers":["a.b/c"]}}'
    )
    done = project.sbkube("delete", "--yes", "--output", "json")
    cluster.kubectl("patch", "configmap", "web", "-n", namespace, "-p", '{"metadata":{"finalizers":null}}')
    ends = {one["app"]: one["status"] for one in json.loads(done.output)["changes"]}
    assert (done.code, ends) == (1, {"web": "failed", "db": "blocked", "other": "completed"})
    ok(project.sbkube("delete", "--yes", "--skip-not-found"))
    assert newest(cluster, namespace) == {}


def test_a_release_that_was_made_by_hand_or_from_elsewhere_is_refused_by_name(
    project: Project, cluster: Cluster, namespace: str
) -> None:
    project.write(config(namespace, {"a": helm(), "b": helm()}))
    project.run("--state-dir", "elsewhere")
    for command in (["delete"], ["rollback", "a", "--to", "1"]):
        done = project.sbkube(*command, "--yes")
        assert done.code == 2
        assert "was made from another state folder" in done.said
    labels = [f"sbkube.dev/{name}-" for name in ("owner", "digest", "rev", "run", "app", "profile", "prune")]
    cluster.kubectl("label", "secret", "sh.helm.release.v1.a.v1", *labels, "--namespace", namespace)
    done = project.sbkube("delete", "--yes", "--accept-target-change")
    assert done.code == 2
    assert f"release 'a' in namespace '{namespace}' was not made by sbkube" in done.said
    ok(project.sbkube("delete", "--yes", "--accept-target-change", "--app", "b"))
    assert newest(cluster, namespace) == {"a": 1}


def test_prune_shows_and_removes_exactly_what_left_the_project(
    project: Project, cluster: Cluster, namespace: str
) -> None:
    everything = {
        "db": helm(),
        "web": helm("1", ", depends_on: [db]"),
        "kept": helm("1", ", prune: false"),
        "shared": helm(),
        "off": helm(),
    }
    project.write({**config(namespace, everything), "config-other.yaml": "apps: {}\n"})
    project.run("--profile", "other", "--app", "shared")
    project.run()
    left = {"off": helm("1", ", enabled: false"), "new": helm()}
    project.write({**config(namespace, left), "config-other.yaml": f"apps: {{shared: {{{helm()}}}}}\n"})
    assert "`sbkube prune --target cluster` would uninstall: db, web" in project.run().said
    known = {"db": 1, "kept": 1, "new": 1, "off": 1, "shared": 1, "web": 1}
    assert newest(cluster, namespace) == known  # a run removes nothing

    shown = ok(project.sbkube("prune", "--dry-run"))
    assert [line.partition(":")[0] for line in shown.output.splitlines()] == ["db", "web"]
    assert "release 'kept' in namespace" in shown.said
    assert newest(cluster, namespace) == known

    done = ok(project.sbkube("prune", "--yes"))
    ends = [line.split()[1] for line in done.said.splitlines() if line.startswith("✓")]
    assert ends == ["web:", "db:"]
    assert newest(cluster, namespace) == {"kept": 1, "new": 1, "off": 1, "shared": 1}
    ok(project.sbkube("prune", "--yes", "--disabled"))
    assert newest(cluster, namespace) == {"kept": 1, "new": 1, "shared": 1}
    assert "nothing to do" in ok(project.sbkube("prune", "--yes")).said


def test_upgrade_deploys_helm_apps_and_with_no_install_only_those_that_are_there(
    project: Project, cluster: Cluster, namespace: str
) -> None:
    files = config(namespace, {"a": helm(), "plain": "type: yaml, manifests: [plain.yaml]"})
    project.write({**files, "plain.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: plain}\n"})
    ok(project.sbkube("upgrade"))
    assert newest(cluster, namespace) == {"a": 1}
    project.write(config(namespace, {"a": helm("2"), "b": helm()}))
    ok(project.sbkube("upgrade", "--no-install"))
    assert values(cluster, namespace) == {"a": "2"}
    with pytest.raises(Refused):
        cluster.get("configmap", "b", namespace=namespace)
