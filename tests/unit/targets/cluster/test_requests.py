"""What an app says of its release is what Helm is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sbkube.apps.helm import HelmApp
from sbkube.apps.kustomize import KustomizeApp
from sbkube.apps.released import ReleasedApp
from sbkube.apps.yaml import YamlApp
from sbkube.helm.releases import DeployRequest
from sbkube.targets.base import Deployment, DeployOptions, Manifests
from sbkube.targets.cluster.decide import Wanted
from sbkube.targets.cluster.target import request_of

APPS: Mapping[type[ReleasedApp], Mapping[str, Any]] = {
    HelmApp: {"type": "helm", "chart": "./web"},
    YamlApp: {"type": "yaml", "manifests": ["a.yaml"]},
    KustomizeApp: {"type": "kustomize", "path": "k"},
}


def options(kind: type[ReleasedApp], **fields: Any) -> DeployOptions:
    app = kind.model_validate({**APPS[kind], **fields})
    return app.deploy_options(app.crd_policy) if isinstance(app, HelmApp) else app.deploy_options()


def request(options: DeployOptions) -> DeployRequest:
    deployment = Deployment("web", "web-1", "shop", Manifests(), options=options, run="7", values={"a": 1})
    return request_of(deployment, Path("chart"), Wanted("d", "7", "me"), 3)


@pytest.mark.parametrize("kind", APPS)
@pytest.mark.parametrize(
    ("fields", "asked"),
    [
        ({}, {}),
        ({"wait": False}, {"wait": "none"}),
        ({"wait_for_jobs": True}, {"wait_for_jobs": True}),
        ({"wait": False, "wait_for_jobs": True}, {"wait": "none"}),
        ({"timeout": "90s"}, {"timeout": 90.0, "time_limit": 150.0}),
        ({"atomic": True}, {"atomic": True, "time_limit": 660.0}),
        ({"force_conflicts": True}, {"force_conflicts": True}),
        ({"max_history": 3}, {"max_history": 3}),
    ],
)
def test_each_field_of_an_app_is_asked_of_helm(
    kind: type[ReleasedApp], fields: dict[str, Any], asked: dict[str, Any]
) -> None:
    assert request(options(kind, **fields)) == replace(request(options(kind)), **asked)


@pytest.mark.parametrize(("atomic", "limit"), [(False, 3 * 300 + 60), (True, 6 * 300 + 60)])
def test_helm_is_given_the_time_that_it_takes_to_wait_for_each_hook_and_to_go_back(
    atomic: bool, limit: float
) -> None:
    hook = "---\napiVersion: batch/v1\nkind: Job\nmetadata: {{name: {}}}\n"
    rendered = Manifests(hooks=hook.format("before") + hook.format("behind"))
    deployment = Deployment("web", "web", "shop", rendered, options=DeployOptions(atomic=atomic))
    assert request_of(deployment, Path("chart"), Wanted("d", "7", "me"), 1).time_limit == limit


def test_a_request_says_which_run_made_it_and_from_what() -> None:
    asked = request(DeployOptions())
    assert (asked.name, asked.namespace, asked.values) == ("web-1", "shop", {"a": 1})
    assert asked.description == "sbkube run 7"
    assert asked.labels["sbkube.dev/rev"] == "3"


@pytest.mark.parametrize(
    ("fields", "skipped"),
    [({}, False), ({"crds": "upgrade"}, True), ({"crds": "skip"}, True), ({"skip_crds": True}, True)],
)
def test_helm_installs_definitions_only_where_nobody_else_does(fields: dict[str, Any], skipped: bool) -> None:
    assert request(options(HelmApp, **fields)).skip_crds is skipped


def test_whose_objects_are_taken_over_is_said_by_the_app_and_goes_without_saying_for_manifests() -> None:
    assert [options(kind).adopt for kind in APPS] == [False, True, True]
    assert options(HelmApp, force_adopt=True).adopt
    assert not options(YamlApp, adopt=False).adopt


def test_namespaces_of_charts_are_created_unless_said_otherwise() -> None:
    assert [options(kind).create_namespace for kind in APPS] == [True, False, False]
    assert not options(HelmApp, create_namespace=False).create_namespace
    assert options(YamlApp, create_namespace=True).create_namespace
