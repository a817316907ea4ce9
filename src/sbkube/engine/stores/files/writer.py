"""The one thread that writes a journal: takes all that is queued, one write, one sync, tells who waits.

Batching needs no timer: while one sync runs, the next batch gathers. What was not synced is never
acknowledged; after each sync and before the acknowledgement the writer looks whether a newer journal
exists, and if so acknowledges nothing (the fence: claim, read, head on the other side, `recovery.py`).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from queue import SimpleQueue

from ...errors import EngineError, Fenced, StateNotSaved
from ...fingerprints import Json
from .disk import Disk, write_all
from .journal import Encoder
from .recovery import JournalFolder

Callback = Callable[[], None]
Post = Callable[[Callback], None]


@dataclass(frozen=True, slots=True)
class Entry:
    kind: str
    """Empty: nothing to write, only to be told when all before it is durable."""
    at: str
    fields: Mapping[str, Json]
    on_durable: Callback | None


@dataclass(slots=True)
class OpenJournal:
    number: int
    fd: int
    encoder: Encoder
    durable: int = -1


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
        start_over: Callable[[], tuple[str, Mapping[str, Json]]],
    ) -> None:
        self._disk = disk
        self._folder = folder
        self.journal = journal
        self._post = post
        self._start_over = start_over
        self._queue: SimpleQueue[Entry | None] = SimpleQueue()
        self._on_failure: list[Callback] = []
        self.failure: EngineError | None = None
        self.busy_since: float | None = None
        self._fresh_start_left = True
        self._thread = threading.Thread(target=self._work, name="sbkube journal", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def put(self, entry: Entry) -> None:
        self._queue.put(entry)

    def on_failure(self, tell: Callback) -> None:
        self._on_failure.append(tell)

    def forget(self, tell: Callback) -> None:
        self._on_failure.remove(tell)

    def stop(self) -> None:
        """Closes the file; a thread that hangs in the disk is left behind and cannot acknowledge any more."""
        self._queue.put(None)
        self._thread.join(timeout=1.0 if self.failure is None else 0.05)

    def fail(self, error: EngineError) -> None:
        """In the event loop: from here on nothing is taken and nothing acknowledged."""
        if self.failure is None:
            self.failure = error
            for tell in self._on_failure:
                tell()

    # In the thread

    def _work(self) -> None:
        while True:
            batch, last = self._take()
            try:
                self._commit(batch)
            except (OSError, EngineError) as error:
                self._recover_from(error, batch)
            if last:
                break
        if self.busy_since is None:
            self._close()

    def _take(self) -> tuple[list[Entry], bool]:
        entries = [self._queue.get()]
        entries += [self._queue.get_nowait() for _ in range(self._queue.qsize())]
        return [entry for entry in entries if entry is not None], None in entries

    def _commit(self, batch: list[Entry]) -> None:
        if self.failure is not None or not batch:
            return
        journal = self.journal
        lines = [
            journal.encoder.line(entry.kind, journal.durable, entry.at, entry.fields)
            for entry in batch
            if entry.kind
        ]
        if lines:
            self.busy_since = time.monotonic()
            write_all(self._disk, journal.fd, b"".join(lines))
            self._disk.sync(journal.fd)
            self._refuse_if_fenced()
            journal.durable = journal.encoder.next_seq - 1
            self.busy_since = None
        self._acknowledge(batch)

    def _refuse_if_fenced(self) -> None:
        newer = self._folder.path(self.journal.number + 1)
        if self._disk.exists(newer):
            raise Fenced(newer)

    def _acknowledge(self, batch: list[Entry]) -> None:
        told = [entry.on_durable for entry in batch if entry.on_durable is not None]
        if told:
            self._post(lambda: self._tell(told))

    def _tell(self, told: list[Callback]) -> None:
        if self.failure is None:
            for tell in told:
                tell()

    def _recover_from(self, error: OSError | EngineError, batch: list[Entry]) -> None:
        self.busy_since = None
        if isinstance(error, OSError) and self._fresh_start_left:
            self._fresh_start_left = False
            if self._go_on_in_a_further_journal(batch):
                return
        final = error if isinstance(error, EngineError) else StateNotSaved(_in_words(error))
        self._post(lambda: self.fail(final))

    def _go_on_in_a_further_journal(self, batch: list[Entry]) -> bool:
        taken = threading.Event()
        covered = list(batch)
        head: list[tuple[str, Mapping[str, Json]]] = []

        def take_state() -> None:
            # In the event loop nothing is appended meanwhile, so this state covers all that is queued.
            head.append(self._start_over())
            covered.extend(e for e in (self._queue.get_nowait() for _ in range(self._queue.qsize())) if e)
            taken.set()

        self._post(take_state)
        if not taken.wait(5.0):
            return False
        try:
            journal = self._folder.claim(self._disk, above=self.journal.number)
            if journal.number != self.journal.number + 1:
                return False
            at, fields = head[0]
            write_head(self._disk, self._folder, journal, at, {**fields, "journal": journal.number})
            if self._disk.exists(self._folder.path(journal.number + 1)):
                return False
        except OSError:
            return False
        self._close()
        self.journal = journal
        self._acknowledge(covered)
        return True

    def _close(self) -> None:
        try:
            self._disk.close(self.journal.fd)
        except OSError:
            return


def write_head(
    disk: Disk, folder: JournalFolder, journal: OpenJournal, at: str, fields: Mapping[str, Json]
) -> None:
    write_all(disk, journal.fd, journal.encoder.line("head", -1, at, fields))
    disk.sync(journal.fd)
    disk.sync_folder(folder.folder)
    journal.durable = 0


def _in_words(error: OSError) -> str:
    where = f"{error.filename}: " if error.filename else ""
    return f"{where}{error.strerror or error}"
