"""The commands that are printed to go on: as they stand they work, and they run no more than was asked for."""

from __future__ import annotations

import os
import shlex
import subprocess

import pytest

from sbkube.api import Asked
from sbkube.cli.hints import selecting, to_go_on
from sbkube.engine.state import ExecutionState, StepStatus

from .helpers import CANCELLED, DONE, FAILED, decision, run, step
from .project import SBKUBE, Ended, ProjectFolder, effect
from .test_resume import fails_at_first, follows, mend

PENDING, BLOCKED, INTERRUPTED = StepStatus.PENDING, StepStatus.BLOCKED, StepStatus.INTERRUPTED


def printed(ended: Ended) -> list[str]:
    """The first command that a run printed, without the comment behind it."""
    line = next(line for line in ended.err.splitlines() if line.startswith("  sbkube run"))
    return shlex.split(line, comments=True)[1:]


# Which


def state() -> ExecutionState:
    """web was asked for and failed; other apps did not run."""
    return run(
        step("db:deploy", DONE),
        step("web:template", DONE),
        step("web:deploy", FAILED),
        step("seed:deploy", BLOCKED, blocked_by="web:deploy"),
        step("cache:deploy", PENDING),
    )


MINE = ("db:deploy", "web:template", "web:deploy", "seed:deploy")


@pytest.mark.parametrize(
    ("asked", "command"),
    [
        (Asked(apps=("web", "seed")), "--resume --app web --app seed"),
        (Asked(resume=True, labels=("team=shop",)), "--resume -l team=shop"),
        (Asked(from_step="template", to_step="deploy"), "--resume --from-step template --to-step deploy"),
        (Asked(apps=("seed",), with_needs=True), "--resume --app seed --with-needs"),
        (Asked(retry_failed=True), "--retry-failed"),
        (Asked(retry_failed=True, apps=("web",)), "--retry-failed --app web"),
        (Asked(continue_from="web"), "--resume --app web --app seed"),
        (Asked(continue_from="template", only="deploy"), "--resume --only deploy --app web --app seed"),
    ],
)
def test_a_part_that_did_not_complete_is_gone_on_with_alone(asked: Asked, command: str) -> None:
    found = to_go_on(asked, decision(state(), asked=MINE), state())
    assert selecting(found.asked) == command.split()


@pytest.mark.parametrize("asked", [Asked(), Asked(apps=("web",)), Asked(continue_from="web")])
def test_the_whole_run_is_gone_on_with_where_no_more_of_it_is_left_than_was_asked_for(asked: Asked) -> None:
    found = to_go_on(asked, decision(state()), state())
    assert (selecting(found.asked), found.left, found.of) == (["--resume"], "the 3 steps left", "")


def test_after_a_part_that_completed_the_rest_is_offered() -> None:
    found = to_go_on(Asked(only="template"), decision(state(), asked=["web:template"]), state())
    assert (selecting(found.asked), found.left) == (["--resume"], "the 3 steps left")


def test_what_waited_to_be_repeated_is_not_left_out_because_it_has_not_failed() -> None:
    waiting = run(step("web:deploy", PENDING, error="no"), step("cache:deploy", PENDING))
    found = to_go_on(Asked(retry_failed=True), decision(waiting, asked=["web:deploy"]), waiting)
    assert selecting(found.asked) == ["--resume", "--app", "web"]


def test_no_command_names_hundreds_of_apps() -> None:
    many = run(*(step(f"app{n}:deploy", CANCELLED) for n in range(200)), step("other:deploy", PENDING))
    asked = [id for id in many.steps if id != "other:deploy"]
    found = to_go_on(Asked(continue_from="deploy"), decision(many, asked=asked), many)
    assert (selecting(found.asked), found.left) == (["--resume"], "the 201 steps left")


@pytest.mark.parametrize(
    ("undecided", "told", "words"),
    [
        (["a:deploy", "b:deploy"], False, ["--rerun-interrupted"]),
        (["a:deploy"], False, ["--rerun-interrupted=a:deploy"]),
        (["a:deploy"], ("b:deploy",), ["--rerun-interrupted"]),
        ([], ("b:deploy",), ["--rerun-interrupted=b:deploy"]),
        ([], False, []),
    ],
)
def test_what_is_in_doubt_is_named_unless_it_is_all_there_is(
    undecided: list[str], told: tuple[str, ...] | bool, words: list[str]
) -> None:
    """b was to run again if it was told so, and did not start."""
    doubtful = run(step("a:deploy", INTERRUPTED), step("b:deploy", INTERRUPTED))
    decided = decision(doubtful, to_run=["b:deploy"] if told else [], undecided=undecided)
    found = to_go_on(Asked(resume=True, rerun_interrupted=told), decided, doubtful)
    assert selecting(found.asked) == ["--resume", *words]


# As they are printed


def test_after_one_app_failed_the_printed_command_runs_that_app_alone(project: ProjectFolder) -> None:
    project.config(fails_at_first("web") + effect("a") + effect("b"))
    ended = project("run", "--app", "web")
    assert ended.code == 1
    assert printed(ended) == ["run", "--resume", "--app", "web"]
    assert "# runs the 1 step left of those asked for" in ended.err
    mend(project, "web")
    ended = project(*printed(ended))
    assert ended.code == 0
    assert project.new_effects() == ["web"]
    assert "run 1 is unfinished: 1 of 3 steps completed" in ended.err
    assert printed(ended) == ["run", "--resume"]
    assert project(*printed(ended)).code == 0
    assert sorted(project.new_effects()) == ["a", "b"]


