"""A real process is killed at random moments until its run is complete; what it did stands in a ledger outside."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
from collections import Counter
from pathlib import Path
from random import Random

import pytest

from sbkube.engine import StepStatus
from sbkube.engine.stores.files.disk import Disk
from sbkube.engine.stores.files.folder import JournalFolder
from sbkube.engine.stores.files.recovery import born

from .helpers import Reader, recovered

STEPS = 60

RUNS = """
import os, sys, anyio
from sbkube.engine import *

ledger = os.open(sys.argv[2], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

def note(what, step):
    os.write(ledger, f"{what} {step}\\n".encode())
    os.write(1, b".")

async def body(step):
    note("begin", step.id)
    await anyio.sleep(0.001)
    note("end", step.id)
    return {"by": os.getpid()}

def listen(event):
    if isinstance(event, StepFinished):
        note("ack", event.step)

needs = lambda n: [f"s{n - 7}", f"s{n // 2}"] if n >= 7 else []
graph = StepGraph([Step(f"s{n}", body, needs=needs(n)) for n in range(60)])

async def main():
    async with FileStore.open(sys.argv[1]) as store:
        state = await run_graph(graph, store=store, resume="always", on_event=listen, limits=Limits(total=4))
    sys.exit(0 if state.is_complete else 1)

anyio.run(main, backend=sys.argv[3])
"""


def killed_until_complete(path: Path, chance: Random, backend: str) -> int:
    """How often it was killed: most times when some steps have moved on, sometimes before any has."""
    command = [sys.executable, "-c", RUNS, str(path / "s"), str(path / "ledger"), backend]
    for kills in range(100):
        with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
            assert child.stdout is not None
            if chance.random() < 0.2:
                select.select([child.stdout], [], [], chance.uniform(0.0, 0.3))
            elif len(child.stdout.read(more := chance.randint(1, 150))) < more:
                assert child.wait() == 0
                return kills
            child.kill()
    raise AssertionError("it never ends")


def check_ledger(path: Path) -> None:
    events = [line.split() for line in (path / "ledger").read_text().splitlines()]
    acknowledged: set[str] = set()
    for what, step in events:
        assert what != "begin" or step not in acknowledged, f"{step} was acknowledged and runs again"
        if what == "ack":
            acknowledged.add(step)
    ended = Counter(step for what, step in events if what == "end")
    assert set(ended) == {f"s{n}" for n in range(STEPS)}
    durable_twice(path / "s")
    state = recovered(path / "s")
    assert state is not None
    assert state.is_complete
    view = json.loads((path / "s" / "runs" / "latest.json").read_bytes())
    assert (view["status"], view["counts"]) == ("completed", {"completed": STEPS})
    assert [name for name in os.listdir(path / "s" / "runs") if name.endswith(".new")] == []


def durable_twice(path: Path) -> None:
    """Journals, oldest first: what was completed in one is completed in all later ones, and by the same process."""
    done: dict[str, object] = {}
    for found in reversed(list(born(Disk(), JournalFolder(path / "journal"), path / "runs"))):
        steps = found.state.steps
        for id, output in done.items():
            assert steps[id].status is StepStatus.COMPLETED
            assert steps[id].output == output
        done = {id: step.output for id, step in steps.items() if step.status is StepStatus.COMPLETED}


def _rounds(path: Path, rounds: range, backend: str) -> int:
    kills = 0
    for seed in rounds:
        folder = path / str(seed)
        folder.mkdir()
        with Reader(folder / "s" / "runs" / "latest.json") as reader:
            kills += killed_until_complete(folder, Random(seed), backend)
        assert reader.wrong == []
        assert reader.reads > 0
        check_ledger(folder)
    return kills


@pytest.mark.parametrize(("backend", "rounds"), [("asyncio", range(10)), ("trio", range(10, 15))])
def test_a_run_that_is_killed_at_random_moments_does_everything_once(
    tmp_path: Path, backend: str, rounds: range
) -> None:
    assert _rounds(tmp_path, rounds, backend) >= len(rounds)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_many_runs_that_are_killed_do_everything_once(tmp_path: Path, backend: str) -> None:
    assert _rounds(tmp_path, range(1000, 1075), backend) >= 75
