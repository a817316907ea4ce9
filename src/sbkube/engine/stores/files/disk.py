"""The few things the store asks of a disk, in one place so that tests can make each of them fail."""

from __future__ import annotations

import errno
import os
import shutil
import sys
from contextlib import suppress
from pathlib import Path

if sys.platform == "darwin":
    import fcntl

    def _sync(fd: int) -> None:
        # fsync on macOS leaves the data in the drive's cache.
        fcntl.fcntl(fd, fcntl.F_FULLFSYNC)

else:
    _sync = os.fdatasync

_NO_FOLDER_SYNC = frozenset({errno.EINVAL, errno.ENOTSUP, errno.EBADF})


UNFINISHED = ".new"
"""How the hidden files end that a crash may leave of an atomic write."""


class Disk:
    """Blocking; called from the store's own threads, or while nothing else runs."""

    def make_folder(self, path: Path) -> None:
        """Raises FileExistsError if there is something of that name."""
        os.mkdir(path, 0o700)

    def remove_folder(self, path: Path) -> None:
        shutil.rmtree(path, ignore_errors=True)

    def create(self, path: Path) -> int:
        """A new file, open for appending; raises FileExistsError."""
        return os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def write(self, fd: int, data: bytes) -> int:
        return os.write(fd, data)

    def sync(self, fd: int) -> None:
        _sync(fd)

    def close(self, fd: int) -> None:
        os.close(fd)

    def replace(self, source: Path, target: Path) -> None:
        os.replace(source, target)

    def remove(self, path: Path) -> None:
        path.unlink(missing_ok=True)

    def sync_folder(self, path: Path) -> None:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        except OSError as error:
            # Some network and shared file systems cannot; the entry is then as durable as they make it.
            if error.errno not in _NO_FOLDER_SYNC:
                raise
        finally:
            os.close(fd)

    def names(self, path: Path) -> list[str]:
        try:
            return os.listdir(path)
        except FileNotFoundError:
            return []

    def read(self, path: Path, at_most: int = -1) -> bytes:
        with path.open("rb") as file:
            return file.read(at_most)

    def is_folder(self, path: Path) -> bool:
        return path.is_dir()

    def exists(self, path: Path) -> bool:
        return os.path.lexists(path)


def ensure_folder(disk: Disk, path: Path) -> None:
    try:
        disk.make_folder(path)
    except FileExistsError:
        if not disk.is_folder(path):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path)) from None


def write_all(disk: Disk, fd: int, data: bytes) -> None:
    """Disks may take less than they are given."""
    while data:
        taken = disk.write(fd, data)
        if taken <= 0:
            raise OSError(errno.EIO, "the disk takes nothing")
        data = data[taken:]


def write_atomically(disk: Disk, path: Path, data: bytes, *, sync_folder: bool = True) -> None:
    """The file is the old one or the new one, never part of either, also after a crash."""
    fresh = path.with_name(f".{path.name}.{os.urandom(4).hex()}{UNFINISHED}")
    fd = disk.create(fresh)
    try:
        try:
            write_all(disk, fd, data)
            disk.sync(fd)
        finally:
            disk.close(fd)
        disk.replace(fresh, path)
    except OSError:
        with suppress(OSError):
            disk.remove(fresh)
        raise
    if sync_folder:
        disk.sync_folder(path.parent)
