"""Who runs it: sbkube with each of its stores, and what a user would otherwise write or take.

Imports are inside, so that a process pays for the engine it measures and for no other; `modules` names what is
to be imported before the clock starts.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import anyio

from .workloads import SLOTS, Body, Task

if TYPE_CHECKING:
    from sbkube.engine import Event, StepGraph


@dataclass(frozen=True, slots=True)
class Job:
    tasks: Sequence[Task]
    body: Body
    folder: Path
    """Where an engine that keeps state keeps it."""
    resume: Literal["no", "always"] = "no"
    on_completed: Callable[[str], None] = lambda id: None
    """Told of each step that the engine says is completed, by those that say so."""


async def bare(job: Job) -> None:
    """A task group and a limiter, as one would write it; nothing is kept."""
    limiter = anyio.CapacityLimiter(SLOTS)
    done = {task.id: anyio.Event() for task in job.tasks}

    async def run(task: Task) -> None:
        for need in task.needs:
            await done[need].wait()
        async with limiter:
            await job.body(task)
        done[task.id].set()

    async with anyio.create_task_group() as tasks:
        for task in job.tasks:
            tasks.start_soon(run, task)


async def durable(job: Job) -> None:
    """sbkube: state in files, each start durable before its body, each end before what follows from it."""
    from sbkube.engine import FileStore

    graph = graph_of(job)
    async with FileStore.open(job.folder) as store:
        await _run(job, graph, store)


async def in_memory(job: Job) -> None:
    """sbkube, and the state ends with the process."""
    from sbkube.engine import MemoryStore

    async with MemoryStore() as store:
        await _run(job, graph_of(job), store)


def graph_of(job: Job) -> StepGraph:
    from sbkube.engine import Step, StepGraph

    return StepGraph(Step(task.id, job.body, needs=task.needs) for task in job.tasks)


async def _run(job: Job, graph: StepGraph, store: Any) -> None:
    from sbkube.engine import Limits, StepFinished, StepStatus, run_graph

    def listen(event: Event) -> None:
        if isinstance(event, StepFinished) and event.status is StepStatus.COMPLETED:
            job.on_completed(event.step)

    await run_graph(graph, store=store, limits=Limits(total=SLOTS), resume=job.resume, on_event=listen)


async def doit_sqlite(job: Job) -> None:
    """doit, one task after the other, what is done kept in SQLite."""
    # By name, since it need not be installed and has no types.
    load_from = import_module("doit.cmd_base").ModuleTaskLoader
    main = import_module("doit.doit_cmd").DoitMain
    run_once = import_module("doit.tools").run_once

    def tasks() -> Any:
        for task in job.tasks:
            needs = [need.replace(":", "-") for need in task.needs]
            yield {
                "basename": task.id.replace(":", "-"),
                "actions": [_do_nothing],
                "task_dep": needs,
                "uptodate": [run_once],
            }

    file = str(job.folder / "doit.db")
    settings = {"backend": "sqlite3", "dep_file": file, "reporter": "zero", "verbosity": 0}
    code = main(load_from({"task_all": tasks, "DOIT_CONFIG": settings})).run(["run"])
    if code:
        raise RuntimeError(f"doit ended with {code}")


def _do_nothing() -> None:
    pass


@dataclass(frozen=True, slots=True)
class Engine:
    run: Callable[[Job], Awaitable[None]]
    modules: Sequence[str] = ()


ENGINES = {
    "sbkube": Engine(durable, ["sbkube.engine"]),
    "memory": Engine(in_memory, ["sbkube.engine"]),
    "bare": Engine(bare),
    "doit": Engine(doit_sqlite, ["doit.doit_cmd", "doit.tools", "sqlite3"]),
}
