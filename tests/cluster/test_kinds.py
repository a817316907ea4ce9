"""Every type of app that reaches a cluster does there what it says."""

from __future__ import annotations

import json
import random

import pytest

from . import objects
from .client import Cluster, Object, Refused
from .running import Project

pytestmark = pytest.mark.helms("helm-v4")
CONFIG_MAP = "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\ndata: {{a: '{value}'}}\n"


def config_map(name: str, value: str = "1", namespace: str | None = None) -> str:
    text = CONFIG_MAP.format(name=name, value=value)
    return text.replace("}\ndata", f", namespace: {namespace}}}\ndata") if namespace else text


def value_of(cluster: Cluster, name: str, namespace: str) -> str:
    return str(cluster.get("configmap", name, namespace=namespace)["data"]["a"])


# yaml


def test_manifests_reach_the_cluster_as_they_are_written(
    project: Project, cluster: Cluster, namespace: str
) -> None:
    project.write(
        {"config.yaml": f"namespace: {namespace}\napps:\n  web: {{type: yaml, manifests: [web.yaml]}}\n"}
    )
    (project.folder / "web.yaml").write_bytes(HOSTILE.replace("\n", "\r\n").encode("utf-8-sig"))
    project.run()
    assert cluster.get("configmap", "rules", namespace=namespace)["data"] == {
        "rule": "{{ $labels.instance }} of {{ $value | humanize }} {{- end }}",
        "first": "one {{ }}\n  two   \n",
        "again": "one {{ }}\n  two   \n",
        "mode": "0755",
    }
    assert cluster.get("secret", "last", namespace=namespace)["type"] == "Opaque"


HOSTILE = """# for another tool
apiVersion: v1
kind: List
items:
- apiVersion: v1
  kind: ConfigMap
  metadata: {name: rules}
  data:
    rule: "{{ $labels.instance }} of {{ $value | humanize }} {{- end }}"
    first: &first |
      one {{ }}
        two   
    again: *first
    mode: "0755"
---
---
apiVersion: v1
kind: Secret
metadata: {name: last}
"""


def test_a_large_bundle_of_kinds_arrives_and_its_next_version_too(
    project: Project, cluster: Cluster, namespace: str
) -> None:
    group = f"{namespace}.example"
    names = [f"{kind.lower()}s.{group}" for kind in BUNDLE]
    project.write(
        {"config.yaml": f"namespace: {namespace}\napps:\n  kinds: {{type: yaml, manifests: [all.yaml]}}\n"}
    )
    try:
        for version in ("first", "second"):
            bundle = "---\n".join(json.dumps(large(group, kind, version)) + "\n" for kind in BUNDLE)
            assert len(bundle) > 1024**2
            project.write({"all.yaml": bundle})
            project.run()
            for name in names:
                schema = cluster.get("crd", name)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
                assert f"in-{version}" in schema["properties"]
        crds = project.outputs["kinds:deploy"]["crds"]
        assert [one["revision"] for one in crds] == [2] * len(crds)
    finally:
        cluster.kubectl("delete", "crd", *names, "--ignore-not-found", "--wait=false")


BUNDLE = [f"Large{number}" for number in range(8)]


