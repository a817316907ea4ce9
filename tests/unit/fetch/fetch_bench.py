"""Repositories taken into folders of their own, as the stages of a run take them."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from sbkube.fetch.cache import Cache
from sbkube.fetch.git import GitClones
from sbkube.fetch.git_remote import GitRemote, Wanted
from sbkube.fetch.git_tree import Taken


class Bench:
    """Clones in a folder of their own; what was logged, and into which folder files were taken last."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cache = folder / "cache/git"
        self.env = {"PATH": os.environ["PATH"], "HOME": str(folder)}
        self.log: list[str] = []
        self.clones = self.anew()
        self._count = 0

    def anew(self, *, is_offline: bool = False) -> GitClones:
        """As another run has them."""
        self.clones = GitClones(Cache(self.cache.parent), self.env, is_offline=is_offline)
        return self.clones

    def remote(self, text: str) -> GitRemote:
        return GitRemote.of(text, self.folder)

    async def take(
        self,
        remote: GitRemote | str,
        ref: str | None = None,
        *,
        branch: str | None = None,
        path: str | None = None,
    ) -> tuple[Path, Taken]:
        found = self.remote(remote) if isinstance(remote, str) else remote
        commit = await self.clones.commit_of(found, Wanted(ref, branch))
        self._count += 1
        into = self.folder / f"taken-{self._count}"
        return into, await self.clones.take(found, commit, into, path=path, log=self._say)

    async def _say(self, line: str) -> None:
        self.log.append(line)


def names(folder: Path) -> list[str]:
    """Of what is there and no folder."""
    found = (path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir())
    return sorted(path.relative_to(folder).as_posix() for path in found)


def program(name: str) -> str:
    found = shutil.which(name)
    assert found is not None
    return found
