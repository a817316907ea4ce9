"""A folder of rendered manifests as a target: one folder per app, for GitOps and for trying without a cluster.

A reader must never find an app's folder missing, empty or mixed. So a new folder is written beside the old
one under a hidden name and the two change places at once. That alone is not enough: a reader that has the old folder
open would see it empty while it is being removed. So what was replaced stays for a moment, hidden.

Other projects may use the same folder at the same time: `owned.py` says whose an app is.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
from anyio import to_thread

from sbkube.errors import SbkubeError
from sbkube.targets.base import (
    Deployed,
    Deployment,
    Log,
    Manifests,
    NeedsCluster,
    ObjectAction,
    TargetUnwritable,
    UnsuitableTarget,
)
from sbkube.targets.folders import digest_at, is_folder, remove, write_folder
from sbkube.targets.hidden import HiddenFolders
from sbkube.targets.owned import OwnedApps, Owner
from sbkube.targets.swap import swap_folders
from sbkube.targets.trees import digest_files

Swap = Callable[[Path, Path, Path], None]

_STATE_FOLDER = ".sbkube"


class DirectoryTarget:
    """`path` is where it is, `written_as` how the user wrote it; `state_folder` is no place for it.

    `takes_over`: also the apps of other projects are replaced, and are the owner's from then on.
    """

    kind = "directory"

    def __init__(
        self,
        path: Path,
        written_as: str,
        owner: Owner,
        *,
        takes_over: bool = False,
        state_folder: Path | None = None,
        swap: Swap = swap_folders,
        grace: float = 0.25,
    ) -> None:
        self._root = path
        self._written_as = written_as
        self._state_folder = state_folder
        self._swap = swap
        self._grace = grace
        self._owned = OwnedApps(path, owner, takes_over=takes_over)
        self._hidden = HiddenFolders(path, owner)
        self._replaced: list[tuple[float, Path]] = []

    @property
    def identity(self) -> dict[str, str]:
        return {"kind": self.kind, "path": self._written_as}

    @property
    def capabilities(self) -> None:
        """What lies in a folder is for no cluster in particular, and the same wherever it is made."""

    @property
    def environment(self) -> dict[str, str]:
        return {"SBKUBE_TARGET_PATH": str(self._root)}

    async def refusals(self, apps: AbstractSet[str]) -> list[SbkubeError]:
        return await to_thread.run_sync(self._refusals, apps, abandon_on_cancel=True)  # it only looks

    async def start(self) -> None:
        await to_thread.run_sync(self._start)

    async def deploy(self, deployment: Deployment, log: Log) -> Deployed:
        files = _files(deployment.manifests)
        deployed, replaced = await to_thread.run_sync(self._deploy, deployment.app, files)
        await self._retire(replaced)
        return deployed

    async def act(self, action: ObjectAction, log: Log) -> None:
        raise NeedsCluster(f"`{action.verb}` of {action.source!r}")

    async def holds(self, app: str, output: Mapping[str, Any]) -> bool:
        try:
            return await to_thread.run_sync(digest_at, self._owned.place(app)) == output.get("digest")
        except OSError:
            return False  # not known to be there; a deploy will say what is wrong with it

    async def would_prune(self, keep: AbstractSet[str]) -> list[str]:
        return await to_thread.run_sync(self._would_prune, keep)

    async def prune(self, keep: AbstractSet[str]) -> list[str]:
        gone, replaced = await to_thread.run_sync(self._prune, keep)
        await self._retire(replaced)
        return gone

    async def finish(self) -> None:
        if self._replaced:
            due = max(since for since, _ in self._replaced) + self._grace
            await anyio.sleep(max(due - time.monotonic(), 0.0))
            await self._retire([])

    async def _retire(self, replaced: Iterable[Path]) -> None:
        """Removes what was replaced so long ago that nobody is still reading it."""
        now = time.monotonic()
        self._replaced += [(now, path) for path in replaced]
        due = [path for since, path in self._replaced if since + self._grace <= now]
        self._replaced = [(since, path) for since, path in self._replaced if since + self._grace > now]
        if due:
            await to_thread.run_sync(remove, due)

    # What follows blocks and runs in threads.

    def _refusals(self, apps: AbstractSet[str]) -> list[SbkubeError]:
        try:
            with _writing(self._root):
                self._refuse_unsuitable()
                _refuse_unwritable(self._root)
                return self._owned.refusals(apps)
        except SbkubeError as error:
            return [error]

    def _start(self) -> None:
        with _writing(self._root):
            self._refuse_unsuitable()
            if not self._root.exists():
                self._root.mkdir(parents=True, exist_ok=True)  # another run may be as quick
                self._root.chmod(0o755)
            with self._owned.held():
                self._mend()
                probe = self._hidden.fresh("new", "probe")
                probe.mkdir()
                probe.rmdir()

    def _mend(self) -> None:
        owned = self._owned
        ours = owned.ours
        owned.remove_unfinished()
        self._hidden.mend(owned.place, owned.is_anothers)
        owned.drop({app for app in ours if not is_folder(owned.place(app))})

    def _refuse_unsuitable(self) -> None:
        if self._root.exists() and not self._root.is_dir():
            raise UnsuitableTarget(self._root, "is a file")
        path = self._root.resolve()
        state = self._state_folder
        if path.is_relative_to(state.resolve()) if state else _STATE_FOLDER in path.parts:
            raise UnsuitableTarget(self._root, "is inside the state folder of sbkube")

    def _deploy(self, app: str, files: Mapping[str, bytes]) -> tuple[Deployed, list[Path]]:
        place = self._owned.place(app)
        deployed = Deployed(digest_files(files), os.path.join(self._written_as, place.name))
        with _writing(place):
            self._owned.refuse_others(app)
            if digest_at(place) != deployed.digest:
                return deployed, self._replace(app, place, files)
            with self._owned.claimed(app):
                return deployed, []

    def _replace(self, app: str, place: Path, files: Mapping[str, bytes]) -> list[Path]:
        new, aside = self._hidden.fresh("new", app), self._hidden.fresh("old", app)
        try:
            write_folder(new, files)
            with self._owned.claimed(app):
                if place.exists():
                    self._swap(new, place, aside)
                else:
                    os.rename(new, place)
        except BaseException:
            remove([new])
            raise
        return [path for path in (new, aside) if path.exists()]

    def _would_prune(self, keep: AbstractSet[str]) -> list[str]:
        with _writing(self._root):
            self._refuse_unsuitable()
            return self._unwanted(keep)

    def _unwanted(self, keep: AbstractSet[str]) -> list[str]:
        return [app for app in sorted(self._owned.ours - keep) if is_folder(self._owned.place(app))]

    def _prune(self, keep: AbstractSet[str]) -> tuple[list[str], list[Path]]:
        with _writing(self._root), self._owned.held():
            gone = self._unwanted(keep)
            hidden = [self._hidden.fresh("gone", app) for app in gone]
            for app, path in zip(gone, hidden, strict=True):
                os.rename(self._owned.place(app), path)
            self._owned.drop(self._owned.ours - keep)
        return gone, hidden


def _refuse_unwritable(path: Path) -> None:
    """It, or what is there of the folders above it, in which it would be made."""
    nearest = next(above for above in (path, *path.parents) if os.path.lexists(above))
    if not nearest.is_dir():
        why = "is a link to nothing" if nearest == path else f"is below `{nearest}`, which is no folder"
        raise UnsuitableTarget(path, why)
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise TargetUnwritable(nearest, PermissionError(errno.EACCES, os.strerror(errno.EACCES)))


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise TargetUnwritable(Path(error.filename) if error.filename else path, error) from error


def _files(manifests: Manifests) -> dict[str, bytes]:
    texts = {
        "crds.yaml": manifests.crds,
        "manifests.yaml": manifests.manifests,
        "hooks.yaml": manifests.hooks,
    }
    return {name: text.encode() for name, text in texts.items() if text.strip()}
