"""What was fetched, by the SHA-256 of its bytes, shared by every run of this user. Blocking.

    blobs/ab/ab12…       the bytes; whoever takes them checks them, so none is trusted for its name
    notes/index/cd34….json   what was last seen under a name: a hint, which the digest in it makes good
    incoming/            what is being fetched now, or was when its process died

A blob is written under `incoming` and renamed, so there is never half of one, and two processes that fetch the same
leave the same. Nothing is locked. Nothing needs to be synced either: what a power cut spoils does not have its digest.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from sbkube.errors import is_disk_full
from sbkube.fetch.errors import FetchError

_DAY = 24 * 3600.0
_CAME = "came"
_CHUNK = 1024 * 1024


def cache_folder(environ: Mapping[str, str]) -> Path:
    """Of the environment that is given."""
    if own := environ.get("SBKUBE_CACHE_DIR"):
        return Path(own).expanduser().absolute()
    if (shared := environ.get("XDG_CACHE_HOME")) and Path(shared).is_absolute():
        return Path(shared) / "sbkube"
    return Path(environ.get("HOME") or Path.home()) / ".cache" / "sbkube"


class CacheUnusable(FetchError):
    """The disk of the cache does not take what was fetched."""

    def __init__(self, path: Path, error: OSError) -> None:
        first = "free some space there, or " if is_disk_full(error) else ""
        super().__init__(
            f"cannot write in the cache `{path}`: {error.strerror or error}",
            hint=f"{first}set SBKUBE_CACHE_DIR to another folder",
        )
        self.path = path


@dataclass(frozen=True, slots=True)
class Blob:
    digest: str
    size: int
    used: float
    """When it was last asked for, by `time.time`."""


class Incoming:
    """Bytes on their way; digested as they come."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = open(path, "xb", opener=_private)  # noqa: SIM115 it is open as long as this lives
        self.restart()

    def restart(self) -> None:
        """From the first byte."""
        self._file.seek(0)
        self._file.truncate()
        self._digest = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes) -> None:
        with _writing(self.path):
            self._file.write(data)
        self._digest.update(data)
        self.size += len(data)

    @property
    def digest(self) -> str:
        return self._digest.hexdigest()

    def close(self) -> None:
        with _writing(self.path):
            self._file.close()

    def discard(self) -> None:
        with suppress(OSError):  # the last bytes may not fit any more either
            self._file.close()
        self.path.unlink(missing_ok=True)


class Cache:
    """Made where it is first written to."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._is_swept = False

    def path(self, digest: str) -> Path:
        return self.folder / "blobs" / digest[:2] / digest

    def find(self, digest: str) -> Path | None:
        """The file of a blob, if its bytes are right; a damaged one is removed."""
        path = self.path(digest)
        if self._check(path) is not True:
            return None
        with suppress(OSError):  # a cache that may only be read is one all the same
            os.utime(path)
        return path

    def incoming(self) -> Incoming:
        if not self._is_swept:
            self._is_swept = True
            self._sweep()
        folder = self._folder("incoming")
        with _writing(folder):
            return Incoming(folder / uuid4().hex)

    def keep(self, incoming: Incoming, *, came: str | None = None) -> Path:
        """What has come is whole now; the file of its blob. `came` is whence, fit to be told."""
        incoming.close()
        path = self.path(incoming.digest)
        self._folder("blobs", path.parent.name)
        with _writing(path):
            incoming.path.replace(path)
        if came is not None:
            self.note(_CAME, incoming.digest, {"digest": incoming.digest, "came": came})
        return path

    def note(self, kind: str, name: str, value: Mapping[str, Any]) -> None:
        """What a name stood for. It must hold no credential, nor must the name."""
        if self.noted(kind, name) == {"name": name, **value}:
            return
        path = self._note(kind, name)
        self._folder("notes", kind)
        fresh = self._folder("incoming") / uuid4().hex
        with _writing(fresh):
            with open(fresh, "x", encoding="utf-8", opener=_private) as file:
                json.dump({"name": name, **value}, file)
            fresh.replace(path)

    def noted(self, kind: str, name: str) -> dict[str, Any] | None:
        with suppress(OSError, ValueError):
            value = json.loads(self._note(kind, name).read_text(encoding="utf-8"))
            if isinstance(value, dict) and value.get("name") == name:
                return value
        return None

    # Housekeeping

    def blobs(self) -> list[Blob]:
        """What is there, the last used first."""
        found = []
        for path in self.folder.glob("blobs/??/*"):
            with suppress(FileNotFoundError):
                status = path.stat()
                found.append(Blob(path.name, status.st_size, status.st_mtime))
        return sorted(found, key=lambda blob: (-blob.used, blob.digest))

    def came(self, digest: str) -> str | None:
        """Whence, where that is known."""
        came = (self.noted(_CAME, digest) or {}).get("came")
        return came if isinstance(came, str) else None

    def remove(self, digest: str) -> None:
        path = self.path(digest)
        with _writing(path):
            path.unlink(missing_ok=True)

    def tidy(self) -> None:
        """Removes what is of no use: notes of blobs that are gone, and what nobody fetches any more."""
        self._sweep()
        for path in self.folder.glob("notes/*/*"):
            with suppress(OSError, ValueError):
                digest = json.loads(path.read_text(encoding="utf-8")).get("digest")
                if digest and not self.path(str(digest).removeprefix("sha256:")).exists():
                    path.unlink()

    def verify(self) -> list[Blob]:
        """The damaged ones, which are removed."""
        return [blob for blob in self.blobs() if self._check(self.path(blob.digest)) is False]

    def _check(self, path: Path) -> bool | None:
        """None: there is none."""
        try:
            with path.open("rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() == path.name:
                    return True
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError:
            pass  # a bad disk, say: as good as damaged
        with suppress(OSError):
            path.unlink()
        return False

    def _sweep(self) -> None:
        """What processes left behind that died while they fetched: nothing takes a day between two bytes."""
        for path in self.folder.glob("incoming/*"):
            with suppress(OSError):
                if time.time() - path.stat().st_mtime > _DAY:
                    path.unlink()

    def _note(self, kind: str, name: str) -> Path:
        return self.folder / "notes" / kind / f"{hashlib.sha256(name.encode()).hexdigest()}.json"

    def _folder(self, *names: str) -> Path:
        path = self.folder.joinpath(*names)
        if not path.is_dir():
            with _writing(path):
                self.folder.parent.mkdir(parents=True, exist_ok=True)
                self.folder.mkdir(mode=0o700, exist_ok=True)
                path.mkdir(mode=0o700, parents=True, exist_ok=True)
        return path


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise CacheUnusable(path, error) from error


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC, 0o600)
