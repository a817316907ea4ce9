"""`sbkube images`: what a mirror or a scanner is given."""

from __future__ import annotations

from servers.charts import Chart
from servers.http import Server

from .helpers import check_golden
from .project import ProjectFolder, chart, effect
from .sources import serve

WORKLOADS = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: front}
spec:
  template:
    spec:
      initContainers: [{name: migrate, image: "registry.test/migrate:2"}]
      containers:
        - {name: web, image: "registry.test/web:1.4"}
        - {name: proxy, image: "registry.test/proxy@sha256:0123"}
      volumes:
        - {name: model, image: {reference: "registry.test/model:7"}}
        - {name: scratch, emptyDir: {}}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: told}
data: {image: no-image, containers: "[{image: text}]"}
"""
TEMPLATE = """\
apiVersion: batch/v1
kind: Job
metadata:
  name: {{ .Release.Name }}-seed
  annotations: {helm.sh/hook: post-install}
spec: {template: {spec: {containers: [{name: seed, image: "registry.test/seed:1"}]}}}
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: {{ .Release.Name }}}
spec: {jobTemplate: {spec: {template: {spec: {containers: [{name: api, image: "registry.test/web:1.4"}]}}}}}
"""
KUBECONFIG = """\
apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "https://127.0.0.1:1"}}]
contexts: [{name: c, context: {cluster: c, user: u}}]
users: [{name: u, user: {token: t}}]
current-context: c
"""


def given(project: ProjectFolder) -> None:
    project.write({"web.yaml": WORKLOADS, **chart("api", TEMPLATE)})
    project.config(
        """
        web: {type: yaml, manifests: [web.yaml]}
        api: {type: helm, chart: ./charts/api}
        off: {type: yaml, manifests: [absent.yaml], enabled: false}
        """
        + effect("seed")
    )


def test_images_stand_one_a_line_and_what_else_there_is_to_say_goes_to_stderr(project: ProjectFolder) -> None:
    given(project)
    ended = project("images", env={"COLUMNS": "80"})
    assert ended.code == 0, ended
    assert ended.out.splitlines() == sorted(ended.out.splitlines())
    one = project("images", "--app", "api")
    assert one.out == "registry.test/seed:1\nregistry.test/web:1.4\n"
    data = project("images", "--output", "json")
    check_golden(
        "images",
        f"$ sbkube images\n{ended.out}{ended.err}\n$ sbkube images --app api\n{one.out}{one.err}\n"
        f"$ sbkube images --output json\n{data.out}",
    )


def test_looking_leaves_no_trace_and_reads_what_a_run_has_rendered(project: ProjectFolder) -> None:
    given(project)
    before = project("images").out
    assert not project.state.exists()
    assert not (project.root / "rendered").exists()
    project.runs()
    state = project.bytes_of_state()
    assert project("images").out == before
    assert project.bytes_of_state() == state


def test_an_app_that_cannot_be_rendered_fails_the_command_and_hides_no_other(project: ProjectFolder) -> None:
    given(project)
    project.write(chart("api", '{{ fail "no luck" }}\n'))
    ended = project("images")
    assert ended.code == 1
    assert "registry.test/web:1.4\n" in ended.out
    assert "error: the images of app 'api' are not known: template: " in ended.err
    assert "no luck" in ended.err
    data = project("images", "-o", "json")
    assert data.code == 1
    assert list(data.document["failed"]) == ["api"]
    assert len(data.document["images"]) == 4


def test_an_app_that_a_command_has_yet_to_make_hides_no_other_and_runs_nothing(
    project: ProjectFolder,
) -> None:
    project.write({"web.yaml": WORKLOADS})
    project.config(
        effect("make")
        + "made: {type: yaml, manifests: [made.yaml], depends_on: [make]}\n"
        + "web: {type: yaml, manifests: [web.yaml], depends_on: [make, made]}\n"
    )
    ended = project("images")
    assert ended.code == 1
    assert len(ended.out.splitlines()) == 4
    assert "the images of app 'made' are not known: template: make:deploy has to run first\n" in ended.err
    assert project("images", "--app", "made").code == 1
    assert project.new_effects() == []


def test_offline_nobody_is_asked_for_what_is_not_here(project: ProjectFolder) -> None:
    with Server() as shop:
        serve(shop, Chart("api"))
        project.write({"sources.yaml": f"helm_repos: {{shop: {shop.url}}}\n"})
        project.write({"web.yaml": WORKLOADS})
        project.config("web: {type: yaml, manifests: [web.yaml]}\napi: {type: helm, chart: shop/api}")
        ended = project("images", "--offline")
        assert ended.code == 1
        assert len(ended.out.splitlines()) == 4
        assert "the images of app 'api' are not known: prepare: " in ended.err
        assert shop.count() == 0
        assert project("images").code == 0


def test_a_project_without_any_says_so_and_prints_nothing(project: ProjectFolder) -> None:
    project.config("a: {type: noop}")
    ended = project("images")
    assert (ended.code, ended.out, ended.err) == (0, "", "no images\n")


def test_a_cluster_is_asked_what_to_render_for_unless_the_target_is_a_folder(project: ProjectFolder) -> None:
    project.write({"kubeconfig": KUBECONFIG, "web.yaml": WORKLOADS})
    project.config("web: {type: yaml, manifests: [web.yaml]}", target="kubeconfig: kubeconfig\n")
    ended = project("images")
    assert ended.code == 2
    assert ended.out == ""
    assert "of context 'c' cannot be reached" in ended.err
    assert "hint: `--target DIR` asks no cluster" in ended.err
    assert len(project("images", "--target", "out").out.splitlines()) == 4
    assert not (project.root / "out").exists()
