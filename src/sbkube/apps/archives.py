"""Charts as `.tgz`, from whoever packed them: unpacked without trusting a byte. Blocking.

`tarfile` reads whatever size a header names into memory, and one extended header after the other without end. So it
reads through `_Bounded`, which counts; what a chart of Helm may hold is far below every bound.
"""

from __future__ import annotations

import gzip
import shutil
import tarfile
import zlib
from pathlib import Path, PurePosixPath
from typing import BinaryIO, cast

from sbkube.errors import is_disk_full

LARGEST = 100 * 1024 * 1024
"""Bytes that an archive may unpack to, headers included: Helm's own bound."""
MOST_FILES = 20_000
_LARGEST_HEADER = 1024 * 1024
_CHUNK = 64 * 1024

_KINDS = {
    tarfile.SYMTYPE: "a link",
    tarfile.LNKTYPE: "a link",
    tarfile.CHRTYPE: "a device",
    tarfile.BLKTYPE: "a device",
    tarfile.FIFOTYPE: "a named pipe",
}


class BadArchive(Exception):
    """Why an archive is not unpacked, in words that follow the name of it."""


def unpack(source: Path, into: Path) -> None:
    """Files and folders only, each inside and each once. Raises `BadArchive`."""
    into.mkdir()
    try:
        with gzip.open(source) as content:
            bounded = _Bounded(cast(BinaryIO, content))
            with tarfile.open(fileobj=cast(BinaryIO, bounded), mode="r:") as archive:
                _extract_all(archive, bounded, into)
    except (tarfile.TarError, zlib.error, EOFError, ValueError) as error:
        raise BadArchive(f"cannot be unpacked: {error}") from error
    except RecursionError as error:
        raise BadArchive("cannot be unpacked: it has extended headers without end") from error
    except OSError as error:
        if is_disk_full(error):
            raise
        raise BadArchive(f"cannot be unpacked: {error.strerror or error}") from error


def _extract_all(archive: tarfile.TarFile, bounded: _Bounded, into: Path) -> None:
    seen: set[PurePosixPath] = set()
    for count, member in enumerate(archive):
        if count == MOST_FILES:
            raise BadArchive(f"holds more than {MOST_FILES:,} files")
        bounded.left = LARGEST
        _extract(archive, member, into, seen)
        bounded.left = _LARGEST_HEADER
    bounded.left = LARGEST
    while bounded.read(_CHUNK):
        pass  # only at its end gzip says whether the content is what was packed


def _extract(archive: tarfile.TarFile, member: tarfile.TarInfo, into: Path, seen: set[PurePosixPath]) -> None:
    """`filter="data"` of tarfile would do for names, but 3.11 has it only from 3.11.4 on."""
    relative = PurePosixPath(member.name)
    if member.size < 0:
        raise BadArchive(f"holds {member.name!r}, which has {member.size} bytes")
    if relative.is_absolute() or ".." in relative.parts:
        raise BadArchive(f"holds {member.name!r}, which is no path inside it")
    if member.issparse() or not (member.isfile() or member.isdir()):
        kind = "a sparse file" if member.issparse() else _KINDS.get(member.type, "neither file nor folder")
        raise BadArchive(f"holds {member.name!r}, which is {kind}")
    path = into / relative
    if member.isdir():
        path.mkdir(parents=True, exist_ok=True)
        return
    if relative in seen:
        raise BadArchive(f"holds {member.name!r} twice")
    seen.add(relative)
    path.parent.mkdir(parents=True, exist_ok=True)
    content = archive.extractfile(member)
    assert content is not None
    with content, path.open("xb") as file:
        shutil.copyfileobj(content, file)


class _Bounded:
    """As much of a file as `tarfile` uses; `left` is what may be read until somebody looks again."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.left = _LARGEST_HEADER

    def read(self, size: int) -> bytes:
        self.left -= size
        if size < 0 or self.left < 0:
            raise BadArchive(f"cannot be unpacked: it has a header of more than {_LARGEST_HEADER >> 20} MiB")
        data = self._file.read(size)
        self._refuse_beyond(self._file.tell())
        return data

    def seek(self, position: int) -> int:
        if position < self._file.tell():  # a size below zero: some versions of `tarfile` go round in circles
            raise BadArchive("cannot be unpacked: it has a file of less than 0 bytes")
        self._refuse_beyond(position)
        return self._file.seek(position)

    def tell(self) -> int:
        return self._file.tell()

    def _refuse_beyond(self, position: int) -> None:
        if position > LARGEST:
            raise BadArchive(f"unpacks to more than {LARGEST >> 20} MiB")
