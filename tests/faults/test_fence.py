"""Two processes without a lock: the numbers of the journals alone keep what either was told is saved.

Each process runs the real store in a thread of its own over one simulated disk. A turnstile lets one
operation through at a time, in an order that the test chooses, so all orders can be tried.
"""

from __future__ import annotations

import itertools
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path
from random import Random

import anyio
import pytest

from sbkube.engine import Fenced, FileStore, Step, StepContext, StepGraph, StepStatus, run_graph
from sbkube.engine.errors import StateNotSaved
from sbkube.engine.stores.files import folder
from sbkube.engine.stores.files.disk import Disk
from sbkube.engine.stores.files.folder import JournalFolder
from sbkube.engine.stores.files.journal import OpenJournal
from sbkube.engine.stores.files.recovery import Recovered, recover
from sbkube.engine.stores.files.writer import Entry, JournalWriter
from sbkube.engine.testing import SimulatedDisk

from .helpers import JOURNALS, ROOT, RUNS, STATE, graph_of, recovered


class Turnstile:
    """Lets two threads through in the given order of letters; when one has ended the other goes freely."""

    def __init__(self, order: str) -> None:
        self._order = list(order)
        self._turn = threading.Condition()
        self._ended: set[str] = set()
        self.passed: list[str] = []

    def go(self, who: str, what: str) -> None:
        with self._turn:
            while self._next() not in (who, None):
                assert self._turn.wait(20), "nobody moves"
            if self._order:
                self._order.pop(0)
            self.passed.append(f"{who} {what}")
            self._turn.notify_all()

    def _next(self) -> str | None:
        while self._order and self._order[0] in self._ended:
            self._order.pop(0)
        return self._order[0] if self._order else None

    def end(self, who: str) -> None:
        with self._turn:
            self._ended.add(who)
            self._turn.notify_all()


class Turned(Disk):
    """A disk whose operations wait for their turn."""

    def __init__(self, disk: SimulatedDisk, gate: Turnstile, who: str) -> None:
        self._disk, self._gate, self._who = disk, gate, who

    def create(self, path: Path) -> int:
        self._gate.go(self._who, "create")
        return self._disk.create(path)

    def write(self, fd: int, data: bytes) -> int:
        self._gate.go(self._who, "write")
        return self._disk.write(fd, data)

    def sync(self, fd: int) -> None:
        self._gate.go(self._who, "sync")
        self._disk.sync(fd)

    def close(self, fd: int) -> None:
        self._disk.close(fd)

    def sync_folder(self, path: Path) -> None:
        self._disk.sync_folder(path)

    def names(self, path: Path) -> list[str]:
        self._gate.go(self._who, "names")
        return self._disk.names(path)

    def read(self, path: Path, at_most: int = -1) -> bytes:
        if path.suffix == ".jsonl":
            self._gate.go(self._who, "read")
        return self._disk.read(path, at_most)

    def exists(self, path: Path) -> bool:
        return self._disk.exists(path)


HEAD = {
    "format": 1,
    "run": 1,
    "run_id": "r",
    "profile": None,
    "namespace": None,
    "started_at": "",
    "config_hash": "",
    "metadata": {},
    "plan": "",
    "resumed_from": None,
    "holder": {"pid": 1, "start": "", "host": "", "since": ""},
}
BEGUN = {"to": "in_progress", "attempt": 1, "key": "k"}


class Process:
    """Claims, reads, writes its head, then begins steps; knows what it was told is saved."""

    def __init__(self, disk: Disk, name: str, steps: int) -> None:
        self.disk, self.name, self.steps = disk, name, steps
        self.acknowledged: list[str] = []
        self.base: set[str] = set()
        self.error: Exception | None = None

    def take_over(self) -> OpenJournal:
        journal = JOURNALS.claim(self.disk)
        found = recover(self.disk, JOURNALS, RUNS, None)
        self.base = begun(found)
        steps = {} if found is None else {id: step.to_record() for id, step in found.state.steps.items()}
        fresh: dict[str, object] = {f"{self.name}{n}": {} for n in range(self.steps)}
        JOURNALS.write_head(self.disk, journal, "", {**HEAD, "steps": {**fresh, **steps}})
        JOURNALS.refuse_if_fenced(self.disk, journal.number)
        return journal

    def work(self, journal: OpenJournal) -> None:
        def fail() -> tuple[str, dict[str, object]]:
            raise AssertionError("the disk is well")

        writer = JournalWriter(self.disk, JOURNALS, journal, lambda run: run(), fail)
        for n in range(self.steps):
            step = f"{self.name}{n}"
            told = partial(self.acknowledged.append, step)
            writer._commit([Entry("step", "", {"s": step, **BEGUN}, told)])

    def live(self, gate: Turnstile, journal: OpenJournal | None = None) -> None:
        try:
            self.work(journal or self.take_over())
        except Fenced as error:
            self.error = error
        finally:
            gate.end(self.name)


