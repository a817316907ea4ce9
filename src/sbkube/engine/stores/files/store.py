"""The store in a folder: who may write, and what is written when.

lock                  flock'd by the one process that runs
journal/000457.jsonl  one per execution opened here; the truth
runs/latest.json      a view of the newest run
runs/000123.json      the same view, one per run, written when a process ends its work on it
runs/000123/plan.json the graph and the planned fingerprints; never changed
"""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

import anyio
from anyio.lowlevel import checkpoint
from pydantic_core import to_json

from ...errors import EngineError, StateNotSaved, StateNotWritable, StoreError
from ...state import ExecutionState, RunStatus, StepExecution, now, run_status
from ..base import Opening, StateMoved
from .disk import UNFINISHED, Disk, ensure_folder, write_atomically
from .execution import Execution
from .journal import OpenJournal
from .lock import Holder, RunLock
from .reader import FileReader
from .recovery import Recovered, born
from .threads import Watch, in_time, on_thread, post_to_this_loop
from .view import Ending, View, ViewWriter
from .writer import Entry, Head, JournalWriter, in_words

T = TypeVar("T")

_RUN = re.compile(r"(\d{6,})(\.json)?")
_RETRY_LOCK_EVERY = 0.05
_GIVEN_UP_WITHIN = 5.0


@dataclass(frozen=True, slots=True)
class _Threads:
    writer: JournalWriter
    view: ViewWriter
    watch: Watch
    limit: float

    def start(self) -> None:
        self.writer.start()
        self.view.start()
        self.watch.start()

    def stop(self, ending: Ending | None) -> OSError | None:
        self.watch.stop()
        self.writer.stop()
        # Without an ending somebody gave up: then a view that hangs is not worth waiting for.
        return self.view.stop(ending, self.limit if ending else min(self.limit, _GIVEN_UP_WITHIN))


@dataclass(slots=True)
class _Shown:
    """What became durable with the batch at hand, for the view."""

    steps: dict[str, StepExecution] = field(default_factory=dict)
    seq: int = 0


