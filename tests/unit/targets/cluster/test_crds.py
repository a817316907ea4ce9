from __future__ import annotations

import random

import pytest
import yaml

from sbkube.targets.base import Deployment, DeployOptions, Manifests
from sbkube.targets.cluster.crds import crd_releases, kept
from sbkube.targets.cluster.objects import objects_of

HEAD = "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\n"


def crd(name: str, more: str = "") -> str:
    return f"{HEAD}metadata:\n  name: {name}\nspec:\n  group: x.example\n{more}"


@pytest.mark.parametrize(
    "metadata",
    [
        "metadata:\n  name: a\n",
        "metadata:\n    labels: {a: b}\n    name: a\n",
        "metadata:\n  name: a\n  annotations:\n    other: '1'\n",
        "metadata:\n  name: a\n  annotations: {other: '1'}\n",
        "metadata:\n  name: a\n  annotations: {}\n",
        "metadata:\n  name: a\n  annotations:\n",
        "metadata: {name: a}\n",
        'metadata: {"name": "a", "annotations": {"other": "1"}}\n',
        "metadata: # why\n  # a comment\n  name: a\n",
    ],
)
def test_the_annotation_is_added_and_nothing_else_changes(metadata: str) -> None:
    text = f"# before\n{HEAD}{metadata}spec:\n  maximum: 9223372036854775807\n  text: |+\n    kept\n\n"
    before, after = yaml.safe_load(text), yaml.safe_load(kept(text))
    annotations = after["metadata"].pop("annotations")
    assert annotations.pop("helm.sh/resource-policy") == "keep"
    assert annotations == (before["metadata"].pop("annotations", None) or {})
    assert after == before
    assert kept(text).endswith("  maximum: 9223372036854775807\n  text: |+\n    kept\n\n")


def test_one_that_says_how_it_is_kept_stays_as_it_is() -> None:
    text = f"{HEAD}metadata:\n  name: a\n  annotations:\n    helm.sh/resource-policy: keep\n"
    assert kept(text) == text


def test_they_go_into_a_release_beside_that_of_the_app_in_order_of_their_names() -> None:
    app = Deployment("web", "web", "shop", Manifests(crds=f"---\n{crd('b')}---\n{crd('a')}"))
    (release,) = crd_releases(app)
    assert (release.release, release.namespace, release.chart) == ("web-crds", "shop", None)
    assert [found.id.name for found in objects_of(release.manifests.manifests)] == ["a", "b"]
    assert release.options.adopt


def test_an_app_without_any_has_no_such_release() -> None:
    assert crd_releases(Deployment("web", "web", "shop", Manifests())) == []


def test_what_does_not_fit_into_one_release_goes_into_several() -> None:
    noise = random.Random(1)
    texts = [crd(f"crd{n}", f"  noise: {noise.randbytes(100_000).hex()}\n") for n in range(4)]
    releases = crd_releases(
        Deployment(
            "web", "web", "shop", Manifests(crds="---\n".join(texts)), options=DeployOptions(timeout=7)
        )
    )
    assert [one.release for one in releases] == ["web-crds", "web-crds-2"]
    names = [found.id.name for one in releases for found in objects_of(one.manifests.manifests)]
    assert names == ["crd0", "crd1", "crd2", "crd3"]
    assert {one.options.timeout for one in releases} == {7}
