"""The sample of the design, as it stands there, on both backends."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import pytest

from sbkube.engine import (
    Event,
    ExecutionTracker,
    FileStore,
    Limits,
    Retry,
    RunControl,
    RunFinished,
    RunStatus,
    Step,
    StepContext,
    StepGraph,
    Transient,
    load_execution_history,
    run_graph,
)

pytestmark = pytest.mark.anyio

url = "https://example.org/rows"
config = {"region": "eu"}
control = RunControl()
told: list[Event] = []
loaded: list[Any] = []


def is_transient(error: Exception) -> bool:
    return isinstance(error, ConnectionError)


def listen(event: Event) -> None:
    told.append(event)


async def work(name: str) -> object:
    return {"rows of": name}


async def migrate(step: StepContext) -> object:
    return None


async def extract(step: StepContext) -> object:
    return {"rows": 3, "from": url}


async def load(step: StepContext) -> object:
    rows = step.results["extract"]
    loaded.append(rows)
    if step.attempt == 1:
        raise Transient("busy")
    return rows["rows"]


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    told.clear()
    loaded.clear()


async def test_the_sample_with_the_scheduler() -> None:
    graph = StepGraph([
        Step("migrate", migrate),
        Step("extract", extract, inputs={"url": url}),       # inputs: what the result depends on, any JSON
        Step("load", load, needs=["extract"], after=["migrate"], pools=["load"], time_limit=600.0,
             retry=Retry(retries=2, base=0.01, factor=2.0, cap=60.0, jitter=0.3, when=is_transient), on_interrupt="rerun"),
    ])  # fmt: skip
    async with FileStore.open(".sbkube") as store:  # fmt: skip
        state = await run_graph(graph, store=store, resume="unfinished", limits=Limits(total=8, pools={"load": 2}),
                                on_event=listen, control=control)  # fmt: skip

    state.raise_for_failures()
    assert loaded == [{"rows": 3, "from": url}] * 2
    assert state.steps["load"].output == 3
    assert isinstance(told[-1], RunFinished)


async def test_the_sample_with_a_loop_of_its_own() -> None:
    async with FileStore.open(".sbkube") as store:  # fmt: skip
        tracker = ExecutionTracker(store)
        await tracker.start_execution(["extract", "load"], config=config, resume="unfinished")
        for name in tracker.unfinished():  # fmt: skip
            async with tracker.track_step(name) as step:
                step.result = await work(name)  # fmt: skip

    history = await load_execution_history(".sbkube", limit=10)
    assert [(state.run, state.status) for state in history] == [(1, RunStatus.COMPLETED)]
    assert history[0].steps["load"].output == {"rows of": "load"}


async def test_the_sample_reads_the_history_without_a_lock_and_of_a_folder_that_is_not_there() -> None:
    assert await load_execution_history(".sbkube", limit=10) == []
    assert not await anyio.Path(".sbkube").exists()

    async with FileStore.open(".sbkube") as store:
        await run_graph(StepGraph([Step("a", migrate)]), store=store)
        with anyio.fail_after(10):
            history = await load_execution_history(".sbkube", limit=10)
    assert [state.run for state in history] == [1]
