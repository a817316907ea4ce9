"""`type: git`: a clone whose files other apps read."""

from __future__ import annotations

from typing import ClassVar, Literal

from sbkube.apps.base import App, Stage
from sbkube.apps.fields import NotEmpty


class GitApp(App):
    """`repo` is a URL or a name in `git_repos`; `ref` wins over `branch`; no branch is that of the repository."""

    stages: ClassVar[tuple[Stage, ...]] = ("prepare",)

    type: Literal["git"]
    repo: NotEmpty
    path: str | None = None
    branch: str | None = None
    ref: str | None = None
