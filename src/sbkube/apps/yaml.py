"""`type: yaml`: manifests as they are."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field

from sbkube.apps.base import App, Stage
from sbkube.apps.fields import NotEmpty, one_or_many


class YamlApp(App):
    stages: ClassVar[tuple[Stage, ...]] = ("template", "deploy")
    older: ClassVar = {"files": "manifests", "path": "manifests"}

    type: Literal["yaml"]
    manifests: Annotated[tuple[NotEmpty, ...], BeforeValidator(one_or_many), Field(min_length=1)]
