"""What people and tools find in the state folder: views that always parse, old files, edits, history, retention."""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

from sbkube.engine import (
    ExecutionState,
    ExecutionTracker,
    FileStore,
    MemoryStore,
    RunStatus,
    StepContext,
    StepExecution,
    load_execution_history,
    run_graph,
)
from sbkube.engine.stores.files import view as view_module
from sbkube.engine.stores.files.view import View, ViewWriter, is_ours, shown
from sbkube.engine.testing import as_shown

from .helpers import Reader, all_bytes, graph_of, recovered

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def nothing_is_left_open() -> Iterator[None]:
    yield
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("sbkube")] == []


def open_files(path: Path) -> list[str]:
    found = []
    for fd in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{fd}")
        except FileNotFoundError:
            continue
        if target.startswith(str(path)):
            found.append(target)
    return found


async def run(
    path: Path, profile: str | None = None, resume: str = "no", fail: str | None = None
) -> ExecutionState:
    def body(step: StepContext) -> str:
        if step.id == fail:
            raise ValueError("as told")
        return step.id

    async with FileStore.open(path) as store:
        return await run_graph(graph_of(body), store=store, profile=profile, resume=resume)  # type: ignore[arg-type]


def latest(path: Path) -> Path:
    return path / "runs" / "latest.json"


async def test_a_run_leaves_no_file_open_and_no_thread(tmp_path: Path) -> None:
    await run(tmp_path / "s")
    await run(tmp_path / "s", resume="always")
    assert open_files(tmp_path) == []
    async with FileStore.open(tmp_path / "s"):
        assert open_files(tmp_path) == [str(tmp_path / "s" / "lock")]


async def test_the_view_is_exact_when_the_process_ends_by_itself(tmp_path: Path) -> None:
    state = await run(tmp_path / "s", fail="c")
    for view in (latest(tmp_path / "s"), tmp_path / "s" / "runs" / "000001.json"):
        assert ExecutionState.from_json(view.read_bytes()) == as_shown(state)
    assert recovered(tmp_path / "s") == state
    shown = json.loads(latest(tmp_path / "s").read_bytes())
    assert (shown["format"], shown["counts"], shown["next"]) == (
        1,
        {"completed": 3, "failed": 1, "blocked": 1},
        "c",
    )
    assert shown["holder"] is None


@pytest.mark.usefixtures("eager_views")
async def test_a_reader_that_loops_on_the_view_sees_no_half_of_it_and_no_step_back(tmp_path: Path) -> None:
    needs: dict[str, list[str]] = {f"s{n}": [f"s{n - 1}"] if n else [] for n in range(150)}
    with Reader(latest(tmp_path / "s")) as reader:
        async with FileStore.open(tmp_path / "s") as store:
            state = await run_graph(graph_of(lambda step: step.id, needs), store=store)
    assert reader.wrong == []
    assert reader.reads > 0
    assert ExecutionState.from_json(latest(tmp_path / "s").read_bytes()) == as_shown(state)


async def test_an_edited_view_is_noticed_and_not_read(tmp_path: Path) -> None:
    path = tmp_path / "s"
    state = await run(path, fail="c")
    reader = FileStore.read(path)
    assert not await reader.view_is_edited()
    latest(path).write_bytes(latest(path).read_bytes().replace(b'"failed"', b'"completed"'))
    assert await reader.view_is_edited()
    assert await reader.latest() == state
    resumed = await run(path, resume="always", fail="c")
    assert resumed.counts == state.counts
    assert not await reader.view_is_edited()
    latest(path).write_text("no json")
    assert await reader.view_is_edited()
    latest(path).unlink()
    assert not await reader.view_is_edited()


OLD_ID = "123456789-0000-4000-8000-000000000000"


def old_run(path: Path, name: str, started_at: str) -> Path:
    written = {
        "run_id": name,
        "profile": "prod",
        "namespace": "default",
        "started_at": started_at,
        "status": "in_progress",
        "steps": {
            "deploy": {"name": "deploy", "status": "failed", "error": "boom"},
            "odd": {"status": "weird"},
        },
        "config_hash": "abc",
    }
    file = path / "runs" / f"{name}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(written))
    return file


async def test_runs_of_the_sequential_version_are_left_alone_and_listed_after_ours(tmp_path: Path) -> None:
    path = tmp_path / "s"
    old = old_run(path, OLD_ID, "2025-01-02T00:00:00")
    old_run(path, "ffffffff-0000-4000-8000-000000000000", "2025-01-01T00:00:00")
    (path / "runs" / "broken.json").write_text("[" * 9999)
    latest(path).symlink_to(old.name)
    before = all_bytes(path)
    assert [state.run_id[:4] for state in await load_execution_history(path)] == ["1234", "ffff"]
    assert all_bytes(path) == before
    assert not await FileStore.read(path).view_is_edited()
    state = await run(path)
    assert state.run == 1, "the digits of an old name are no number of a run"
    assert not latest(path).is_symlink()
    listed = await load_execution_history(path)
    assert [found.run_id[:4] for found in listed[1:]] == ["1234", "ffff"]
    assert (listed[1].status, listed[1].steps["deploy"].error) == (RunStatus.INTERRUPTED, "boom")
    async with FileStore.open(path) as store:
        assert await store.remove_runs(1) == []
    assert before.items() - {("runs/latest.json", before["runs/latest.json"])} <= all_bytes(path).items()


