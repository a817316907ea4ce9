"""Writing without waiting for the reader: `2>&1 | less` must not hold up time limits and Ctrl-C."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import Queue

Write = Callable[[str], None]

MOST = 50_000
"""Texts that may wait; beyond that the run waits for its reader, so that memory has an end."""


class Background:
    """One thread that writes what it is given, in that order."""

    def __init__(self) -> None:
        self._waiting: Queue[tuple[Write, str] | None] = Queue(MOST)
        self._thread = threading.Thread(target=self._work, name="sbkube output", daemon=True)
        self._thread.start()

    def put(self, write: Write, text: str) -> None:
        """`write` deals with its own errors."""
        self._waiting.put((write, text))

    def close(self) -> None:
        """Returns when all is written."""
        self._waiting.put(None)
        self._thread.join()

    def _work(self) -> None:
        while (told := self._waiting.get()) is not None:
            write, text = told
            write(text)
