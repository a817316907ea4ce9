"""Files that `git` and `http` apps fetch, where other apps name them.

They are known by paths in the project's folder, at which nothing has to be: `repos/X/…` (where a clone lay in the old
layout, and `.sbkube/repos/X/…`), `${repos.X}/…`, and the `dest` of an `http` app. What is there once `X:prepare` is done lies in its
output. So who names such a path needs that step, though `depends_on` may not say so, and reads from its output alone: a
run beside it, or one of another profile, cannot change what it sees.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Protocol

from sbkube.apps.files import FileInput, files_below, is_readable_as
from sbkube.errors import Position
from sbkube.fetch.nearby import nearby

_NAMED = re.compile(r"\$\{repos\.([^}/]*)\}(?:/(.*))?", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Source:
    """An app that fetches."""

    app: str
    inside: str = ""
    """Where in its output is what it is known for."""
    only: str | None = None
    """All that is fetched of a repository."""
    is_enabled: bool = True


@dataclass(frozen=True, slots=True)
class Sought:
    """A path that leads to what an app fetches."""

    source: Source | None
    prefix: str
    """As it is written up to where that begins."""
    rest: str
    """The way on from there; a pattern perhaps."""
    root: Path | None = None
    """What it was fetched into; None: nothing yet."""
    why: str | None = None
    """There will be none."""

    @property
    def path(self) -> Path | None:
        return None if self.root is None else self.root / self.rest if self.rest else self.root

    @property
    def by(self) -> str | None:
        return self.source.app if self.source is not None and self.why is None else None

    def shown(self, path: Path) -> str:
        """What lies below the root, by the name under which users know it."""
        assert self.root is not None
        relative = Path(os.path.relpath(path, self.root)).as_posix()
        return self.prefix if relative == "." else f"{self.prefix}/{relative}"

    def input(self, what: str, name: str, where: Position, *kinds: str) -> FileInput:
        path = self.path
        if path is None or is_readable_as(path, *kinds):
            return FileInput(what, name, path, where, (), self.why, by=self.by)
        return self.missing(what, name, where)

    def missing(self, what: str, name: str, where: Position) -> FileInput:
        """It was fetched and has no such file, or not yet, or never will be."""
        why = self.why or (None if self.root is None else self._why_not(self.root))
        return FileInput(what, name, None, where, (), why, by=self.by)

    def _why_not(self, root: Path) -> str:
        assert self.source is not None
        told = f"what app {self.source.app!r} fetches has no {self.rest or self.prefix!r}"
        if self.source.only is not None:
            told += f" (it takes {self.source.only!r} alone)"
        near = nearby(self.rest, [name for name, _ in files_below(root)]) if root.is_dir() else []
        return f"{told}; it has: {', '.join(near)}" if near else told


class Seeking(Protocol):
    """Of an app's place, what finding files takes."""

    @property
    def folder(self) -> Path: ...

    def seek(self, path: str) -> Sought | None: ...


def file_input(place: Seeking, what: str, name: str, where: Position, *kinds: str) -> FileInput:
    """What an app names by a path: of the project, or of what another app fetches."""
    if (sought := place.seek(name)) is not None:
        return sought.input(what, name, where, *kinds)
    path = place.folder / Path(name).expanduser()
    return FileInput(what, name, path if is_readable_as(path, *kinds) else None, where, (path,))


def first_input(
    place: Seeking, what: str, name: str, where: Position, candidates: Sequence[Path]
) -> FileInput:
    """A file that may be in one of several places; the first that is there, or is fetched to there, is meant."""
    if (sought := place.seek(name)) is not None:
        return sought.input(what, name, where, "a file")
    for candidate in candidates:
        if (sought := place.seek(str(candidate))) is not None:
            return sought.input(what, name, where, "a file")
        if candidate.is_file():
            return FileInput(what, name, candidate, where, tuple(candidates))
    return FileInput(what, name, None, where, tuple(candidates))


@dataclass(frozen=True, slots=True)
class Fetched:
    """Which paths of a project lead to what apps fetch."""

    named: Mapping[str, Source] = field(default_factory=dict)
    """By the name of an app, or of its entry in `git_repos`."""
    at: Mapping[str, Source] = field(default_factory=dict)
    """By the path in the project's folder."""

    def seek(self, text: str, folder: Path, outputs: Mapping[str, Path]) -> Sought | None:
        """None: it is a path of the project itself. `outputs`: of the apps that have fetched."""
        if not self.at and "${" not in text:
            return None
        if match := _NAMED.fullmatch(text):
            return self._seek_named(match[1], match[2] or "", outputs)
        path = os.path.normpath(Path(text).expanduser())
        if os.path.isabs(path):
            path = os.path.relpath(path, os.path.normpath(folder))
        for prefix in (path, *map(str, PurePosixPath(path).parents)):
            if source := self.at.get(prefix):
                rest = os.path.relpath(path, prefix)
                sought = _sought(source, prefix, "" if rest == "." else rest, outputs)
                # What lies there by itself may be read while the app that would fetch it is disabled.
                return sought if source.is_enabled or not (folder / path).exists() else None
        return None

    def is_by(self, app: str) -> bool:
        """Whether that app fetches something, if it is enabled."""
        return any(source.app == app and source.is_enabled for source in self.at.values())

    def below(self, folder: str) -> Iterator[str]:
        """The single files that are fetched to somewhere below a folder of the project."""
        prefix = "" if folder == "." else f"{folder}/"
        for path, source in self.at.items():
            if source.inside and source.is_enabled and path.startswith(prefix):
                yield path

    def matching(self, pattern: str) -> Iterator[str]:
        """The single files that are fetched to where a pattern looks."""
        for path in self.below("."):
            if fnmatchcase(path, pattern) and ("**" in pattern or path.count("/") == pattern.count("/")):
                yield path

    def _seek_named(self, name: str, rest: str, outputs: Mapping[str, Path]) -> Sought:
        prefix = f"${{repos.{name}}}"
        source = self.named.get(name)
        if source is None:
            known = ", ".join(sorted({source.app for source in self.named.values()}))
            others = f"; there are: {known}" if known else ""
            return Sought(None, prefix, rest, why=f"there is no app {name!r} of type git{others}")
        rest = os.path.normpath(rest) if rest else ""
        if rest.startswith(("..", "/")):
            return Sought(source, prefix, rest, why="it leads out of the repository")
        return _sought(source, prefix, "" if rest == "." else rest, outputs)


def _sought(source: Source, prefix: str, rest: str, outputs: Mapping[str, Path]) -> Sought:
    if not source.is_enabled:
        return Sought(source, prefix, rest, why=f"app {source.app!r}, which fetches it, is disabled")
    output = outputs.get(source.app)
    root = None if output is None else output / source.inside
    return Sought(source, prefix, rest, root)
