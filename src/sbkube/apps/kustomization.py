"""What a kustomization refers to besides the files of its own folder: other folders, and what is fetched. Blocking.

Kustomize itself reads no file outside the folder of a kustomization, only other such folders. So a kustomization is the
folders that it leads to, each with all that is in it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs

from sbkube.documents import parse, read_text
from sbkube.errors import ConfigError

FILES = ("kustomization.yaml", "kustomization.yml", "Kustomization")
_MAY_BE_FOLDERS = ("resources", "bases", "components", "generators", "transformers", "validators")
_REMOTE = re.compile(
    r"[a-z][a-z0-9+.-]*(?:://|::)|[\w.-]+@[\w.-]+:|[\w-]+(?:\.[\w-]+)*\.[a-z]{2,}[:/]", re.IGNORECASE
)
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True, slots=True)
class Kustomization:
    folders: tuple[Path, ...]
    """Its own first; what lies below one of them is part of it."""
    remote: tuple[str, ...]
    """What Kustomize fetches by itself."""
    local: tuple[Path, ...]
    """What its folders name besides."""

    @property
    def unpinned(self) -> list[str]:
        """What may be something else the next time."""
        return [text for text in self.remote if not is_pinned(text)]


def file_in(folder: Path) -> Path | None:
    return next((path for name in FILES if (path := folder / name).is_file()), None)


def follow(folder: Path) -> Kustomization:
    """From one kustomization to all that it leads to; what cannot be read leads nowhere, and Kustomize will say why."""
    found: dict[str, Path] = {}
    remote: dict[str, None] = {}
    local: dict[Path, None] = {}
    todo = [folder]
    while todo:
        here = todo.pop(0)
        if (real := os.path.realpath(here)) in found:
            continue
        found[real] = here
        for text in _references(here):
            if is_remote(text) and not (here / text).exists():
                remote[text] = None
                continue
            local[here / text] = None
            if (here / text).is_dir():
                todo.append(here / text)
    own = [path for real, path in found.items() if not _lies_below(real, found)]
    return Kustomization(tuple(own), tuple(remote), tuple(local))


def is_remote(text: str) -> bool:
    """As Kustomize tells it: a URL, or a host before a path."""
    return _REMOTE.match(text) is not None


def is_pinned(text: str) -> bool:
    """Only a commit is the same tomorrow."""
    query = parse_qs(text.partition("?")[2])
    return any(_COMMIT.fullmatch(value) for key in ("ref", "version") for value in query.get(key, ()))


def _references(folder: Path) -> Iterator[str]:
    file = file_in(folder)
    if file is None:
        return
    try:
        data = parse(read_text(file), file=file).data
    except ConfigError:
        return
    for key in _MAY_BE_FOLDERS if isinstance(data, dict) else ():
        items = data.get(key)
        for item in items if isinstance(items, list) else ():
            if isinstance(item, str) and "\n" not in item:  # else it is written in place
                yield item


def _lies_below(real: str, found: dict[str, Path]) -> bool:
    return any(Path(real).is_relative_to(other) for other in found if other != real)
