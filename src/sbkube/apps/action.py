"""`type: action`: objects applied and deleted in the order written."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from sbkube.apps.base import App, Stage
from sbkube.apps.fields import Model, NotEmpty


class Action(Model):
    """`path` is a file or a URL."""

    type: Literal["apply", "create", "delete"] = "apply"
    path: NotEmpty
    namespace: str | None = None


class ActionApp(App):
    stages: ClassVar[tuple[Stage, ...]] = ("deploy",)

    type: Literal["action"]
    actions: Annotated[tuple[Action, ...], Field(min_length=1)]
