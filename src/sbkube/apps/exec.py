"""`type: exec`: commands, run in the folder of the config."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from sbkube.apps.base import App, Stage
from sbkube.apps.fields import NotEmpty, Secret

Command = NotEmpty | Annotated[tuple[str, ...], Field(min_length=1)]


class ExecApp(App):
    """A command is text for `sh -c`, or a list of arguments that no shell sees."""

    stages: ClassVar[tuple[Stage, ...]] = ("deploy",)

    type: Literal["exec"]
    commands: Annotated[tuple[Command, ...], Field(min_length=1)]
    env: dict[str, Secret] = {}
