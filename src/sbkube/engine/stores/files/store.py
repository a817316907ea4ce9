"""The store in a folder: who may write, what is written when, and what readers get.

lock                  flock'd by the one process that runs
journal/000457.jsonl  one per execution opened here; the truth
runs/latest.json      a view of the newest run
runs/000123.json      the same view, one per run, written when a process ends its work on it
runs/000123/plan.json the graph and the planned fingerprints; never changed
"""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import anyio
from anyio.lowlevel import checkpoint, current_token
from anyio.to_thread import run_sync
from pydantic_core import from_json, to_json

from .... import __version__
from ...errors import EngineError, StateNotSaved, StateNotWritable, StoreError
from ...fingerprints import Json
from ...state import FORMAT, ExecutionState, RunStatus, StepExecution, StepStatus, now, run_status
from ..base import Opening, Plan, PlannedStep, StateMoved
from .disk import Disk, write_atomically
from .lock import Holder, RunLock
from .recovery import JournalFolder, Recovered, born, recover
from .view import View, ViewWriter, is_ours
from .writer import Entry, JournalWriter, OpenJournal, Post, write_head

_RUN_VIEW = re.compile(r"(\d{6,})\.json")
_RUN_FOLDER = re.compile(r"(\d{6,})")


class FileReader:
    """What readers see of a state folder: no lock is taken, nothing is created or changed."""

    def __init__(self, path: str | Path, disk: Disk | None = None) -> None:
        self.path = Path(path)
        self._disk = disk or Disk()
        self._journals = JournalFolder(self.path / "journal")
        self._runs = self.path / "runs"

    @property
    def latest_view(self) -> Path:
        return self._runs / "latest.json"

    def run_folder(self, run: int) -> Path:
        return self._runs / f"{run:06}"

    async def latest(self, profile: str | None = None, *, any_profile: bool = False) -> ExecutionState | None:
        found = await run_sync(self._recovered, profile, any_profile)
        return None if found is None else found.as_it_stands()

    async def history(self, limit: int | None = None) -> list[ExecutionState]:
        return await run_sync(self._history, limit)

    async def plan(self, run: int) -> Plan | None:
        return await run_sync(self._plan, run)

    async def view_is_edited(self) -> bool:
        """Whether somebody changed `latest.json` by hand; such edits are not read."""
        return await run_sync(self._view_is_edited)

    def _recovered(self, profile: str | None, any_profile: bool) -> Recovered | None:
        return recover(self._disk, self._journals, self.latest_view, profile, any_profile=any_profile)

    def _view_is_edited(self) -> bool:
        try:
            data = self._disk.read(self.latest_view)
            view = from_json(data)
        except (OSError, ValueError):
            return False
        # Without `format` it is one of an older sbkube, which is left behind, not edited.
        return isinstance(view, dict) and "format" in view and not is_ours(data)

    def _history(self, limit: int | None) -> list[ExecutionState]:
        newest: dict[int, ExecutionState] = {}
        found = next(born(self._disk, self._journals, self.latest_view, any_profile=True), None)
        if found is not None:
            newest[found.state.run] = found.as_it_stands()
        others = {int(m[1]) for m in map(_RUN_VIEW.fullmatch, self._disk.names(self._runs)) if m} - set(
            newest
        )
        for run in sorted(others, reverse=True)[:limit]:
            try:
                newest[run] = ExecutionState.from_json(self._disk.read(self._runs / f"{run:06}.json"))
            except (OSError, ValueError):
                continue
        states = [newest[run] for run in sorted(newest, reverse=True)]
        return (states + self._of_older_versions())[:limit]

    def _of_older_versions(self) -> list[ExecutionState]:
        names = [n for n in self._disk.names(self._runs) if n.endswith(".json") and not n.startswith(".")]
        foreign = [n for n in names if n != "latest.json" and not _RUN_VIEW.fullmatch(n)]
        states = [
            state for name in foreign if (state := _read_older(self._disk, self._runs / name)) is not None
        ]
        return sorted(states, key=lambda state: state.started_at, reverse=True)

    def _plan(self, run: int) -> Plan | None:
        try:
            written = from_json(self._disk.read(self.run_folder(run) / "plan.json"))
        except (OSError, ValueError):
            return None
        steps = {
            id: PlannedStep(
                tuple(step["needs"]), tuple(step["after"]), step["fingerprint"], step["components"]
            )
            for id, step in written["steps"].items()
        }
        return Plan(written["hash"], steps)


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
        self._writer: JournalWriter | None = None
        self._view: ViewWriter | None = None
        self._opening: Opening | None = None
        self._run = 0
        self._steps: dict[str, StepExecution] = {}
        self._seq = 0
        self._generation = 0

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
        await run_sync(store._prepare_folder, lock_wait)
        try:
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

    def _prepare_folder(self, lock_wait: float) -> None:
        try:
            for folder in (self.path, self._journals.folder, self._runs):
                self._disk.make_folder(folder)
            if not self._disk.exists(self.path / ".gitignore"):
                write_atomically(self._disk, self.path / ".gitignore", b"*\n", sync_folder=False)
        except OSError as error:
            raise StateNotWritable(self.path, error.strerror or str(error)) from error
        if self._lock is not None:
            self._lock.take(self._holder, lock_wait)

    async def recover(self, profile: str | None) -> ExecutionState | None:
        self._recovered_from = await run_sync(self._recovered, profile, False)
        return None if self._recovered_from is None else self._recovered_from.settled()

    async def open_execution(self, opening: Opening) -> ExecutionState:
        await self.close_execution()
        post = _post_to_this_loop()
        state = await run_sync(self._write_opening, opening, post)
        self._start_threads(state, post)
        return state

    def _write_opening(self, opening: Opening, post: Post) -> ExecutionState:
        try:
            if self._claimed is None:
                self._claimed = self._journals.claim(self._disk)
            if self._has_moved(opening.profile):
                raise StateMoved
            self._opening, self._steps = opening, dict(opening.steps)
            self._run = opening.run or self._new_run_folder()
            plan = self.run_folder(self._run) / "plan.json"
            if not self._disk.exists(plan):
                write_atomically(self._disk, plan, to_json(opening.plan))
                self._disk.sync_folder(self._runs)
            journal, self._claimed = self._claimed, None
            write_head(self._disk, self._journals, journal, now(), self._head(journal.number))
        except OSError as error:
            raise StateNotSaved(f"{error.filename or self.path}: {error.strerror or error}") from error
        self._seq, self._generation = 0, self._generation + 1
        self._writer = JournalWriter(self._disk, self._journals, journal, post, self._start_over)
        return ExecutionState(
            run_id=opening.run_id,
            profile=opening.profile,
            namespace=opening.namespace,
            started_at=opening.started_at,
            completed_at=None,
            status=RunStatus.IN_PROGRESS,
            steps=opening.steps,
            config_hash=opening.config_hash,
            metadata=opening.metadata,
            run=self._run,
            journal=journal.number,
            plan_hash=opening.plan.hash,
            resumed_from=opening.resumed_from,
        )

    def _has_moved(self, profile: str | None) -> bool:
        """Claim, then read: whether a process wrote since `recover` that did not see our claim."""
        known, current = self._recovered_from, self._recovered(profile, False)
        if known is None or current is None:
            return known is not current
        return (known.state.journal, known.size) != (current.state.journal, current.size)

    def _new_run_folder(self) -> int:
        taken = [m for m in map(_RUN_FOLDER.match, self._disk.names(self._runs)) if m]
        run = max((int(m[1]) for m in taken), default=0) + 1
        self._disk.make_folder(self.run_folder(run))
        return run

    def _head(self, number: int) -> dict[str, Json]:
        opening = self._opening
        assert opening is not None
        known = self._recovered_from
        return {
            "format": FORMAT,
            "writer": f"sbkube {__version__}",
            "journal": number,
            "run": self._run,
            "run_id": opening.run_id,
            "profile": opening.profile,
            "namespace": opening.namespace,
            "started_at": opening.started_at,
            "config_hash": opening.config_hash,
            "metadata": opening.metadata,
            "plan": opening.plan.hash,
            "resumed_from": opening.resumed_from,
            "from": [known.state.journal, known.state.seq] if known is not None else None,
            "command": opening.command,
            "holder": self._holder.to_record(),
            "steps": {id: step.to_record() for id, step in self._steps.items()},
        }

    def _start_threads(self, state: ExecutionState, post: Post) -> None:
        writer = self._writer
        assert writer is not None
        self._view = ViewWriter(
            self._disk,
            self.latest_view,
            View(state, self._holder.to_record()),
            partial(self._watch, writer, post),
        )
        writer.start()
        self._view.start()
        self._view.wake()

    def _watch(self, writer: JournalWriter, post: Post) -> None:
        """In the view's thread: a write that hangs cannot report itself."""
        since = writer.busy_since
        if since is not None and time.monotonic() - since > self._commit_deadline and writer.failure is None:
            error = StateNotSaved(f"the disk of {self.path} did not answer for {self._commit_deadline:g} s")
            post(lambda: writer.fail(error))

    # Writing

    def append(
        self, step: StepExecution, change: Mapping[str, Any], at: str, on_durable: Callable[[], None] | None
    ) -> None:
        writer, view = self._writer, self._view
        assert writer is not None, "no execution is open"
        assert view is not None
        if writer.failure is not None:
            return
        self._steps[step.name] = step
        self._seq += 1
        seq, generation = self._seq, self._generation

        def durable() -> None:
            # A journal opened further on has all that was queued before it in its head.
            view.changed(step, writer.journal.number, seq if generation == self._generation else 0)
            if on_durable is not None:
                on_durable()

        writer.put(Entry("step", at, {"s": step.name, **change}, durable))

    def _start_over(self) -> tuple[str, Mapping[str, Json]]:
        self._seq, self._generation = 0, self._generation + 1
        return now(), self._head(0)

    async def flush(self) -> None:
        writer = self._writer
        if writer is not None and writer.failure is None:
            durable = anyio.Event()
            writer.on_failure(durable.set)
            writer.put(Entry("", "", {}, durable.set))
            await durable.wait()
            writer.forget(durable.set)
        else:
            await checkpoint()
        if writer is not None and writer.failure is not None:
            raise writer.failure

    def on_failure(self, tell: Callable[[], None]) -> None:
        if self._writer is not None:
            self._writer.on_failure(tell)

    @property
    def failure(self) -> EngineError | None:
        return self._writer.failure if self._writer is not None else None

    # Closing

    async def close_execution(self) -> ExecutionState | None:
        writer, view, opening = self._writer, self._view, self._opening
        if writer is None or view is None or opening is None:
            return None
        at, status = now(), run_status(self._steps.values(), alive=False, ended=True)
        if writer.failure is None:
            self._seq += 1
            writer.put(Entry("end", at, {"status": status}, None))
        try:
            await self.flush()
        finally:
            self._writer = self._view = None
            with anyio.CancelScope(shield=True):
                view_is_free = await run_sync(_stop, writer, view)
        state = self._closed_state(opening, writer, status, at)
        if view_is_free:
            also = self._runs / f"{self._run:06}.json"
            with anyio.CancelScope(shield=True):
                await run_sync(_last_view, view, status, at, writer.journal.number, self._seq, also)
        return state

    def _closed_state(
        self, opening: Opening, writer: JournalWriter, status: RunStatus, at: str
    ) -> ExecutionState:
        return ExecutionState(
            run_id=opening.run_id,
            profile=opening.profile,
            namespace=opening.namespace,
            started_at=opening.started_at,
            completed_at=at,
            status=status,
            steps=dict(self._steps),
            config_hash=opening.config_hash,
            metadata=opening.metadata,
            run=self._run,
            journal=writer.journal.number,
            seq=self._seq,
            plan_hash=opening.plan.hash,
            resumed_from=opening.resumed_from,
        )

    async def _close(self) -> None:
        writer, view = self._writer, self._view
        self._writer = self._view = None
        if writer is not None and view is not None:
            await run_sync(_stop, writer, view)
        if self._claimed is not None:
            os.close(self._claimed.fd)
            self._claimed = None
        if self._lock is not None:
            self._lock.give_back()

    async def remove_runs(self, keep: int) -> list[int]:
        return await run_sync(self._remove_runs, max(keep, 1))

    def _remove_runs(self, keep: int) -> list[int]:
        """The newest run of each profile stays too: its journal has the last completions."""
        names = self._disk.names(self._runs)
        runs = {int(m[1]) for m in map(_RUN_FOLDER.match, names) if m}
        pinned = {self._run} if self._writer is not None else set[int]()
        profiles, keeps = set[str | None](), set[int]()
        for found in born(self._disk, self._journals, self.latest_view, any_profile=True):
            if found.state.profile not in profiles:
                profiles.add(found.state.profile)
                pinned.add(found.state.run)
                keeps.add(found.state.journal)
        gone = sorted(runs - pinned - set(sorted(runs, reverse=True)[:keep]))
        self._remove_journals(set(gone), keeps)
        for run in gone:
            self._disk.remove(self._runs / f"{run:06}.json")
            shutil.rmtree(self.run_folder(run), ignore_errors=True)
        return gone

    def _remove_journals(self, runs: set[int], keeps: set[int]) -> None:
        for found in list(born(self._disk, self._journals, self.latest_view, any_profile=True)):
            if found.state.run in runs and found.state.journal not in keeps:
                self._disk.remove(self._journals.path(found.state.journal))


