"""The options that commands share, and what they make of them."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import asyncclick as click

from sbkube.cli.console import Console, Output
from sbkube.cli.help import HOW, OUTPUT, PART, PROJECT, RESUME, Argument, Command, Option
from sbkube.errors import ConfigError

if TYPE_CHECKING:
    from sbkube.selecting import Asked

Decorated = TypeVar("Decorated", bound=Callable[..., Any])
_STAGE = "STAGE"


@dataclass(frozen=True, slots=True)
class Where:
    """Which project is meant, and which of its files; as given, for hints that repeat it."""

    folder: str | None = None
    app_dir: str | None = None
    base_dir: str | None = None
    config_file: str | None = None
    sources: str | None = None
    profile: str | None = None
    state_dir: str | None = None

    def project_folder(self) -> Path:
        """From what was given, else from the current folder upward."""
        from sbkube.api import find_project

        if self.folder is None and self.app_dir is None and self.base_dir is None:
            return find_project(Path.cwd()) if self.config_file is None else self._of_config_file()
        return Path(self.base_dir or "") / (self.folder or self.app_dir or "")

    def _of_config_file(self) -> Path:
        named = Path(self.config_file or "")
        return named.parent if named.is_file() else Path()

    @property
    def flags(self) -> list[str]:
        """What a command must repeat to mean the same project."""
        flags = [self.folder] if self.folder else []
        for name in ("app_dir", "base_dir", "config_file", "sources", "profile", "state_dir"):
            value = getattr(self, name)
            if value is not None:
                flags += [flag(name), value]
        return flags

    def profile_of(self, environ: Mapping[str, str]) -> str | None:
        """Given, else that of the environment."""
        return self.profile or environ.get("SBKUBE_PROFILE") or None


def flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def together(*decorators: Callable[[Any], Any]) -> Callable[[Decorated], Decorated]:
    """One decorator of several; the first stands first in the help."""

    def decorate(command: Decorated) -> Decorated:
        for one in reversed(decorators):
            command = one(command)
        return command

    return decorate


option = partial(click.option, cls=Option)
argument = partial(click.argument, cls=Argument)

where_options = together(
    argument(
        "folder",
        required=False,
        type=click.Path(),
        group=PROJECT,
        help="The project. [default: from here upward]",
    ),
    option("--app-dir", metavar="DIR", group=PROJECT, help="The same; may start from --base-dir."),
    option("--base-dir", metavar="DIR", group=PROJECT, help="Where FOLDER starts from. [default: here]"),
    option(
        "--config-file",
        "-f",
        also=["--config"],
        metavar="FILE",
        group=PROJECT,
        help="Instead of config.yaml or sbkube.yaml.",
    ),
    option("--sources", also=["--source"], metavar="FILE", group=PROJECT, help="Instead of sources.yaml."),
    option(
        "--profile",
        metavar="P",
        group=PROJECT,
        help="Lay config-P.yaml and sources-P.yaml over. [env:SBKUBE_PROFILE]",
    ),
    option(
        "--state-dir",
        metavar="DIR",
        group=PROJECT,
        help="Where runs are recorded. [default: .sbkube] [env:SBKUBE_STATE_DIR]",
    ),
)


def output_option(*choices: str) -> Callable[[Decorated], Decorated]:
    *first, last = choices
    return option(
        "--output",
        "-o",
        "output",
        also=["--format"],
        metavar="FORM",
        type=click.Choice(choices),
        default="text",
        is_eager=True,
        callback=_remember_output,
        group=OUTPUT,
        help=f"{', '.join(first)} or {last}, on stdout. [default: text]",
    )


def _remember_output(ctx: click.Context, _: click.Parameter, output: str) -> str:
    """An error that ends the command is told in the same form, whatever it is."""
    ctx.find_root().obj["output"] = output
    return output


app_options = together(
    option("--app", "apps", multiple=True, metavar="NAME", group=PART, help="This app; may be repeated."),
    option(
        "--label",
        "-l",
        "labels",
        multiple=True,
        metavar="K=V",
        group=PART,
        help="Apps with this label; all given must match.",
    ),
)

selection_options = together(
    app_options,
    option("--with-needs", is_flag=True, group=PART, help="And what these wait for, if not done."),
)

stage_options = together(
    option("--only", metavar=_STAGE, group=PART, help="This stage: prepare, build, template, deploy."),
    option("--from-step", metavar=_STAGE, group=PART, help="This stage and later ones."),
    option("--to-step", metavar=_STAGE, group=PART, help="This stage and earlier ones."),
)


class Resuming(Command):
    """`--rerun-interrupted` may stand alone, so only what is behind a `=` is its value."""

    async def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        alone = "--rerun-interrupted"
        return await super().parse_args(ctx, [f"{arg}=" if arg == alone else arg for arg in args])


resume_options = together(
    option("--resume", is_flag=True, group=RESUME, help="What failed, did not run, or changed since."),
    option("--retry-failed", is_flag=True, group=RESUME, help="What failed, and what that held back."),
    option(
        "--continue-from",
        metavar="STEP",
        group=RESUME,
        help="A stage, app or app:stage, and all behind it.",
    ),
    option(
        "--rerun-interrupted",
        multiple=True,
        metavar="[=STEP]",
        group=RESUME,
        help="And commands that were cut off: all, or STEP.",
    ),
)

target_option = option(
    "--target",
    metavar="cluster|DIR",
    group=HOW,
    help="Where deploys go. [default: as the project says]",
)

helm_option = option(
    "--helm", metavar="HELM", group=HOW, help="embedded, binary or a path. [env:SBKUBE_HELM]"
)

cluster_options = together(
    option(
        "--target",
        metavar="cluster",
        group=HOW,
        help="`cluster`: look there, where the project deploys to a folder.",
    ),
    helm_option,
)

accept_option = option(
    "--accept-target-change",
    is_flag=True,
    group=HOW,
    help="Take over what another project deployed there.",
)

parallel_option = option(
    "--max-parallel",
    also=["--max-workers"],
    type=click.IntRange(min=1),
    metavar="N",
    group=HOW,
    help="Steps at once, at most. [default: the project's limits] [env:SBKUBE_MAX_PARALLEL]",
)

offline_option = option(
    "--offline",
    is_flag=True,
    group=HOW,
    help="Fetch nothing; what the cache lacks fails. [env:SBKUBE_OFFLINE]",
)

wait_lock_option = option(
    "--wait-lock",
    metavar="TIME",
    group=HOW,
    help="Wait this long for a `lock: cluster` that another run holds.",
)

change_options = together(
    option("--yes", "-y", is_flag=True, group=HOW, help="Ask nothing."),
    option("--dry-run", is_flag=True, group=HOW, help="Show what would be done; change nothing."),
    target_option,
    accept_option,
    parallel_option,
    wait_lock_option,
    helm_option,
    output_option("text", "json"),
)

run_options = together(
    target_option,
    accept_option,
    option(
        "--pending",
        type=click.Choice(["rollback", "fail", "wait"]),
        metavar="WHAT",
        group=HOW,
        help="What others left pending: rollback, fail, wait.",
    ),
    option("--force", is_flag=True, group=HOW, help="Deploy also what is there as it should be."),
    option("--dry-run", is_flag=True, group=HOW, help="Show what would run and why; change nothing."),
    parallel_option,
    option("--no-parallel", is_flag=True, group=HOW, help="One step at a time."),
    option("--fail-fast", is_flag=True, group=HOW, help="Start nothing more after the first failure."),
    option("--timeout", metavar="TIME", group=HOW, help="End the run after this, as 90s or 1h30m."),
    offline_option,
    wait_lock_option,
    helm_option,
    output_option("text", "json", "ndjson"),
    option("--no-progress", is_flag=True, group=OUTPUT, help="Lines instead of a table that moves."),
)


def where_of(values: dict[str, Any]) -> Where:
    """Takes the options of `where_options` out; those before the command count where none is after it."""
    context = click.get_current_context(silent=True)
    before = (context.find_root().obj if context is not None else None) or {}
    names = ("folder", "app_dir", "base_dir", "config_file", "sources", "profile", "state_dir")
    return Where(**{name: values.pop(name, None) or before.get(name) for name in names})


def asked_of(values: dict[str, Any]) -> Asked:
    """What the options of resume, stages and selection say; refuses those that contradict each other."""
    from sbkube.api import Asked

    goes_on = [flag(name) for name in ("resume", "retry_failed", "continue_from") if values.get(name)]
    for name in ("only", "from_step", "to_step", "continue_from"):
        if values.get(name) == "":
            raise click.UsageError(f"{flag(name)} is empty")
    if len(goes_on) > 1:
        raise click.UsageError(f"{' and '.join(goes_on)} exclude each other")
    if values.get("only") and (values.get("from_step") or values.get("to_step")):
        raise click.UsageError("--only is one stage; --from-step and --to-step are a range")
    if values.get("rerun_interrupted") and not goes_on:
        raise click.UsageError("--rerun-interrupted goes with --resume, --retry-failed or --continue-from")
    again = values["rerun_interrupted"]
    return Asked(**{**values, "rerun_interrupted": True if "" in again else again})


def most_at_once(given: int | None, one: bool, environ: Mapping[str, str]) -> int | None:
    """Flags win over the environment."""
    if one and given not in (None, 1):
        raise click.UsageError(f"--no-parallel and --max-parallel {given} exclude each other")
    if one or given is not None:
        return 1 if one else given
    told = environ.get("SBKUBE_MAX_PARALLEL", "").strip()
    if told and not (told.isascii() and told.isdigit() and int(told)):
        message = f"the environment variable SBKUBE_MAX_PARALLEL must be a number from 1 up, not {told!r}"
        raise ConfigError(message, hint="`export SBKUBE_MAX_PARALLEL=8`, or unset it")
    return int(told) if told else None


def console_for(output: Output = "text", *, progress: bool = True) -> Console:
    console = Console.of(os.environ, sys.stdout, sys.stderr, output=output, progress=progress)
    context = click.get_current_context(silent=True)
    if context is not None:
        context.find_root().obj["console"] = console  # whether data was lost is told at the end
    return console


def command_line(*words: str) -> str:
    return shlex.join(("sbkube", *words))
