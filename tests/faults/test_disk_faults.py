"""Every single operation of the disk fails in turn, once or for ever: what was acknowledged stays, the rest is named."""

from __future__ import annotations

import errno
import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import SimpleQueue
from random import Random

import anyio
import pytest

from sbkube.engine import (
    ExecutionState,
    FileStore,
    Limits,
    StateNotSaved,
    StateNotWritable,
    StepContext,
    StepStatus,
    StoreError,
    run_graph,
)
from sbkube.engine.events import Event, StepFinished
from sbkube.engine.stores.files.disk import Disk, write_all
from sbkube.engine.stores.files.folder import JournalFolder
from sbkube.engine.stores.files.journal import read_lines
from sbkube.engine.stores.files.recovery import recover
from sbkube.engine.stores.files.writer import Entry, JournalWriter
from sbkube.engine.testing import CHANGING, FaultyDisk, SimulatedDisk

from .helpers import JOURNALS, NEEDS, ROOT, RUNS, STATE, History, graph_of, recovered, violations

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("eager_views")]


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    yield
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("sbkube")] == []


class World:
    """What bodies did and what the listener was told, over any number of processes."""

    def __init__(self) -> None:
        self.seen = History()
        self.error: StoreError | None = None

    def body(self, step: StepContext) -> str:
        assert step.id not in self.seen.of("ack"), "what was acknowledged runs again"
        self.seen.marks += [f"begin {step.id}", f"end {step.id}"]
        return step.id

    def listen(self, event: Event) -> None:
        if isinstance(event, StepFinished) and event.status is StepStatus.COMPLETED:
            self.seen.marks.append(f"ack {event.step}")

    async def run(self, disk: Disk, **options: float) -> ExecutionState | None:
        self.error = None
        try:
            async with FileStore.open(STATE, disk=disk, lock=False, **options) as store:
                return await run_graph(
                    graph_of(self.body),
                    store=store,
                    resume="always",
                    on_event=self.listen,
                    limits=Limits(total=2),
                )
        except StoreError as error:
            self.error = error
            return None

    def check(self, disk: SimulatedDisk) -> None:
        assert violations(disk.contents, self.seen) == []
        assert isinstance(self.error, StateNotSaved | StateNotWritable | None)
        if isinstance(self.error, StateNotWritable):
            assert self.seen.marks == [], "something ran although the state cannot be kept"
        if isinstance(self.error, StateNotSaved):
            assert self.seen.of("end") - self.seen.of("ack") <= set(self.error.unsaved)


FAULTS: dict[str, tuple[int, tuple[str, ...]]] = {
    "disk full": (errno.ENOSPC, CHANGING),
    "sync fails": (errno.EIO, ("sync", "sync_folder")),
    "read-only": (errno.EROFS, CHANGING),
    "no permission": (errno.EACCES, ("make_folder", "create", "replace", "remove", "names", "read")),
    "interrupted": (errno.EINTR, ("write", "sync")),
}


@pytest.mark.parametrize("stays_broken", [False, True], ids=["once", "for ever"])
@pytest.mark.parametrize("fault", FAULTS)
async def test_whichever_operation_fails_nothing_acknowledged_is_lost(fault: str, stays_broken: bool) -> None:
    error, ops = FAULTS[fault]
    completed = 0
    for fail_at in range(1, 500):
        inner = SimulatedDisk(ROOT)
        disk = FaultyDisk(inner, fail_at, error, stays_broken, ops, short_writes=fail_at % 2 == 0)
        world = World()
        state = await world.run(disk)
        world.check(inner)
        assert inner.open_files == 0
        if not disk.failed:
            break
        completed += state is not None
        resumed = await world.run(inner)
        assert resumed is not None, world.error
        assert resumed.is_complete
        assert world.seen.of("end") == set(NEEDS)
        world.check(inner)
    assert fail_at > 15, "the run does little"
    assert not disk.failed, "it never passed"
    assert stays_broken or completed > 0


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("fault", FAULTS)
async def test_power_cut_after_a_fault_breaks_no_invariant(fault: str) -> None:
    error, ops = FAULTS[fault]
    for fail_at in range(1, 500):
        inner = SimulatedDisk(ROOT)
        disk = FaultyDisk(inner, fail_at, error, False, ops, short_writes=True)
        world = World()
        await world.run(disk)
        for moment in inner.trace[-1:]:
            for left in inner.after_power_cut(moment, Random(fail_at), 5):
                assert violations(left, world.seen) == []
        if not disk.failed:
            break


async def test_a_failed_sync_is_survived_in_a_further_journal() -> None:
    inner = SimulatedDisk(ROOT)
    world = World()
    # The syncs before: .gitignore, plan, head, and perhaps the view.
    tried = []
    for fail_at in range(1, 12):
        inner = SimulatedDisk(ROOT)
        disk = FaultyDisk(inner, fail_at, errno.EIO, ops=("sync",))
        world = World()
        state = await world.run(disk)
        if state is not None and len(JOURNALS.numbers(inner)) == 2:
            tried.append(fail_at)
            found = recover(inner, JOURNALS, RUNS, None)
            assert found is not None
            assert found.settled() == state
            assert found.ended
    assert tried


