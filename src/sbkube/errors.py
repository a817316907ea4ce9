"""What sbkube refuses or cannot do, in words for the person who has to mend it."""

from __future__ import annotations

import errno
from dataclasses import dataclass
from pathlib import Path


def as_text(name: str) -> str:
    """The name of a file that nobody wrote in the config, for a line of text: it may be no UTF-8, or have lines."""
    return "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in name)


@dataclass(frozen=True, slots=True)
class Position:
    """Where in a file something was written; lines and columns count from 1."""

    file: Path
    line: int | None = None
    column: int | None = None

    def __str__(self) -> str:
        """From the current folder where the file is below it."""
        file = self.file
        if file.is_absolute() and file.is_relative_to(Path.cwd()):
            file = file.relative_to(Path.cwd())
        parts = (as_text(str(file)), self.line, self.column)
        return ":".join(str(part) for part in parts if part is not None)


class SbkubeError(Exception):
    """What was wrong with what, where it stands, and a hint that works."""

    transient = False
    """Whether the same may succeed in a moment, by itself."""
    after: float | None = None
    """Seconds to wait before the next try, where more is known of it than that."""

    def __init__(self, message: str, *, hint: str | None = None, where: Position | None = None) -> None:
        super().__init__(message if where is None else f"{where}: {message}")
        self.message = message
        self.hint = hint
        self.where = where

    def set_place(self, where: Position) -> None:
        """Where it stands, for one that was raised by who could not know."""
        if self.where is None:
            self.where = where
            self.args = (f"{where}: {self.message}",)


class Busy(SbkubeError):
    """Another process works on the same; nothing was done."""


class TakenOver(SbkubeError):
    """This process may be alone no more with what it works on, so it stopped."""


class ConfigError(SbkubeError):
    """What the user wrote cannot be taken as it is."""


class NotYet(SbkubeError):
    """Something valid that this version does not do."""

    def __init__(self, what: str, *, where: Position | None = None, hint: str | None = None) -> None:
        hint = hint or "disable it with `enabled: false`, or remove it"
        super().__init__(f"{what} is not supported yet", where=where, hint=hint)
        self.what = what


_NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})


def is_disk_full(error: OSError) -> bool:
    """Nothing more can be written to that disk: no space, no quota, read-only. Only a write ends so."""
    return error.errno in _NO_SPACE
