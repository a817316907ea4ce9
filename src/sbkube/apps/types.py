"""Every `type:` an app may have, and the model of its fields."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field

from sbkube.apps.action import ActionApp
from sbkube.apps.base import App
from sbkube.apps.exec import ExecApp
from sbkube.apps.git import GitApp
from sbkube.apps.helm import HelmApp
from sbkube.apps.hook import HookApp
from sbkube.apps.http import HttpApp
from sbkube.apps.kustomize import KustomizeApp
from sbkube.apps.noop import NoopApp
from sbkube.apps.yaml import YamlApp

APP_TYPES: Mapping[str, type[App]] = {
    "helm": HelmApp,
    "yaml": YamlApp,
    "kustomize": KustomizeApp,
    "git": GitApp,
    "http": HttpApp,
    "action": ActionApp,
    "exec": ExecApp,
    "noop": NoopApp,
    "hook": HookApp,
}

AnyApp = Annotated[
    HelmApp | YamlApp | KustomizeApp | GitApp | HttpApp | ActionApp | ExecApp | NoopApp | HookApp,
    Field(discriminator="type"),
]

# What the types of 0.1 and 0.2 became.
FORMER_TYPES: Mapping[str, str] = {
    "install-helm": "helm",
    "pull-helm": "helm",
    "pull-helm-oci": "helm",
    "install-yaml": "yaml",
    "install-kubectl": "yaml",
    "copy-app": "yaml",
    "install-kustomize": "kustomize",
    "pull-git": "git",
    "copy-repo": "git",
    "pull-http": "http",
    "install-action": "action",
}
