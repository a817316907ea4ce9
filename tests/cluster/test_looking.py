"""What `diff`, `status --live` and `verify` see of a cluster, and that they leave everything as it is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from .client import Cluster, Object
from .control_plane import ControlPlane
from .objects import config_map, definition, deployment, job
from .running import Project

pytestmark = pytest.mark.helms("helm-v4")
PASSWORD = "correct-horse-battery"


def secret(**data: str) -> Object:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "login"}, "stringData": data}


def text_of(*objects: Object) -> str:
    return yaml.safe_dump_all(objects)


def config_of(namespace: str, **apps: dict[str, Any]) -> str:
    return yaml.safe_dump({"namespace": namespace, "target": "cluster", "apps": apps})


def web(*more: Object) -> str:
    return text_of(config_map("settings", color="green"), deployment("web"), secret(password=PASSWORD), *more)


@pytest.fixture
def shop(project: Project, namespace: str) -> Project:
    """A chart with a hook, manifests with a Secret, and a command; deployed."""
    project.write(
        {
            "config.yaml": config_of(
                namespace,
                web={"type": "yaml", "manifests": ["web.yaml"]},
                cache={"type": "helm", "chart": "./cache"},
                seed={"type": "exec", "commands": ["true"]},
            ),
            "web.yaml": web(),
            "cache/Chart.yaml": "apiVersion: v2\nname: cache\nversion: 1.0.0\n",
            "cache/values.yaml": "size: 1\n",
            "cache/templates/map.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: cache}\n"
            'data: {size: "{{ .Values.size }}", server: "{{ .Capabilities.KubeVersion }}"}\n',
            "cache/templates/hook.yaml": "apiVersion: v1\nkind: ConfigMap\n"
            "metadata: {name: before, annotations: {helm.sh/hook: pre-upgrade}}\n",
        }
    )
    project.run()
    return project


def everything_in(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(path): (path.stat().st_mtime_ns, path.read_bytes())
        for path in (folder / ".sbkube").rglob("*")
        if path.is_file()
    }


# diff


def test_nothing_is_printed_of_an_unchanged_project_and_nothing_is_written(shop: Project) -> None:
    before = everything_in(shop.folder)
    done = shop.sbkube("diff", "--detailed-exitcode")
    assert (done.code, done.everything) == (0, "")
    assert everything_in(shop.folder) == before


def test_a_scaled_deployment_is_the_one_line_that_differs(
    shop: Project, cluster: Cluster, namespace: str
) -> None:
    cluster.kubectl("scale", "deployment/web", "--replicas=3", "--namespace", namespace)
    done = shop.sbkube("diff", "--detailed-exitcode")
    head, *lines = done.output.splitlines()
    assert done.code == 2
    assert head == f"web: Deployment {namespace}/web would change"
    assert [line for line in lines if line[0] in "+-"] == ["-  replicas: 3", "+  replicas: 1"]
    assert shop.sbkube("diff").code == 0, "without the flag a difference is no failure"


@pytest.mark.parametrize("form", ["text", "json"])
def test_the_values_of_a_secret_never_appear_and_their_change_does(
    shop: Project, cluster: Cluster, namespace: str, form: str
) -> None:
    cluster.apply(secret(password="set-by-hand", more="there"), namespace=namespace)
    shop.write({"web.yaml": web().replace(PASSWORD, "another-password")})
    done = shop.sbkube("diff", "-o", form)
    assert "password: (hidden " in done.output
    for value in (PASSWORD, "set-by-hand", "another-password", "there"):
        encoded = cluster.get("secret", "login", namespace=namespace)["data"].values()
        assert value not in done.everything.replace("there is", "")
        assert not any(text in done.everything for text in encoded)


def test_objects_that_come_and_go_are_shown_whole_and_those_to_be_kept_are_not(
    shop: Project, cluster: Cluster, namespace: str
) -> None:
    kept = config_map("kept", a="1")
    kept["metadata"]["annotations"] = {"helm.sh/resource-policy": "keep"}
    shop.write({"web.yaml": web(kept)})
    shop.run()
    shop.write({"web.yaml": text_of(deployment("web"), secret(password=PASSWORD), config_map("new", a="1"))})
    (app,) = json.loads(shop.sbkube("diff", "--app", "web", "-o", "json").output)["apps"]
    assert {(each["change"], each["name"]) for each in app["objects"]} == {
        ("removed", "settings"),
        ("added", "new"),
    }
    shop.run()
    assert shop.sbkube("diff").output == ""
    assert cluster.get("configmap", "kept", namespace=namespace)


def test_what_is_in_no_cluster_yet_is_new_whatever_else_is_missing_for_it(
    project: Project, namespace: str
) -> None:
    """Its namespace, the definition of its kind."""
    group = f"{namespace}.sbkube.test"
    widget = {"apiVersion": f"{group}/v1", "kind": "Widget", "metadata": {"name": "one"}}
    elsewhere = config_map("elsewhere", a="1")
    elsewhere["metadata"]["namespace"] = f"{namespace}-missing"
    project.write(
        {
            "config.yaml": config_of(namespace, web={"type": "yaml", "manifests": ["web.yaml"]}),
            "web.yaml": text_of(definition(group, "widgets", "Widget"), widget, elsewhere, deployment("web")),
        }
    )
    (app,) = json.loads(project.sbkube("diff", "-o", "json").output)["apps"]
    assert [(each["change"], each["kind"], each["release"]) for each in app["objects"]] == [
        ("added", "CustomResourceDefinition", "web-crds"),
        ("added", "Widget", "web"),
        ("added", "ConfigMap", "web"),
        ("added", "Deployment", "web"),
    ]
    assert not (project.folder / ".sbkube").exists()


def test_what_the_server_refuses_is_told_in_its_words_beside_all_else(shop: Project, namespace: str) -> None:
    other = deployment("web")
    other["spec"]["selector"]["matchLabels"] = {"app": "other"}
    other["spec"]["template"]["metadata"]["labels"] = {"app": "other"}
    shop.write({"web.yaml": text_of(config_map("settings", color="blue"), other)})
    done = shop.sbkube("diff", "--app", "web")
    assert f"web: Deployment {namespace}/web cannot be compared\n  " in done.output
    assert "field is immutable" in done.output
    assert "-  color: green\n+  color: blue" in done.output


def test_an_app_that_cannot_be_rendered_fails_the_command_and_hides_no_other(shop: Project) -> None:
    shop.write({"web.yaml": "kind: [", "cache/values.yaml": "size: 2\n"})
    done = shop.sbkube("diff", "--detailed-exitcode")
    assert done.code == 1
    assert "app 'web' cannot be compared: template: " in done.said
    assert '-  size: "1"' in done.output.replace("'", '"')


def test_a_diff_that_cannot_be_made_does_not_end_as_one_that_shows_a_change(
    shop: Project, tmp_path: Path
) -> None:
    nowhere = {"KUBECONFIG": str(tmp_path / "none")}
    assert shop.sbkube("diff", **nowhere).code == 2
    assert shop.sbkube("diff", "--detailed-exitcode", **nowhere).code == 1


# status --live, verify


def live(project: Project, *arguments: str) -> dict[str, Any]:
    done = project.sbkube("status", "--live", "-o", "json", *arguments)
    assert done.code == 0, done.everything
    return {one["release"]: one for one in json.loads(done.output)["releases"]}


def test_a_release_that_is_as_it_was_deployed_has_no_drift(shop: Project) -> None:
    web = live(shop)["web"]
    assert (web["status"], web["revision"], web["is_as_recorded"], web["is_ready"]) == (
        "deployed",
        1,
        True,
        True,
    )
    assert [(w["name"], w["ready"], w["desired"]) for w in web["workloads"]] == [("web", 1, 1)]
    assert web["drift"] == []
    assert shop.sbkube("verify").code == 0


def test_what_others_changed_and_deleted_is_drift_and_what_is_missing_fails_verify(
    shop: Project, cluster: Cluster, namespace: str
) -> None:
    cluster.kubectl("scale", "deployment/web", "--replicas=0", "--namespace", namespace)
    cluster.kubectl("delete", "configmap", "settings", "--namespace", namespace)
    drift = live(shop, "--app", "web")["web"]["drift"]
    assert {(each["change"], each["kind"]) for each in drift} == {
        ("changed", "Deployment"),
        ("added", "ConfigMap"),
    }
    done = shop.sbkube("verify", "--app", "web")
    assert (done.code, done.output) == (1, "web: ConfigMap settings is missing\n")
    assert shop.sbkube("verify", "--app", "cache").code == 0
    table = shop.sbkube("status", "--live").output
    assert "web: ConfigMap settings is missing" in table
    assert "2 objects" in table


def test_a_release_that_somebody_removed_or_changed_by_hand_fails_verify(
    shop: Project, cluster: Cluster, namespace: str
) -> None:
    cluster.kubectl("delete", "secret", "-l", "owner=helm,name=cache", "--namespace", namespace)
    done = shop.sbkube("verify")
    assert (done.code, done.output) == (1, f"cache: there is no release cache in {namespace}\n")
    assert live(shop)["cache"]["status"] is None


def test_workloads_that_are_not_ready_and_jobs_that_failed_are_named(
    control_plane: ControlPlane, project: Project, namespace: str
) -> None:
    nowhere = deployment("stuck")
    nowhere["spec"]["template"]["spec"]["nodeSelector"] = {"no": "such-node"}
    failing = job("broken", annotations={"sbkube.test/pod": "fail"})
    app = {"type": "yaml", "manifests": ["web.yaml"], "wait": False}
    project.write({"config.yaml": config_of(namespace, web=app), "web.yaml": text_of(nowhere, failing)})
    project.run()
    control_plane.admin.wait("condition=Failed", "job/broken", namespace=namespace)
    done = project.sbkube("verify")
    assert done.code == 1
    assert f"web: Deployment {namespace}/stuck: 0 of 1 ready\n" in done.output
    assert f"web: Job {namespace}/broken: failed: BackoffLimitExceeded: " in done.output
    assert len(done.output.splitlines()) == 2


def test_verify_without_a_run_says_so(project: Project, namespace: str) -> None:
    project.write({"config.yaml": config_of(namespace, web={"type": "yaml", "manifests": ["web.yaml"]})})
    done = project.sbkube("verify")
    assert done.code == 2
    assert "no run is recorded" in done.said


def test_a_folder_has_no_releases_to_look_at(project: Project, namespace: str) -> None:
    project.write({"config.yaml": f"target: {{directory: out}}\nnamespace: {namespace}\napps: {{}}\n"})
    for command in (["diff"], ["verify"], ["status", "--live"]):
        done = project.sbkube(*command)
        assert done.code == 2
        assert "a folder has no releases" in done.said
