"""App names that are longer than a release's may be."""

from __future__ import annotations

from sbkube import api

from .deployed import CONFIG_MAP, Deployed
from .project import ProjectFolder

LONG = "the-app-with-the-longest-name-that-a-namespace-would-have-taken"
CRD = """\
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.acme.io}
"""


def test_manifests_are_deployed_under_a_shorter_name_that_stays(project: ProjectFolder) -> None:
    deployed = Deployed(project)
    project.config(f"{LONG}: {{type: yaml, manifests: [a.yaml]}}\n", target="target: cluster\n")
    project.write({"a.yaml": CONFIG_MAP.format("a") + CRD})
    assert project("validate", env={"KUBECONFIG": str(project.root / "kubeconfig")}).code == 0
    assert deployed.run()
    release, crds = sorted(name for _, name in deployed.cluster.releases)[::-1]
    assert release.startswith("the-app-with-the-longest-name-that-a-namespa-")
    assert crds.endswith("-crds")
    assert project.view["steps"][f"{LONG}:deploy"]["output"]["release"] == release
    deployed.cluster.calls.clear()
    assert deployed.run()
    assert deployed.cluster.calls == [], "nothing changed"
    deployed.change(api.delete)
    assert deployed.cluster.releases == {}


def test_of_a_chart_the_name_is_refused_with_the_field_that_gives_it_another(project: ProjectFolder) -> None:
    project.config(f"{LONG}: {{type: helm, chart: ./chart}}\n")
    project.write({"chart/Chart.yaml": "{apiVersion: v2, name: chart, version: 1.0.0}"})
    ended = project("validate")
    assert ended.code == 2
    assert f"the app name '{LONG}' is 63 characters long, and Helm takes 53 for a release" in ended.err
    assert "`release_name`" in ended.err
