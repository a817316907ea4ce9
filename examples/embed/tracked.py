"""Your loop, sbkube's records: kill it at any moment, start it again, and it goes on where it was."""

import os
import sys

import anyio

from sbkube.engine import ExecutionTracker, FileStore


async def work(name: str) -> str:
    print(f"working on {name}", flush=True)
    if name == os.environ.get("DIE_AT"):
        os.kill(os.getpid(), 9)
    await anyio.sleep(0.01)
    return name.upper()


async def main(folder: str) -> None:
    async with FileStore.open(folder) as store:
        tracker = ExecutionTracker(store)
        await tracker.start_execution(["extract", "transform", "load"], resume="unfinished")
        for name in tracker.unfinished():
            async with tracker.track_step(name) as step:
                step.result = await work(name)


anyio.run(main, sys.argv[1], backend=os.environ.get("BACKEND", "asyncio"))
