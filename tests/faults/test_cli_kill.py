"""`sbkube run` is killed with -9 at random moments; what its commands did stands in a ledger outside."""

from __future__ import annotations

import json
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from random import Random

import anyio
import pytest

from sbkube.engine import FileStore, StepStatus

from .cli_project import CliProject, command, ended, gated, quick, says
from .helpers import Reader

APPS = 60
# What a command did, and in which attempt; one write each, also by a command that outlived its `sbkube`.
NOTES = 'echo "{0} $SBKUBE_STEP $SBKUBE_RUN.$SBKUBE_ATTEMPT" >> ledger; echo > told'


def sixty_apps() -> dict[str, dict[str, object]]:
    """On two others each, but the first."""
    needs = {n: sorted({n - 9, n // 2}) if n >= 9 else [] for n in range(APPS)}
    return {
        f"a{n}": {
            **command(NOTES.format("begin"), NOTES.format("end")),
            "on_interrupt": "rerun",
            "depends_on": [f"a{need}" for need in needs[n]],
        }
        for n in range(APPS)
    }


@pytest.fixture
def project(tmp_path: Path) -> Iterator[CliProject]:
    with closing(CliProject(tmp_path / "project")) as project:
        yield project


class Killed:
    """One run, killed and resumed until it is complete."""

    def __init__(self, project: CliProject, chance: Random) -> None:
        self.project = project
        self.chance = chance
        self.kills = 0
        self.durable: list[dict[str, int]] = []
        """After each kill: of each step that was known to be completed, the attempt."""

    def until_complete(self, kills: int) -> None:
        words = ["run"]
        while self.kills < kills and self._is_killed(*words):
            self.kills += 1
            self._note_what_is_durable()
            # Before it had a state folder there was nothing to go on with.
            words = ["run", "--resume"] if self.durable else ["run"]
        told = self.project.run("run", "--resume")
        if told.code == 6:
            # A command outlived the kill before: it is told, and waited for.
            assert " still runs, left by a run that died: process" in told.err
            self.project.until_nothing_runs()
            told = self.project.run("run", "--resume")
        assert told.code == 0, told
        self.check()

    def _is_killed(self, *words: str) -> bool:
        """Most times when commands have done something, sometimes before any has."""
        child = self.project.start(*words, "--max-parallel", "8", stdout=subprocess.DEVNULL)
        if self.chance.random() < 0.8:
            self._see(child, self.chance.randrange(1, APPS // 2))
        with suppress(subprocess.TimeoutExpired):
            child.wait(self.chance.uniform(0, 0.03 if self.chance.random() < 0.8 else 0.3))
        child.kill()
        ended(child)
        return child.returncode == -signal.SIGKILL

    def _see(self, child: subprocess.Popen[str], notes: int) -> None:
        for _ in range(notes):
            if child.poll() is not None:
                return
            with suppress(AssertionError):
                self.project.next_told(patience=0.5)

    def _note_what_is_durable(self) -> None:
        if self.project.latest.exists():
            steps = self.project.recorded.steps.items()
            attempts = {id: step.attempt for id, step in steps if step.status is StepStatus.COMPLETED}
            self.durable.append(attempts)

    def check(self) -> None:
        notes = [line.split() for line in self.project.ledger()]
        begun = [(step, attempt) for what, step, attempt in notes if what == "begin"]
        assert [one for one, count in Counter(begun).items() if count > 1] == []
        assert beside_themselves(notes) == []
        assert {step for what, step, _ in notes if what == "end"} == {f"a{n}:deploy" for n in range(APPS)}
        for attempts in self.durable:
            again = [
                (step, attempt)
                for step, attempt in begun
                if step in attempts and int(attempt.rpartition(".")[2]) > attempts[step]
            ]
            assert again == [], "was completed for good and ran again"
        assert exact(self.project)


def beside_themselves(notes: list[list[str]]) -> list[str]:
    """Steps that began while an earlier attempt had not ended; none is ever stopped, so each begins and ends in turn."""
    running, found = set[str](), list[str]()
    for what, step, _ in notes:
        found += [step] if (what == "begin") == (step in running) else []
        running ^= {step}
    return [*found, *running]


def exact(project: CliProject) -> bool:
    """Whether the view is what the journal says."""
    view = json.loads(project.latest.read_bytes())
    assert (view["status"], view["counts"]) == ("completed", {"completed": APPS})

    async def from_the_journal() -> object:
        reader = FileStore.read(project.state)
        state = await reader.latest()
        assert state is not None
        return json.loads(await reader.view(state))

    told = anyio.run(from_the_journal)
    assert isinstance(told, dict)
    return bool(view["steps"] == told["steps"] and view["seq"] == told["seq"])


def killed_rounds(path: Path, kills: int, seeds: Iterator[int]) -> int:
    """Runs, each with some of the kills, until there were so many."""
    done = 0
    while done < kills:
        seed = next(seeds)
        chance = Random(seed)
        with closing(CliProject(path / f"round-{seed}")) as project:
            project.config(sixty_apps())
            killed = Killed(project, chance)
            with Reader(project.latest) as reader:
                killed.until_complete(min(chance.randint(1, 4), kills - done))
            assert reader.wrong == []
            assert reader.reads > 0
            done += killed.kills
    return done


def test_a_run_that_is_killed_completes_when_resumed_and_does_nothing_twice(tmp_path: Path) -> None:
    assert killed_rounds(tmp_path, 6, iter(range(100))) == 6


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_hundred_kills_do_nothing_twice(tmp_path: Path) -> None:
    assert killed_rounds(tmp_path, 100, iter(range(1000, 2000))) == 100


def test_what_was_in_flight_is_asked_for_and_the_printed_command_completes_it(project: CliProject) -> None:
    project.config({"a": gated(), "b": quick("a"), "c": quick(), "d": gated()})
    child = project.start("run")
    project.wait_for("begin a", "begin d")
    says(child, "c:deploy completed")
    child.kill()
    ended(child)
    # That they ended well is known to nobody but the operator, who says so or has them run again.
    project.let_go(2)
    project.until_nothing_runs()
    before = project.ledger()
    told = project.run("run", "--resume")
    assert told.code == 6
    assert told.err.count("was running when its process died") == 2
    assert project.ledger() == before
    undecided = project.statuses()
    assert undecided["a:deploy"] is undecided["d:deploy"] is StepStatus.INTERRUPTED
    assert undecided["c:deploy"] is StepStatus.COMPLETED
    assert told.commands == ["sbkube run --resume --rerun-interrupted"]
    project.let_go(2)
    told = project.shell(told.commands[0])
    assert told.code == 0, told
    assert set(project.statuses().values()) == {StepStatus.COMPLETED}
    assert project.ledger().count("end b") == project.ledger().count("begin c") == 1


def test_a_new_run_after_a_kill_asks_nothing_and_says_what_was_in_flight(project: CliProject) -> None:
    project.config({"a": gated(), "b": quick("a")})
    child = project.start("run")
    project.wait_for("begin a")
    child.kill()
    ended(child)
    project.let_go()
    project.until_nothing_runs()
    project.let_go()
    told = project.run("run")
    assert told.code == 0
    assert "in flight when it ended: a:deploy" in told.err
