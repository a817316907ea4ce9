"""Files that apps name in the config: found, looked into through links, digested and copied.

What sbkube writes itself is no part of any folder that it reads, or a chart in the project's own folder would change with
every run of it: state folders, and what a directory target keeps, in whichever folder and of whichever run. `.git`
neither. What of a folder was named outright is read all the same.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from sbkube.documents import read_text
from sbkube.errors import ConfigError, Position, SbkubeError
from sbkube.helm.ignore import Ignored, ignored_by
from sbkube.targets.owned import kept_in
from sbkube.targets.trees import digest_file


class FileMissing(SbkubeError):
    """A file or folder that an app names is not there, or is something else."""

    def __init__(
        self,
        what: str,
        name: str,
        looked_at: Iterable[Path],
        where: Position | None,
        why: str | None = None,
    ) -> None:
        places = list(looked_at)
        found = next(((path, kind) for path in places if (kind := kind_of(path))), None)
        if why:
            super().__init__(f"{what} {name!r} is missing: {why}", where=where)
        elif found:
            super().__init__(f"{what} {name!r} cannot be read: `{found[0]}` is {found[1]}", where=where)
        else:
            hint = f"looked at: {', '.join(map(str, places))}" if places else None
            super().__init__(f"{what} {name!r} is missing", where=where, hint=hint)
        self.name = name


@dataclass(frozen=True, slots=True)
class FileInput:
    """A file or folder that a stage reads; `path` is None if it is not there."""

    what: str
    """Such as `values file`: for messages, and with the name the name of the component."""
    name: str
    """As the user wrote it."""
    path: Path | None
    where: Position
    looked_at: tuple[Path, ...] = ()
    why: str | None = None
    """There is none, if that can be said better than by where it was looked for."""
    by: str | None = None
    """The app of the project that fetches it."""

    @property
    def component(self) -> str:
        return f"{self.what} {self.name}"

    @property
    def missing(self) -> FileMissing:
        return FileMissing(self.what, self.name, self.looked_at, self.where, self.why)

    def present(self) -> Path:
        """The path; raises `FileMissing` with the line in the config."""
        if self.path is None or not self.path.exists():
            raise self.missing
        return self.path

    def text(self) -> str:
        """What is in the file; raises `FileMissing`, and `BadFile` if it is no text."""
        path = self.present()
        with self.named():
            return read_text(path)

    @contextmanager
    def named(self) -> Iterator[None]:
        """What is wrong in the file is told with the line in the config that names it."""
        try:
            yield
        except ConfigError as error:
            raise BadFile(self.what, error, self.where) from error


class BadFile(ConfigError):
    """A file that an app names does not hold what it should; `at` is the place in the file itself."""

    def __init__(self, what: str, error: ConfigError, where: Position) -> None:
        super().__init__(f"{what} {error}", hint=error.hint, where=where)
        self.at = error.where


_KINDS = {
    stat.S_IFREG: "a file",
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def kind_of(path: Path) -> str | None:
    """What is there, through links; None if there is nothing."""
    with suppress(OSError):
        return _KINDS.get(stat.S_IFMT(path.stat().st_mode), "no file")
    return None


def is_readable_as(path: Path, *kinds: str) -> bool:
    """Opening anything else may wait for ever, or never end."""
    return kind_of(path) in kinds


# What is in a folder

_OURS = re.compile(r"\.git|\.sbkube(?:-.*)?")


def files_below(folder: Path, ignored: Ignored = lambda path, is_folder: False) -> Iterator[tuple[str, Path]]:
    """What is no folder, each with its path from there as text, in a fixed order; through links, in no circle."""
    yield from _below(folder, "", ignored, (os.path.realpath(folder),))


def files_of_chart(folder: Path) -> Iterator[tuple[str, Path]]:
    """As Helm sees a chart."""
    return files_below(folder, ignored_by(folder))


def _below(
    folder: Path, prefix: str, ignored: Ignored, around: tuple[str, ...]
) -> Iterator[tuple[str, Path]]:
    kept = kept_in(folder)
    for name in sorted(os.listdir(folder)):
        path, relative = folder / name, prefix + name
        is_folder = path.is_dir()
        if name in kept or _OURS.fullmatch(name) or ignored(relative, is_folder):
            continue
        if not is_folder:
            yield relative, path
        elif (real := os.path.realpath(path)) not in around and not _is_state(path):
            yield from _below(path, relative + "/", ignored, (*around, real))


def _is_state(folder: Path) -> bool:
    """A state folder that was given another name."""
    return (folder / "lock").is_file() and (folder / "journal").is_dir() and (folder / "runs").is_dir()


class BadPattern(ConfigError):
    def __init__(self, pattern: str, why: str, where: Position) -> None:
        super().__init__(f"the pattern {pattern!r} cannot be used: {why}", where=where)


def matches(folder: Path, pattern: str, where: Position) -> list[Path]:
    """The files that a pattern below a folder finds, in order of their names."""
    named = Path(pattern).expanduser()
    relative = os.path.relpath(named, folder) if named.is_absolute() else pattern
    if relative.startswith(".."):
        raise BadPattern(pattern, "it leads out of the folder", where)
    try:
        found = sorted(path for path in folder.glob(relative) if path.is_file())
    except (ValueError, NotImplementedError) as error:
        raise BadPattern(pattern, str(error), where) from error
    # `**` goes everywhere; every other part of a pattern goes where it says.
    return [path for path in found if not _is_ours(folder, path)] if "**" in relative else found


def _is_ours(folder: Path, path: Path) -> bool:
    place = folder
    for name in path.relative_to(folder).parts:
        if _OURS.fullmatch(name) or name in kept_in(place) or _is_state(place / name):
            return True
        place /= name
    return False


# What it holds


def digest_input(path: Path | None) -> str | None:
    """Of what a reader of the file or folder sees, so through links; None if there is none."""
    if path is None:
        return None
    with suppress(FileNotFoundError, NotADirectoryError):
        if path.is_dir():
            return _digest_seen(path)
        # What is no file is told when it is to be read; here it would be waited for.
        return digest_file(path) if kind_of(path) in ("a file", None) else None
    return None


def _digest_seen(folder: Path) -> str:
    total = hashlib.sha256()
    for name, path in files_of_chart(folder):
        content = digest_file(path) if path.is_file() else kind_of(path)
        executable = path.exists() and bool(path.stat().st_mode & stat.S_IXUSR)
        total.update(f"{name!a} {executable} {content}\n".encode())
    return total.hexdigest()


def copy_files(files: Iterable[tuple[str, Path]], into: Path) -> None:
    """Contents and executable bits; what is read-only where it comes from is not here."""
    into.mkdir()
    for name, path in files:
        target = into / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
        if path.stat().st_mode & stat.S_IXUSR:
            target.chmod(target.stat().st_mode | 0o111)
