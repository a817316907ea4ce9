"""Objects as the tests need them, no more in them than that."""

from __future__ import annotations

from typing import Any

from .client import Object


def pods(app: str, annotations: dict[str, str] | None = None, **spec: Any) -> Object:
    """A pod template; see `stages` for the annotations."""
    containers = [{"name": "main", "image": "registry.k8s.io/pause:3.10"}]
    metadata = {"labels": {"app": app}, "annotations": annotations or {}}
    return {"metadata": metadata, "spec": {"containers": containers, **spec}}


def deployment(name: str, *, replicas: int = 1, annotations: dict[str, str] | None = None) -> Object:
    selector = {"matchLabels": {"app": name}}
    spec = {"replicas": replicas, "selector": selector, "template": pods(name, annotations)}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec}


def job(name: str, *, annotations: dict[str, str] | None = None) -> Object:
    spec = {"backoffLimit": 0, "template": pods(name, annotations, restartPolicy="Never")}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "spec": spec}


def config_map(name: str, **data: str) -> Object:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def definition(group: str, plural: str, kind: str) -> Object:
    """A CustomResourceDefinition that takes anything."""
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    names = {"plural": plural, "singular": kind.lower(), "kind": kind}
    version = {"name": "v1", "served": True, "storage": True, "schema": schema}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {"group": group, "scope": "Namespaced", "names": names, "versions": [version]},
    }
