"""Nothing that a run has started lives longer than its lease, whatever has become of the run."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from sbkube.process import forget_group, marked, register_group
from sbkube.targets.cluster.guard import guarding
from sbkube.targets.cluster.holding import since_boot

PATIENCE = 30.0
Start = Callable[[], subprocess.Popen[bytes]]


@pytest.fixture
def start() -> Iterator[Start]:
    children = []

    def started() -> subprocess.Popen[bytes]:
        children.append(subprocess.Popen(["sleep", "600"], start_new_session=True, env=marked(os.environ)))
        return children[-1]

    yield started
    for child in children:
        child.kill()
        child.wait()


def test_what_runs_when_the_lease_is_over_is_killed(start: Start) -> None:
    before = start()
    register_group(before.pid)
    with guarding() as extend:
        after = start()
        register_group(after.pid)
        extend(since_boot())
        assert before.wait(PATIENCE) == after.wait(PATIENCE) == -signal.SIGKILL
    for child in (before, after):
        forget_group(child.pid)


def test_what_is_started_after_the_lease_was_over_is_killed_too(start: Start) -> None:
    with guarding() as extend:
        extend(since_boot())
        for child in (start(), start()):
            register_group(child.pid)
            assert child.wait(PATIENCE) == -signal.SIGKILL
            forget_group(child.pid)


def test_what_a_command_left_behind_when_it_ended_is_left_alone(start: Start) -> None:
    left, running = start(), start()
    with guarding() as extend:
        for child in (left, running):
            register_group(child.pid)
        forget_group(left.pid)
        extend(since_boot())
        assert running.wait(PATIENCE) == -signal.SIGKILL
    forget_group(running.pid)
    assert left.poll() is None


def test_a_lease_that_is_extended_is_not_over(start: Start) -> None:
    first, second = start(), start()
    with guarding() as extend:
        register_group(first.pid)
        extend(since_boot() + 3600)
        extend(since_boot())
        assert first.wait(PATIENCE) == -signal.SIGKILL
        forget_group(first.pid)
        extend(since_boot() + 3600)
        register_group(second.pid)
    assert second.poll() is None
    forget_group(second.pid)


def test_nothing_is_killed_once_the_lock_is_given_back(start: Start) -> None:
    with guarding() as extend:
        extend(since_boot() + 3600)
        child = start()
        register_group(child.pid)
    assert child.poll() is None
    forget_group(child.pid)
    assert "SBKUBE_LOCK" not in marked({})


KILLED = """
import os, subprocess, sys
from sbkube.process import marked, register_group
from sbkube.targets.cluster.guard import guarding
from sbkube.targets.cluster.holding import since_boot

with guarding() as extend:
    extend(since_boot() + 1.0)
    child = subprocess.Popen(["sleep", "600"], start_new_session=True, env=marked(os.environ))
    if sys.argv[1] == "told":
        register_group(child.pid)
    print(child.pid, flush=True)
    os.kill(os.getpid(), 9)
"""


@pytest.mark.parametrize("told", ["told", "untold"])
def test_what_outlives_a_killed_run_is_killed_when_the_lease_is_over(told: str) -> None:
    run = subprocess.run([sys.executable, "-c", KILLED, told], stdout=subprocess.PIPE, text=True, check=False)
    assert run.returncode == -signal.SIGKILL
    child = os.pidfd_open(int(run.stdout))
    try:
        assert select.select([child], [], [], PATIENCE)[0]
    finally:
        os.close(child)
