"""Projects of the sequential sbkube run as they are, and what it had deployed is taken over where it runs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from . import objects
from .client import Cluster, Refused
from .running import Project, release

pytestmark = pytest.mark.helms("helm-v4")
PROJECTS = Path(__file__).parent / "projects"
CONTEXT = "k3s-home"


class OldProject(Project):
    """Its sources name `~/.kube/config`, in which another context is the current one."""

    def at_home(self, home: Path) -> dict[str, str]:
        config = json.loads(
            self.cluster.kubectl("config", "view", "--raw", "--flatten", "--minify", "-o", "json")
        )
        config["contexts"][0]["name"] = CONTEXT
        nowhere = {"name": "nowhere", "cluster": {"server": "https://127.0.0.1:1"}}
        config["clusters"].append(nowhere)
        config["contexts"].append({"name": "nowhere", "context": {"cluster": "nowhere", "user": ""}})
        config["current-context"] = "nowhere"
        (home / ".kube").mkdir(parents=True)
        (home / ".kube/config").write_text(json.dumps(config))
        (home / ".kube/config").chmod(0o600)
        return {"HOME": str(home), "KUBECONFIG": ""}


@pytest.fixture
def old(
    request: pytest.FixtureRequest, cluster: Cluster, namespace: str, tmp_path: Path
) -> Iterator[OldProject]:
    """In namespaces that no other test has."""
    folder = shutil.copytree(PROJECTS / request.param, tmp_path / request.param)
    for file in filter(Path.is_file, folder.rglob("*")):
        file.write_text(file.read_text().replace("sbkube-old", namespace))
    yield OldProject(folder, cluster)
    made = [f"{namespace}-{name}" for name in ("homelab", "prod", "halfway")]
    cluster.kubectl("delete", "namespace", *made, "--wait=false", "--ignore-not-found")


@pytest.mark.parametrize("old", ["homelab"], indirect=True)
def test_a_project_of_0_4_runs_as_it_is(old: OldProject, namespace: str, tmp_path: Path) -> None:
    cluster, namespace, home = old.cluster, f"{namespace}-homelab", old.at_home(tmp_path / "home")
    done = old.sbkube("run", **home)
    assert done.code == 0, done.everything
    settings = cluster.get("configmap", "settings", namespace=namespace)
    assert settings["data"] == {"template": "{{ .Values.untouched }}"}
    for kind, name in (
        ("secret", "login"),
        ("role", "reader"),
        ("configmap", "once"),
        ("configmap", "notes-extra"),
    ):
        assert cluster.get(kind, name, namespace=namespace)
    notes = cluster.get("deployment", "notes", namespace=namespace)
    assert notes["status"]["availableReplicas"] == 2
    assert notes["metadata"]["labels"]["tier"] == "web"
    assert release(cluster, "notes", namespace)["config"] == {
        "title": "Shopping",
        "replicas": 2,
        "service": {"port": 8080},
    }
    assert "notes listen on 8080" in done.everything
    # `create` refuses what is there, as kubectl does; all else is as it was.
    again = old.sbkube("run", **home)
    assert again.code == 1
    assert "`create` of 'actions/once.yaml' (action 2 of 3) failed" in again.everything
    assert old.revisions == {"base:deploy": 1, "notes:deploy": 1}


@pytest.mark.parametrize("old", ["profiles"], indirect=True)
def test_a_profile_chooses_the_cluster_the_namespace_and_the_values(
    old: OldProject, namespace: str, tmp_path: Path
) -> None:
    cluster, namespace, home = old.cluster, f"{namespace}-prod", old.at_home(tmp_path / "home")
    for _ in range(2):
        done = old.sbkube("run", "--profile", "prod", **home)
        assert done.code == 0, done.everything
        assert old.revisions == {"api:deploy": 1, "migrate:deploy": 1}
    api = cluster.get("deployment", "shop-api", namespace=namespace)
    assert api["status"]["availableReplicas"] == 3
    assert api["metadata"]["annotations"]["level"] == "error"
    cluster.wait("condition=Complete", "job/migrate", namespace=namespace)
    with pytest.raises(Refused, match="NotFound"):
        cluster.get("namespace", namespace.replace("prod", "staging"))


@pytest.mark.parametrize("old", ["halfway"], indirect=True)
def test_a_project_in_the_new_layout_with_old_fields_runs_as_it_is(
    old: OldProject, namespace: str, tmp_path: Path
) -> None:
    cluster, namespace, home = old.cluster, f"{namespace}-halfway", old.at_home(tmp_path / "home")
    for _ in range(2):
        done = old.sbkube("run", **home)
        assert done.code == 0, done.everything
        assert old.revisions == {"cache:deploy": 1, "objects:deploy": 1}
    settings = cluster.get("configmap", "settings", namespace=namespace)
    assert settings["data"] == {"level": "error"}
    assert settings["metadata"]["labels"]["owner"] == "platform"
    cache = cluster.get("deployment", "cache", namespace=namespace)
    assert cache["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"] == {"memory": "64Mi"}


def test_what_kubectl_applied_is_taken_over_without_a_restart_and_follows_its_file_from_then_on(
    project: Project, cluster: Cluster, namespace: str
) -> None:
    web, settings = objects.deployment("web", replicas=2), objects.config_map("settings", a="1", b="2")
    cluster.apply(web, settings, namespace=namespace)
    cluster.wait("condition=Available", "deployment/web", namespace=namespace)

    def uids() -> set[str]:
        found = [
            *cluster.find("pods", namespace=namespace),
            *cluster.find("deployments", namespace=namespace),
        ]
        return {one["metadata"]["uid"] for one in found}

    before = uids()
    files = {"web.yaml": json.dumps(web), "settings.yaml": json.dumps(settings)}
    app = "web: {type: yaml, files: [web.yaml, settings.yaml]}"
    project.write({**files, "config.yaml": f"namespace: {namespace}\napps:\n  {app}\n"})
    project.run()
    assert uids() == before
    del settings["data"]["b"]
    project.write({"settings.yaml": json.dumps(settings)})
    project.run("--resume")
    assert cluster.get("configmap", "settings", namespace=namespace)["data"] == {"a": "1"}
    assert uids() == before
    project.write({"config.yaml": f"namespace: {namespace}\napps:\n  {app.replace(', settings.yaml', '')}\n"})
    project.run("--resume")
    with pytest.raises(Refused, match="NotFound"):
        cluster.get("configmap", "settings", namespace=namespace)
    assert uids() == before
