"""The log of one attempt of a step, in the state folder."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import aiofiles
import aiofiles.threadpool.text
from anyio.to_thread import run_sync

from sbkube.errors import SbkubeError, is_disk_full

OnFailure = Callable[[Path, OSError], None]


class StepLog:
    """There is no file until there is a line.

    One that cannot be written fails no step: what a command does is worth more than what it prints, and half of it
    may be done. The rest is told and not kept, and `on_failure` hears of it once.
    """

    def __init__(self, path: Path, tell: Callable[[str], None], on_failure: OnFailure) -> None:
        self._path = path
        self._tell = tell
        self._on_failure = on_failure
        self._waiting: list[str] = []
        self._size = 0
        self._has_failed = False
        self._file: aiofiles.threadpool.text.AsyncTextIOWrapper | None = None

    async def write(self, line: str) -> None:
        self._tell(line)
        await self._add(line)

    async def write_error(self, error: Exception) -> None:
        """Not told: the failure itself is."""
        await self._add(f"error: {error}")
        hint = getattr(error, "hint", None)
        if hint:
            await self._add(f"hint: {hint}")
        raw = error.__cause__
        if isinstance(raw, SbkubeError) and raw.message != getattr(error, "message", None):
            await self._add(f"as it was said: {raw.message}")

    async def _add(self, line: str) -> None:
        self._waiting.append(line)
        self._size += len(line)
        if self._size > _ENOUGH:
            await self.flush()

    async def flush(self) -> None:
        """Each write is a trip to another thread, so lines that came together go together."""
        text = "".join(f"{line}\n" for line in self._waiting)
        self._waiting, self._size = [], 0
        if not text or self._has_failed:
            return
        try:
            await self._write(text)
        except OSError as error:
            self._has_failed = True
            if is_disk_full(error):
                await run_sync(self._give_back)
            self._on_failure(self._path, error)

    def _give_back(self) -> None:
        """The record of how the step ends needs room more than this does."""
        with suppress(OSError):
            if self._path.stat().st_size > _KEPT:
                os.truncate(self._path, _KEPT)

    async def _write(self, text: str) -> None:
        if self._file is None:
            await run_sync(partial(self._path.parent.mkdir, mode=0o700, parents=True, exist_ok=True))
            self._file = await aiofiles.open(
                self._path, "a", encoding="utf-8", errors="backslashreplace", opener=_private
            )
        await self._file.write(text)
        await self._file.flush()

    async def close(self) -> None:
        await self.flush()
        if self._file is not None:
            with suppress(OSError):  # of what could not be written before
                await self._file.close()


_ENOUGH = 256 * 1024
_KEPT = 64 * 1024


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
