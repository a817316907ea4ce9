"""`type: http`: a download that other apps read."""

from __future__ import annotations

import posixpath
from typing import ClassVar, Literal

from pydantic import field_validator

from sbkube.apps.base import App, Stage
from sbkube.apps.fields import NotEmpty, Secret


class HttpApp(App):
    stages: ClassVar[tuple[Stage, ...]] = ("prepare",)

    type: Literal["http"]
    url: NotEmpty
    dest: NotEmpty
    headers: dict[str, Secret] = {}

    @field_validator("dest")
    @classmethod
    def _is_inside(cls, dest: str) -> str:
        inside = posixpath.normpath(dest)
        if inside.startswith(("/", "..")) or inside == ".":
            raise ValueError(f"must be the path of a file in the folder of the project, not {dest!r}")
        return inside

    @field_validator("url")
    @classmethod
    def _is_http(cls, url: str) -> str:
        if not url.startswith(("http://", "https://")):
            raise ValueError(f"must start with http:// or https://, not be {url!r}")
        return url
