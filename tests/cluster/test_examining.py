"""What `doctor` finds in a cluster, and what `plan` says of its releases."""

from __future__ import annotations

import base64
import gzip
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from .client import Cluster
from .control_plane import ControlPlane
from .objects import config_map, deployment
from .running import Project, release
from .test_looking import config_of, everything_in, text_of

pytestmark = pytest.mark.helms("helm-v4")


@pytest.fixture
def shop(project: Project, namespace: str) -> Project:
    app = {"type": "yaml", "manifests": ["web.yaml"]}
    project.write(
        {
            "config.yaml": config_of(namespace, web=app, other={**app, "manifests": ["other.yaml"]}),
            "web.yaml": text_of(config_map("settings", color="green")),
            "other.yaml": text_of(config_map("other", a="1")),
        }
    )
    return project


VERDICTS = ("ok", "warning", "problem")


def examined(project: Project, code: int = 0) -> dict[str, dict[str, Any]]:
    done = project.sbkube("doctor", "-o", "json")
    assert done.code == code, done.everything
    worst_last = sorted(json.loads(done.output), key=lambda one: VERDICTS.index(one["verdict"]))
    return {one["about"]: one for one in worst_last}


def make_pending(cluster: Cluster, namespace: str, name: str) -> None:
    """As a Helm that was killed while it upgraded leaves the newest revision."""
    found = release(cluster, name, namespace)
    found["info"]["status"] = "pending-upgrade"
    packed = base64.b64encode(gzip.compress(json.dumps(found).encode()))
    changed = {
        "metadata": {"labels": {"status": "pending-upgrade"}},
        "data": {"release": base64.b64encode(packed).decode()},
    }
    secret = f"secret/sh.helm.release.v1.{name}.v1"
    cluster.kubectl("patch", secret, "--namespace", namespace, "--patch", json.dumps(changed))


# doctor


def test_all_is_well_where_it_is_and_nothing_is_changed(shop: Project) -> None:
    found = examined(shop)
    assert not [one for one in found.values() if one["verdict"] == "problem"]
    assert "remembered from the first deploy on" in found["identity"]["told"]
    assert found["releases"]["told"] == "0 of 2 releases of the project are there"
    assert not (shop.folder / ".sbkube").exists()
    shop.run()
    before = everything_in(shop.folder)
    found = examined(shop)
    assert "the cluster of the runs before" in found["identity"]["told"]
    assert found["releases"]["told"].startswith("2 of 2 releases of the project are there, none failed")
    assert everything_in(shop.folder) == before


def test_what_a_user_may_not_do_is_told_with_what_grants_it(
    control_plane: ControlPlane, shop: Project, namespace: str
) -> None:
    admin = control_plane.admin
    asked = "--verb=get,list,watch,create,update,patch,delete", "--resource=secrets,pods,events,jobs.batch"
    admin.kubectl("create", "role", "some", *asked, "--namespace", namespace)
    admin.kubectl("create", "rolebinding", "some", "--role=some", "--user=deployer", "--namespace", namespace)
    as_deployer = replace(shop, cluster=control_plane.as_user("deployer"))
    found = examined(as_deployer, code=1)
    rights = found["rights"]
    assert rights["verdict"] == "problem"
    told = f"may not, in namespace {namespace}: get, list, watch, create, patch, delete configmaps"
    assert rights["told"] == told
    grant = rights["fix"].partition("`kubectl ")[2].partition("`")[0].split()
    admin.kubectl(*grant)
    admin.kubectl(
        "create", "rolebinding", "more", "--role=sbkube", "--user=deployer", "--namespace", namespace
    )
    assert examined(as_deployer)["rights"]["verdict"] == "ok"
    as_deployer.run()


def test_a_kind_that_the_server_does_not_know_is_a_problem(shop: Project) -> None:
    shop.write({"web.yaml": "apiVersion: nobody.example/v1\nkind: Widget\nmetadata: {name: one}\n"})
    rights = examined(shop, code=1)["rights"]
    assert "does not know the kind Widget (nobody.example/v1), of which app 'web'" in rights["told"]


def test_another_cluster_by_the_same_name_is_a_problem(shop: Project) -> None:
    shop.run()
    remembered = shop.folder / ".sbkube/cluster.json"
    remembered.write_text(json.dumps(dict.fromkeys(json.loads(remembered.read_text()), "another")))
    identity = examined(shop, code=1)["identity"]
    assert "leads to another cluster" in identity["told"]
    assert "--accept-target-change" in identity["fix"]


def test_a_release_that_somebody_else_left_pending_is_a_problem_and_our_own_is_mended(
    shop: Project, cluster: Cluster, namespace: str
) -> None:
    shop.run()
    make_pending(cluster, namespace, "web")
    found = examined(shop)["releases"]
    assert (found["verdict"], found["fix"]) == ("warning", "the next run of it mends that")
    cluster.kubectl(
        "label",
        "secret/sh.helm.release.v1.web.v1",
        "sbkube.dev/owner=them",
        "--overwrite",
        "--namespace",
        namespace,
    )
    found = examined(shop, code=1)["releases"]
    assert found["verdict"] == "problem"
    assert f"`helm rollback web 1 -n {namespace} --no-hooks`" in found["fix"]


# plan


def planned(project: Project) -> dict[str, Any]:
    done = project.sbkube("plan", "-o", "json")
    assert done.code == 0, done.everything
    live = json.loads(done.output)["live"]
    return {one["app"]: (one["revision"], one["status"], one["would"]) for one in live["releases"]}


def test_a_plan_says_what_is_deployed_and_what_a_run_would_do_with_it(
    shop: Project, cluster: Cluster, namespace: str
) -> None:
    assert planned(shop) == {"web": (None, None, "install"), "other": (None, None, "install")}
    assert not (shop.folder / ".sbkube").exists()
    shop.run()
    assert planned(shop)["web"] == (1, "deployed", "unchanged")
    shop.write({"web.yaml": text_of(config_map("settings", color="blue"))})
    found = planned(shop)
    assert found["web"] == (1, "deployed", None), "it is not rendered yet"
    assert found["other"] == (1, "deployed", "unchanged")
    assert shop.sbkube("template").code == 0
    assert planned(shop)["web"] == (1, "deployed", "upgrade")
    text = shop.sbkube("plan", "--app", "web").output
    assert f"release {namespace}/web revision 1 is deployed, would be upgraded" in text
    cluster.kubectl("delete", "secret", "-l", "owner=helm,name=other", "--namespace", namespace)
    assert planned(shop)["other"] == (None, None, "install")


def test_a_plan_without_its_cluster_says_so_in_one_line(shop: Project, tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere"
    text = shop.cluster.kubectl("config", "view", "--raw", "--flatten", "-o", "json")
    config = json.loads(text)
    for one in config["clusters"]:
        one["cluster"]["server"] = "https://127.0.0.1:1"
    nowhere.write_text(json.dumps(config))
    done = shop.sbkube("plan", KUBECONFIG=str(nowhere))
    assert done.code == 0
    assert "web:deploy" in done.output
    assert done.said.count("what the cluster has is not known: ") == 1
    assert len(done.said.splitlines()) == 2, "that, and the sum"


def test_deployments_are_planned_beside_what_others_scale(
    shop: Project, cluster: Cluster, namespace: str
) -> None:
    """Drift is none of a plan's: a deploy leaves it alone."""
    shop.write({"web.yaml": text_of(deployment("web"))})
    shop.run()
    cluster.kubectl("scale", "deployment/web", "--replicas=2", "--namespace", namespace)
    assert planned(shop)["web"] == (1, "deployed", "unchanged")
