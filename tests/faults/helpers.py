"""Small runs over disks that crash or fail, and what must hold whatever happened to them."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Self

import anyio

from sbkube.engine import (
    ExecutionState,
    FileStore,
    StateCorrupt,
    Step,
    StepContext,
    StepGraph,
    StepStatus,
    run_graph,
)
from sbkube.engine.events import Event, StepFinished
from sbkube.engine.state import DONE
from sbkube.engine.stores.files.disk import Disk
from sbkube.engine.stores.files.folder import JournalFolder
from sbkube.engine.stores.files.recovery import recover
from sbkube.engine.stores.files.view import is_ours
from sbkube.engine.testing import Contents, SimulatedDisk

ROOT = Path("/disk")
STATE = ROOT / "state"
RUNS = STATE / "runs"
JOURNALS = JournalFolder(STATE / "journal")

NEEDS = {"a": [], "b": [], "c": ["a"], "d": ["a", "b"], "e": ["c", "d"]}


def graph_of(body: Callable[[StepContext], object], needs: dict[str, list[str]] = NEEDS) -> StepGraph:
    async def work(step: StepContext) -> object:
        await anyio.lowlevel.checkpoint()
        return body(step)

    return StepGraph([Step(id, work, needs=before) for id, before in needs.items()])


@dataclass
class History:
    """What the world saw, in order: `begin X`, `end X` of bodies and `ack X` of completions told."""

    marks: list[str] = field(default_factory=list)

    def of(self, word: str) -> set[str]:
        return {mark.split()[1] for mark in self.marks if mark.startswith(word)}

    def then(self, marks: list[str]) -> History:
        return History(self.marks + marks)


async def run_on(disk: SimulatedDisk) -> ExecutionState:
    """One process: goes on with whatever is there, and marks in the disk's trace what the world sees."""

    def body(step: StepContext) -> str:
        disk.mark(f"begin {step.id}")
        disk.mark(f"end {step.id}")
        return step.id

    def listen(event: Event) -> None:
        if isinstance(event, StepFinished) and event.status is StepStatus.COMPLETED:
            disk.mark(f"ack {event.step}")

    async with FileStore.open(STATE, disk=disk, lock=False) as store:
        return await run_graph(graph_of(body), store=store, resume="always", on_event=listen)


def violations(contents: Contents, history: History) -> list[str]:
    """Which of the invariants a disk found after a crash breaks."""
    disk = SimulatedDisk(ROOT, contents)
    try:
        found = recover(disk, JOURNALS, RUNS, None)
        again = recover(disk, JOURNALS, RUNS, None)
    except StateCorrupt as error:
        return [f"FALSE ALARM {error}"]
    broken = [] if found == again else ["RECOVERY CHANGES"]
    steps = {} if found is None else found.settled().steps
    done = {id for id, step in steps.items() if step.status in DONE}
    untouched = {id for id in NEEDS if id not in steps or steps[id].status is StepStatus.PENDING}
    broken += [f"LOST {id}" for id in history.of("ack") - done]
    broken += [f"FORGOTTEN {id}" for id in history.of("begin") & untouched]
    broken += [f"PHANTOM {id}" for id in done - history.of("end")]
    shown = contents.get(RUNS / "latest.json")
    if shown is not None:
        broken += _view_violations(shown, done, 0 if found is None else found.state.journal)
    return broken


def _view_violations(shown: bytes, done: set[str], journal: int) -> list[str]:
    try:
        read = json.loads(shown)
    except ValueError:
        return ["VIEW does not parse"]
    if not is_ours(shown):
        return ["VIEW is not whole"]
    ahead = {id for id, step in read["steps"].items() if step["status"] == "completed"} - done
    return [f"VIEW ahead {id}" for id in ahead] + (
        ["VIEW of a later journal"] if read["journal"] > journal else []
    )


@dataclass
class Found:
    states: int = 0
    violations: dict[str, str] = field(default_factory=dict)

    def look(self, contents: Contents, history: History, where: str) -> bool:
        self.states += 1
        broken = violations(contents, history)
        for one in broken:
            self.violations.setdefault(one.split()[0], f"{one} after {where}")
        return not broken


async def enumerate_crashes(
    make: Callable[[Contents | None], SimulatedDisk], seed: int, *, many: int, deeper: float, many_deeper: int
) -> Found:
    """Cuts the power after each operation of a run, and in a share of what is left again in the resumed run."""
    chance, found = Random(seed), Found()
    first = make(None)
    await run_on(first)
    for moment in first.trace:
        history = History(first.marks[: moment.marks])
        for left in first.after_power_cut(moment, chance, many):
            fine = found.look(left, history, moment.what)
            if fine and chance.random() < deeper:
                await _crash_again(make, left, history, chance, many_deeper, found)
    return found


async def _crash_again(
    make: Callable[[Contents | None], SimulatedDisk],
    left: Contents,
    history: History,
    chance: Random,
    many: int,
    found: Found,
) -> None:
    known = recover(SimulatedDisk(ROOT, left), JOURNALS, RUNS, None)
    done = set() if known is None else {id for id, step in known.state.steps.items() if step.is_done}
    second = make(left)
    await run_on(second)
    for again in done & History(second.marks).of("begin"):
        found.violations.setdefault("RAN TWICE", again)
    for moment in second.trace:
        for left_again in second.after_power_cut(moment, chance, many):
            found.look(left_again, history.then(second.marks[: moment.marks]), f"resume, {moment.what}")


def all_bytes(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def recovered(path: Path, profile: str | None = None) -> ExecutionState | None:
    found = recover(Disk(), JournalFolder(path / "journal"), path / "runs", profile)
    return None if found is None else found.settled()


class Reader:
    """Loops on the view like any other tool would, while the run is killed and resumed."""

    def __init__(self, view: Path) -> None:
        self._view = view
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work)
        self.reads = 0
        self.wrong: list[str] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _work(self) -> None:
        before = (0, -1)
        while not self._stop.wait(0.0005):
            try:
                view = json.loads(self._view.read_bytes())
            except FileNotFoundError:
                continue
            except ValueError as error:
                self.wrong.append(str(error))
                continue
            now = view["journal"], view["seq"]
            if now < before:
                self.wrong.append(f"{before} then {now}")
            before = now
            self.reads += 1
