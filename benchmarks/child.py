"""One measurement, in a process of its own: `python -m benchmarks.child '{"do": "run", …}'` prints JSON."""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import anyio

from .engines import ENGINES, Job, graph_of
from .workloads import SLOTS, WORKLOADS, Body

Mishap = Literal["fail", "kill", "none"]
Found = dict[str, Any]

KILL_AT = 0.4


def run(engine: str, workload: str, steps: int, backend: str, folder: str) -> Found:
    """A whole run: from a list of tasks to the last one done and, where state is kept, the store closed."""
    load = WORKLOADS[workload]
    job = Job(load.tasks(steps), load.body, Path(folder))
    for module in ENGINES[engine].modules:
        import_module(module)
    seconds = anyio.run(_timed, engine, job, backend=backend)
    return {
        "seconds": seconds,
        "steps": len(job.tasks),
        "peak": _peak(),
        "journal": sum(file.stat().st_size for file in job.folder.glob("journal/*")),
    }


async def _timed(engine: str, job: Job) -> float:
    began = time.perf_counter()
    await ENGINES[engine].run(job)
    return time.perf_counter() - began


def _peak() -> int:
    """Bytes of memory this process had at most."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def start(engine: str, backend: str, folder: str, effect: str) -> Found:
    """Four steps that make themselves known; whoever started the process takes the time."""

    async def shows(_: object) -> None:
        show(effect)

    job = Job(WORKLOADS["W2"].tasks(4), shows, Path(folder))
    anyio.run(ENGINES[engine].run, job, backend=backend)
    return {}


def show(effect: str) -> None:
    with open(effect, "wb", buffering=0) as pipe:
        pipe.write(b".")


def logged(
    workload: str,
    steps: int,
    backend: str,
    folder: str,
    log: str,
    mishap: Mishap,
    resume: Literal["no", "always"],
) -> Found:
    """A run that writes each effect to a log, and to which something may happen on the way."""
    load = WORKLOADS[workload]
    tasks = load.tasks(steps)
    fd = os.open(log, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    note = Notes(fd)
    body = note.effect(load.body, _mishap(mishap, tasks[len(tasks) // 2].id, int(len(tasks) * KILL_AT)))
    job = Job(tasks, body, Path(folder), resume, lambda id: note("told", id))
    anyio.run(ENGINES["sbkube"].run, job, backend=backend)
    return {}


class Notes:
    """One line for each thing that happened, written at once, so that no death of the process loses it."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def __call__(self, what: str, id: str) -> None:
        os.write(self._fd, f"{what} {id}\n".encode())

    def effect(self, body: Body, befall: Callable[[str], None]) -> Body:
        async def noted(step: Any) -> object:
            self("ran", step.id)
            befall(step.id)
            return await body(step)

        return noted


def _mishap(mishap: Mishap, middle: str, kill_at: int) -> Callable[[str], None]:
    count = 0

    def befall(id: str) -> None:
        nonlocal count
        count += 1
        if mishap == "fail" and id == middle:
            raise RuntimeError("the step in the middle fails")
        if mishap == "kill" and count >= kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    return befall


def completed(backend: str, folder: str) -> Found:
    """What a later process finds completed."""
    from sbkube.engine import FileStore, StepStatus

    state = anyio.run(FileStore.read(folder).latest, backend=backend)
    assert state is not None
    return {"completed": [step.name for step in state.with_status(StepStatus.COMPLETED)]}


def decide(workload: str, steps: int, backend: str, folder: str) -> Found:
    """The seconds until the state of a run is read and it is decided what is left; then until that is durable too."""
    load = WORKLOADS[workload]
    return anyio.run(_decide, Job(load.tasks(steps), load.body, Path(folder)), backend=backend)


async def _decide(job: Job) -> Found:
    from sbkube.engine import FileStore, Limits, consider, run_graph

    began = time.perf_counter()
    graph = graph_of(job)
    built = time.perf_counter()
    await consider(await FileStore.read(job.folder).latest(), graph, resume="always")
    decided = time.perf_counter()
    opened: list[float] = []
    async with FileStore.open(job.folder) as store:
        await run_graph(
            graph,
            store=store,
            limits=Limits(total=SLOTS),
            resume="always",
            on_decision=lambda decision, state: opened.append(time.perf_counter()),
        )
    return {"seconds": decided - built, "graph": built - began, "opened": opened[0] - decided}


JOBS: dict[str, Callable[..., Found]] = {
    "run": run,
    "start": start,
    "logged": logged,
    "completed": completed,
    "decide": decide,
}


def main() -> None:
    job = json.loads(sys.argv[1])
    print(json.dumps(JOBS[job.pop("do")](**job)))


if __name__ == "__main__":
    main()
