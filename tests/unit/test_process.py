"""Children in groups of their own: what comes out, and that nothing survives."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest
from anyio.lowlevel import checkpoint

from sbkube.process import (
    LONGEST_LINE,
    CannotStart,
    CommandNotExecutable,
    CommandNotFound,
    CommandTimedOut,
    Exit,
    WorkingFolderMissing,
    group_alive,
    kill_all_groups,
    run_process,
)

pytestmark = pytest.mark.anyio

ENV = {"PATH": os.environ["PATH"]}


async def until(holds: Callable[[], bool]) -> None:
    with anyio.fail_after(10):
        while not holds():  # noqa: ASYNC110 - the kernel sends no event
            await anyio.sleep(0.01)


async def lines_of(command: str | list[str], folder: Path, **options: object) -> tuple[Exit, list[str]]:
    lines: list[str] = []
    ended = await run_process(command, cwd=folder, env=ENV, on_line=lines.append, **options)  # type: ignore[arg-type]
    return ended, lines


class Pids:
    """Collects lines like `pid 123`; `ready` is set once so many have come."""

    def __init__(self, expected: int = 1) -> None:
        self.pids: list[int] = []
        self.ready = anyio.Event()
        self._expected = expected

    def __call__(self, line: str) -> None:
        if line.startswith("pid "):
            self.pids.append(int(line.split()[1]))
        if len(self.pids) == self._expected:
            self.ready.set()


def runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state not in "ZX"


STUBBORN = """
trap '' TERM
(trap '' TERM; sh -c 'trap "" TERM; echo pid $$; while :; do sleep 0.05; done') &
echo pid $$
while :; do sleep 0.05; done
"""


async def test_both_streams_come_as_lines_in_the_order_they_were_written(tmp_path: Path) -> None:
    ended, lines = await lines_of("echo one; echo two >&2; echo three; printf four", tmp_path)
    assert lines == ["one", "two", "three", "four"]
    assert ended.code == 0
    assert ended.ok


async def test_an_argument_list_goes_through_no_shell(tmp_path: Path) -> None:
    _, lines = await lines_of(["echo", "$HOME; `true`"], tmp_path)
    assert lines == ["$HOME; `true`"]


async def test_a_non_zero_exit_is_a_result_and_no_error(tmp_path: Path) -> None:
    ended, _ = await lines_of("exit 3", tmp_path)
    assert (ended.code, str(ended)) == (3, "exit code 3")


async def test_a_child_killed_by_a_signal_says_which(tmp_path: Path) -> None:
    ended, _ = await lines_of("kill -9 $$", tmp_path)
    assert (ended.code, str(ended)) == (-9, "killed by SIGKILL")


async def test_the_child_sees_exactly_the_environment_and_folder_it_was_given(tmp_path: Path) -> None:
    lines: list[str] = []
    await run_process("echo $SECRET; pwd", cwd=tmp_path, env={"SECRET": "x"}, on_line=lines.append)
    assert lines == ["x", str(tmp_path)]


async def test_without_input_the_child_reads_the_end_at_once(tmp_path: Path) -> None:
    ended, lines = await lines_of("cat; echo end", tmp_path)
    assert (ended.code, lines) == (0, ["end"])


async def test_input_larger_than_a_pipe_reaches_a_child_that_reads_and_one_that_does_not(
    tmp_path: Path,
) -> None:
    data = b"x" * 300_000
    _, lines = await lines_of("wc -c", tmp_path, stdin=data)
    ended, _ = await lines_of("exit 0", tmp_path, stdin=data)
    assert [line.strip() for line in lines] == ["300000"]
    assert ended.ok


async def test_bytes_that_are_not_utf_8_are_replaced(tmp_path: Path) -> None:
    _, lines = await lines_of(r"printf 'a\377b\r\n\303'; sleep 0.01; printf '\251\n'", tmp_path)
    assert lines == ["a\ufffdb", "é"]


async def test_a_line_of_any_length_comes_in_bounded_pieces_and_nothing_is_lost(tmp_path: Path) -> None:
    size = 3 * LONGEST_LINE + 17
    program = f"import sys; sys.stdout.write('x' * {size} + '\\n' + 'y' * {LONGEST_LINE} + '\\nend\\n')"
    _, lines = await lines_of([sys.executable, "-c", program], tmp_path)
    assert max(map(len, lines)) == LONGEST_LINE
    assert "".join(lines) == "x" * size + "y" * LONGEST_LINE + "end"
    assert lines[-2:] == ["y" * LONGEST_LINE, "end"]


async def test_a_listener_that_waits_gets_every_line_in_order(tmp_path: Path) -> None:
    seen: list[str] = []

    async def slow(line: str) -> None:
        await checkpoint()
        seen.append(line)

    await run_process("seq 1 5000", cwd=tmp_path, env=ENV, on_line=slow)
    assert seen == [str(n) for n in range(1, 5001)]


async def test_a_background_child_does_not_hold_up_the_end(tmp_path: Path) -> None:
    pids = Pids()
    with anyio.fail_after(20):
        ended = await run_process("sleep 60 & echo pid $!", cwd=tmp_path, env=ENV, on_line=pids)
    assert ended.ok
    assert runs(pids.pids[0])  # it was asked for, and it is left alone
    os.kill(pids.pids[0], signal.SIGKILL)


async def test_a_background_child_that_never_stops_talking_does_not_hold_up_the_end_either(
    tmp_path: Path,
) -> None:
    pids = Pids()
    with anyio.fail_after(20):
        await run_process("yes & echo pid $!", cwd=tmp_path, env=ENV, on_line=pids)
    # its pipe is closed, so it ends by itself
    await until(lambda: not runs(pids.pids[0]))


async def test_a_leader_that_closes_its_output_early_is_still_waited_for(tmp_path: Path) -> None:
    ended, _ = await lines_of("exec >&- 2>&-; sleep 0.2; exit 7", tmp_path)
    assert ended.code == 7


async def test_the_time_limit_ends_the_whole_group_also_members_that_ignore_term(tmp_path: Path) -> None:
    pids = Pids(2)
    with pytest.raises(CommandTimedOut, match=r"time limit of 0\.5 s") as caught:
        await run_process(STUBBORN, cwd=tmp_path, env=ENV, on_line=pids, time_limit=0.5, grace=0.1)
    assert isinstance(caught.value, TimeoutError)
    assert [pid for pid in pids.pids if runs(pid)] == []


async def test_without_grace_nothing_is_done_on_the_way_out(tmp_path: Path) -> None:
    script = "trap 'touch undone' TERM; echo ready; while :; do sleep 0.01; done"
    lines: list[str] = []
    for _ in range(5):
        with pytest.raises(CommandTimedOut):
            await run_process(script, cwd=tmp_path, env=ENV, on_line=lines.append, time_limit=0.1, grace=0.0)
    assert lines
    assert os.listdir(tmp_path) == []


async def test_cancellation_passes_through_and_leaves_no_member_of_the_group(tmp_path: Path) -> None:
    pids = Pids(2)
    returned = False

    async def run() -> None:
        nonlocal returned
        await run_process(STUBBORN, cwd=tmp_path, env=ENV, on_line=pids, grace=0.1)
        returned = True

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run)
        await pids.ready.wait()
        tasks.cancel_scope.cancel()
    assert not returned
    assert [pid for pid in pids.pids if runs(pid)] == []


async def test_a_child_that_minds_term_says_goodbye_and_is_not_killed(tmp_path: Path) -> None:
    lines: list[str] = []
    ready = anyio.Event()

    def listen(line: str) -> None:
        lines.append(line)
        ready.set()

    script = "trap 'seq 1 20000; echo bye; exit 0' TERM; echo ready; while :; do sleep 0.02; done"
    async with anyio.create_task_group() as tasks:

        async def run() -> None:
            await run_process(script, cwd=tmp_path, env=ENV, on_line=listen, grace=30)

        tasks.start_soon(run)
        await ready.wait()
        tasks.cancel_scope.cancel()
    assert lines[-2:] == ["20000", "bye"]
    assert sum(line.isdigit() for line in lines) == 20_000


async def test_a_flooding_child_that_ignores_term_is_killed_when_its_grace_is_over(tmp_path: Path) -> None:
    pids = Pids()
    with anyio.fail_after(30), pytest.raises(CommandTimedOut):
        await run_process(
            "trap '' TERM; echo pid $$; while :; do echo xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx; done",
            cwd=tmp_path,
            env=ENV,
            on_line=pids,
            time_limit=0.3,
            grace=0.2,
        )
    assert not runs(pids.pids[0])


async def test_a_listener_that_raises_ends_the_group_and_its_error_passes_through(tmp_path: Path) -> None:
    pids = Pids()

    def listen(line: str) -> None:
        pids(line)
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        await run_process("echo pid $$; sleep 60", cwd=tmp_path, env=ENV, on_line=listen, grace=1)
    assert not runs(pids.pids[0])


async def test_a_listener_that_hangs_can_be_cancelled(tmp_path: Path) -> None:
    pids = Pids()

    async def listen(line: str) -> None:
        pids(line)
        await anyio.sleep_forever()

    async with anyio.create_task_group() as tasks:

        async def run() -> None:
            await run_process("echo pid $$; sleep 60", cwd=tmp_path, env=ENV, on_line=listen, grace=1)

        tasks.start_soon(run)
        await pids.ready.wait()
        tasks.cancel_scope.cancel()
    assert not runs(pids.pids[0])


async def test_all_groups_can_be_killed_at_once_from_a_signal_path(tmp_path: Path) -> None:
    pids = Pids(2)
    ends: list[Exit] = []

    async def run() -> None:
        ends.append(await run_process(STUBBORN, cwd=tmp_path, env=ENV, on_line=pids))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run)
        await pids.ready.wait()
        kill_all_groups()
    assert [ended.code for ended in ends] == [-9]
    await until(lambda: not any(map(runs, pids.pids)))


async def test_a_group_of_zombies_is_not_alive() -> None:
    pid = os.posix_spawn("/bin/sh", ["sh", "-c", "exit 0"], {}, setpgroup=0)  # noqa: ASYNC221
    await until(lambda: not group_alive(pid))
    os.killpg(pid, 0)  # the kernel still knows the group
    os.waitpid(pid, 0)  # noqa: ASYNC222


def without_permission(folder: Path) -> list[str]:
    (folder / "tool").write_text("#!/bin/sh\n")
    return [str(folder / "tool")]


def with_rubbish_inside(folder: Path) -> list[str]:
    (folder / "tool").write_bytes(b"\0\1\2")
    (folder / "tool").chmod(0o755)
    return [str(folder / "tool")]


@pytest.mark.parametrize(
    ("command", "error", "words"),
    [
        (lambda _: ["no-such-tool", "x"], CommandNotFound, "'no-such-tool' was not found"),
        (without_permission, CommandNotExecutable, "permission denied"),
        (with_rubbish_inside, CommandNotExecutable, "Exec format error"),
        (lambda _: [], CannotStart, "an empty command"),
        (lambda _: ["a\0b"], CannotStart, "cannot be started"),
        (lambda _: ["echo", "x" * 3_000_000], CannotStart, "Argument list too long"),
    ],
)
async def test_a_command_that_cannot_start_says_why(
    tmp_path: Path, command: Callable[[Path], list[str]], error: type[CannotStart], words: str
) -> None:
    with pytest.raises(error, match=words):
        await lines_of(command(tmp_path), tmp_path)


async def test_a_missing_working_folder_is_not_a_missing_command(tmp_path: Path) -> None:
    with pytest.raises(WorkingFolderMissing, match="gone"):
        await lines_of("true", tmp_path / "gone")


async def test_no_file_descriptor_is_left_behind(tmp_path: Path) -> None:
    await lines_of("true", tmp_path)
    before = os.listdir("/proc/self/fd")
    for _ in range(5):
        await lines_of("echo x", tmp_path, stdin=b"y")
        with pytest.raises(CommandNotFound):
            await lines_of(["no-such-tool"], tmp_path)
    assert len(os.listdir("/proc/self/fd")) == len(before)