def begun(found: Recovered | None) -> set[str]:
    steps = {} if found is None else found.state.steps
    return {id for id, step in steps.items() if step.status is not StepStatus.PENDING}


def together(
    order: str, *, a_steps: int, b_steps: int, a_is_running: bool = True
) -> tuple[Process, Process, SimulatedDisk]:
    disk = SimulatedDisk(ROOT, {STATE: None, RUNS: None, JOURNALS.folder: None})
    gate = Turnstile(order)
    a = Process(Turned(disk, gate, "a"), "a", a_steps)
    b = Process(Turned(disk, gate, "b"), "b", b_steps)
    journal = Process(disk, "a", a_steps).take_over() if a_is_running else None
    threads = [
        threading.Thread(target=a.live, args=(gate, journal)),
        threading.Thread(target=b.live, args=(gate,)),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return a, b, disk


def orders(a: int, b: int) -> Iterator[str]:
    for places in itertools.combinations(range(a + b), a):
        yield "".join("a" if place in places else "b" for place in range(a + b))


def check(a: Process, b: Process, disk: SimulatedDisk) -> None:
    assert {*a.acknowledged, *b.acknowledged} <= begun(recover(disk, JOURNALS, RUNS, None)), "lost"
    # At most one goes on to its end while the other one works.
    assert not (len(a.acknowledged) == a.steps and a.error), "told that all is saved, and fenced"


# A commit is write, sync, names: 3. A take-over is names, create, names, read (of what is there), write, sync, names.


def test_what_a_running_process_was_told_is_saved_survives_every_order_of_a_take_over() -> None:
    tried, fenced = 0, 0
    for order in orders(3, 7):
        a, b, disk = together(order, a_steps=1, b_steps=0)
        check(a, b, disk)
        assert set(a.acknowledged) <= b.base
        assert bool(a.acknowledged) is (a.error is None)
        tried, fenced = tried + 1, fenced + bool(a.error)
    assert tried == 120
    assert 0 < fenced < tried


@pytest.mark.parametrize("seed", range(3))
def test_longer_runs_of_both_keep_all_that_was_acknowledged(seed: int) -> None:
    chance = Random(seed)
    for _ in range(200):
        order = "".join(chance.choice("aaabbbbb") for _ in range(40))
        check(*together(order, a_steps=3, b_steps=2))
        check(*together(order, a_steps=2, b_steps=2, a_is_running=False))


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_every_order_of_two_commits_and_a_take_over_with_a_commit_keeps_all() -> None:
    for order in orders(6, 10):
        check(*together(order, a_steps=2, b_steps=1))


def test_a_take_over_that_reads_before_it_claims_loses_a_record_in_some_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def hasty(self: Process) -> OpenJournal:
        found = recover(self.disk, JOURNALS, RUNS, None)
        self.base = begun(found)
        journal = JOURNALS.claim(self.disk)
        steps = {} if found is None else {id: step.to_record() for id, step in found.state.steps.items()}
        JOURNALS.write_head(self.disk, journal, "", {**HEAD, "steps": {"a0": {}, **steps}})
        return journal

    monkeypatch.setattr(Process, "take_over", hasty)
    assert _loses_in_some_order()


def test_a_writer_that_looks_before_it_appends_loses_a_record_in_some_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    look = JournalFolder.refuse_if_fenced
    commit = JournalWriter._commit

    def hasty(self: JournalWriter, batch: list[Entry]) -> None:
        look(JOURNALS, self._disk, self.journal.number)
        commit(self, batch)

    monkeypatch.setattr(folder.JournalFolder, "refuse_if_fenced", lambda self, disk, number: None)
    monkeypatch.setattr(JournalWriter, "_commit", hasty)
    assert _loses_in_some_order()


def _loses_in_some_order() -> bool:
    for order in orders(3, 6):
        a, b, _ = together(order, a_steps=1, b_steps=0)
        if not set(a.acknowledged) <= b.base:
            return True
    return False


# The whole store


@pytest.mark.anyio
async def test_a_process_that_was_taken_over_stops_and_says_so(tmp_path: Path) -> None:
    started, go_on = anyio.Event(), anyio.Event()
    ran: list[str] = []

    async def old() -> None:
        async def wait() -> None:
            started.set()
            await go_on.wait()

        async with FileStore.open(tmp_path / "s", lock=False) as store:
            await run_graph(_chain(["a", "b"], {"a": wait}, ran, "old"), store=store, resume="always")

    async with anyio.create_task_group() as tasks:

        async def zombie() -> None:
            with pytest.raises(Fenced, match="took over"):
                await old()

        tasks.start_soon(zombie)
        await started.wait()
        async with FileStore.open(tmp_path / "s", lock=False) as store:
            state = await run_graph(_chain(["a", "b"], {}, ran, "new"), store=store, resume="always")
        go_on.set()
    assert state.is_complete
    assert ran == ["old a", "new a", "new b"]
    after = recovered(tmp_path / "s")
    assert after is not None
    assert after.counts == {"completed": 2}


def _chain(
    ids: list[str], bodies: dict[str, Callable[[], Awaitable[object]]], ran: list[str], who: str
) -> StepGraph:
    async def body(step: StepContext) -> str:
        ran.append(f"{who} {step.id}")
        if step.id in bodies:
            await bodies[step.id]()
        return step.id

    return StepGraph([Step(id, body, needs=ids[:n][-1:]) for n, id in enumerate(ids)])


@pytest.mark.anyio
async def test_a_process_stays_fenced_when_the_runs_that_took_over_are_removed(tmp_path: Path) -> None:
    path = tmp_path / "s"
    started, go_on = anyio.Event(), anyio.Event()
    ran: list[str] = []

    async def wait() -> None:
        started.set()
        await go_on.wait()

    async def zombie() -> None:
        with pytest.raises(Fenced):
            async with FileStore.open(path, lock=False) as store:
                await run_graph(_chain(["a"], {"a": wait}, ran, "old"), store=store, profile="mine")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(zombie)
        await started.wait()
        async with FileStore.open(path, lock=False) as store:
            for _ in range(3):
                await run_graph(_chain(["a"], {}, ran, "new"), store=store)
            assert await store.remove_runs(1) == [2, 3]
        assert not (path / "journal" / "000002.jsonl").exists()
        go_on.set()


@pytest.mark.anyio
async def test_two_new_runs_at_once_never_share_a_number(tmp_path: Path) -> None:
    """Without a lock the second is fenced or comes after the first."""
    states = []

    async def one() -> None:
        try:
            async with FileStore.open(tmp_path / "s", lock=False) as store:
                states.append(await run_graph(graph_of(lambda step: step.id), store=store))
        except (Fenced, StateNotSaved):
            return

    for _ in range(5):
        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(one)
    runs = [state.run for state in states]
    assert runs
    assert len(set(runs)) == len(runs)


CHILD = """
import sys, anyio
from sbkube.engine import *

async def body(step):
    print("ran", step.id, flush=True)
    await anyio.to_thread.run_sync(sys.stdin.readline)

async def main():
    try:
        async with FileStore.open(sys.argv[1], lock=False) as store:
            await run_graph(StepGraph([Step(f"s{n}", body) for n in range(3)]), store=store, resume="always", limits=Limits(total=1))
    except Fenced:
        print("fenced", flush=True)

anyio.run(main)
"""


def test_two_real_processes_without_a_lock_end_with_one_that_is_fenced(tmp_path: Path) -> None:
    command = [sys.executable, "-c", CHILD, str(tmp_path / "s")]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as old:  # type: ignore[call-overload]
        assert old.stdout.readline() == "ran s0\n"
        old.stdin.write("\n")
        old.stdin.flush()
        assert old.stdout.readline() == "ran s1\n"
        with subprocess.Popen(command, **pipes) as new:  # type: ignore[call-overload]
            # What was acknowledged to the old one is not run again; what it was in is in doubt, and is.
            assert new.stdout.readline() == "ran s1\n"
            old.stdin.write("\n\n\n")
            old.stdin.close()
            assert old.stdout.read() == "fenced\n"
            new.stdin.write("\n\n\n")
            new.stdin.close()
            assert new.stdout.read() == "ran s2\n"
    state = recovered(tmp_path / "s")
    assert state is not None
    assert state.is_complete