async def test_the_end_of_a_run_is_kept_when_the_further_journal_is_opened_for_it() -> None:
    """The last record of all is the one that cannot be written."""
    last = 0
    for fail_at in range(1, 60):
        inner = SimulatedDisk(ROOT)
        state = await World().run(FaultyDisk(inner, fail_at, errno.ENOSPC, ops=("write",)))
        if state is None or len(JOURNALS.numbers(inner)) < 2:
            continue
        found = recover(inner, JOURNALS, RUNS, None)
        assert found is not None
        assert found.ended
        assert found.settled() == state
        last = max(last, fail_at)
    assert last


async def test_a_writer_that_gave_up_writes_no_line_that_vouches_for_a_lost_one(tmp_path: Path) -> None:
    """The event loop may learn of the failure only after further records were queued."""
    folder = JournalFolder(tmp_path)
    inner = Disk()
    disk = FaultyDisk(inner, 3, errno.ENOSPC, ops=("write",))
    journal = folder.claim(disk)
    write_all(disk, journal.fd, journal.encoder.line("head", -1, "", {}))
    journal.durable = 0
    posted: list[Callable[[], None]] = []
    writer = JournalWriter(disk, folder, journal, posted.append, lambda: ("", {}))
    writer._fresh_start_left = False
    told: list[int] = []
    for n in range(4):
        batch = [Entry("x", "", {"n": n}, lambda n=n: told.append(n))]  # type: ignore[misc]
        try:
            writer._commit(batch)
        except OSError as error:
            writer._recover_from(error, batch)
    disk.close(journal.fd)
    for run in posted:
        run()
    assert told == [0]
    assert isinstance(writer.failure, StateNotSaved)
    assert read_lines(folder.path(1).read_bytes(), folder.path(1)).seq == 1


def test_a_writer_that_is_stopped_while_it_starts_over_ends(tmp_path: Path) -> None:
    folder = JournalFolder(tmp_path)
    disk = FaultyDisk(Disk(), 1, errno.ENOSPC, ops=("write",))
    posted: SimpleQueue[Callable[[], None]] = SimpleQueue()
    writer = JournalWriter(disk, folder, folder.claim(disk), posted.put, lambda: ("", {}))
    told: list[str] = []
    writer.start()
    writer.put(Entry("x", "", {}, lambda: told.append("saved")))
    take_state = posted.get()
    writer._queue.put(None)
    take_state()
    posted.get()()
    writer._thread.join()
    assert told == ["saved"]
    assert folder.numbers(disk) == [2, 1]


async def test_a_store_that_failed_can_be_used_again() -> None:
    inner = SimulatedDisk(ROOT)
    world = World()
    disk = FaultyDisk(inner, 0, errno.ENOSPC, True, ("write",))
    async with FileStore.open(STATE, disk=disk, lock=False) as store:
        graph = graph_of(lambda step: disk_fills_up(disk, step))
        with pytest.raises(StateNotSaved, match="No space left"):
            await run_graph(graph, store=store)
        disk.fail_at = 0
        state = await run_graph(graph_of(world.body), store=store, resume="always")
    assert state.is_complete


def disk_fills_up(disk: FaultyDisk, step: StepContext) -> None:
    if step.id == "c":
        disk.fail_at = 1


async def test_a_journal_folder_that_was_removed_under_a_run_is_told(tmp_path: Path) -> None:
    def body(step: StepContext) -> None:
        if step.id == "c":
            shutil.rmtree(tmp_path / "s")

    with pytest.raises(StateNotSaved, match="No such file"):
        async with FileStore.open(tmp_path / "s") as store:
            await run_graph(graph_of(body), store=store)


# A disk that does not answer


@pytest.mark.parametrize("stays_broken", [False, True], ids=["once", "for ever"])
@pytest.mark.parametrize("fail_at", [1, 2, 3, 4, 6, 9])
async def test_a_disk_that_hangs_is_told_within_the_deadline(fail_at: int, stays_broken: bool) -> None:
    inner = SimulatedDisk(ROOT)
    disk = FaultyDisk(inner, fail_at, stays_broken=stays_broken, ops=("sync",), hangs=True)
    world = World()
    state = await world.run(disk, commit_deadline=0.05)
    assert state is not None or world.error is not None
    world.check(inner)
    hung = [thread for thread in threading.enumerate() if thread.name.startswith("sbkube")]
    disk.let_go.set()
    for thread in hung:
        await anyio.to_thread.run_sync(thread.join)
    # What it still wrote after it was given up hurts nobody.
    world.check(inner)
    assert (await world.run(inner)) is not None
    world.check(inner)


