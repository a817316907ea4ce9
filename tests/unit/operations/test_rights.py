"""What a project needs to be allowed, and how it is told what it is not."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from sbkube.helm.releases import Cluster
from sbkube.operations.rights import Resource, Right, may, needs_of, resources_in, rights
from sbkube.targets.base import Deployment, DeployOptions, Manifests
from sbkube.targets.cluster.kubectl import Kubectl

pytestmark = pytest.mark.anyio

TABLE = """\
configmaps     cm       v1                     true    ConfigMap
secrets                 v1                     true    Secret
clusterroles            rbac.authorization.k8s.io/v1   false   ClusterRole
deployments    deploy   apps/v1                true    Deployment
"""
DEPLOYMENTS = Resource("apps", "deployments")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def manifest(version: str, kind: str, **metadata: str) -> str:
    return (
        f"---\n{json.dumps({'apiVersion': version, 'kind': kind, 'metadata': {'name': 'a', **metadata}})}\n"
    )


def deployment(*texts: str, app: str = "web", namespace: str = "shop", **options: bool) -> Deployment:
    return Deployment(
        app, app, namespace, Manifests(manifests="".join(texts)), options=DeployOptions(**options)
    )


def test_a_resource_is_read_with_and_without_short_names() -> None:
    assert resources_in(TABLE) == {
        ("v1", "ConfigMap"): Resource("", "configmaps"),
        ("v1", "Secret"): Resource("", "secrets"),
        ("rbac.authorization.k8s.io/v1", "ClusterRole"): Resource(
            "rbac.authorization.k8s.io", "clusterroles", False
        ),
        ("apps/v1", "Deployment"): DEPLOYMENTS,
    }


def test_each_kind_is_needed_where_its_objects_go() -> None:
    needs = needs_of(
        [
            deployment(
                manifest("apps/v1", "Deployment"),
                manifest("v1", "ConfigMap", namespace="other"),
                manifest("rbac.authorization.k8s.io/v1", "ClusterRole"),
            )
        ],
        resources_in(TABLE),
    )
    places = {(right.resource.name, right.namespace) for right in needs.rights}
    assert places == {
        ("secrets", "shop"),
        ("deployments", "shop"),
        ("configmaps", "other"),
        ("clusterroles", ""),
    }
    assert Right("delete", DEPLOYMENTS, "shop") in needs.rights
    assert len(set(needs.rights)) == len(needs.rights)


def test_a_lock_needs_its_lease() -> None:
    places = {(r.resource.name, r.namespace) for r in needs_of([deployment()], {}, "ci").rights}
    assert ("leases", "ci") in places
    assert not any(r.resource.name == "leases" for r in needs_of([deployment()], {}).rights)


def test_who_creates_namespaces_needs_to() -> None:
    (asked,) = (
        r
        for r in needs_of([deployment(create_namespace=True)], {}).rights
        if r.verb == "create" and not r.namespace
    )
    assert str(asked.resource) == "namespaces"
    assert not any(r.resource.name == "namespaces" for r in needs_of([deployment()], {}).rights)


def test_a_kind_that_nobody_knows_is_told_unless_the_project_brings_it() -> None:
    definition = (
        "---\napiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: ws.x.io}\n"
        "spec: {group: x.io, names: {kind: Widget}}\n"
    )
    served = {
        ("apiextensions.k8s.io/v1", "CustomResourceDefinition"): Resource(
            "apiextensions.k8s.io", "crds", False
        )
    }
    widget = manifest("x.io/v1", "Widget")
    assert needs_of([deployment(widget)], served).unknown == {"Widget (x.io/v1)": "web"}
    assert needs_of([deployment(widget), deployment(definition, app="crds")], served).unknown == {}


PROGRAM = """#!{python}
import json, sys
if "api-resources" in sys.argv:
    print({table!r})
else:
    for review in json.load(sys.stdin)["items"]:
        asked = review["spec"]["resourceAttributes"]
        allowed = (asked["verb"], asked["resource"]) in {allowed!r} or {everything}
        print(json.dumps({{**review, "status": {{"allowed": allowed}}}}, indent=1))
"""


def kubectl(folder: Path, allowed: set[tuple[str, str]], *, everything: bool = False) -> Kubectl:
    program = folder / "kubectl"
    text = PROGRAM.format(python=sys.executable, table=TABLE, allowed=allowed, everything=everything)
    program.write_text(text)
    program.chmod(0o755)
    return Kubectl(str(program), Cluster(), {"PATH": "/usr/bin:/bin"})


SECRETS = {(verb, "secrets") for verb in ("get", "list", "create", "update", "delete")}
CONFIGMAPS = {(verb, "configmaps") for verb in ("get", "list", "watch", "create", "patch", "delete")}
LOOKS = {("list", kind) for kind in ("pods", "events", "jobs")}


async def test_answers_stand_in_the_order_of_the_questions(tmp_path: Path) -> None:
    asked = [Right(verb, DEPLOYMENTS, f"n{n}") for n in range(70) for verb in ("get", "create")]
    answers = await may(kubectl(tmp_path, {("get", "deployments")}), asked)
    assert answers == [right.verb == "get" for right in asked]


async def test_what_is_missing_is_told_with_the_command_that_grants_it(tmp_path: Path) -> None:
    allowed = SECRETS | LOOKS | CONFIGMAPS - {("create", "configmaps"), ("patch", "configmaps")}
    (found,) = await rights(kubectl(tmp_path, allowed), [deployment(manifest("v1", "ConfigMap"))])
    assert (found.verdict, found.told) == ("problem", "may not, in namespace shop: create, patch configmaps")
    assert found.fix is not None
    assert "kubectl create role sbkube -n shop --verb=create,patch --resource=configmaps" in found.fix


async def test_what_only_explains_is_a_warning(tmp_path: Path) -> None:
    found = await rights(kubectl(tmp_path, SECRETS | CONFIGMAPS), [deployment(manifest("v1", "ConfigMap"))])
    assert [one.verdict for one in found] == ["warning", "ok"]
    assert "pods in shop; events in shop; jobs.batch in shop" in found[0].told


async def test_an_administrator_is_asked_one_question(tmp_path: Path) -> None:
    admin = kubectl(tmp_path, set(), everything=True)
    (found,) = await rights(admin, [deployment(manifest("v1", "ConfigMap"))])
    assert (found.verdict, found.told) == ("ok", "everything is allowed, in shop as elsewhere")
