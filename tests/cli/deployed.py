"""A project whose apps are deployed to a fake cluster, by a program: a command has no Helm that is a fake."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import anyio

from sbkube import api
from sbkube.api import Asked, Request
from sbkube.helm.fake import FakeHelm
from sbkube.helm.fake_cluster import FakeCluster

from .project import ProjectFolder

KUBECONFIG: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Config",
    "current-context": "fake",
    "contexts": [{"name": "fake", "context": {"cluster": "fake", "user": "fake"}}],
    "clusters": [{"name": "fake", "cluster": {"server": "https://127.0.0.1:1"}}],
    "users": [{"name": "fake", "user": {}}],
}
APPS = """\
web: {type: yaml, manifests: [a.yaml]}
db: {type: yaml, manifests: [b.yaml]}
"""
CONFIG_MAP = "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {}}}\n"


@dataclass
class Deployed:
    """The apps in a fake cluster, as a program deploys them."""

    folder: ProjectFolder
    helm: FakeHelm = field(default_factory=FakeHelm)
    profile: str | None = None

    def __post_init__(self) -> None:
        self.folder.config(APPS, target="target: cluster\n")
        manifests = {"a.yaml": CONFIG_MAP.format("a"), "b.yaml": CONFIG_MAP.format("b")}
        self.folder.write({"kubeconfig": json.dumps(KUBECONFIG), "config-prod.yaml": "{}", **manifests})
        self.make_namespace("shop")

    @property
    def cluster(self) -> FakeCluster:
        return self.helm.cluster("fake")

    def run(self, *apps: str, resume: bool = False) -> bool:
        """Whether the run is complete."""
        request = Request(Asked(resume=resume, apps=apps), helm=self.helm)
        outcome = self._call(partial(api.run, request=request))
        outcome.state.raise_for_failures()
        return bool(outcome.state.is_complete)

    def change(self, operation: Callable[..., Any], *apps: str, **options: Any) -> None:
        request = Request(Asked(apps=apps), helm=self.helm)
        done = self._call(partial(operation, request=request, **options))
        assert done.is_complete

    def make_namespace(self, name: str) -> None:
        self.cluster.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})

    def _call(self, operation: Callable[..., Any]) -> Any:
        environ = {"PATH": os.environ["PATH"], "KUBECONFIG": str(self.folder.root / "kubeconfig")}
        project = api.load(self.folder.root, profile=self.profile, environ=environ)
        return anyio.run(partial(operation, project, environ=environ))