async def test_history_tells_a_killed_run_though_others_came_after_it(tmp_path: Path) -> None:
    path = tmp_path / "s"
    await run(path, "prod")
    await run(path)
    (path / "runs" / "000001.json").unlink()
    journal = path / "journal" / "000001.jsonl"
    journal.write_bytes(b"".join(journal.read_bytes().splitlines(keepends=True)[:-3]))
    told = await FileStore.read(path).history()
    assert [(state.run, state.profile) for state in told] == [(2, None), (1, "prod")]
    assert told[1].counts["completed"] == 4


async def test_history_tells_a_run_as_its_last_journal_has_it_not_as_an_older_view(tmp_path: Path) -> None:
    path = tmp_path / "s"
    await run(path, "prod", fail="c")
    view = (path / "runs" / "000001.json").read_bytes()
    complete = await run(path, "prod", "always")
    await run(path)
    (path / "runs" / "000001.json").write_bytes(view)
    assert (await FileStore.read(path).history())[1] == complete


async def test_what_a_reader_asks_of_a_folder_that_is_not_there_creates_nothing(tmp_path: Path) -> None:
    reader = FileStore.read(tmp_path / "s")
    assert await reader.latest(any_profile=True) is None
    assert await reader.history() == []
    assert await reader.plan(1) is None
    assert not await reader.view_is_edited()
    assert os.listdir(tmp_path) == []


async def test_what_a_killed_process_left_half_written_is_swept_away(tmp_path: Path) -> None:
    path = tmp_path / "s"
    await run(path)
    left = [path / "runs" / ".latest.json.0a0b0c0d.new", path / "..gitignore.0a0b0c0d.new"]
    for file in left:
        file.write_text("half")
    (path / "runs" / ".hidden").write_text("not ours")
    async with FileStore.open(path):
        assert not any(file.exists() for file in left)
    assert (path / "runs" / ".hidden").exists()


async def test_removing_runs_takes_no_completion_that_a_later_run_could_take_over(tmp_path: Path) -> None:
    path = tmp_path / "s"
    await run(path, "prod", fail="c")
    for _ in range(3):
        await run(path)
    async with FileStore.open(path) as store:
        assert await store.remove_runs(1) == [2, 3]
        ran: list[str] = []
        state = await run_graph(
            graph_of(lambda step: ran.append(step.id)), store=store, profile="prod", resume="always"
        )
    assert state.is_complete
    assert ran == ["c", "e"]
    names = {file.name for file in (path / "journal").iterdir()}
    assert names == {"000001.jsonl", "000004.jsonl", "000005.jsonl"}


async def test_a_loop_that_ends_under_an_open_store_harms_no_later_one(tmp_path: Path) -> None:
    """Its threads find nobody to tell; its journal is that of a process that died."""
    path = tmp_path / "s"
    stores: list[FileStore] = []

    async def leave_open() -> None:
        opening = FileStore.open(path, lock=False)
        store = await opening.__aenter__()
        await ExecutionTracker(store).start_execution(graph_of(lambda step: step.id))
        stores.append(store)
        kept_open.append(opening)

    kept_open: list[object] = []
    await anyio.to_thread.run_sync(anyio.run, leave_open)
    assert await run(path, resume="always")
    await stores[0]._stop_threads(None)
    state = recovered(path)
    assert state is not None
    assert state.is_complete


async def test_memory_and_files_end_in_the_same_state(tmp_path: Path) -> None:
    async with FileStore.open(tmp_path / "s") as files, MemoryStore() as memory:
        states = [
            await run_graph(graph_of(lambda step: step.id), store=store, metadata={"m": 1})
            for store in (files, memory)
        ]
    assert states[0].counts == states[1].counts
    assert [s.output for s in states[0].steps.values()] == [s.output for s in states[1].steps.values()]


def test_the_cost_of_a_view_is_that_of_the_steps_that_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rendered: list[str] = []

    def counted(step: StepExecution) -> bytes:
        rendered.append(step.name)
        return shown(step)

    steps = {f"s{n}": StepExecution(f"s{n}") for n in range(1000)}
    state = ExecutionState("id", None, None, "", None, RunStatus.IN_PROGRESS, steps, "")
    monkeypatch.setattr(view_module, "shown", counted)
    view = View(state, {})
    writer = ViewWriter(FileStore(tmp_path)._disk, tmp_path / "latest.json", view)
    rendered.clear()
    for seq in range(3):
        writer.changed({"s7": steps["s7"]}, 1, seq)
        writer._write()
    assert rendered == ["s7", "s7", "s7"]
    assert is_ours((tmp_path / "latest.json").read_bytes())


async def test_steps_that_fill_all_worker_threads_do_not_keep_the_store_from_working(tmp_path: Path) -> None:
    let_go = threading.Event()
    limiter = anyio.to_thread.current_default_thread_limiter()
    limiter.total_tokens = 1

    async def fill() -> None:
        await anyio.to_thread.run_sync(let_go.wait)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(fill)
        await anyio.wait_all_tasks_blocked()
        assert limiter.available_tokens == 0
        state = await run(tmp_path / "s")
        assert await FileStore.read(tmp_path / "s").latest() == state
        let_go.set()


async def test_numbers_of_runs_go_on_when_somebody_removed_their_folder(tmp_path: Path) -> None:
    path = tmp_path / "s"
    for _ in range(3):
        await run(path)
    shutil.rmtree(path / "runs")
    assert (await run(path)).run == 4
    assert [state.run for state in await load_execution_history(path)] == [4, 3, 2, 1]
