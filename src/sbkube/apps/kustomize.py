"""`type: kustomize`: a folder with a kustomization."""

from __future__ import annotations

from typing import ClassVar, Literal

from sbkube.apps.base import App, Stage
from sbkube.apps.fields import NotEmpty


class KustomizeApp(App):
    stages: ClassVar[tuple[Stage, ...]] = ("template", "deploy")

    type: Literal["kustomize"]
    path: NotEmpty
