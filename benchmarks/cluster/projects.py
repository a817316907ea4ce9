"""Many small releases as each of the compared tools wants them written: one chart, one file of values for each."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

LAYERS = 10


class Release(NamedTuple):
    name: str
    namespace: str
    needs: tuple[str, ...] = ()


def independent(count: int, namespaces: Sequence[str]) -> list[Release]:
    return [Release(f"app-{n:04}", namespaces[n % len(namespaces)]) for n in range(count)]


def layered(count: int, namespace: str) -> list[Release]:
    """As many in each of ten layers; each needs two of the layer before."""
    width = count // LAYERS
    names = [[f"app-{layer}-{n:03}" for n in range(width)] for layer in range(LAYERS)]
    first = [Release(name, namespace) for name in names[0]]
    return first + [
        Release(name, namespace, tuple(sorted({above[n], above[(n + 1) % width]})))
        for above, layer in pairwise(names)
        for n, name in enumerate(layer)
    ]


class Tool:
    """Deploys what was written into `folder`, waiting until everything is ready."""

    name: str

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, releases: Sequence[Release], *, value: str, ready_after: str = "") -> None:
        for path, text in CHART.items():
            _write(self.folder / "chart" / path, text)
        for release in releases:
            values = {"value": value, "readyAfter": ready_after}
            _write(self.folder / "values" / f"{release.name}.yaml", json.dumps(values))
        self.write_project(releases)

    def write_project(self, releases: Sequence[Release]) -> None:
        raise NotImplementedError

    def commands(self) -> list[list[str]]:
        """One after another."""
        raise NotImplementedError

    @property
    def environment(self) -> dict[str, str]:
        return dict(os.environ)


class Sbkube(Tool):
    def __init__(self, folder: Path, helm: str) -> None:
        super().__init__(folder)
        self.helm = helm
        self.name = "sbkube" if helm == "embedded" else f"sbkube --helm {Path(helm).parent.name}"

    def write_project(self, releases: Sequence[Release]) -> None:
        apps = {
            one.name: {
                "type": "helm",
                "chart": "./chart",
                "values": [f"values/{one.name}.yaml"],
                "namespace": one.namespace,
                "depends_on": list(one.needs),
            }
            for one in releases
        }
        _write(self.folder / "config.yaml", json.dumps({"target": "cluster", "apps": apps}, indent=1))

    def commands(self) -> list[list[str]]:
        return [self.command("run")]

    def command(self, name: str, *options: str) -> list[str]:
        return [str(Path(sys.executable).parent / "sbkube"), name, *options, "--helm", self.helm]


class Helmfile(Tool):
    """Its plugin helm-diff is found in HELM_PLUGINS, by the Helm that `helm` names."""

    name = "helmfile apply"

    def __init__(self, folder: Path, program: str, helm: str) -> None:
        super().__init__(folder)
        self.program, self.helm = program, helm

    def write_project(self, releases: Sequence[Release]) -> None:
        listed = [
            {
                "name": one.name,
                "namespace": one.namespace,
                "chart": "./chart",
                "values": [f"values/{one.name}.yaml"],
                "needs": [f"{one.namespace}/{need}" for need in one.needs],
            }
            for one in releases
        ]
        defaults = {"wait": True, "timeout": 300, "createNamespace": False}
        text = f"helmDefaults: {json.dumps(defaults)}\nreleases: {json.dumps(listed)}\n"
        _write(self.folder / "helmfile.yaml", text)

    def commands(self) -> list[list[str]]:
        return [[self.program, "--helm-binary", self.helm, "--quiet", "apply"]]


class HelmLoop(Tool):
    """What people write who have nothing else."""

    name = "helm in a loop"

    def __init__(self, folder: Path, helm: str) -> None:
        super().__init__(folder)
        self.helm = helm
        self._releases: Sequence[Release] = ()

    def write_project(self, releases: Sequence[Release]) -> None:
        self._releases = releases

    def commands(self) -> list[list[str]]:
        def where(one: Release) -> list[str]:
            return ["--namespace", one.namespace, "--values", f"values/{one.name}.yaml"]

        return [
            [self.helm, "upgrade", "--install", one.name, "./chart", *where(one), "--wait", "--timeout", "5m"]
            for one in self._releases
        ]


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


_METADATA = "metadata: {name: {{ .Release.Name }}, labels: {app: {{ .Release.Name }}}}\n"
CHART = {
    "Chart.yaml": "apiVersion: v2\nname: small\nversion: 1.0.0\n",
    "values.yaml": 'value: "1"\nreadyAfter: ""\n',
    "templates/config-map.yaml": f"apiVersion: v1\nkind: ConfigMap\n{_METADATA}data: {{value: {{{{ .Values.value | quote }}}}}}\n",
    "templates/service-account.yaml": f"apiVersion: v1\nkind: ServiceAccount\n{_METADATA}",
    "templates/service.yaml": f"""apiVersion: v1
kind: Service
{_METADATA}spec:
  selector: {{app: {{{{ .Release.Name }}}}}}
  ports: [{{port: 80}}]
""",
    "templates/deployment.yaml": f"""apiVersion: apps/v1
kind: Deployment
{_METADATA}spec:
  replicas: 1
  selector: {{matchLabels: {{app: {{{{ .Release.Name }}}}}}}}
  template:
    metadata:
      labels: {{app: {{{{ .Release.Name }}}}}}
      annotations:
        value: {{{{ .Values.value | quote }}}}
        {{{{- with .Values.readyAfter }}}}
        sbkube.test/after: {{{{ . | quote }}}}
        {{{{- end }}}}
    spec:
      serviceAccountName: {{{{ .Release.Name }}}}
      containers:
      - {{name: main, image: registry.k8s.io/pause:3.10, resources: {{requests: {{cpu: 10m}}}}}}
""",
}