def test_after_an_app_failed_with_what_it_needs_the_printed_command_brings_that_again(
    project: ProjectFolder,
) -> None:
    project.config(fails_at_first("db") + follows("web", "db") + effect("a"))
    ended = project("apply", "--app", "web")
    assert printed(ended) == ["run", "--resume", "--app", "web", "--with-needs"]
    mend(project, "db")
    assert project(*printed(ended)).code == 0
    assert project.new_effects() == ["db", "web"]


def test_after_a_failure_from_one_step_on_the_printed_command_repeats_nothing_that_completed(
    project: ProjectFolder,
) -> None:
    project.config(effect("a") + fails_at_first("b", "a") + fails_at_first("c"))
    assert project("run", "--fail-fast", "--max-parallel", "1").code == 1
    ended = project("run", "--continue-from", "a")
    assert printed(ended) == ["run", "--resume", "--app", "b"]
    project.new_effects()
    for name in "bc":
        mend(project, name)
    assert project(*printed(ended)).code == 0
    assert project.new_effects() == ["b"]


# What is in doubt


def two_in_doubt(project: ProjectFolder) -> None:
    """Both were in flight when their process died, and have ended since."""
    apps = follows("c", "a")
    for name in "ab":
        os.mkfifo(project.root / f"begun-{name}")
        os.mkfifo(project.root / f"hold-{name}")
        waits = f"test -e died || {{ exec 3> begun-{name}; echo >&3; read line < hold-{name}; }}"
        apps += f"{name}: {{type: exec, commands: ['echo {name} >> ledger', '{waits}']}}\n"
    project.config(apps)
    running = project.start("run")
    begun = [(project.root / f"begun-{name}").open(encoding="utf-8") for name in "ab"]
    for told in begun:
        assert told.readline() == "\n"
    running.kill()
    running.communicate()
    (project.root / "died").touch()
    for name in "ab":
        (project.root / f"hold-{name}").write_text("go on\n")
    for told in begun:
        with told:
            assert told.read() == "", "it has it open until it ends"
    project.new_effects()


def test_one_of_two_commands_in_doubt_is_run_again_by_name(project: ProjectFolder) -> None:
    two_in_doubt(project)
    ended = project("run", "--resume", "--app", "a")
    assert ended.code == 6
    assert printed(ended) == ["run", "--resume", "--app", "a", "--rerun-interrupted=a:deploy"]
    assert "`--rerun-interrupted=a:deploy` runs it again" in project("plan", "--resume").out
    ended = project("run", "--resume", "--rerun-interrupted=a:deploy")
    assert ended.code == 6
    assert project.new_effects() == ["a", "c"]
    assert printed(ended) == ["run", "--resume", "--rerun-interrupted"]
    assert project(*printed(ended)).code == 0
    assert project.new_effects() == ["b"]


def test_several_may_be_named_and_the_word_behind_the_flag_is_a_folder(project: ProjectFolder) -> None:
    two_in_doubt(project)
    both = [f"--rerun-interrupted={name}:deploy" for name in "ab"]
    planned = project("plan", "--resume", *both, "--output", "json").document
    assert [row["action"] for row in planned["steps"]] == ["run"] * 3
    assert project("run", "--resume", "--rerun-interrupted", ".").code == 0
    assert sorted(project.new_effects()) == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("word", "hint"), [("a:deplyo", "did you mean 'a:deploy'?"), ("a", "steps of 'a' are: a:deploy")]
)
def test_a_step_that_is_not_there_cannot_be_run_again(project: ProjectFolder, word: str, hint: str) -> None:
    project.config(effect("a"))
    assert project("run").code == 0
    ended = project("run", "--resume", f"--rerun-interrupted={word}")
    assert ended.code == 2
    assert f"there is no step '{word}' in this project\nhint: {hint}" in ended.err


# In a terminal


def in_a_terminal(project: ProjectFolder, *args: str, types: str = "") -> tuple[int, str]:
    """How `sbkube` ended, and what it showed to somebody who has typed this."""
    master, slave = os.openpty()
    child = subprocess.Popen(
        [*SBKUBE, *args],
        cwd=project.root,
        env=project._environ({"NO_COLOR": "1"}),
        stdin=slave,
        stdout=slave,
        stderr=slave,
    )
    os.close(slave)
    os.write(master, types.encode())
    shown = b""
    while True:
        try:
            shown += os.read(master, 65536)
        except OSError:  # nobody has the other end any more
            os.close(master)
            return child.wait(60), shown.decode().replace("\r\n", "\n")


def test_who_is_asked_about_a_part_is_told_what_that_needs(project: ProjectFolder) -> None:
    two_in_doubt(project)
    code, shown = in_a_terminal(project, "run", "--resume", "--app", "c")
    assert code == 2
    assert "hint: `sbkube run --resume --app c --with-needs` runs them too" in shown


def test_an_answer_in_a_terminal_is_for_its_step_alone(project: ProjectFolder) -> None:
    two_in_doubt(project)
    code, shown = in_a_terminal(project, "run", "--resume", "--no-progress", types="y\nn\n")
    assert code == 6
    assert "a:deploy was in flight when run 1 died" in shown
    assert project.new_effects() == ["a", "c"]
    assert "  sbkube run --resume --rerun-interrupted  # runs b:deploy again, and what is left" in shown
