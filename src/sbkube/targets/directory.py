"""A folder of rendered manifests as a target: one folder per app, for GitOps and for trying without a cluster.

A reader must never find an app's folder missing, empty or mixed. So a new folder is written beside the old
one under a hidden name and the two change places at once. That alone is not enough: a reader that has the old folder
open would see it empty while it is being removed. So what was replaced stays for a moment, hidden.

Hidden names are `.sbkube-new.APP.N` (not yet or no longer in place), `.sbkube-old.APP.N` (put aside where the
two cannot change places at once), `.sbkube-gone.APP.N` (pruned).
"""

from __future__ import annotations

import itertools
import os
import re
import shutil
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote, unquote

import anyio
from anyio import to_thread

from sbkube.errors import SbkubeError
from sbkube.targets.base import Deployed, Manifests, TargetUnwritable, UnsuitableTarget
from sbkube.targets.owned import OwnedApps
from sbkube.targets.swap import swap_folders
from sbkube.targets.trees import digest_files, digest_tree

Swap = Callable[[Path, Path, Path], None]

_HIDDEN = re.compile(r"\.sbkube-(new|old|gone)\.(.+)\.(\d+)")
_STATE_FOLDER = ".sbkube"


class ForeignFolder(SbkubeError):
    """Something that we did not make has an app's name."""

    def __init__(self, app: str, path: Path) -> None:
        super().__init__(
            f"app {app!r} would replace `{path}`, which sbkube did not make",
            hint=f"move `{path}` away, rename the app, or choose another folder with `--target PATH`",
        )
        self.app = app
        self.path = path


