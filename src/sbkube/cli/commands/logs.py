"""`sbkube logs`: what a step, or every step of an app, logged."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import asyncclick as click

from sbkube.cli.options import console_for, where_of, where_options
from sbkube.cli.records import latest, no_run_yet, recorded
from sbkube.errors import SbkubeError

_LOG = re.compile(r"(.+)\.([a-z]+)\.(\d+)\.log")


class NothingLogged(SbkubeError):
    """There is no log of what was asked for."""


@click.command(name="logs", help="Print what STEP (`app:stage`, or `app` for all its stages) logged.")
@click.argument("step")
@where_options
@click.option(
    "--run", "run", type=click.IntRange(min=1), metavar="N", help="Of this run. [default: the last]"
)
@click.option("--attempt", type=click.IntRange(min=1), metavar="N", help="Only this attempt. [default: all]")
async def command(*, step: str, run: int | None, attempt: int | None, **values: Any) -> int:
    where, console = where_of(values), console_for()
    reader = recorded(where)
    state = await latest(reader, where, os.environ)
    if state is None:
        return no_run_yet(console, where)
    app, _, stage = step.partition(":")
    known = {id for id in state.steps if id == step or (not stage and id.startswith(f"{app}:"))}
    if not known and run is None:
        raise NothingLogged(
            f"there is no step {step!r} in run {state.run}",
            hint=f"steps are: {', '.join(list(state.steps)[:12])}",
        )
    found = _logs(reader.run_folder(run or state.run) / "logs", app, stage, attempt)
    for path, title in found:
        if len(found) > 1:
            console.say(title, "strong")
        console.data(path.read_text(encoding="utf-8", errors="replace").rstrip("\n"))
    if not found:
        errors = [state.steps[id].error for id in sorted(known) if state.steps[id].error and run is None]
        console.say(
            f"{step} logged nothing in run {run or state.run}" + "".join(f"\n{error}" for error in errors)
        )
    return 0


def _logs(folder: Path, app: str, stage: str, attempt: int | None) -> list[tuple[Path, str]]:
    """In the order in which stages and attempts come."""
    from sbkube.apps.fields import STAGES

    found = []
    for path in folder.glob("*.log"):
        match = _LOG.fullmatch(path.name)
        if (
            match
            and unquote(match[1]) == app
            and stage in ("", match[2])
            and attempt in (None, int(match[3]))
        ):
            place = STAGES.index(match[2]) if match[2] in STAGES else len(STAGES)
            found.append((place, int(match[3]), path, f"{app}:{match[2]} attempt {match[3]}"))
    return [(path, title) for _, _, path, title in sorted(found)]