class FileStore(FileReader):
    """One process's store: opened with the run lock, carries one execution at a time."""

    def __init__(
        self, path: str | Path, *, disk: Disk | None = None, lock: bool = True, commit_deadline: float = 30.0
    ) -> None:
        super().__init__(path, disk)
        self._lock = RunLock(self.path / "lock") if lock else None
        self._commit_deadline = commit_deadline
        self._holder = Holder.this_process()
        self._recovered_from: Recovered | None = None
        self._claimed: OpenJournal | None = None
        self._execution: Execution | None = None
        self._threads: _Threads | None = None
        self._opened: ExecutionState | None = None
        self._shown = _Shown()

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        path: str | Path,
        *,
        disk: Disk | None = None,
        lock: bool = True,
        lock_wait: float = 1.0,
        commit_deadline: float = 30.0,
    ) -> AsyncIterator[FileStore]:
        """Makes the folder where needed and takes the run lock.

        Raises `RunLocked`, naming the holder, if another store has it for `lock_wait` seconds, and
        `StateNotWritable`. A disk that does not answer for `commit_deadline` seconds makes the store fail.
        `lock=False` is for disks that cannot lock: the journal numbers alone keep what was acknowledged.
        """
        store = cls(path, disk=disk, lock=lock, commit_deadline=commit_deadline)
        try:
            await store._in_time(store._make_folders)
            await store._take_lock(lock_wait)
            await store._in_time(store._tidy)
            yield store
            await store.close_execution()
        except BaseException:
            # The host ends by itself, so the views say how far it came; its own error is the one to tell.
            with anyio.CancelScope(shield=True), suppress(StoreError):
                await store.close_execution()
            raise
        finally:
            with anyio.CancelScope(shield=True):
                await store._close()

    @staticmethod
    def read(path: str | Path) -> FileReader:
        """For status, history and plans: takes no lock, creates nothing."""
        return FileReader(path)

    # Opening

    async def _in_time(self, work: Callable[[], T]) -> T:
        try:
            answer = await in_time(work, self._commit_deadline)
        except OSError as error:
            # Also a TimeoutError: it is an OSError without a file.
            path = Path(error.filename or self.path)
            raise StateNotWritable(path, error.strerror or str(error)) from error
        return answer

    def _make_folders(self) -> None:
        for folder in (self.path, self._journals.folder, self._runs):
            ensure_folder(self._disk, folder)
        # What is durable in a folder whose own entry is not would be lost with it.
        self._disk.sync_folder(self.path)
        with suppress(PermissionError):
            self._disk.sync_folder(self.path.parent)

    def _tidy(self) -> None:
        if self._lock is not None:
            # Under the lock nobody else is writing: these are what killed processes left half-written.
            for folder in (self.path, self._runs):
                for name in self._disk.names(folder):
                    if name.startswith(".") and name.endswith(UNFINISHED):
                        self._disk.remove(folder / name)
        if not self._disk.exists(self.path / ".gitignore"):
            write_atomically(self._disk, self.path / ".gitignore", b"*\n", sync_folder=False)

    async def _take_lock(self, wait: float) -> None:
        lock = self._lock
        if lock is None:
            return
        give_up = time.monotonic() + wait
        while not await on_thread(lambda: lock.try_take(self._holder)):
            if time.monotonic() >= give_up:
                raise lock.held_by()
            await anyio.sleep(_RETRY_LOCK_EVERY)

    async def recover(self, profile: str | None) -> ExecutionState | None:
        self._recovered_from = await self._in_time(lambda: self._recovered(profile))
        return None if self._recovered_from is None else self._recovered_from.settled()

    async def open_execution(self, opening: Opening) -> ExecutionState:
        if self.failure is not None:
            # Whoever relied on that execution was told.
            await self._stop_threads(None)
        await self.close_execution()
        execution, journal = await self._in_time(lambda: self._write_opening(opening))
        state: ExecutionState = execution.state(journal.number, RunStatus.IN_PROGRESS)
        self._execution, self._opened, self._shown = execution, state, _Shown()
        self._threads = self._new_threads(execution, journal, state)
        self._threads.start()
        return state

    def _write_opening(self, opening: Opening) -> tuple[Execution, OpenJournal]:
        if self._claimed is None:
            self._claimed = self._journals.claim(self._disk)
        journal = self._claimed
        if self._has_moved(opening.profile, journal.number):
            raise StateMoved
        run = opening.run or self._new_run()
        execution = Execution(opening, self._recovered_from, run, dict(opening.steps))
        self._write_plan(run, opening)
        # Half a head may be written when this fails, so the number is used up whatever happens.
        self._claimed = None
        try:
            self._journals.write_head(self._disk, journal, now(), execution.head(self._holder))
            self._journals.refuse_if_fenced(self._disk, journal.number)
        except BaseException:
            self._disk.close(journal.fd)
            raise
        return execution, journal

    def _has_moved(self, profile: str | None, claimed: int) -> bool:
        """Claim, then read: whether a process wrote since `recover` that did not see our claim."""
        known = self._recovered_from
        newest = 0 if known is None else known.state.journal
        others = set(self._journals.numbers(self._disk)) - {claimed}
        if max(others, default=0) <= newest:
            # Nothing to parse again: only the end of that one journal may be new.
            return known is not None and len(self._disk.read(self._journals.path(newest))) != known.size
        current = self._recovered(profile)
        if known is None or current is None:
            return known is not current
        return (newest, known.size) != (current.state.journal, current.size)

    def _new_run(self) -> int:
        """The next number, exclusively: two processes without a lock must not share a folder."""
        taken = [int(m[1]) for m in map(_RUN.fullmatch, self._disk.names(self._runs)) if m]
        known = 0 if self._recovered_from is None else self._recovered_from.state.run
        for run in count(max(known, *taken, 0) + 1):
            with suppress(FileExistsError):
                self._disk.make_folder(self.run_folder(run))
                return run
        raise AssertionError("numbers do not end")

    def _write_plan(self, run: int, opening: Opening) -> None:
        plan = self.run_folder(run) / "plan.json"
        if not self._disk.exists(plan):
            ensure_folder(self._disk, self.run_folder(run))
            write_atomically(self._disk, plan, to_json(opening.plan))
            self._disk.sync_folder(self._runs)

    def _new_threads(self, execution: Execution, journal: OpenJournal, state: ExecutionState) -> _Threads:
        post = post_to_this_loop()
        start_over = partial(self._start_over, execution)
        writer = JournalWriter(self._disk, self._journals, journal, post, start_over)
        view = ViewWriter(self._disk, self.latest_view, View(state, self._holder.to_record()))
        writer.on_told = partial(self._show, writer, view)
        limit = self._commit_deadline
        hung = StateNotSaved(f"the disk of {self.path} did not answer for {limit:g} s")
        watch = Watch(lambda: writer.busy_since, limit, lambda: post(lambda: writer.fail(hung)))
        return _Threads(writer, view, watch, limit)

    # Writing

    @property
    def opened(self) -> ExecutionState | None:
        return self._opened

    def append(
        self, step: StepExecution, change: Mapping[str, Any], at: str, on_durable: Callable[[], None] | None
    ) -> None:
        execution, threads = self._execution, self._threads
        assert execution is not None, "no execution is open"
        assert threads is not None
        writer = threads.writer
        if writer.failure is not None:
            return
        execution.steps[step.name] = step
        execution.seq += 1
        seq, generation, shown = execution.seq, execution.generation, self._shown

        def durable() -> None:
            shown.steps[step.name] = step
            # A journal opened further on has all that was queued before it in its head.
            shown.seq = seq if generation == execution.generation else 0
            if on_durable is not None:
                on_durable()

        writer.put(Entry("step", at, {"s": step.name, **change}, durable))

    def _show(self, writer: JournalWriter, view: ViewWriter) -> None:
        """After each batch, so that the view costs one turn a batch and not one a step."""
        shown = self._shown
        if shown.steps:
            view.changed(shown.steps, writer.journal.number, shown.seq)
            shown.steps.clear()

    def _start_over(self, execution: Execution) -> Head:
        execution.seq = 0
        execution.generation += 1
        return now(), execution.head(self._holder)

    async def flush(self) -> None:
        threads = self._threads
        if threads is None:
            await checkpoint()
            return
        await _flush(threads.writer)

    def on_failure(self, tell: Callable[[], None]) -> None:
        if self._threads is not None:
            self._threads.writer.on_failure(tell)

    @property
    def failure(self) -> EngineError | None:
        return None if self._threads is None else self._threads.writer.failure

    # Closing

    async def close_execution(self) -> ExecutionState | None:
        execution, threads = self._execution, self._threads
        if execution is None or threads is None:
            return None
        # Shielded as a whole: the watch bounds the wait for the journal, and the view has its own limit.
        with anyio.CancelScope(shield=True):
            try:
                closed = await self._end(execution, threads.writer)
            finally:
                await self._stop_threads(None)
        return closed

    async def _end(self, execution: Execution, writer: JournalWriter) -> ExecutionState:
        status = run_status(execution.steps.values(), alive=False, ended=True)
        if writer.failure is None:
            execution.ended_at = at = now()
            execution.seq += 1
            writer.put(Entry("end", at, {"status": status}, None))
        await _flush(writer)
        assert execution.ended_at is not None
        journal, also = writer.journal.number, self.run_view(execution.run)
        error = await self._stop_threads(Ending(status, execution.ended_at, journal, execution.seq, also))
        if error is not None:
            raise StateNotSaved(f"{in_words(error)}; the journal is complete, the view is behind") from error
        return execution.state(journal, status)

    async def _stop_threads(self, ending: Ending | None) -> OSError | None:
        threads, self._threads, self._execution = self._threads, None, None
        error = None
        if threads is not None:
            with anyio.CancelScope(shield=True):
                error = await on_thread(lambda: threads.stop(ending))
        return error

    async def _close(self) -> None:
        await self._stop_threads(None)
        if self._claimed is not None:
            self._disk.close(self._claimed.fd)
            self._claimed = None
        if self._lock is not None:
            self._lock.give_back()

    # Retention

    async def remove_runs(self, keep: int) -> list[int]:
        open_run = None if self._execution is None else self._execution.run
        return await self._in_time(lambda: self._remove_runs(max(keep, 1), open_run))

    def _remove_runs(self, keep: int, open_run: int | None) -> list[int]:
        """The newest run of each profile stays too: its journal has the last completions."""
        journals = self._journals_of_runs()
        names = self._disk.names(self._runs)
        runs = {int(m[1]) for m in map(_RUN.fullmatch, names) if m} | journals.keys()
        newest: dict[str | None, int] = {}
        for found in born(self._disk, self._journals, self._runs):
            newest.setdefault(found.state.profile, found.state.run)
        gone = sorted(runs - {open_run, *newest.values(), *sorted(runs, reverse=True)[:keep]})
        # The highest number stays: it fences off those below it, and must not be given out again.
        highest = max(self._journals.numbers(self._disk), default=0)
        for run in gone:
            self._remove_run(run, [number for number in journals.get(run, []) if number != highest])
        return gone

    def _remove_run(self, run: int, journals: list[int]) -> None:
        # The oldest first, so that what a crash leaves is what the run last was.
        for number in reversed(journals):
            self._disk.remove(self._journals.path(number))
        self._disk.remove(self.run_view(run))
        self._disk.remove_folder(self.run_folder(run))


async def _flush(writer: JournalWriter) -> None:
    if writer.failure is None:
        durable = anyio.Event()
        writer.on_failure(durable.set)
        writer.put(Entry("", "", {}, durable.set))
        try:
            await durable.wait()
        finally:
            writer.forget(durable.set)
    else:
        await checkpoint()
    if writer.failure is not None:
        raise writer.failure