class DirectoryTarget:
    """`path` is where it is, `written_as` how the user wrote it; `state_folder` is no place for it."""

    kind = "directory"

    def __init__(
        self,
        path: Path,
        written_as: str,
        *,
        state_folder: Path | None = None,
        swap: Swap = swap_folders,
        grace: float = 0.25,
    ) -> None:
        self._root = path
        self._written_as = written_as
        self._state_folder = state_folder
        self._swap = swap
        self._grace = grace
        self._owned = OwnedApps(path)
        self._numbers = itertools.count(1)
        self._replaced: list[tuple[float, Path]] = []

    @property
    def identity(self) -> dict[str, str]:
        return {"kind": self.kind, "path": self._written_as}

    async def start(self) -> None:
        await to_thread.run_sync(self._start)

    async def deploy(self, app: str, manifests: Manifests) -> Deployed:
        deployed, replaced = await to_thread.run_sync(self._deploy, app, _files(manifests))
        await self._retire(replaced)
        return deployed

    async def holds(self, app: str, digest: str) -> bool:
        try:
            return await to_thread.run_sync(_digest_at, self._place(app)) == digest
        except OSError:
            return False  # not known to be there; a deploy will say what is wrong with it

    async def prune(self, keep: AbstractSet[str]) -> list[str]:
        gone, replaced = await to_thread.run_sync(self._prune, keep)
        await self._retire(replaced)
        return gone

    async def finish(self) -> None:
        if self._replaced:
            await anyio.sleep(max(since for since, _ in self._replaced) + self._grace - time.monotonic())
            await self._retire([])

    async def _retire(self, replaced: Iterable[Path]) -> None:
        """Removes what was replaced so long ago that nobody is still reading it."""
        now = time.monotonic()
        self._replaced += [(now, path) for path in replaced]
        due = [path for since, path in self._replaced if since + self._grace <= now]
        self._replaced = [(since, path) for since, path in self._replaced if since + self._grace > now]
        if due:
            await to_thread.run_sync(_remove, due)

    # What follows blocks and runs in threads.

    def _start(self) -> None:
        with _writing(self._root):
            self._refuse_unsuitable()
            if not self._root.exists():
                self._root.mkdir(parents=True)
                self._root.chmod(0o755)
            probe = self._hidden("new", "probe")
            probe.mkdir()
            probe.rmdir()
            self._owned.load()
            self._mend()
            self._owned.drop({app for app in self._owned.named if not _is_folder(self._place(app))})

    def _refuse_unsuitable(self) -> None:
        if self._root.exists() and not self._root.is_dir():
            raise UnsuitableTarget(self._root, "is a file")
        path = self._root.resolve()
        state = self._state_folder
        if path.is_relative_to(state.resolve()) if state else _STATE_FOLDER in path.parts:
            raise UnsuitableTarget(self._root, "is inside the state folder of sbkube")

    def _mend(self) -> None:
        """A folder that was put aside goes back if the new one never took its place; the rest goes."""
        for name in sorted(os.listdir(self._root), key=_number, reverse=True):
            if found := _HIDDEN.fullmatch(name):
                kind, app = found[1], unquote(found[2])
                if kind == "old" and not os.path.lexists(self._place(app)):
                    os.rename(self._root / name, self._place(app))
                else:
                    _remove([self._root / name])

    def _deploy(self, app: str, files: Mapping[str, bytes]) -> tuple[Deployed, list[Path]]:
        place = self._place(app)
        self._refuse_foreign(app, place)
        deployed = Deployed(digest_files(files), os.path.join(self._written_as, place.name))
        with _writing(place):
            if _digest_at(place) == deployed.digest:
                return deployed, []
            return deployed, self._replace(app, place, files)

    def _refuse_foreign(self, app: str, place: Path) -> None:
        ours = app in self._owned.named and _is_folder(place)
        if os.path.lexists(place) and not ours:
            raise ForeignFolder(app, place)

    def _replace(self, app: str, place: Path, files: Mapping[str, bytes]) -> list[Path]:
        new, aside = self._hidden("new", place.name), self._hidden("old", place.name)
        try:
            _write_folder(new, files)
            self._owned.claim(app)
            if place.exists():
                self._swap(new, place, aside)
            else:
                os.rename(new, place)
        except BaseException:
            _remove([new])
            raise
        return [path for path in (new, aside) if path.exists()]

    def _prune(self, keep: AbstractSet[str]) -> tuple[list[str], list[Path]]:
        unwanted = self._owned.named - keep
        gone = [app for app in sorted(unwanted) if _is_folder(self._place(app))]
        hidden = [self._hidden("gone", _folder_name(app)) for app in gone]
        with _writing(self._root):
            for app, path in zip(gone, hidden, strict=True):
                os.rename(self._place(app), path)
            self._owned.drop(unwanted)
        return gone, hidden

    def _place(self, app: str) -> Path:
        return self._root / _folder_name(app)

    def _hidden(self, kind: str, name: str) -> Path:
        return self._root / f".sbkube-{kind}.{name}.{next(self._numbers)}"


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise TargetUnwritable(Path(error.filename) if error.filename else path, error) from error


def _folder_name(app: str) -> str:
    name = quote(app, safe="")
    return f"%2E{name[1:]}" if name.startswith(".") else name


def _number(name: str) -> int:
    found = _HIDDEN.fullmatch(name)
    return int(found[3]) if found else 0


def _files(manifests: Manifests) -> dict[str, bytes]:
    texts = {
        "crds.yaml": manifests.crds,
        "manifests.yaml": manifests.manifests,
        "hooks.yaml": manifests.hooks,
    }
    return {name: text.encode() for name, text in texts.items() if text.strip()}


def _write_folder(folder: Path, files: Mapping[str, bytes]) -> None:
    """Modes do not follow the umask: a repository should not differ from machine to machine."""
    folder.mkdir()
    folder.chmod(0o755)
    for name, content in files.items():
        with open(folder / name, "xb") as file:
            os.fchmod(file.fileno(), 0o644)
            file.write(content)


def _is_folder(path: Path) -> bool:
    try:
        return stat.S_ISDIR(path.lstat().st_mode)
    except FileNotFoundError:
        return False


def _digest_at(folder: Path) -> str | None:
    return digest_tree(folder) if _is_folder(folder) else None


def _remove(folders: Iterable[Path]) -> None:
    """What cannot be removed now is removed by the next start."""
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
