"""What readers see of a state folder: no lock is taken, nothing is created or changed."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TypeVar

from pydantic_core import from_json

from ...errors import StateCorrupt, StateNotWritable, StateTooNew
from ...state import FORMAT, ExecutionState
from ..base import Plan, PlannedStep
from .disk import Disk
from .folder import JournalFolder
from .older import runs_of_older_versions
from .recovery import Recovered, born, read_numbered, recover
from .threads import on_thread
from .view import View, is_ours, read_witness

T = TypeVar("T")

_RUN_VIEW = re.compile(r"(\d{6,})\.json")
_RUN_OF_HEAD = re.compile(rb'\{"t":"head",.{0,400}?,"run":(\d+),')
_FORMAT_OF_VIEW = re.compile(rb',"format":(\d+),')
_START = 1024


class FileReader:
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

    def run_view(self, run: int) -> Path:
        return self._runs / f"{run:06}.json"

    async def latest(self, profile: str | None = None, *, any_profile: bool = False) -> ExecutionState | None:
        """Raises `StateCorrupt`, `StateTooNew`, and `StateNotWritable` where the folder cannot be read."""
        found = await self._read(lambda: self._newest() if any_profile else self._recovered(profile))
        return None if found is None else found.as_it_stands()

    async def history(self, limit: int | None = None) -> list[ExecutionState]:
        return await self._read(lambda: list(islice(self._history(), limit)))

    async def runs(self) -> list[int]:
        """The numbers of the recorded runs, newest first."""
        return await self._read(lambda: list(self._journals_of_runs()))

    async def run(self, number: int) -> ExecutionState | None:
        """One run; None if none of that number is recorded."""
        return await self._read(lambda: self._state_of(number, self._journals_of_runs().get(number, [])))

    async def plan(self, run: int) -> Plan | None:
        return await self._read(lambda: self._plan(run))

    async def view(self, state: ExecutionState) -> bytes:
        """What `latest.json` would hold for this state, which the journal may know better than the file does."""
        return View(state, {}).render(state.status, state.completed_at)

    async def view_is_edited(self) -> bool:
        """Whether somebody changed `latest.json` by hand; such edits are not read."""
        return await self._read(self._view_is_edited)

    async def _read(self, work: Callable[[], T]) -> T:
        with _readable(self.path):
            return await on_thread(work, abandon_on_cancel=True)

    def _recovered(self, profile: str | None) -> Recovered | None:
        return recover(self._disk, self._journals, self._runs, profile)

    def _newest(self) -> Recovered | None:
        return next(born(self._disk, self._journals, self._runs), None)

    def _view_is_edited(self) -> bool:
        try:
            data = self._disk.read(self.latest_view)
        except FileNotFoundError:
            return False
        if is_ours(data):
            return False
        try:
            view = from_json(data)
        except ValueError:
            return True
        # Without `format` it is one of an older sbkube, which is left behind, not edited.
        return not isinstance(view, dict) or "format" in view

    # History: from the view of a run where it is exact, else from the journal

    def _history(self) -> Iterator[ExecutionState]:
        for run, journals in self._journals_of_runs().items():
            state = self._state_of(run, journals)
            if state is not None:
                yield state
        yield from runs_of_older_versions(self._disk, self._runs)

    def _journals_of_runs(self) -> dict[int, list[int]]:
        """Runs and their journals, newest first; of an old run only the view may be left."""
        views = (_RUN_VIEW.fullmatch(name) for name in self._disk.names(self._runs))
        found: dict[int, list[int]] = {int(match[1]): [] for match in views if match}
        for number in self._journals.numbers(self._disk):
            try:
                start = self._disk.read(self._journals.path(number), _START)
            except FileNotFoundError:
                continue
            if match := _RUN_OF_HEAD.match(start):
                found.setdefault(int(match[1]), []).append(number)
        return dict(sorted(found.items(), reverse=True))

    def _state_of(self, run: int, journals: list[int]) -> ExecutionState | None:
        shown = read_witness(self._disk, self.run_view(run))
        if shown is not None and (not journals or shown.journal >= journals[0]):
            return self._viewed(run)
        for number in journals:
            try:
                found = read_numbered(self._disk, self._journals, self._runs, number)
            except StateCorrupt:
                # One damaged run must not hide all the others, if there is a view of it.
                if shown is None:
                    raise
                return self._viewed(run)
            if found is not None:
                return found.as_it_stands()
        return None

    def _viewed(self, run: int) -> ExecutionState:
        """Raises `StateTooNew` before it is taken for what this version means by it."""
        data = self._disk.read(self.run_view(run))
        # The last one is its own: what stands behind it has no such key.
        format = _FORMAT_OF_VIEW.match(data, data.rfind(b',"format":'))
        if format and int(format[1]) > FORMAT:
            raise StateTooNew(self.run_view(run), int(format[1]), "a newer version")
        return ExecutionState.from_json(data)

    def _plan(self, run: int) -> Plan | None:
        try:
            written = from_json(self._disk.read(self.run_folder(run) / "plan.json"))
        except (FileNotFoundError, ValueError):
            return None
        steps = {
            id: PlannedStep(
                tuple(step["needs"]), tuple(step["after"]), step["fingerprint"], step["components"]
            )
            for id, step in written["steps"].items()
        }
        return Plan(written["hash"], steps)


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        why = error.strerror or str(error)
        raise StateNotWritable(Path(error.filename or path), why) from error
