"""Which files make up a project, and reading one of them."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from sbkube import documents
from sbkube.documents import Document, InvalidYaml, UnreadableFile
from sbkube.errors import ConfigError, NotYet, Position

STEMS = ("sbkube", "config", "workspace")
SUFFIXES = (".yaml", ".yml", ".toml")
LEVELS_ABOVE = 5
_TOLD = 12
_NO_GROUPS = frozenset(
    [
        "charts",
        "repos",
        "build",
        "rendered",
        "values",
        "schemas",
        "examples",
        "docs",
        "tests",
        "node_modules",
        "__pycache__",
    ]
)


class MissingConfig(ConfigError):
    """A file that was looked for in vain."""


class InvalidToml(ConfigError):
    """A text that is not TOML."""


def find_project(start: Path) -> Path:
    """The nearest folder, from here upwards, that has a config."""
    names(start)
    for folder in (start, *start.absolute().parents):
        if configs_in(folder):
            return folder
    if groups_in(start):
        return start
    raise _missing(start, "or any folder above")


def find_config(folder: Path) -> tuple[Path, list[str]]:
    """The config of a folder, and what should be said about others beside it."""
    found = configs_in(folder)
    if not found:
        if groups := groups_in(folder):
            raise NotYet(f"a project of several app groups ({', '.join(groups)})", where=Position(folder))
        raise _missing(folder)
    taken, *others = found
    return taken, [f"this config is taken, `{other.name}` beside it is not read" for other in others]


def _missing(folder: Path, more: str = "") -> MissingConfig:
    return MissingConfig(
        " ".join(f"no `sbkube.yaml` or `config.yaml` in {folder} {more}".split()),
        hint="go to a project folder, or name one with `--app-dir`",
    )


def names(folder: Path) -> set[str]:
    try:
        return set(os.listdir(folder))
    except FileNotFoundError as error:
        raise MissingConfig("there is no such folder", where=Position(folder)) from error
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise UnreadableFile(f"cannot be read: {reason}", where=Position(folder)) from error


def configs_in(folder: Path) -> list[Path]:
    """The newest layout first."""
    return list(existing([folder], STEMS))


def groups_in(folder: Path) -> list[str]:
    """Subfolders that are projects of their own."""
    candidates = sorted(name for name in names(folder) if name not in _NO_GROUPS and not name.startswith("."))
    return [name for name in candidates if any(existing([folder / name], STEMS[:2]))]


def existing(folders: Iterable[Path], stems: Iterable[str]) -> Iterator[Path]:
    """Files of these names, whatever of our formats they have."""
    stems = tuple(stems)
    for folder in folders:
        for stem in stems:
            yield from (path for suffix in SUFFIXES if os.path.isfile(path := folder / f"{stem}{suffix}"))


def find_named(name: str | Path, folders: Iterable[Path]) -> Path:
    """A file that the user names, with or without its ending."""
    tried = [folder / Path(name).expanduser() for folder in folders]
    for path in tried:
        for candidate in (path, *(path.with_name(path.name + suffix) for suffix in SUFFIXES)):
            if os.path.exists(candidate) and not os.path.isdir(candidate):
                return candidate
    places = dict.fromkeys(str(path.parent) for path in tried)
    there = sorted({file.name for path in tried for file in _config_like(path.parent)})
    raise MissingConfig(
        f"there is no file {str(name)!r} in {' or '.join(places)}",
        hint=f"files there: {', '.join(there[:_TOLD])}" if there else None,
    )


def _config_like(folder: Path) -> Iterator[Path]:
    if folder.is_dir():
        yield from (path for path in folder.iterdir() if path.suffix in SUFFIXES and path.is_file())


def read_document(path: Path) -> Document:
    """Keys are text as written: an app may be called `on`."""
    if path.suffix != ".toml":
        return documents.read(path, keys="text")
    try:
        return Document(path, tomllib.loads(documents.read_text(path)), line=None)
    except RecursionError:
        raise InvalidToml("values are nested too deep", where=Position(path)) from None
    except tomllib.TOMLDecodeError as error:
        text = str(error)
        line = re.search(r"at line (\d+)", text)
        where = Position(path, int(line[1]) if line else None)
        raise InvalidToml(
            f"is not valid TOML: {text[:1].lower()}{text[1:].partition(' (at ')[0]}", where=where
        ) from error


def read_sources(path: Path, seen: tuple[Path, ...] = ()) -> tuple[list[Document], dict[str, Any]]:
    """A sources file over its `_parent` over its `_defaults`; all documents, the lowest first."""
    if path.resolve() in seen:
        raise ConfigError("sources files name each other as `_parent`", where=Position(path))
    document = read_document(path)
    data = dict(document.mapping())
    parent, defaults = data.pop("_parent", None), data.pop("_defaults", None) or {}
    if not isinstance(defaults, dict):
        raise InvalidYaml("`_defaults` must be a mapping", where=document.position(["_defaults"]))
    if parent is None:
        return [document], documents.merge(defaults, data)
    if not isinstance(parent, str):
        raise InvalidYaml("`_parent` must be the name of a file", where=document.position(["_parent"]))
    below, base = read_sources(path.parent / parent, (*seen, path.resolve()))
    return [*below, document], documents.merge(documents.merge(defaults, base), data)
