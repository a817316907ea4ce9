"""`type: git`: files of a repository, which other apps read."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import field_validator

from sbkube.apps.base import App, Stage
from sbkube.apps.checks import Refusal, failures
from sbkube.apps.fields import NotEmpty
from sbkube.apps.fields import Path as FieldPath
from sbkube.apps.repositories import commit_of, entry, git_asks, remote_of, shown
from sbkube.apps.work import Asking, Json, Place, Reading, Work
from sbkube.errors import SbkubeError
from sbkube.fetch.git_errors import PathNotFound, RefNotFound
from sbkube.fetch.git_remote import Wanted, without_credentials
from sbkube.fetch.lockfile import Pin


class GitApp(App):
    """`repo` is a URL or a name in `git_repos`; `ref` wins over `branch`; no branch is that of the repository.

    `path` narrows what is taken, and moves nothing: files lie where they are in the repository.
    """

    stages: ClassVar[tuple[Stage, ...]] = ("prepare",)

    type: Literal["git"]
    repo: NotEmpty
    path: str | None = None
    branch: str | None = None
    ref: str | None = None

    @field_validator("path")
    @classmethod
    def _is_inside(cls, path: str | None) -> str | None:
        if path is None:
            return None
        inside = posixpath.normpath(path)
        if inside.startswith(("/", "..")):
            raise ValueError(f"must be a path inside the repository, not {path!r}")
        return None if inside == "." else inside

    def reads(self, stage: Stage, place: Place) -> Reading:
        """What was asked for: which commit that is, the next run asks anew, and a resumed one does not."""
        wanted = self._wanted(place)
        asked = {"ref": wanted.ref} if wanted.ref is not None else {"branch": wanted.branch}
        url = shown(self.repo, place)
        return Reading(
            {"repo": url, **asked, "path": self.path},
            fetches=f"{wanted} of {url}",
            asks=git_asks(self.repo, wanted, place),
        )

    async def resolve(self, asking: Asking) -> Pin:
        try:
            remote, commit = await commit_of(self.repo, self._wanted(asking.place), asking, follows=False)
        except SbkubeError as error:
            error.set_place(asking.place.where(*self._said_by(error)))
            raise
        return Pin(remote.url, commit=commit)

    async def perform(self, stage: Stage, work: Work) -> Json:
        place, wanted = work.place, self._wanted(work.place)
        try:
            remote, commit = await commit_of(self.repo, wanted, work.asking, follows=True)
            await work.log(f"{wanted} of {remote.url} is commit {commit}")
            work.context.metadata.update({"url": remote.url, "commit": commit, "asked": str(wanted)})
            taken = await work.fetch.git.take(remote, commit, work.out, path=self.path, log=work.log)
        except SbkubeError as error:
            error.set_place(place.where(*self._said_by(error)))
            raise
        for line in taken.told:
            await work.log(line)
        return None

    def check(self, place: Place) -> Iterator[Refusal]:
        for error in failures([partial(remote_of, self.repo, place, None)]):
            error.set_place(place.where("repo"))
            yield "prepare", error

    def unpinned(self, folder: Path) -> Iterator[tuple[FieldPath, str]]:
        wanted = Wanted(self.ref, self.branch)
        if not wanted.is_pinned:
            field = "ref" if self.ref else "branch" if self.branch else "repo"
            yield (field,), self.ref or self.branch or without_credentials(self.repo)

    def _wanted(self, place: Place) -> Wanted:
        found = entry(self.repo, place)
        return Wanted(self.ref, self.branch or (found[1].branch if found else None))

    def _said_by(self, error: SbkubeError) -> FieldPath:
        """The field that is wrong."""
        if isinstance(error, PathNotFound):
            return ("path",)
        if isinstance(error, RefNotFound) and (self.ref or self.branch):
            return ("ref",) if self.ref else ("branch",)
        return ("repo",)