def _post_to_this_loop() -> Post:
    native: Any = current_token().native_token
    # asyncio's loop and trio's token call it differently; both may have ended when a late answer comes.
    call = getattr(native, "call_soon_threadsafe", None) or native.run_sync_soon

    def post(run: Callable[[], None]) -> None:
        try:
            call(run)
        except RuntimeError:
            return

    return post


def _stop(writer: JournalWriter, view: ViewWriter) -> bool:
    writer.stop()
    return view.stop()


def _last_view(view: ViewWriter, status: RunStatus, at: str, journal: int, seq: int, also: Path) -> None:
    try:
        view.last(status, at, journal, seq, also)
    except OSError as error:
        raise StateNotSaved(
            f"{error.filename or also}: {error.strerror or error}; the journal is complete, the view is behind"
        ) from error


def _read_older(disk: Disk, path: Path) -> ExecutionState | None:
    """A run file of the sequential sbkube, as far as it can be read."""
    try:
        written = json.loads(disk.read(path))
        steps = {name: _older_step(name, step) for name, step in written.get("steps", {}).items()}
        return ExecutionState(
            run_id=str(written["run_id"]),
            profile=written.get("profile"),
            namespace=written.get("namespace"),
            started_at=str(written["started_at"]),
            completed_at=written.get("completed_at"),
            status=_older_status(str(written.get("status"))),
            steps=steps,
            config_hash=str(written.get("config_hash", "")),
            metadata=written.get("metadata") or {},
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _older_status(status: str) -> RunStatus:
    known = {"completed": RunStatus.COMPLETED, "failed": RunStatus.FAILED}
    return known.get(status, RunStatus.INTERRUPTED)


def _older_step(name: str, step: Mapping[str, Any]) -> StepExecution:
    known = {status.value for status in StepStatus}
    status = str(step.get("status"))
    return StepExecution(
        name,
        StepStatus(status) if status in known else StepStatus.PENDING,
        started_at=step.get("started_at"),
        completed_at=step.get("completed_at"),
        duration=step.get("duration"),
        error=step.get("error"),
        output=step.get("output"),
        metadata=step.get("metadata") or {},
    )
