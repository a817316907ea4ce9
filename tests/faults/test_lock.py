"""One process at a time, and no lock that outlives its process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import anyio
import pytest

from sbkube.engine import FileStore, RunLocked, StateNotWritable, run_graph
from sbkube.engine.stores.files.lock import Holder, RunLock, read_holder, start_of

from .helpers import graph_of

pytestmark = pytest.mark.anyio

HOLDS = """
import sys, anyio
from sbkube.engine import FileStore

async def main():
    async with FileStore.open(sys.argv[1]):
        print("holds", flush=True)
        await anyio.to_thread.run_sync(sys.stdin.read)

anyio.run(main)
"""


def hold(path: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", HOLDS, str(path)]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "holds\n"
    return child


async def test_a_second_store_is_refused_and_names_the_process_that_holds(tmp_path: Path) -> None:
    with hold(tmp_path / "s") as child:
        with pytest.raises(RunLocked) as caught:
            async with FileStore.open(tmp_path / "s", lock_wait=0.0):
                raise AssertionError
        child.kill()
    assert str(child.pid) in str(caught.value)
    assert caught.value.holder is not None
    assert caught.value.holder.startswith(f"process {child.pid} (-c) on ")


async def test_after_a_kill_of_the_holder_the_next_store_opens_at_once(tmp_path: Path) -> None:
    with hold(tmp_path / "s") as child:
        child.kill()
        child.wait()
    async with FileStore.open(tmp_path / "s", lock_wait=0.0) as store:
        assert (await run_graph(graph_of(lambda step: None), store=store)).is_complete


async def test_a_store_waits_as_long_as_it_was_told_for_the_holder_to_end(tmp_path: Path) -> None:
    opened = anyio.Event()

    async def wait() -> None:
        async with FileStore.open(tmp_path / "s", lock_wait=60.0):
            opened.set()

    async with anyio.create_task_group() as tasks:
        async with FileStore.open(tmp_path / "s"):
            tasks.start_soon(wait)
            await anyio.wait_all_tasks_blocked()
            assert not opened.is_set()
        await opened.wait()


async def test_waiting_for_the_lock_can_be_cancelled_and_leaves_it_free(tmp_path: Path) -> None:
    async with FileStore.open(tmp_path / "s"):
        with anyio.move_on_after(0.01) as scope:
            async with FileStore.open(tmp_path / "s", lock_wait=60.0):
                raise AssertionError
        assert scope.cancelled_caught
    async with FileStore.open(tmp_path / "s", lock_wait=0.0):
        pass


async def test_two_stores_of_one_process_lock_each_other_out(tmp_path: Path) -> None:
    async with FileStore.open(tmp_path / "s"):
        with pytest.raises(RunLocked, match=f"process {os.getpid()}"):
            async with FileStore.open(tmp_path / "s", lock_wait=0.0):
                raise AssertionError
    async with FileStore.open(tmp_path / "s", lock_wait=0.0):
        pass


FORKS = """
import os, sys, anyio
from sbkube.engine import FileStore

async def main():
    async with FileStore.open(sys.argv[1]):
        child = os.fork()
        if child == 0:
            print(os.getpid(), flush=True)
            os.close(1)
            sys.stdin.read()
            os._exit(0)
        os._exit(9)

