"""What still runs of an attempt is found by what it was started with, among everything that runs here."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from sbkube import api
from sbkube.engine import ExecutionTracker, Fenced, FileStore, StepStatus
from sbkube.leftovers import Attempt, Leftover, Process, find_leftovers, from_ps, sort_out


@pytest.fixture
def attempt() -> Attempt:
    """One that no other test knows."""
    return Attempt(uuid.uuid4().hex, 1)


class Commands:
    """Real processes that run until a pipe is closed."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack

    def start(self, script: str, marks: Mapping[str, str], **options: object) -> int:
        """Returns its process id once it has said that it is there."""
        child = subprocess.Popen(
            ["/bin/sh", "-c", script],
            env={"PATH": os.environ["PATH"], **marks},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
            **options,  # type: ignore[call-overload]
        )
        self._stack.enter_context(child)
        self._stack.callback(child.kill)
        assert child.stdout is not None
        assert child.stdout.readline() == b"here\n"
        return int(child.pid)


@pytest.fixture
def commands() -> Iterator[Commands]:
    with ExitStack() as stack:
        yield Commands(stack)


WAITS = "echo here; read line"


def test_what_runs_of_an_attempt_is_found_with_the_command_that_ends_it(
    commands: Commands, attempt: Attempt
) -> None:
    pid = commands.start(WAITS, attempt.marks)

    assert find_leftovers({"a:deploy": attempt}) == {"a:deploy": Leftover((pid,), f"kill -- -{pid}")}
    assert str(Leftover((pid,), "")) == f"process {pid}"


@pytest.mark.parametrize("other", ["another attempt", "another key", "no attempt"])
def test_what_is_not_of_this_attempt_is_not_found(commands: Commands, attempt: Attempt, other: str) -> None:
    marks = {
        "another attempt": Attempt(attempt.key, 2).marks,
        "another key": Attempt(attempt.key + "0", 1).marks,
        "no attempt": {"SBKUBE_IDEMPOTENCY_KEY": attempt.key},
    }
    commands.start(WAITS, marks[other])

    assert find_leftovers({"a:deploy": attempt}) == {}


def test_what_a_command_started_is_found_with_it_also_when_it_left_the_group(
    commands: Commands, attempt: Attempt
) -> None:
    """The group's leader comes first, though its number may be the higher one."""
    pid = commands.start(
        # A command in the background has no input of its own.
        "exec 3<&0; (read line <&3) & setsid sh -c 'echo here; read line <&3' & wait",
        attempt.marks,
    )
    left = find_leftovers({"a:deploy": attempt})["a:deploy"]

    assert len(left.pids) == 3
    leaders = [p for p in left.pids if os.getpgid(p) == p]
    assert list(left.pids[:2]) == leaders
    assert left.kill == "kill -- " + " ".join(f"-{leader}" for leader in leaders)
    assert pid in leaders


def test_the_printed_command_ends_it_and_then_nothing_is_found(commands: Commands, attempt: Attempt) -> None:
    commands.start("sleep 600 & echo here; wait", attempt.marks)
    left = find_leftovers({"a:deploy": attempt})["a:deploy"]
    ends = [os.pidfd_open(pid) for pid in left.pids]
    subprocess.run(left.kill, shell=True, check=True)
    for end in ends:
        assert select.select([end], [], [], 20)[0], "it does not end"
        os.close(end)

    assert len(ends) == 2
    assert find_leftovers({"a:deploy": attempt}) == {}


def test_what_becomes_another_program_all_the_time_is_found_at_each_look(
    commands: Commands, attempt: Attempt, tmp_path: Path
) -> None:
    """For a moment of that it has no environment."""
    again = tmp_path / "again"
    again.write_text(f"exec /bin/sh {again}\n")
    pid = commands.start(f"echo here; exec /bin/sh {again}", attempt.marks)

    assert {find_leftovers({"a:deploy": attempt})["a:deploy"].pids for _ in range(100)} == {(pid,)}


def test_a_zombie_does_not_run(commands: Commands, attempt: Attempt) -> None:
    pid = commands.start("echo here", attempt.marks)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)

    assert find_leftovers({"a:deploy": attempt}) == {}


