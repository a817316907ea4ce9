"""What is kept for the next time, files and clones: told, and removed where it takes too much room. Blocking."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sbkube.fetch.cache import Cache
from sbkube.fetch.git import MARK
from sbkube.fetch.locks import held_if_free

IN_USE = 600.0
"""Seconds since its last use for which nothing is removed: a run may be about to read it."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A file by the digest of its bytes, or a clone by that of its URL."""

    kind: Literal["file", "clone"]
    digest: str
    size: int
    used: float
    """When it was last asked for, by `time.time`."""
    came: str | None
    """Whence, where that is known."""


def kept(cache: Cache) -> list[Kept]:
    """The last used first."""
    files = (
        Kept("file", blob.digest, blob.size, blob.used, cache.came(blob.digest)) for blob in cache.blobs()
    )
    return sorted([*files, *_clones(cache)], key=lambda one: (-one.used, one.digest))


def superfluous(
    kept: Iterable[Kept], now: float, *, oldest: float | None = None, largest: int | None = None
) -> list[Kept]:
    """What was not used for `oldest` seconds, and the least used until `largest` bytes are left."""
    found, size = [], 0
    for one in sorted(kept, key=lambda one: (-one.used, one.digest)):
        unused = now - one.used
        is_too_much = largest is not None and size + one.size > largest
        if unused > IN_USE and (is_too_much or (oldest is not None and unused > oldest)):
            found.append(one)
        else:
            size += one.size
    return found


def prune(cache: Cache, *, oldest: float | None = None, largest: int | None = None) -> list[Kept]:
    """What was removed. A clone that somebody works with stays."""
    found = superfluous(kept(cache), time.time(), oldest=oldest, largest=largest)
    removed = [one for one in found if _remove(cache, one)]
    cache.tidy()
    return removed


def _clones(cache: Cache) -> Iterator[Kept]:
    for mark in cache.folder.glob(f"git/*/{MARK}"):
        with suppress(FileNotFoundError):  # it is removed at this moment
            folder, came = mark.parent, mark.read_text(encoding="utf-8").strip()
            lock = _lock_file(folder)
            used = (lock if lock.exists() else mark).stat().st_mtime
            yield Kept("clone", folder.name, _size(folder), used, came)


def _size(folder: Path) -> int:
    size = 0
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):
            size += path.lstat().st_size
    return size


def _lock_file(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.lock")


def _remove(cache: Cache, one: Kept) -> bool:
    if one.kind == "file":
        cache.remove(one.digest)
        return True
    folder = cache.folder / "git" / one.digest
    with held_if_free(_lock_file(folder)) as is_ours:
        if is_ours:
            # Without it nothing in the folder counts, should this be cut off.
            (folder / MARK).unlink(missing_ok=True)
            shutil.rmtree(folder, ignore_errors=True)
    return is_ours
