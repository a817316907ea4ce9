"""The command line: which commands there are, and how any of them ends.

A command's file is loaded when it is called, and `--help` loads none, so that `sbkube` starts fast.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import anyio
import asyncclick as click

from sbkube import __version__
from sbkube.cli.console import Console
from sbkube.cli.help import Option

if TYPE_CHECKING:
    from asyncclick.shell_completion import CompletionItem

GROUPS = MappingProxyType(
    {
        "Run a project": {
            "run": "Run a project, or go on with its last run.",
            "apply": "The same as `run`; `--app` brings what the app needs.",
            "prepare": "Run the stage prepare of all apps: fetch charts.",
            "build": "Run the stage build: overrides and removes.",
            "template": "Run the stage template: render manifests.",
            "deploy": "Run the stage deploy.",
        },
        "Change what is deployed": {
            "delete": "Uninstall the releases of apps.",
            "rollback": "Take a release, or all that a run changed, back.",
            "prune": "Uninstall what left the project.",
            "upgrade": "Deploy the helm apps.",
        },
        "Look before a run": {
            "lock": "Pin what comes from elsewhere.",
            "validate": "Check a project without running anything.",
            "plan": "Show what a run would do, and why.",
            "diff": "Show what a deploy would change in the cluster.",
            "outdated": "List what has newer versions.",
            "images": "List the container images of the manifests.",
        },
        "Look after a run": {
            "status": "Show how the last run stands.",
            "verify": "Check that the cluster is as the last run left it.",
            "logs": "Print what a step logged.",
            "explain": "Say why a step ran, or would run again.",
            "history": "List the runs of a project.",
        },
        "Other": {
            "cache": "List, check or remove what was fetched.",
            "doctor": "Check tools, cluster, rights and state.",
            "version": "Print the version.",
        },
    }
)
COMMANDS = MappingProxyType({name: text for group in GROUPS.values() for name, text in group.items()})
OLDER = MappingProxyType({"check-updates": "outdated"})
"""Commands as older versions spelled them: taken, and not shown."""


class Commands(click.Group):
    """Loads a command's file when the command is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return load_command(cmd_name)

    async def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0] if args else ""
        if (
            name
            and name not in COMMANDS
            and name not in OLDER
            and not name.startswith("-")
            and not ctx.resilient_parsing
        ):
            raise click.UsageError(f"there is no command {name!r}{_nearest(name)}", ctx)
        return await super().resolve_command(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """What a shell offers; loads no command's file either."""
        from asyncclick.shell_completion import CompletionItem

        names = [name for name in COMMANDS if name.startswith(incomplete)]
        options = click.Command.shell_complete(self, ctx, incomplete)
        return [*(CompletionItem(name, help=COMMANDS[name]) for name in names), *options]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        width = max(map(len, COMMANDS))
        for title, commands in GROUPS.items():
            with formatter.section(title):
                formatter.write_dl([(name.ljust(width), text) for name, text in commands.items()])


def load_command(name: str) -> click.Command | None:
    name = OLDER.get(name, name)
    if name not in COMMANDS:
        return None
    command = import_module(f"sbkube.cli.commands.{name}").command
    assert isinstance(command, click.Command)
    return command


def _nearest(name: str) -> str:
    import difflib

    close = difflib.get_close_matches(name, COMMANDS, n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


@click.command(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    help="Deploy many apps to Kubernetes at once, and resume exactly what broke.",
    epilog="`sbkube COMMAND --help` has the options of a command, and examples.",
)
@click.version_option(__version__, "-V", "--version", message="sbkube %(version)s")
@click.option("--profile", metavar="P", help="Which profile; may also stand after the command.")
@click.option(
    "--sources",
    cls=Option,
    also=["--source"],
    metavar="FILE",
    help="Instead of sources.yaml; may also stand after the command.",
)
@click.pass_context
async def app(ctx: click.Context, profile: str | None, sources: str | None) -> None:
    ctx.obj |= {"profile": profile, "sources": sources}


def main() -> None:
    """The entry point `sbkube`."""
    if sys.platform == "win32":
        sys.exit("sbkube does not run on Windows; use it in WSL")
    _open_streams()
    _leave(call(sys.argv[1:]))


def _open_streams() -> None:
    """One that was closed (`>&-`) must not be the number of the next file that is opened, such as the journal."""
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        if getattr(sys, name) is None:
            nowhere = os.open(os.devnull, os.O_RDWR)
            if nowhere != number:
                os.dup2(nowhere, number)
                os.close(nowhere)
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115


def call(args: Sequence[str]) -> int:
    """One command line; whatever happens, it ends as a message and the exit code."""
    shared: dict[str, Any] = {}
    run = partial(app.main, list(args), prog_name="sbkube", standalone_mode=False, obj=shared)
    try:
        return _written(anyio.run(run) or 0, shared.get("console"))
    except click.UsageError as error:
        with suppress(OSError):
            error.show()
        _tell_as_data(error, error.format_message(), None, error.exit_code, shared)
        return error.exit_code
    except SystemExit as ended:
        # How asyncclick leaves once it has completed a word for a shell, or if nobody reads its help any more.
        return 1 if ended.code and not isinstance(ended.__context__, BrokenPipeError) else 0
    except BaseException as error:  # noqa: BLE001 - whatever it is, it ends as a message and a code
        return _tell(error, shared)


def _written(code: int, console: Console | None) -> int:
    """What was to be printed and is lost is an error; a reader that went away has what it wanted."""
    if console is None or console.lost is None:
        return code
    from sbkube.cli.failures import OUTPUT_LOST, what_failed

    console.error(f"what goes to stdout could not be written: {what_failed(console.lost)}")
    return code or OUTPUT_LOST


def _tell(error: BaseException, shared: Mapping[str, Any]) -> int:
    from sbkube.cli.failures import describe_error, exit_code_of, is_bug  # 60 ms that `--help` does not need

    console = Console.of(os.environ, sys.stdout, sys.stderr)
    message, hint = describe_error(error)
    code = exit_code_of(error)
    if is_bug(error):
        traceback.print_exception(error)
    console.error(message, hint)
    _tell_as_data(error, message, hint, code, shared)
    return code


def _tell_as_data(
    error: BaseException, message: str, hint: str | None, code: int, shared: Mapping[str, Any]
) -> None:
    if shared.get("output") in ("json", "ndjson"):
        from sbkube.cli.machine import error_line

        Console.of(os.environ, sys.stdout, sys.stderr).data(error_line(error, message, hint, code))


def _leave(code: int) -> None:
    """Ends the process at once: a thread that hangs in a disk must not hold it."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            continue
    os._exit(code)