def test_who_looks_from_inside_a_command_finds_neither_itself_nor_who_started_it(
    tmp_path: Path, attempt: Attempt
) -> None:
    looks = (
        "from sbkube.leftovers import *\n"
        f"print(find_leftovers({{'a:deploy': Attempt({attempt.key!r}, 1)}}))\n"
    )
    (tmp_path / "looks.py").write_text(looks)
    inside = subprocess.run(
        ["/bin/sh", "-c", f"{sys.executable} looks.py; true"],
        env={**os.environ, **attempt.marks},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )

    assert inside.stdout == "{}\n"


def test_several_attempts_are_told_apart(commands: Commands, attempt: Attempt) -> None:
    other = Attempt(uuid.uuid4().hex, 3)
    one, two = commands.start(WAITS, attempt.marks), commands.start(WAITS, other.marks)
    gone = Attempt(uuid.uuid4().hex, 1)
    found = find_leftovers({"a": attempt, "b": other, "c": gone})

    assert {step: left.pids for step, left in found.items()} == {"a": (one,), "b": (two,)}


# What is decided of a list of processes


KNOWN = Attempt("abc", 2)
MARKED = b"PATH=/bin\0SBKUBE_ATTEMPT=2\0SBKUBE_IDEMPOTENCY_KEY=abc\0"


def found(*processes: Process, own: int = 1, own_group: int = 1) -> Leftover | None:
    return sort_out({"a": KNOWN}, processes, own, own_group).get("a")


def test_a_group_that_is_our_own_or_not_known_here_is_never_to_be_killed() -> None:
    ours, elsewhere = Process(20, 1, 7, MARKED), Process(21, 1, 0, MARKED)

    assert found(ours, elsewhere, own=8, own_group=7) == Leftover((20, 21), "kill -- 20 21")


def test_all_who_started_us_are_spared_whatever_their_order() -> None:
    shell, login = Process(30, 20, 30, MARKED), Process(20, 10, 20, b"")
    outer, beside = Process(10, 1, 10, MARKED), Process(31, 10, 10, MARKED)

    assert found(Process(40, 30, 40, MARKED), shell, login, outer, beside, own=40) == Leftover(
        (31,), "kill -- -10"
    )


def test_of_many_processes_some_are_named() -> None:
    left = found(*(Process(100 + n, 1, 100, MARKED) for n in range(9)))

    assert str(left) == "processes 100, 101, 102, 103, 104, 105 and 3 more"


def test_what_ps_says_on_macos_is_read() -> None:
    told = (
        "    1     0     1 Ss   /sbin/launchd\n"
        " 4711     1  4711 S    /bin/bash ./migrate.sh PATH=/usr/bin SBKUBE_ATTEMPT=2 SBKUBE_IDEMPOTENCY_KEY=abc A=b c\n"
        " 4712  4711  4711 S+   sleep 600 SBKUBE_IDEMPOTENCY_KEY=abc SBKUBE_ATTEMPT=2\n"
        " 4713  4711  4711 Z    (sleep) SBKUBE_IDEMPOTENCY_KEY=abc SBKUBE_ATTEMPT=2\n"
        " 4714     1  4714 S    sleep 600 SBKUBE_IDEMPOTENCY_KEY=abc SBKUBE_ATTEMPT=22\n"
    )

    assert found(*from_ps(told)) == Leftover((4711, 4712), "kill -- -4711")


# When it is looked for


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.anyio
async def test_a_command_is_found_whose_sbkube_lived_when_the_state_was_read(
    tmp_path: Path, commands: Commands
) -> None:
    """It dies between that look and the lock; here the holder that was noted never dies."""
    again = "{type: exec, commands: ['echo again > ran'], on_interrupt: rerun}"
    (tmp_path / "config.yaml").write_text(f"target: {{directory: out}}\napps:\n  a: {again}\n")
    project = api.load(tmp_path, environ={})
    with suppress(Fenced):  # as it would find at its end, were it still there
        async with FileStore.open(tmp_path / ".sbkube", lock=False) as store:
            tracker = ExecutionTracker(store)
            await tracker.start_execution(["a:deploy"])
            begun = await tracker.begin("a:deploy")
            pid = commands.start(WAITS, Attempt(begun.key or "", begun.attempt).marks)
            latest = await api.state_of(project).latest()
            outcome = await api.run(project, environ={})

    assert latest is not None
    assert latest.steps["a:deploy"].status is StepStatus.IN_PROGRESS
    assert outcome.decision.undecided == ("a:deploy",)
    assert outcome.leftovers["a:deploy"].pids == (pid,)
    assert outcome.state.steps["a:deploy"].status is StepStatus.INTERRUPTED
    assert not (tmp_path / "ran").exists()
