"""The power goes after any operation of a run: whatever the disk keeps, nothing acknowledged is lost.

The real store runs on a simulated disk, and the real recovery reads what may be left. The second half takes
away one precaution after the other: the enumeration must notice each, or it proves nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from sbkube.engine import FileStore, StateCorrupt
from sbkube.engine.stores.files import recovery
from sbkube.engine.stores.files.disk import Disk
from sbkube.engine.stores.files.journal import Contents as Lines
from sbkube.engine.stores.files.journal import Encoder, read_lines, whole
from sbkube.engine.stores.files.writer import Entry, JournalWriter
from sbkube.engine.testing import Contents, SimulatedDisk

from .helpers import JOURNALS, ROOT, STATE, enumerate_crashes

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("eager_views")]


def simulated(left: Contents | None) -> SimulatedDisk:
    return SimulatedDisk(ROOT, left)


def test_a_simulated_disk_has_every_operation_of_a_real_one() -> None:
    operations = {name for name in vars(Disk) if not name.startswith("_")}
    assert operations <= vars(SimulatedDisk).keys()


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow)])
async def test_no_crash_of_a_run_or_of_its_resume_breaks_an_invariant(seed: int) -> None:
    found = await enumerate_crashes(simulated, seed, many=3, deeper=0.015, many_deeper=1)
    assert found.violations == {}
    assert found.states > 2_000


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", range(100, 104))
async def test_no_crash_at_all_breaks_an_invariant(seed: int) -> None:
    found = await enumerate_crashes(simulated, seed, many=12, deeper=0.1, many_deeper=1)
    assert found.violations == {}
    assert found.states > 20_000


# What the enumeration must notice


class Forgetful(SimulatedDisk):
    """Says that it synced, and did not, where `forgets` says so: of a path, and how often it was synced before."""

    def __init__(self, left: Contents | None, forgets: Callable[[Path, int], bool]) -> None:
        super().__init__(ROOT, left)
        self._forgets = forgets
        self._paths: dict[int, Path] = {}
        self._synced: dict[Path, int] = {}

    def create(self, path: Path) -> int:
        fd = super().create(path)
        self._paths[fd] = path
        return fd

    def sync(self, fd: int) -> None:
        if not self._is_forgotten(self._paths[fd]):
            super().sync(fd)

    def sync_folder(self, path: Path) -> None:
        if not self._is_forgotten(path):
            super().sync_folder(path)

    def _is_forgotten(self, path: Path) -> bool:
        before = self._synced[path] = self._synced.get(path, -1) + 1
        return self._forgets(path, before)


async def is_noticed(make: Callable[[Contents | None], SimulatedDisk], deeper: float = 0.0) -> bool:
    """In a few runs: which records share a write, and so can tear apart, is different in each."""
    for seed in range(8):
        if (await enumerate_crashes(make, seed, many=3, deeper=deeper, many_deeper=1)).violations:
            return True
    return False


FORGOTTEN: dict[str, Callable[[Path, int], bool]] = {
    "the head": lambda path, before: path.suffix == ".jsonl" and before == 0,
    "the commits": lambda path, before: path.suffix == ".jsonl" and before > 0,
    "the view before it is renamed": lambda path, _: path.name.startswith(".latest.json"),
    "the folder of the journals": lambda path, _: path == JOURNALS.folder,
    "the state folder": lambda path, _: path == STATE,
    "the folder of the state folder": lambda path, _: path == ROOT,
}


@pytest.mark.parametrize("what", FORGOTTEN)
async def test_a_sync_that_is_left_out_is_noticed(what: str) -> None:
    assert await is_noticed(lambda left: Forgetful(left, FORGOTTEN[what]))


def acknowledge_before_the_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    commit, acknowledge = JournalWriter._commit, JournalWriter._acknowledge

    def hasty(self: JournalWriter, batch: list[Entry]) -> None:
        told = threading.Event()
        acknowledge(self, batch)
        self._post(told.set)
        told.wait()
        commit(self, batch)

    monkeypatch.setattr(JournalWriter, "_commit", hasty)
    monkeypatch.setattr(JournalWriter, "_acknowledge", lambda self, batch: None)


def start_before_it_is_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    append, held = FileStore.append, dict[str, tuple[Any, Any, str]]()

    def late(self: FileStore, step: Any, change: Any, at: str, on_durable: Any) -> None:
        if change["to"] == "in_progress":
            held[step.name] = (step, change, at)
            on_durable()
            return
        if step.name in held:
            append(self, *held.pop(step.name), None)
        append(self, step, change, at, on_durable)

    monkeypatch.setattr(FileStore, "append", late)


def show_what_is_not_durable(monkeypatch: pytest.MonkeyPatch) -> None:
    append = FileStore.append

    def boastful(self: FileStore, step: Any, change: Any, at: str, on_durable: Any) -> None:
        assert self._threads is not None
        self._threads.view.changed({step.name: step}, self._threads.writer.journal.number, 0)
        self._threads.view._write()
        append(self, step, change, at, on_durable)

    monkeypatch.setattr(FileStore, "append", boastful)


def call_every_hole_corruption(monkeypatch: pytest.MonkeyPatch) -> None:
    def suspicious(data: bytes, file: Path, *, witnessed: int = -1) -> Lines:
        contents = read_lines(data, file, witnessed=witnessed)
        seqs = [record["seq"] for line in data.splitlines(keepends=True) if (record := whole(line))]
        if max(seqs, default=-1) > contents.seq:
            raise StateCorrupt(file, contents.seq, 0, "a later line is whole")
        return contents

    monkeypatch.setattr(recovery, "read_lines", suspicious)


def vouch_for_what_was_only_written(monkeypatch: pytest.MonkeyPatch) -> None:
    line = Encoder.line

    def boastful(self: Encoder, kind: str, durable: int, at: str, fields: Mapping[str, Any]) -> bytes:
        return line(self, kind, self.next_seq - 1, at, fields)

    monkeypatch.setattr(Encoder, "line", boastful)


def believe_the_first_lines_of_a_torn_head(monkeypatch: pytest.MonkeyPatch) -> None:
    real = recovery.read_numbered

    def newest_only(disk: Disk, folder: Any, runs: Path, number: int) -> Any:
        return real(disk, folder, runs, number) if number == max(folder.numbers(disk)) else None

    monkeypatch.setattr(recovery, "read_numbered", newest_only)


MUTATIONS = [
    acknowledge_before_the_sync,
    start_before_it_is_recorded,
    show_what_is_not_durable,
    call_every_hole_corruption,
    vouch_for_what_was_only_written,
]


@pytest.mark.parametrize("mutate", MUTATIONS, ids=lambda mutate: mutate.__name__)
async def test_a_rule_that_is_broken_is_noticed(
    mutate: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    mutate(monkeypatch)
    assert await is_noticed(simulated)


async def test_a_journal_that_was_never_born_hides_the_one_before_it_only_from_a_broken_recovery(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    believe_the_first_lines_of_a_torn_head(monkeypatch)
    assert await is_noticed(simulated, deeper=0.005)
