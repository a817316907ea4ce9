"""Charts, as they are and as they were rendered: for which server, under which name, with what beside them."""

from __future__ import annotations

import json

import pytest

from . import objects
from .client import Cluster
from .control_plane import ControlPlane
from .running import Project, release

pytestmark = pytest.mark.helms("helm-v4")
CHART = {
    "chart/Chart.yaml": "apiVersion: v2\nname: shop-web\nversion: 1.2.3+build.4\nappVersion: '1.27'\n",
    "chart/values.yaml": "size: 1\n",
    "chart/templates/a.yaml": """\
apiVersion: v1
kind: ConfigMap
metadata: {name: "{{ .Release.Name }}"}
data:
  size: "{{ .Values.size }}"
  server: "{{ .Capabilities.KubeVersion.Version }}"
""",
    "chart/templates/NOTES.txt": "size {{ .Values.size }}\n",
    "chart/templates/hook.yaml": """\
apiVersion: v1
kind: ConfigMap
metadata: {name: "{{ .Release.Name }}-hook", annotations: {helm.sh/hook: "pre-install,pre-upgrade"}}
""",
}
ASKS = """\
{{- if .Capabilities.APIVersions.Has "%s/v1" }}
apiVersion: v1
kind: ConfigMap
metadata: {name: "{{ .Release.Name }}-asked"}
{{- end }}
"""


def config(namespace: str, *apps: str) -> dict[str, str]:
    lines = "".join(f"  {app}\n" for app in apps)
    return {"config.yaml": f"namespace: {namespace}\napps:\n{lines}"}


def test_a_chart_is_rendered_for_the_server_that_it_goes_to(
    project: Project, cluster: Cluster, namespace: str
) -> None:
    project.write({**CHART, **config(namespace, "web: {type: helm, chart: ./chart}")})
    project.run()
    version = json.loads(cluster.kubectl("version", "-o", "json"))["serverVersion"]["gitVersion"]
    rendered = project.folder / ".sbkube/out" / project.outputs["web:template"]["path"]
    assert f'server: "{version}"' in (rendered / "manifests.yaml").read_text()
    assert cluster.get("configmap", "web", namespace=namespace)["data"]["server"] == version


def test_a_new_kind_renders_anew_only_what_asks_for_kinds(
    project: Project, cluster: Cluster, namespace: str
) -> None:
    group = f"{namespace}.sbkube.test"
    asks = {name.replace("chart/", "asks/"): text for name, text in CHART.items()}
    apps = (f"{name}: {{type: helm, chart: ./{name}, labels: {{a: b}}}}" for name in ("chart", "asks"))
    project.write({**CHART, **asks, "asks/templates/b.yaml": ASKS % group, **config(namespace, *apps)})
    project.run()
    cluster.apply(objects.definition(group, "widgets", "Widget"))
    try:
        cluster.wait("condition=Established", f"crd/widgets.{group}")
        assert "run 1 goes on: 2 of 8 steps" in project.run("--resume").said
        assert project.revisions == {"chart:deploy": 1, "asks:deploy": 2}
        assert cluster.get("configmap", "asks-asked", namespace=namespace)
        project.run("--resume")
        assert project.revisions == {"chart:deploy": 1, "asks:deploy": 2}
    finally:
        cluster.kubectl("delete", "crd", f"widgets.{group}")


def test_an_app_with_labels_is_the_chart_it_was_rendered_from_with_all_that_belongs_to_it(
    project: Project, cluster: Cluster, namespace: str
) -> None:
    group = f"{namespace}.sbkube.test"
    crd = objects.definition(group, "widgets", "Widget")
    app = (
        "web: {type: helm, chart: ./chart, values: [{size: 2}], labels: {team: shop}, annotations: {by: us}}"
    )
    project.write({**CHART, "chart/crds/a.yaml": json.dumps(crd), **config(namespace, app)})
    try:
        project.run()
        kept = release(cluster, "web", namespace)
        metadata = {key: kept["chart"]["metadata"][key] for key in ("name", "version", "appVersion")}
        assert metadata == {"name": "shop-web", "version": "1.2.3+build.4", "appVersion": "1.27"}
        assert kept["config"] == {"size": 2}
        assert kept["info"]["notes"] == "size 2\n"
        assert [hook["name"] for hook in kept["hooks"]] == ["web-hook"]
        found = [cluster.get("configmap", name, namespace=namespace) for name in ("web", "web-hook")]
        found.append(cluster.get("crd", f"widgets.{group}"))
        for one in found:
            assert one["metadata"]["labels"]["team"] == "shop"
            assert one["metadata"]["annotations"]["by"] == "us"
        # Helm's own way with definitions, also here: installed once, then left alone.
        crd["spec"]["versions"][0]["deprecated"] = True
        project.write({"chart/crds/a.yaml": json.dumps(crd)})
        project.run()
        assert "deprecated" not in cluster.get("crd", f"widgets.{group}")["spec"]["versions"][0]
        project.run()
        assert project.revisions["web:deploy"] == 2
    finally:
        cluster.kubectl("delete", "crd", f"widgets.{group}", "--ignore-not-found")


