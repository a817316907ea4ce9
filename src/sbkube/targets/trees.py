"""Digests of files and folders: what a stage made is still there if it has the same digest.

Names, kinds, exec bits, contents and link targets count; times, owners and other mode bits do not. Each
entry is one record of fixed layout, so no two trees run together into the same bytes.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class _Entry:
    path: bytes
    kind: bytes  # one byte: d, f, x (an executable file), l, o (anything else: its presence counts)
    content: bytes  # a SHA-256


_NOTHING = hashlib.sha256().digest()


def digest_file(path: Path) -> str:
    """SHA-256 of the content, in hex."""
    return _content(path).hex()


def digest_tree(folder: Path) -> str:
    """SHA-256 of all that is below the folder, in hex; the folder's own name is no part of it."""
    return _digest(_entries(os.fsencode(folder), b""))


def digest_files(files: Mapping[str, bytes]) -> str:
    """What `digest_tree` gives for a folder that holds just these files."""
    return _digest(
        _Entry(os.fsencode(name), b"f", hashlib.sha256(content).digest()) for name, content in files.items()
    )


def _digest(entries: Iterable[_Entry]) -> str:
    total = hashlib.sha256()
    for entry in sorted(entries, key=lambda entry: entry.path):
        total.update(entry.kind + len(entry.path).to_bytes(8, "big") + entry.path + entry.content)
    return total.hexdigest()


def _entries(folder: bytes, prefix: bytes) -> Iterator[_Entry]:
    with os.scandir(folder) as found:
        children = list(found)
    for child in children:
        path = prefix + child.name
        yield _entry(child, path)
        if child.is_dir(follow_symlinks=False):
            yield from _entries(child.path, path + b"/")


def _entry(child: os.DirEntry[bytes], path: bytes) -> _Entry:
    mode = child.stat(follow_symlinks=False).st_mode
    if stat.S_ISREG(mode):
        return _Entry(path, b"x" if mode & stat.S_IXUSR else b"f", _content(child.path))
    if stat.S_ISLNK(mode):
        return _Entry(path, b"l", hashlib.sha256(os.readlink(child.path)).digest())
    return _Entry(path, b"d" if stat.S_ISDIR(mode) else b"o", _NOTHING)


def _content(path: bytes | Path) -> bytes:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
