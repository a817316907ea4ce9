"""The helm program and releases, as far as no cluster is needed: how it is called, and what comes of what it prints."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from sbkube.helm.base import HelmError, HelmMissing
from sbkube.helm.binary_releases import BinaryReleases
from sbkube.helm.flags import Flavour, deploy_flags, flavour_of, rollback_flags, uninstall_flags
from sbkube.helm.releases import (
    Cluster,
    DeployRequest,
    Forbidden,
    Release,
    ReleaseStatus,
    RollbackRequest,
    UninstallRequest,
)

pytestmark = pytest.mark.anyio

HELM_3, HELM_4 = Flavour(3, 22), Flavour(4, 2)
REQUEST = DeployRequest(Path("/charts/web"), "web", "shop", {"password": "s3cret"}, wait="none")
CLUSTER = Cluster("/kube/config", "prod")
Programs = Callable[..., BinaryReleases]


@pytest.fixture
def programs(tmp_path: Path) -> Programs:
    """A `helm` and, where it is given, a `kubectl`."""

    def make(helm: str, kubectl: str | None = None, **environ: str) -> BinaryReleases:
        for name, script in (("helm", helm), ("kubectl", kubectl)):
            if script is not None:
                (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
                (tmp_path / name).chmod(0o755)
        path = f"{tmp_path}:{os.environ['PATH']}" if kubectl is not None else ""
        return BinaryReleases(
            str(tmp_path / "helm"), CLUSTER, {"PATH": path, "OUT": str(tmp_path), **environ}
        )

    return make


@pytest.mark.parametrize(
    ("said", "flavour"), [("v4.2", (4, 2)), ("v3.17.0\n", (3, 17)), ("v3.22.0+g1", (3, 22))]
)
def test_a_version_tells_the_flavour(said: str, flavour: tuple[int, int]) -> None:
    assert flavour_of(said) == flavour


def test_what_is_no_version_is_quoted() -> None:
    with pytest.raises(HelmError, match="'dev' is no version of Helm"):
        flavour_of("dev\n")


@pytest.mark.parametrize(
    ("changes", "of_3", "of_4"),
    [
        ({"wait": "watcher"}, {"--wait"}, {"--wait=watcher"}),
        ({"wait": "legacy"}, {"--wait"}, {"--wait=legacy"}),
        ({"wait": "hooks"}, set(), {"--wait=hookOnly"}),
        ({"atomic": True}, {"--atomic"}, {"--rollback-on-failure"}),
        ({"server_side": False}, set(), {"--server-side=false"}),
        ({"force_conflicts": True}, set(), {"--force-conflicts", "--server-side=true"}),
        ({"force_conflicts": True, "server_side": False}, set(), {"--server-side=false"}),
        ({"take_ownership": True}, {"--take-ownership"}, {"--take-ownership"}),
        ({"labels": {"a": "1", "b/c": "2"}}, {"--labels=a=1,b/c=2"}, {"--labels=a=1,b/c=2"}),
        ({"timeout": 0.5}, {"--timeout=0.5s"}, {"--timeout=0.5s"}),
    ],
)
def test_one_thing_is_said_to_each_helm_in_its_own_flags(
    changes: dict[str, object], of_3: set[str], of_4: set[str]
) -> None:
    request = replace(REQUEST, **changes)  # type: ignore[arg-type]
    usual = {*deploy_flags(REQUEST, HELM_3, is_install=True)}
    assert {*deploy_flags(request, HELM_3, is_install=True)} - usual == of_3
    assert {*deploy_flags(request, HELM_4, is_install=True)} >= of_4
    assert ("--force-conflicts" in of_4) is (
        "--force-conflicts" in {*deploy_flags(request, HELM_4, is_install=True)}
    )


def test_an_upgrade_forgets_values_and_keeps_so_many_revisions() -> None:
    flags = {*deploy_flags(REQUEST, HELM_4, is_install=False)}
    assert {"--reset-values", "--history-max=10"} <= flags
    assert not {"--reset-values", "--history-max=10"} & {*deploy_flags(REQUEST, HELM_4, is_install=True)}


def test_an_old_helm_cannot_take_over_what_is_there() -> None:
    with pytest.raises(HelmMissing, match=r"Helm 3\.16 cannot take over objects") as caught:
        [*deploy_flags(replace(REQUEST, take_ownership=True), Flavour(3, 16), is_install=True)]
    assert caught.value.hint == "use Helm 3.17 or newer"


def test_unlocking_waits_for_nothing_and_runs_no_hooks() -> None:
    unlock = RollbackRequest("web", "shop", 3, wait="hooks", disable_hooks=True)
    assert {"--no-hooks", "--wait=hookOnly"} <= {*rollback_flags(unlock, HELM_4)}
    assert not any(flag.startswith("--wait") for flag in rollback_flags(unlock, HELM_3))


def test_an_uninstall_waits_for_the_end_of_its_objects() -> None:
    flags = {*uninstall_flags(UninstallRequest("web", "shop", keep_history=True), HELM_3)}
    assert flags == {"--timeout=300.0s", "--wait", "--keep-history"}


MADE = json.dumps(
    {
        "name": "web",
        "namespace": "shop",
        "version": 1,
        "info": {"status": "deployed", "last_deployed": "2026-11-24T11:42:56.012052771+02:00"},
        "chart": {"metadata": {"name": "web", "version": "1.0.0"}},
    }
)


async def test_a_deploy_says_which_cluster_and_gives_its_values_by_a_private_file(
    programs: Programs, tmp_path: Path
) -> None:
    script = f"""
    if [ "$2" = version ]; then echo v4.2; exit; fi
    for argument; do echo "$argument"; done >"$OUT/arguments"
    env >"$OUT/environment"
    for argument; do case $argument in --values=*) cp "${{argument#--values=}}" "$OUT/values";; esac; done
    echo '{MADE}'
    """
    elsewhere = {"HELM_KUBEAPISERVER": "https://other", "HELM_NAMESPACE": "other", "HELM_DRIVER": "configmap"}
    releases = programs(script, "", **elsewhere, KUBECONFIG="/other")
    made = await releases.install(replace(REQUEST, labels={"a": "b"}, environment={"A_KEY": "key"}))
    assert made == Release(
        "web", "shop", 1, ReleaseStatus.DEPLOYED, "web-1.0.0", "2026-11-24T11:42:56+02:00", {"a": "b"}
    )
    arguments = (tmp_path / "arguments").read_text().splitlines()
    assert arguments[:2] == ["--kube-context=prod", "install"]
    assert arguments[-4:] == ["--namespace=shop", "--", "web", "/charts/web"]
    assert "s3cret" not in " ".join(arguments)
    assert json.loads((tmp_path / "values").read_text()) == {"password": "s3cret"}
    environment = (tmp_path / "environment").read_text().splitlines()
    assert {"KUBECONFIG=/kube/config", "HELM_KUBECONTEXT=prod", "HELM_DRIVER=configmap", "A_KEY=key"} <= {
        *environment
    }
    assert not [line for line in environment if line.startswith(("HELM_KUBEAPI", "HELM_NAMESPACE"))]


LISTED = json.dumps(
    [
        {
            "name": name,
            "namespace": "shop",
            "revision": "2",
            "updated": "2026-11-24T11:42:56Z",
            "status": "deployed",
            "chart": "web-1.0.0",
            "app_version": "",
        }
        for name in ("web", "db")
    ]
)


async def test_labels_are_those_that_kubectl_sees_on_the_revision_that_is_listed(
    programs: Programs, tmp_path: Path
) -> None:
    kubectl = """
    for argument; do echo "$argument"; done >"$OUT/asked"
    echo 'Warning: something is old' >&2
    echo 'shop   sh.helm.release.v1.web.v1   helm.sh/release.v1   1   3d   a=old,name=web,owner=helm,status=superseded,version=1'
    echo 'shop   sh.helm.release.v1.web.v2   helm.sh/release.v1   1   3d   a=new,b/c=,modifiedAt=1,name=web,owner=helm,version=2'
    echo 'shop   something-else   Opaque   1   3d   owner=helm'
    """
    db, web = sorted(await programs(f"echo '{LISTED}'", kubectl).list(), key=lambda one: one.name)
    assert (web.revision, web.labels) == (2, {"a": "new", "b/c": ""})
    assert db.labels == {}
    asked = (tmp_path / "asked").read_text().splitlines()
    assert asked[:4] == ["--context=prod", "get", "secrets", "--all-namespaces"]
    assert "--show-labels" in asked


async def test_what_kubectl_may_not_list_is_forbidden(programs: Programs) -> None:
    kubectl = """
    echo 'Error from server (Forbidden): secrets is forbidden: User "me" cannot list resource "secrets"' >&2
    exit 1
    """
    with pytest.raises(Forbidden, match='User "me" cannot list'):
        await programs(f"echo '{LISTED}'", kubectl).list("shop")


async def test_without_kubectl_a_list_has_no_labels(programs: Programs) -> None:
    assert [one.labels for one in await programs(f"echo '{LISTED}'").list()] == [{}, {}]


@pytest.mark.parametrize("prefix", ["INSTALLATION FAILED: ", "UPGRADE FAILED: ", ""])
async def test_what_helm_says_is_told_without_what_it_says_before(prefix: str, programs: Programs) -> None:
    script = f"""
    if [ "$2" = version ]; then echo v3.22.0; exit; fi
    echo 'level=WARN msg="upgrade failed"' >&2
    echo 'Error: {prefix}it is broken' >&2; exit 1
    """
    with pytest.raises(HelmError) as caught:
        await programs(script).upgrade(REQUEST)
    assert str(caught.value) == "release 'web' in namespace 'shop': it is broken"