HANGS = """
import sys, anyio
from sbkube.engine import *
from sbkube.engine.stores.files.disk import Disk
from sbkube.engine.testing import FaultyDisk

disk = FaultyDisk(Disk(), int(sys.argv[2]), ops=("sync",), hangs=True, stays_broken=True)

async def body(step):
    pass

async def main():
    try:
        async with FileStore.open(sys.argv[1], disk=disk, commit_deadline=0.2) as store:
            await run_graph(StepGraph([Step(f"s{n}", body) for n in range(9)]), store=store)
    except StoreError as error:
        print(type(error).__name__, error)

anyio.run(main, backend=sys.argv[3])
"""


@pytest.mark.parametrize("fail_at", [1, 2, 4, 5])
def test_a_process_whose_disk_hangs_can_end(tmp_path: Path, fail_at: int, anyio_backend_name: str) -> None:
    command = [sys.executable, "-c", HANGS, str(tmp_path / "s"), str(fail_at), anyio_backend_name]
    ended = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0, ended.stderr
    assert "did not answer" in ended.stdout or "no answer" in ended.stdout


# Real disks


FULL = """
import resource, sys, anyio
from sbkube.engine import *

if sys.argv[2] != "0":
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)

async def body(step):
    with open(sys.argv[3], "a") as ledger:
        ledger.write(step.id + "\\n")

def listen(event):
    if type(event).__name__ == "StepFinished":
        print("ack", event.step)

async def main():
    try:
        async with FileStore.open(sys.argv[1]) as store:
            await run_graph(StepGraph([Step(f"s{n}", body) for n in range(60)]), store=store, resume="always", on_event=listen, limits=Limits(total=2))
    except StoreError as error:
        print("error", type(error).__name__, error)

anyio.run(main)
"""


def full(path: Path, limit: int) -> list[str]:
    # -B: a module imported under the limit would leave half a .pyc behind
    command = [sys.executable, "-B", "-c", FULL, str(path / "s"), str(limit), str(path / "ledger")]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.splitlines()


@pytest.mark.parametrize(
    ("limit", "error"), [(0, None), (2_000, "StateNotWritable"), (18_000, "StateNotSaved")]
)
def test_a_file_system_that_takes_no_more_ends_the_run_and_a_resume_goes_on(
    tmp_path: Path, limit: int, error: str | None
) -> None:
    told = full(tmp_path, limit)
    assert [line.split()[1] for line in told if line.startswith("error")] == ([error] if error else [])
    acknowledged = [line.split()[1] for line in told if line.startswith("ack")]
    assert len(acknowledged) == 60 if error is None else len(acknowledged) < 60
    assert (error == "StateNotSaved") is (0 < len(acknowledged) < 60)
    full(tmp_path, 0)
    ran = (tmp_path / "ledger").read_text().split()
    assert set(ran) == {f"s{n}" for n in range(60)}
    assert [step for step in acknowledged if ran.count(step) > 1] == []
    assert json.loads((tmp_path / "s" / "runs" / "latest.json").read_bytes())["status"] == "completed"


@pytest.mark.parametrize("where", [".", "journal", "runs"])
async def test_a_file_in_place_of_a_folder_is_named_and_nothing_runs(tmp_path: Path, where: str) -> None:
    path = tmp_path / "s"
    if where != ".":
        path.mkdir()
    (path / where).write_text("")
    with pytest.raises(StateNotWritable, match="Not a directory") as caught:
        async with FileStore.open(path):
            raise AssertionError
    assert caught.value.path == path / where


async def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    with pytest.raises(StateNotWritable, match=r"missing/s.*No such file"):
        async with FileStore.open(tmp_path / "missing" / "s"):
            raise AssertionError


async def test_a_journal_that_cannot_be_read_is_named_and_nothing_runs(tmp_path: Path) -> None:
    path = tmp_path / "s"
    (path / "journal" / "000001.jsonl").mkdir(parents=True)
    with pytest.raises(StateNotWritable, match=r"000001\.jsonl"):
        async with FileStore.open(path) as store:
            await run_graph(graph_of(lambda step: None), store=store)
    with pytest.raises(StateNotWritable):
        await FileStore.read(path).latest()


def nested(levels: int) -> object:
    inner: object = None
    for _ in range(levels):
        inner = [inner]
    return inner


@pytest.mark.parametrize(
    "command", [nested(300), nested(600), "\ud800", object()], ids=["300", "600", "text", "object"]
)
async def test_what_could_not_be_read_back_is_refused_before_anything_runs(
    tmp_path: Path, command: object
) -> None:
    async with FileStore.open(tmp_path / "s") as store:
        with pytest.raises(StateNotWritable, match=r"000001\.jsonl"):
            await run_graph(graph_of(lambda step: None), store=store, command=command)
        assert (await run_graph(graph_of(lambda step: None), store=store)).is_complete


async def test_modes_keep_others_out_and_git_away(tmp_path: Path) -> None:
    path = tmp_path / "s"
    async with FileStore.open(path) as store:
        await run_graph(graph_of(lambda step: None), store=store)
    for inside in (path, *path.rglob("*")):
        assert inside.stat().st_mode & 0o777 == (0o700 if inside.is_dir() else 0o600), inside
    assert (path / ".gitignore").read_text() == "*\n"
    assert recovered(path) is not None
