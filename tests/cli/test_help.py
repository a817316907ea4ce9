"""What a person sees who asks what there is: help, the version, what a shell offers to complete."""

from __future__ import annotations

import shlex
import sys

import asyncclick as click
import pytest

from sbkube import __version__
from sbkube.cli.help import Command
from sbkube.cli.main import COMMANDS, app, load_command

from .helpers import check_golden
from .project import ProjectFolder


def command_named(name: str) -> Command:
    command = load_command(name)
    assert isinstance(command, Command)
    return command


def test_the_help_of_each_command_is_as_it_was(project: ProjectFolder) -> None:
    told = []
    for args in (["--help"], *([name, "--help"] for name in COMMANDS)):
        ended = project(*args, env={"COLUMNS": "80"})
        assert ended.code == 0
        assert ended.err == ""
        told.append(f"$ sbkube {' '.join(args)}\n{ended.out}")
    check_golden("help", "\n".join(told))


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_and_argument_is_explained_within_80_columns(project: ProjectFolder, name: str) -> None:
    command = command_named(name)
    context = click.Context(command)
    for param in command.get_params(context):
        if getattr(param, "hidden", False):
            continue  # what older versions had, and is refused with what to write
        record = param.get_help_record(context)
        assert record is not None, param.name
        assert record[1], param.name
    told = project(name, "--help", env={"COLUMNS": "80"}).out
    assert max(map(len, told.splitlines())) < 80


def test_names_that_are_taken_and_not_shown_mean_the_same(project: ProjectFolder) -> None:
    project.config("a: {type: noop}\n")
    project.write({"other.yaml": (project.root / "config.yaml").read_text()})
    told = project("plan", "--help").out
    for shown, taken in (("--config-file", "--config"), ("--output", "--format")):
        assert f"{shown} " in told
        assert f"{taken} " not in told
    plan = project("plan", "--config-file", "other.yaml", "--output", "json")
    assert plan.code == 0
    assert project("plan", "--config", "other.yaml", "--format", "json") == plan


@pytest.mark.parametrize("name", COMMANDS)
def test_the_examples_in_the_help_of_a_command_are_command_lines_of_it(
    project: ProjectFolder, name: str
) -> None:
    for example in command_named(name).examples:
        program, *args = shlex.split(example.partition("|")[0])
        assert (program, args[0]) == ("sbkube", name)
        assert "Usage:" not in project(*args).err


def test_without_a_command_help_is_shown_and_it_is_an_error(project: ProjectFolder) -> None:
    ended = project()
    assert ended.code == 2
    assert project("--help").out.strip() in ended.out + ended.err


def test_each_group_of_commands_stands_under_a_title_of_its_own(project: ProjectFolder) -> None:
    told = project("--help").out
    assert told.index("Run a project:") < told.index("  deploy ") < told.index("Look before a run:")
    assert [name for name in COMMANDS if f"\n  {name} " not in told] == []


# The version


def test_help_and_version_load_no_command_and_nothing_slow(project: ProjectFolder) -> None:
    program = (
        "import sys; from sbkube.cli.main import call; code = call(sys.argv[1:]);"
        "slow = {'pydantic', 'yaml', 'rich', 'helm_python', 'sbkube.engine'} & set(sys.modules);"
        "commands = [m for m in sys.modules if m.startswith('sbkube.cli.commands.')];"
        "print(sorted(slow), commands, file=sys.stderr); sys.exit(code)"
    )
    for option in ("--help", "--version"):
        ended = project.process("-c", program, option, program=[sys.executable])
        assert ended.code == 0
        assert ended.err == "[] []\n", option


def test_the_version_is_printed(project: ProjectFolder) -> None:
    assert project("version").out == f"sbkube {__version__}\n"
    assert project("--version").out == f"sbkube {__version__}\n"


def test_the_version_as_data_tells_what_a_bug_report_needs(project: ProjectFolder) -> None:
    program = project.root / "bin/helm"
    project.write({"bin/helm": "#!/bin/sh\n"})
    program.chmod(0o755)
    ended = project("version", "--output", "json", env={"PATH": str(program.parent)})
    assert ended.document == {
        "version": __version__,
        "python": sys.version.split()[0],
        "helm": {"embedded": ended.document["helm"]["embedded"], "binary": str(program)},
    }
    assert project("version", "-o", "json", env={"PATH": ""}).document["helm"]["binary"] is None


# What a shell offers


def offered(project: ProjectFolder, *words: str) -> list[str]:
    asked = {
        "_SBKUBE_COMPLETE": "bash_complete",
        "COMP_WORDS": " ".join(words),
        "COMP_CWORD": str(len(words) - 1),
    }
    ended = project.process(env=asked)
    assert (ended.code, ended.err) == (0, "")
    return [line.removeprefix("plain,") for line in ended.out.splitlines()]


def test_a_shell_is_offered_commands_options_and_choices(project: ProjectFolder) -> None:
    assert offered(project, "sbkube", "pl") == ["plan"]
    assert offered(project, "sbkube", "") == list(COMMANDS)
    assert "--retry-failed" in offered(project, "sbkube", "run", "--re")
    assert offered(project, "sbkube", "history", "--output", "") == ["text", "json", "ndjson"]
    assert offered(project, "sbkube", "nothing", "pl") == ["plan"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_is_told_how_to_ask(project: ProjectFolder, shell: str) -> None:
    ended = project.process(env={"_SBKUBE_COMPLETE": f"{shell}_source"})
    assert (ended.code, ended.err) == (0, "")
    assert f"_SBKUBE_COMPLETE={shell}_complete" in ended.out


def test_offering_commands_loads_none(project: ProjectFolder) -> None:
    offered_by = [item.value for item in app.shell_complete(click.Context(app), "")]
    assert offered_by == list(COMMANDS)
    program = (
        "import sys; from sbkube.cli.main import call; code = call([]);"
        "print([m for m in sys.modules if m.startswith('sbkube.cli.commands.')], file=sys.stderr)"
    )
    asked = {"_SBKUBE_COMPLETE": "bash_complete", "COMP_WORDS": "sbkube pl", "COMP_CWORD": "1"}
    assert project.process("-c", program, program=[sys.executable], env=asked).err == "[]\n"