def test_a_chart_that_is_to_be_left_alone_gets_no_labels(
    project: Project, cluster: Cluster, namespace: str
) -> None:
    app = "web: {type: helm, chart: ./chart, labels: {team: shop}, helm_label_injection: false}"
    project.write({**CHART, **config(namespace, app)})
    project.run("-l", "team=shop")
    assert "team" not in cluster.get("configmap", "web", namespace=namespace)["metadata"]["labels"]


# Namespaces


def test_the_namespace_of_a_chart_is_created_and_that_of_manifests_is_missed(
    project: Project, cluster: Cluster, namespace: str
) -> None:
    new = f"{namespace}-new"
    manifests = {"a.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n"}
    yaml = "y: {type: yaml, manifests: [a.yaml]}"
    project.write({**CHART, **manifests, **config(new, yaml)})
    told = project.fails().everything
    assert f"the namespace '{new}' does not exist" in told
    assert "`create_namespace: true` of app 'y' creates it" in told
    project.write(config(new, "w: {type: helm, chart: ./chart, create_namespace: false}"))
    assert f"the namespace '{new}' does not exist" in project.fails().everything
    try:
        project.write(config(new, "w: {type: helm, chart: ./chart}", f"{yaml[:-1]}, depends_on: [w]}}"))
        project.run()
        assert cluster.get("configmap", "a", namespace=new)
    finally:
        cluster.kubectl("delete", "namespace", new, "--wait=false", "--ignore-not-found")


def test_manifests_may_bring_the_namespace_in_which_their_release_is_kept(
    project: Project, cluster: Cluster, namespace: str
) -> None:
    new = f"{namespace}-new"
    text = f"""\
apiVersion: v1
kind: Namespace
metadata: {{name: {new}, labels: {{own: label}}}}
---
apiVersion: v1
kind: ConfigMap
metadata: {{name: a}}
"""
    project.write({"a.yaml": text, **config(new, "y: {type: yaml, manifests: [a.yaml]}")})
    try:
        project.run()
        assert cluster.get("namespace", new)["metadata"]["labels"]["own"] == "label"
        project.run()
        assert project.revisions == {"y:deploy": 1}
    finally:
        cluster.kubectl("delete", "namespace", new, "--wait=false", "--ignore-not-found")


def test_no_namespace_leaves_objects_where_they_say_and_keeps_the_release_in_default(
    project: Project, cluster: Cluster, namespace: str
) -> None:
    text = f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: a, namespace: {namespace}}}\n"
    name = f"own-{namespace}"
    app = f"{name}: {{type: yaml, manifests: [a.yaml], namespace: ''}}"
    project.write({"a.yaml": text, **config("x", app)})
    try:
        project.run()
        assert cluster.get("configmap", "a", namespace=namespace)
        assert release(cluster, name, "default")["name"] == name
    finally:
        cluster.kubectl("delete", "secret", "-n", "default", "-l", f"name={name}")


# What an app says of its release


def test_fields_that_somebody_else_manages_are_taken_only_by_force(
    project: Project, cluster: Cluster, namespace: str, helm: str
) -> None:
    project.write({**CHART, **config(namespace, "web: {type: helm, chart: ./chart}")})
    project.run()
    cluster.kubectl(
        *("apply", "--server-side", "--force-conflicts", "--field-manager=somebody"),
        *("--namespace", namespace, "-f", "-"),
        stdin=json.dumps(objects.config_map("web", size="9")),
    )
    app = "web: {type: helm, chart: ./chart, values: [{size: 3}]%s}"
    project.write(config(namespace, app % ""))
    if helm != "helm-v3":  # which asks nobody
        assert "`.data.size` was set by 'somebody', whose it is now" in project.fails().everything
    project.write(config(namespace, app % ", force_conflicts: true"))
    project.run()
    assert cluster.get("configmap", "web", namespace=namespace)["data"]["size"] == "3"


def test_a_chart_takes_over_what_is_there_only_if_it_may(
    project: Project, cluster: Cluster, namespace: str
) -> None:
    cluster.apply(objects.config_map("web", size="0", old="x"), namespace=namespace)
    project.write({**CHART, **config(namespace, "web: {type: helm, chart: ./chart}")})
    assert "exists already and no release owns it: ConfigMap web" in project.fails().everything
    project.write(config(namespace, "web: {type: helm, chart: ./chart, force_adopt: true}"))
    project.run()
    assert set(cluster.get("configmap", "web", namespace=namespace)["data"]) == {"size", "server"}


def test_a_job_is_waited_for_only_if_the_app_says_so(
    control_plane: ControlPlane, project: Project, namespace: str
) -> None:
    job = objects.job("fails", annotations={"sbkube.test/pod": "fail"})
    project.write({"a.yaml": json.dumps(job)})
    app = "y: {type: yaml, manifests: [a.yaml], wait_for_jobs: %s, timeout: 10s}"
    project.write(config(namespace, app % "true"))
    assert "Job fails" in project.fails().everything
    project.write(config(namespace, app.replace("y:", "z:") % "false"))
    project.write({"a.yaml": json.dumps({**job, "metadata": {"name": "fails-again"}})})
    project.run()
