"""Digests of what stages read, when a run is planned and again when a stage starts."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from anyio.to_thread import run_sync

from sbkube.apps.files import FileInput, digest_input
from sbkube.errors import Position, SbkubeError


class Unreadable(SbkubeError):
    """A file or folder that the project reads is there and cannot be read."""

    def __init__(self, path: Path, error: OSError, where: Position) -> None:
        super().__init__(f"cannot read {error.filename or path}: {error.strerror or error}", where=where)
        self.path = path


async def digest_all(files: Iterable[FileInput]) -> dict[Path, str | None]:
    """Each path once."""
    first: dict[Path, FileInput] = {}
    for file in files:
        if file.path is not None:
            first.setdefault(file.path, file)

    def all_of_them() -> dict[Path, str | None]:
        return {path: digest_or_explain(file) for path, file in first.items()}

    return await run_sync(all_of_them, abandon_on_cancel=True)  # a file may never come; Ctrl-C does


def digest_or_explain(file: FileInput) -> str | None:
    """Blocking; raises `Unreadable` with the line that names it."""
    assert file.path is not None
    try:
        return digest_input(file.path)
    except OSError as error:
        raise Unreadable(file.path, error, file.where) from error