anyio.run(main)
"""


def test_a_forked_child_does_not_keep_the_lock_of_its_parent(tmp_path: Path) -> None:
    command = [sys.executable, "-W", "ignore", "-c", FORKS, str(tmp_path / "s")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        parent.wait()
        # The child lives: it waits for the end of its standard input.
        assert start_of(child) is not None
        lock = RunLock(tmp_path / "s" / "lock")
        assert lock.try_take(Holder.this_process())
        lock.give_back()


def test_a_forked_child_that_ends_does_not_free_the_lock_of_its_parent(tmp_path: Path) -> None:
    lock = RunLock(tmp_path / "lock")
    assert lock.try_take(Holder.this_process())
    # With something to do before exec, the child is a fork in which Python itself runs.
    subprocess.run(["true"], preexec_fn=os.getpid, check=True)
    assert not RunLock(tmp_path / "lock").try_take(Holder.this_process())
    lock.give_back()


GARBAGE = [
    b"",
    b"garbage",
    b"\xff\xfe",
    b"[" * 9999,
    b"[]",
    b'"pid"',
    b'{"pid": 1}',
    b"7",
    b"null",
    b"{}" * 5000,
]


@pytest.mark.parametrize("text", GARBAGE, ids=range(len(GARBAGE)))
async def test_what_stands_in_the_lock_file_breaks_nothing(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "s"
    path.mkdir()
    (path / "lock").write_bytes(text)
    assert read_holder(path / "lock") is None
    async with FileStore.open(path):
        (path / "lock").write_bytes(text)
        with pytest.raises(RunLocked, match="did not leave its name"):
            async with FileStore.open(path, lock_wait=0.0):
                raise AssertionError


async def test_a_lock_file_that_is_a_link_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "s"
    path.mkdir()
    (tmp_path / "precious").write_text("precious")
    (path / "lock").symlink_to(tmp_path / "precious")
    with pytest.raises(StateNotWritable):
        async with FileStore.open(path):
            raise AssertionError
    assert (tmp_path / "precious").read_text() == "precious"


async def test_a_lock_on_a_file_that_is_gone_locks_out_nobody_and_is_not_taken(tmp_path: Path) -> None:
    async with FileStore.open(tmp_path / "s"):
        (tmp_path / "s" / "lock").unlink()
        async with FileStore.open(tmp_path / "s", lock_wait=0.0):
            with pytest.raises(RunLocked):
                async with FileStore.open(tmp_path / "s", lock_wait=0.0):
                    raise AssertionError


def test_a_process_id_that_is_used_again_is_not_taken_for_the_holder() -> None:
    me = Holder.this_process()
    assert me.is_alive
    later = Holder(me.pid, f"{me.start}1", me.host, me.since)
    assert not later.is_alive


def test_a_holder_that_ended_and_was_not_awaited_is_dead() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        holder = Holder(child.pid, start_of(child.pid) or "", Holder.this_process().host, "")
        assert holder.is_alive
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert not holder.is_alive


def test_the_holder_names_no_argument_that_may_be_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/usr/bin/sbkube", "run", "--password=s3cret"])
    assert Holder.this_process().command == "sbkube run"
    monkeypatch.setattr(sys, "argv", ["tool", "--token=s3cret"])
    assert Holder.this_process().command == "tool"


STARTS = """
import os, sys, anyio
from sbkube.engine import FileStore, RunLocked

async def start():
    try:
        async with FileStore.open(sys.argv[1], lock_wait=0.0):
            # Whoever gets in leaves a mark, and must find none of another that is still in.
            os.close(os.open(sys.argv[2], os.O_CREAT | os.O_EXCL))
            await anyio.sleep(0.02)
            os.unlink(sys.argv[2])
            return 10
    except RunLocked:
        return 11

go, tell = os.pipe()
children = []
for _ in range(50):
    child = os.fork()
    if not child:
        os.close(tell)
        os.read(go, 1)
        os._exit(anyio.run(start))
    children.append(child)
os.close(tell)
print(*(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children))
"""


def test_of_many_processes_that_start_at_once_exactly_one_runs_at_a_time(tmp_path: Path) -> None:
    command = [sys.executable, "-c", STARTS, str(tmp_path / "s"), str(tmp_path / "inside")]
    said = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout.split()
    assert len(said) == 50
    assert set(said) == {"10", "11"}


async def test_the_lock_file_is_one_line_of_json(tmp_path: Path) -> None:
    async with FileStore.open(tmp_path / "s"):
        text = (tmp_path / "s" / "lock").read_text()
        assert text.endswith("}\n")
        assert json.loads(text)["pid"] == os.getpid()
