"""Projects as older versions wrote them load unchanged; what is old is said once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from sbkube.apps.exec import ExecApp
from sbkube.apps.git import GitApp
from sbkube.apps.helm import HelmApp
from sbkube.apps.noop import NoopApp
from sbkube.apps.yaml import YamlApp
from sbkube.config.project import Project

Load = Callable[..., Project]


def said(project: Project) -> list[str]:
    """Notices with the names of the files only."""
    return [notice.removeprefix(f"{project.folder}/") for notice in project.notices]


def test_a_project_of_0_3_has_files_and_a_list_of_repositories(load: Load) -> None:
    project = load(
        config="""
        namespace: data-platform
        apps:
          operators:
            type: yaml
            files: [operators.yaml, more.yaml]
          kafka:
            type: helm
            chart: ./charts/kafka
            version: "1.2"
            values: [kafka.yaml]
            set_values: [replicas=3, image.tag=v1]
            overrides: {templates/a.yaml: a.yaml}
            removes: [templates/tests]
            depends_on: [operators]
          ui:
            type: yaml
            files: [ui.yaml]
        """,
        sources="""
        cluster: local
        kubeconfig: ~/.kube/config
        kubeconfig_context: k3s
        helm_repos:
          - name: bitnami
            url: https://charts.bitnami.com/bitnami
        """,
    )
    operators, kafka, _ = project.apps.values()
    assert isinstance(operators, YamlApp)
    assert isinstance(kafka, HelmApp)
    assert operators.manifests == ("operators.yaml", "more.yaml")
    assert kafka.set_values == ("replicas=3", "image.tag=v1")
    assert project.settings.helm_repos["bitnami"].url == "https://charts.bitnami.com/bitnami"
    assert said(project) == [
        "sources.yaml:5: `helm_repos` is a mapping of name to repository now, not a list",
        "config.yaml:6: `files` is an older spelling of `manifests` (and in 1 more place)",
    ]


def test_a_project_of_0_5_names_its_groups(load: Load) -> None:
    project = load(
        config="namespace: x\napps: {}\n", sources="kubeconfig_context: k\napp_dirs: [redis, nginx]\n"
    )
    assert project.app_dirs == ("redis", "nginx")
    assert str(project.where("app_dirs")).endswith("sources.yaml:2")


def test_a_project_of_0_7_has_global_values_labels_and_hooks(load: Load) -> None:
    project = load(
        config="""
        namespace: x
        global_labels: {environment: prod, managed: yes}
        global_annotations: {contact: a@b.c}
        deps: []
        hooks:
          deploy: {pre: [echo a], post: [echo b], on_failure: [echo c]}
        apps:
          a:
            type: helm
            chart: ./a
            notes: remember
            hooks:
              pre_deploy: [echo x]
              post_deploy_tasks: [{type: command, name: check, command: 'true'}]
        """,
        sources="""
        kubeconfig_context: k
        cluster_values_file: cluster.yaml
        global_values: {global: {storageClass: local}}
        cleanup_metadata: true
        incompatible_charts: [a/b]
        force_label_injection: [c/d]
        http_proxy: http://proxy
        """,
    )
    assert project.settings.global_labels == {"environment": "prod", "managed": "yes"}
    assert project.settings.global_annotations == {"contact": "a@b.c"}
    assert project.settings.global_values == {"global": {"storageClass": "local"}}
    assert project.settings.cluster_values_file == "cluster.yaml"
    assert project.hooks["deploy"].on_failure == ("echo c",)
    assert said(project) == []


def test_a_workspace_of_0_9_becomes_settings_and_phases(load: Load) -> None:
    project = load(
        workspace="""
        version: "1.0"
        metadata: {name: prod, tags: [a]}
        global:
          kubeconfig: ~/.kube/config
          context: prod
          timeout: 600
          on_failure: stop
          helm_repos: {grafana: {url: https://grafana}}
        phases:
          p1: {source: p1/sources.yaml, app_groups: [a, b], app_group_deps: {b: [a]}, timeout: 900}
          p2: {source: p2/sources.yaml, depends_on: [p1], env: {A: b}, on_failure: continue}
        """
    )
    assert list(project.phases) == ["p1", "p2"]
    assert (project.settings.kubeconfig_context, project.settings.timeout) == ("prod", 600.0)
    assert said(project) == [
        "workspace.yaml:4: `global` is an older spelling of `settings`",
        "workspace.yaml:6: `context` is an older spelling of `kubeconfig_context`",
    ]


def test_a_project_of_0_11_has_all_settings_in_one_file(load: Load) -> None:
    project = load(
        sbkube="""
        apiVersion: sbkube/v1
        metadata: {name: x}
        settings:
          kubeconfig: k
          kubeconfig_context: c
          namespace: n
          cluster: label
          helm_repos: {a: {url: https://a}}
          oci_registries: {b: {registry: ghcr.io}}
          git_repos: {c: {url: https://c.git, branch: main}}
          helm_label_injection: false
          parallel: true
          parallel_apps: true
          max_workers: 4
          execution_order: phases_first
          on_failure: rollback
          rollback_scope: app
          timeout: 600
          no_proxy: [localhost]
        apps: {a: {type: noop}}
        """
    )
    assert (project.settings.max_workers, project.settings.on_failure) == (4, "rollback")
    assert said(project) == []


def test_half_converted_files_are_taken_with_a_hint_for_each_old_word(load: Load) -> None:
    project = load(
        sbkube="""
        apiVersion: sbkube/v1
        namespace: top
        clusters:
        - {name: other, context: other}
        - {name: local, context: k3s, kubeconfig: kc, default: true}
        helm_sources:
        - {name: bitnami, url: https://bitnami, type: https}
        oci_repos: {ghcr: {registry: ghcr.io}}
        global_labels: {a: b}
        apps:
          redis:
            type: helm
            specs:
              chart: ./redis
              version: 16.0
              values: {replicas: 1}
          loki: {type: helm, repo: grafana, chart: loki, description: logs}
          gate: {type: noop, description: manual}
        """
    )
    redis, loki, gate = project.apps.values()
    assert isinstance(redis, HelmApp)
    assert isinstance(loki, HelmApp)
    assert isinstance(gate, NoopApp)
    assert (redis.chart, redis.version, redis.values, redis.namespace) == (
        "./redis",
        "16.0",
        ({"replicas": 1},),
        "top",
    )
    assert (loki.chart, loki.notes, gate.description) == ("grafana/loki", "logs", "manual")
    settings = project.settings
    assert (settings.cluster, settings.kubeconfig_context, settings.kubeconfig) == ("local", "k3s", "kc")
    assert settings.helm_repos["bitnami"].url == "https://bitnami"
    assert settings.oci_registries["ghcr"].registry == "oci://ghcr.io"
    assert said(project) == [
        "sbkube.yaml:3: `namespace` belongs under `settings`",
        "sbkube.yaml:4: `clusters` belongs under `settings`",
        "sbkube.yaml:7: `helm_sources` belongs under `settings`",
        "sbkube.yaml:9: `oci_repos` belongs under `settings`",
        "sbkube.yaml:10: `global_labels` belongs under `settings`",
        "sbkube.yaml:9: `oci_repos` is an older spelling of `oci_registries`",
        "sbkube.yaml:7: `helm_sources` is an older spelling of `helm_repos`",
        "sbkube.yaml:7: `helm_repos` is a mapping of name to repository now, not a list",
        "sbkube.yaml:4: `clusters` is `cluster`, `kubeconfig` and `kubeconfig_context` of one cluster now",
        "sbkube.yaml:14: the fields under `specs` stand directly in the app now",
        "sbkube.yaml:17: `values` is a list now: put a `-` before the mapping, or its file",
        "sbkube.yaml:18: `description` is an older spelling of `notes`",
        "sbkube.yaml:18: `repo` and `chart` are one now: `chart: grafana/loki`",
    ]


def test_several_clusters_without_a_default_are_no_answer(load: Load) -> None:
    config = "apps: {}\n"
    one = load(config=config, sources="clusters: [{name: a, context: b}]\n")
    assert (one.settings.cluster, one.settings.kubeconfig_context) == ("a", "b")


def test_repos_once_held_git_repositories_too(load: Load) -> None:
    project = load(
        config="apps: {olm: {type: git, repo: olm}, run: {type: exec, commands: [a]}}\n",
        sources="repos:\n  olm: https://github.com/o/olm.git\n  charts: https://charts\n",
    )
    assert isinstance(project.apps["olm"], GitApp)
    assert isinstance(project.apps["run"], ExecApp)
    assert project.settings.git_repos["olm"].url == "https://github.com/o/olm.git"
    assert list(project.settings.helm_repos) == ["charts"]


def test_a_unified_file_without_its_version_is_taken_with_a_hint(load: Load, folder: Path) -> None:
    project = load(sbkube="apps: {a: {type: noop}}\n")
    assert said(project) == ["sbkube.yaml:1: `apiVersion: sbkube/v1` is missing"]


def test_sources_written_for_one_file_are_taken_beside_another(load: Load) -> None:
    project = load(config="apps: {}\n", sources="settings: {cluster: a, namespace: n}\n")
    assert (project.settings.cluster, project.namespace) == ("a", "n")
