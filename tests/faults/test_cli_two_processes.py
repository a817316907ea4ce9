"""Two `sbkube run` in one project: one runs, the other says who does; a dead one holds up nobody."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from sbkube.engine import StepStatus

from .cli_project import CliProject, ended, gated, quick, until


@pytest.fixture
def project(tmp_path: Path) -> Iterator[CliProject]:
    with closing(CliProject(tmp_path / "project")) as project:
        yield project


def test_a_second_run_is_refused_and_names_the_process_that_runs(project: CliProject) -> None:
    project.config({"a": gated(), "b": quick("a")})
    holder = project.start("run")
    project.wait_for("begin a")
    journals = list((project.state / "journal").iterdir())
    for words in (["run"], ["run", "--resume"], ["deploy", "--app", "a"]):
        refused = project.run(*words)
        assert refused.code == 3
        assert f"process {holder.pid} " in refused.err
        assert "Traceback" not in refused.err
    assert list((project.state / "journal").iterdir()) == journals
    project.let_go()
    assert ended(holder).code == 0
    assert project.ledger() == ["begin a", "end a", "begin b", "end b"]


def test_of_two_that_start_at_the_same_time_one_runs_and_one_is_refused(project: CliProject) -> None:
    project.config({"a": gated(), "b": quick("a")})
    both = [project.start("run") for _ in range(2)]
    until(lambda: any(child.poll() is not None for child in both))
    refused, holder = sorted(both, key=lambda child: child.poll() is None)
    project.let_go()
    assert (ended(holder).code, refused.wait()) == (0, 3)
    assert f"process {holder.pid} " in ended(refused).err
    assert project.ledger() == ["begin a", "end a", "begin b", "end b"]


def test_after_a_kill_of_the_holder_the_next_run_starts_at_once(project: CliProject) -> None:
    project.config({"a": gated(), "b": quick("a")})
    holder = project.start("run")
    project.wait_for("begin a")
    holder.kill()
    ended(holder)
    # The command of the dead one still runs; the lock was not handed down to it.
    project.let_go(2)
    assert project.run("run").code == 0
    assert project.statuses() == {"a:deploy": StepStatus.COMPLETED, "b:deploy": StepStatus.COMPLETED}


def test_a_holder_that_is_suspended_still_holds(project: CliProject) -> None:
    project.config({"a": gated()})
    holder = project.start("run")
    project.wait_for("begin a")
    holder.send_signal(signal.SIGSTOP)
    refused = project.run("run")
    holder.send_signal(signal.SIGCONT)
    assert refused.code == 3
    assert f"process {holder.pid} " in refused.err
    project.let_go()
    assert ended(holder).code == 0


def test_commands_that_only_look_need_no_lock(project: CliProject) -> None:
    project.config({"a": gated(), "b": quick("a")})
    holder = project.start("run")
    project.wait_for("begin a")
    for words in (["status"], ["history"], ["plan"], ["run", "--dry-run"], ["explain", "a:deploy"]):
        told = project.run(*words)
        assert told.code == 0, (words, told)
    assert "in_progress" in project.run("status", "--output", "json").out
    project.let_go()
    assert ended(holder).code == 0


def test_two_state_folders_do_not_lock_each_other_out(project: CliProject) -> None:
    project.config({"a": gated()})
    one = project.start("run", "--state-dir", "one", "--target", "rendered-one")
    two = project.start("run", "--state-dir", "two", "--target", "rendered-two")
    project.wait_for("begin a", "begin a")
    project.let_go(2)
    assert (ended(one).code, ended(two).code) == (0, 0)