def large(group: str, kind: str, version: str) -> Object:
    """A definition of some 150 kB that gzip does not make much smaller."""
    found = objects.definition(group, f"{kind.lower()}s", kind)
    chance = random.Random(kind)
    fields = {f"field{n}": {"type": "string", "description": chance.randbytes(100).hex()} for n in range(600)}
    schema = found["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    schema["properties"] = {f"in-{version}": {"type": "string"}, **fields}
    return found


# kustomize


def test_a_kustomization_with_a_base_is_a_release_that_follows_its_files(
    project: Project, cluster: Cluster, namespace: str
) -> None:
    project.write(
        {
            "config.yaml": f"namespace: {namespace}\napps:\n  web: {{type: kustomize, path: prod}}\n",
            "prod/kustomization.yaml": "resources: [../base]\nnamePrefix: prod-\n"
            "configMapGenerator:\n- {name: made, literals: [a=2]}\ngeneratorOptions: {disableNameSuffixHash: true}\n",
            "base/kustomization.yaml": "resources: [a.yaml, b.yaml]\n",
            "base/a.yaml": config_map("a", "{{ braces }}"),
            "base/b.yaml": config_map("b"),
        }
    )
    project.run()
    assert project.outputs["web:deploy"]["release"] == "web"
    assert [value_of(cluster, f"prod-{name}", namespace) for name in ("a", "b", "made")] == [
        "{{ braces }}",
        "1",
        "2",
    ]
    project.run()
    assert project.revisions == {"web:deploy": 1}
    project.write({"base/kustomization.yaml": "resources: [a.yaml]\n"})
    assert "changed for web:template: kustomization base" in project.run("--resume").said
    assert project.revisions == {"web:deploy": 2}
    with pytest.raises(Refused, match="NotFound"):
        cluster.get("configmap", "prod-b", namespace=namespace)


def test_what_kustomize_refuses_is_told_in_its_words(project: Project, namespace: str) -> None:
    project.write(
        {
            "config.yaml": f"namespace: {namespace}\napps:\n  web: {{type: kustomize, path: prod}}\n",
            "prod/kustomization.yaml": "resources: [gone.yaml]\n",
        }
    )
    told = project.fails().everything
    assert "config.yaml:3: kustomization 'prod' cannot be rendered: " in told
    assert "gone.yaml" in told


def test_an_app_with_the_longest_name_is_a_release_with_its_kinds(
    project: Project, cluster: Cluster, namespace: str
) -> None:
    name, group = "a" * 63, f"{namespace}.example.com"
    kind = objects.definition(group, "longs", "Long")
    made = {"apiVersion": f"{group}/v1", "kind": "Long", "metadata": {"name": "x"}}
    project.write(
        {
            "config.yaml": f"namespace: {namespace}\ntarget: cluster\napps:\n  {name}: {{type: yaml, manifests: [all.yaml]}}\n",
            "all.yaml": "---\n".join(json.dumps(one) + "\n" for one in (kind, made)),
        }
    )
    project.run()
    project.run()
    assert project.revisions == {f"{name}:deploy": 1}
    assert cluster.get("long", "x", namespace=namespace)
    done = project.sbkube("delete", "--yes", "--with-crds")
    assert done.code == 0, done.everything
    assert cluster.find("secrets", "-l", "owner=helm", namespace=namespace) == []


# action


def actions(namespace: str, *written: str, more: str = "") -> str:
    lines = "".join(f"    - {one}\n" for one in written)
    return f"namespace: {namespace}\napps:\n  do:\n    type: action\n{more}    actions:\n{lines}"


def test_actions_apply_create_and_delete_in_their_order(
    project: Project, cluster: Cluster, namespace: str
) -> None:
    project.write(
        {
            "config.yaml": actions(
                namespace,
                "{path: a.yaml}",
                "{type: create, path: b.yaml}",
                "{type: delete, path: a.yaml}",
                "{type: delete, path: never.yaml}",
            ),
            "a.yaml": config_map("a"),
            "b.yaml": config_map("b"),
            "never.yaml": config_map("never")
            + "---\napiVersion: nobody.example.com/v1\nkind: Nothing\nmetadata: {name: none}\n",
        }
    )
    project.run()
    assert value_of(cluster, "b", namespace) == "1"
    with pytest.raises(Refused, match="NotFound"):
        cluster.get("configmap", "a", namespace=namespace)
    log = (project.folder / ".sbkube/runs/000001/logs/do.deploy.1.log").read_text()
    assert "configmap/a serverside-applied\n" in log
    told = project.fails().everything
    assert "`create` of 'b.yaml' (action 2 of 4) failed: " in told
    assert "already exists" in told
    assert "`type: apply` takes what is there as it is" in told


def test_a_create_that_failed_halfway_goes_on_from_there(
    project: Project, cluster: Cluster, namespace: str
) -> None:
    later = f"{namespace}-later"
    project.write(
        {
            "config.yaml": actions(
                namespace, "{type: create, path: a.yaml}", "{type: create, path: both.yaml}"
            ),
            "a.yaml": config_map("a"),
            "both.yaml": config_map("b") + "---\n" + config_map("c", namespace=later),
        }
    )
    try:
        assert f'namespaces "{later}" not found' in project.fails().everything
        cluster.kubectl("create", "namespace", later)
        project.run("--resume")
        assert value_of(cluster, "c", later) == "1"
        log = (project.folder / ".sbkube/runs/000001/logs/do.deploy.2.log").read_text()
        assert log.count("what was there has been created by an earlier attempt of this step\n") == 2
        assert "already exists" in project.fails().everything
    finally:
        cluster.kubectl("delete", "namespace", later, "--wait=false", "--ignore-not-found")


def test_an_action_takes_over_what_kubectl_applied_before(
    project: Project, cluster: Cluster, namespace: str
) -> None:
    cluster.apply(objects.config_map("a", a="0", old="x"), namespace=namespace)
    project.write({"config.yaml": actions(namespace, "{path: a.yaml}"), "a.yaml": config_map("a")})
    project.run()
    assert cluster.get("configmap", "a", namespace=namespace)["data"] == {"a": "1"}


def test_the_namespace_of_an_action_is_what_objects_say_unless_it_is_its_own(
    project: Project, cluster: Cluster, namespace: str
) -> None:
    files = {"both.yaml": config_map("a") + "---\n" + config_map("b", namespace="default")}
    project.write({**files, "config.yaml": actions(namespace, "{path: both.yaml}")})
    try:
        project.run()
        assert value_of(cluster, "a", namespace) == value_of(cluster, "b", "default") == "1"
        own = actions("default", f"{{path: both.yaml, namespace: {namespace}}}")
        project.write({"config.yaml": own})
        assert "does not match the namespace" in project.fails().everything
    finally:
        cluster.kubectl("delete", "configmap", "b", "--namespace", "default", "--ignore-not-found")


def test_a_folder_as_target_refuses_actions_before_anything_runs(project: Project) -> None:
    project.write({"config.yaml": actions("x", "{path: a.yaml}"), "a.yaml": config_map("a")})
    for command in ("run", "plan"):
        done = project.sbkube(command, "--target", "out")
        assert done.code == 2
        assert "config.yaml:4: app 'do' of type action needs a cluster" in done.said
    assert not (project.folder / "out").exists()


# taking over


def test_objects_that_nobody_owns_are_taken_over_in_whatever_namespace_they_are(
    project: Project, cluster: Cluster, namespace: str
) -> None:
    other = f"{namespace}-other"
    cluster.kubectl("create", "namespace", other)
    try:
        texts = [config_map("a"), config_map("b", namespace=other)]
        for text, place in zip(texts, (namespace, other), strict=True):
            cluster.kubectl("apply", "-f", "-", "--namespace", place, stdin=text)
        project.write(
            {
                "config.yaml": f"namespace: {namespace}\napps:\n  web: {{type: yaml, manifests: [web.yaml]}}\n",
                "web.yaml": "---\n".join(texts),
            }
        )
        project.run()
        for name, place in (("a", namespace), ("b", other)):
            annotations = cluster.get("configmap", name, namespace=place)["metadata"]["annotations"]
            assert annotations["meta.helm.sh/release-name"] == "web"
    finally:
        cluster.kubectl("delete", "namespace", other, "--wait=false")
