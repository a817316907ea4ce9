"""The key of a state folder: it makes digests of secrets that show a change and nothing else, and names the folder's own.

Without one there is nothing to compare with either, so whoever only looks makes do with a key that is forgotten.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_SIZE = 32


@dataclass(frozen=True, slots=True)
class StateKey:
    """All of it blocks."""

    file: Path

    @property
    def is_there(self) -> bool:
        return self.file.exists() and self.file.stat().st_size == _SIZE

    def read(self) -> bytes:
        """One that nobody keeps, if there is none."""
        with suppress(FileNotFoundError):
            key = self.file.read_bytes()
            if len(key) == _SIZE:
                return key
        return secrets.token_bytes(_SIZE)

    def write(self, key: bytes | None = None) -> None:
        """This one, or a new one. Only under the run lock; renamed, so that part of a key is never taken for one."""
        fresh = self.file.with_name(f".{self.file.name}.unfinished")
        descriptor = os.open(fresh, os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(key or secrets.token_bytes(_SIZE))
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self.file)

    def owner(self) -> str:
        """Which state folder made a release: no other has this key, and nobody can guess it from what is said here."""
        return hashlib.sha256(b"owner of releases\0" + self.file.read_bytes()).hexdigest()[:16]


def keyed_digest(key: bytes, environ: Mapping[str, str], name: str) -> str | None:
    """HMAC-SHA-256 of a variable's value, so that a change shows and the value does not."""
    value = environ.get(name)
    if value is None:
        return None
    return hmac.new(key, value.encode("utf-8", "surrogateescape"), hashlib.sha256).hexdigest()
