"""The options that commands share, and what they make of them."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import asyncclick as click

from sbkube.cli.console import Console, Output

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
                flags += [f"--{name.replace('_', '-')}", value]
        return flags


def where_options(command: Decorated) -> Decorated:
    for option in reversed(
        (
            click.argument("folder", required=False, type=click.Path()),
            click.option("--app-dir", metavar="DIR", help="Folder of the project, from --base-dir."),
            click.option(
                "--base-dir", metavar="DIR", help="Folder to start from. [default: the current one]"
            ),
            click.option(
                "--config-file",
                "--config",
                "-f",
                metavar="FILE",
                help="Config file to use instead of the usual ones.",
            ),
            click.option(
                "--sources", "--source", metavar="FILE", help="Sources file to use instead of `sources.yaml`."
            ),
            click.option(
                "--profile",
                metavar="P",
                help="Lay `config-P.yaml` and `sources-P.yaml` over. [env: SBKUBE_PROFILE]",
            ),
            click.option(
                "--state-dir",
                metavar="DIR",
                help="Where runs are recorded. [default: .sbkube beside the config] [env: SBKUBE_STATE_DIR]",
            ),
        )
    ):
        command = option(command)
    return command


def output_option(*choices: str) -> Callable[[Decorated], Decorated]:
    return click.option(
        "--output",
        "--format",
        "-o",
        "output",
        type=click.Choice(choices),
        default="text",
        help="Form of what goes to stdout.",
    )


def selection_options(command: Decorated) -> Decorated:
    for option in reversed(
        (
            click.option(
                "--app", "apps", multiple=True, metavar="NAME", help="Only this app; may be repeated."
            ),
            click.option(
                "-l",
                "--label",
                "labels",
                multiple=True,
                metavar="K=V",
                help="Only apps with this label; all given must match.",
            ),
            click.option("--with-needs", is_flag=True, help="Also what the selected steps wait for."),
        )
    ):
        command = option(command)
    return command


def stage_options(command: Decorated) -> Decorated:
    for option in reversed(
        (
            click.option(
                "--only", metavar=_STAGE, help="Only this stage: prepare, build, template or deploy."
            ),
            click.option("--from-step", metavar=_STAGE, help="This stage and later ones."),
            click.option("--to-step", metavar=_STAGE, help="This stage and earlier ones."),
        )
    ):
        command = option(command)
    return command


def resume_options(command: Decorated) -> Decorated:
    for option in reversed(
        (
            click.option(
                "--resume",
                is_flag=True,
                help="Go on with the last run: what failed, did not run, or changed.",
            ),
            click.option(
                "--retry-failed", is_flag=True, help="Of the last run, what failed and what that held back."
            ),
            click.option(
                "--continue-from",
                metavar="STEP",
                help="Of the last run, a stage, app or app:stage and all behind it.",
            ),
            click.option(
                "--rerun-interrupted",
                is_flag=True,
                help="Run again what was in flight when the last run died, and would ask.",
            ),
        )
    ):
        command = option(command)
    return command


def run_options(command: Decorated) -> Decorated:
    for option in reversed(
        (
            click.option(
                "--target", metavar="cluster|DIR", help="Where deploys go. [default: what the project says]"
            ),
            click.option("--dry-run", is_flag=True, help="Show what would run, and why; change nothing."),
            click.option(
                "--max-parallel",
                "--max-workers",
                "max_parallel",
                type=click.IntRange(min=1),
                envvar="SBKUBE_MAX_PARALLEL",
                metavar="N",
                help="At most N steps at once. [env: SBKUBE_MAX_PARALLEL]",
            ),
            click.option("--no-parallel", is_flag=True, help="One step at a time."),
            click.option("--fail-fast", is_flag=True, help="Start nothing more after the first failure."),
            click.option(
                "--timeout", metavar="TIME", help="Stop the whole run after this time, such as 90s or 1h30m."
            ),
            click.option(
                "--helm", metavar="embedded|binary|PATH", help="Which Helm renders. [env: SBKUBE_HELM]"
            ),
            click.option("--no-progress", is_flag=True, help="Plain lines instead of the live table."),
        )
    ):
        command = option(command)
    return output_option("text", "json", "ndjson")(command)


def where_of(values: dict[str, Any]) -> Where:
    """Takes the options of `where_options` out; those before the command count where none is after it."""
    context = click.get_current_context(silent=True)
    before = (context.find_root().obj if context is not None else None) or {}
    names = ("folder", "app_dir", "base_dir", "config_file", "sources", "profile", "state_dir")
    return Where(**{name: values.pop(name, None) or before.get(name) for name in names})


def console_for(output: Output = "text", *, progress: bool = True) -> Console:
    context = click.get_current_context(silent=True)
    if context is not None:
        # An error that ends the command is told in the same form.
        context.find_root().obj["output"] = output
    return Console.of(os.environ, sys.stdout, sys.stderr, output=output, progress=progress)


def command_line(*words: str) -> str:
    return shlex.join(("sbkube", *words))
