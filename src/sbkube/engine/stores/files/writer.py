"""The one thread that writes a journal: takes all that is queued, one write, one sync, tells who waits.

Batching needs no timer: while one sync runs, the next batch gathers. What was not synced is never
acknowledged; after each sync and before the acknowledgement the writer looks whether a newer journal
exists, and if so acknowledges nothing (the fence: claim, read, head on the other side, `recovery.py`).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from queue import SimpleQueue
from typing import NamedTuple

from ...errors import EngineError, Fenced, StateNotSaved
from ...fingerprints import Json
from .disk import Disk, write_all
from .folder import JournalFolder
from .journal import OpenJournal
from .threads import Callback, Post

_LOOP_ANSWERS_WITHIN = 5.0


class Entry(NamedTuple):
    """What is queued: a record, and whom to tell when it is durable."""

    kind: str
    """Empty: nothing to write, only to be told when all before it is durable."""
    at: str
    fields: Mapping[str, Json]
    on_durable: Callback | None


Head = tuple[str, Mapping[str, Json]]


class JournalWriter:
    """`post` runs a callback in the event loop; `start_over` gives the whole state as the head of a new journal.

    A failed write or sync is final for its file: the kernel may report it once and call the lost pages
    clean. The writer then goes on once in a further journal, with all that was queued in its head.
    """

    def __init__(
        self,
        disk: Disk,
        folder: JournalFolder,
        journal: OpenJournal,
        post: Post,
        start_over: Callable[[], Head],
    ) -> None:
        self._disk = disk
        self._folder = folder
        self.journal = journal
        self._post = post
        self._start_over = start_over
        self._queue: SimpleQueue[Entry | None] = SimpleQueue()
        self._on_failure: list[Callback] = []
        self.on_told: Callback | None = None
        """Called after each batch of `on_durable`."""
        self.failure: EngineError | None = None
        self.busy_since: float | None = None
        self._fresh_start_left = True
        self._gave_up = False
        self._thread = threading.Thread(target=self._work, name="sbkube journal", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def put(self, entry: Entry) -> None:
        self._queue.put(entry)

    def on_failure(self, tell: Callback) -> None:
        if self.failure is None:
            self._on_failure.append(tell)
        else:
            tell()

    def forget(self, tell: Callback) -> None:
        if tell in self._on_failure:
            self._on_failure.remove(tell)

    def stop(self) -> None:
        """Closes the file; a thread that hangs in the disk is left behind and cannot acknowledge any more."""
        self._queue.put(None)
        self._thread.join(timeout=1.0 if self.failure is None else 0.2)

    def fail(self, error: EngineError) -> None:
        """In the event loop: from here on nothing is taken and nothing acknowledged."""
        if self.failure is None:
            self.failure = error
            told, self._on_failure = self._on_failure, []
            for tell in told:
                tell()

    # In the thread

    def _work(self) -> None:
        last = False
        while not last:
            batch, last = self._take()
            try:
                self._commit(batch)
            except Exception as error:  # noqa: BLE001 - a thread that died would leave all waiting
                self._recover_from(error, batch)
        self._close(self.journal)

    def _take(self) -> tuple[list[Entry], bool]:
        entries = [self._queue.get()]
        entries += [self._queue.get_nowait() for _ in range(self._queue.qsize())]
        return [entry for entry in entries if entry is not None], None in entries

    def _commit(self, batch: list[Entry]) -> None:
        # After a line that was lost any further one would vouch for it.
        if self._gave_up or self.failure is not None:
            return
        journal = self.journal
        lines = [
            journal.encoder.line(entry.kind, journal.durable, entry.at, entry.fields)
            for entry in batch
            if entry.kind
        ]
        if lines:
            with self._busy():
                write_all(self._disk, journal.fd, b"".join(lines))
                self._disk.sync(journal.fd)
                self._folder.refuse_if_fenced(self._disk, journal.number)
            journal.durable = journal.encoder.next_seq - 1
        self._acknowledge(batch)

    @contextmanager
    def _busy(self) -> Iterator[None]:
        self.busy_since = time.monotonic()
        try:
            yield
        finally:
            self.busy_since = None

    def _acknowledge(self, batch: list[Entry]) -> None:
        told = [entry.on_durable for entry in batch if entry.on_durable is not None]
        if told:
            self._post(lambda: self._tell(told))

    def _tell(self, told: list[Callback]) -> None:
        if self.failure is None:
            for tell in told:
                tell()
            if self.on_told is not None:
                self.on_told()

    def _recover_from(self, error: Exception, batch: list[Entry]) -> None:
        if isinstance(error, OSError) and self._fresh_start_left and self.failure is None:
            self._fresh_start_left = False
            try:
                self._go_on_in_a_further_journal(batch)
            except FileExistsError:
                error = Fenced(self._folder.path(self.journal.number + 1))
            except Exception as second:  # noqa: BLE001 - a full disk is told by the error that came first
                error = second if isinstance(second, EngineError) else error
            else:
                return
        self._gave_up = True
        final = error if isinstance(error, EngineError) else StateNotSaved(in_words(error))
        self._post(lambda: self.fail(final))

    def _go_on_in_a_further_journal(self, batch: list[Entry]) -> None:
        at, fields, covered = self._state_with_all_that_is_queued(batch)
        # Exactly the next number: if another process has that one, it has taken over.
        with self._busy():
            journal = self._folder.create(self._disk, self.journal.number + 1)
            try:
                self._folder.write_head(self._disk, journal, at, fields)
                self._folder.refuse_if_fenced(self._disk, journal.number)
            except BaseException:
                self._close(journal)
                raise
        self._close(self.journal)
        self.journal = journal
        self._acknowledge(covered)

    def _state_with_all_that_is_queued(
        self, batch: list[Entry]
    ) -> tuple[str, Mapping[str, Json], list[Entry]]:
        taken = threading.Event()
        covered = list(batch)
        heads: list[Head] = []

        def take() -> None:
            # In the event loop nothing is appended meanwhile, so this state covers all that is queued.
            heads.append(self._start_over())
            queued = [self._queue.get_nowait() for _ in range(self._queue.qsize())]
            covered.extend(entry for entry in queued if entry is not None)
            if None in queued:
                self._queue.put(None)
            taken.set()

        self._post(take)
        if not taken.wait(_LOOP_ANSWERS_WITHIN):
            raise TimeoutError
        at, fields = heads[0]
        return at, fields, covered

    def _close(self, journal: OpenJournal) -> None:
        with suppress(OSError):
            self._disk.close(journal.fd)


def in_words(error: Exception) -> str:
    if not isinstance(error, OSError):
        return f"{type(error).__name__}: {error}"
    where = f"{error.filename}: " if error.filename else ""
    return f"{where}{error.strerror or error}"
