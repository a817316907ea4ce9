"""A graph whose second step uses what the first one returned, also if that was before a kill -9."""

import os
import sys

import anyio

from sbkube.engine import FileStore, Step, StepContext, StepGraph, run_graph


async def extract(step: StepContext) -> list[int]:
    print("extracting", flush=True)
    return [1, 2, 3]


async def load(step: StepContext) -> int:
    print(f"loading {step.results['extract']}", flush=True)
    if os.environ.get("DIE_AT") == step.id:
        os.kill(os.getpid(), 9)
    return sum(step.results["extract"])


async def main(folder: str) -> None:
    graph = StepGraph([Step("extract", extract), Step("load", load, needs=["extract"])])
    async with FileStore.open(folder) as store:
        state = await run_graph(graph, store=store, resume="unfinished")
    state.raise_for_failures()
    print(f"loaded {state.steps['load'].output}")


anyio.run(main, sys.argv[1], backend=os.environ.get("BACKEND", "asyncio"))
