"""`sbkube logs`: what a step, or every step of an app, logged."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import asyncclick as click

from sbkube.cli.help import Command
from sbkube.cli.options import (
    Where,
    argument,
    command_line,
    console_for,
    option,
    where_of,
    where_options,
)
from sbkube.cli.records import NoRunYet, newest, recorded, steps_named
from sbkube.errors import SbkubeError

if TYPE_CHECKING:
    from sbkube.cli.console import Console
    from sbkube.engine import ExecutionState, StepExecution
    from sbkube.engine.stores.files import FileReader

_LOG = re.compile(r"(.+)\.([a-z]+)\.(\d+)\.log")
_TOLD = 12


class NothingRecorded(SbkubeError):
    """There is no such run or attempt."""


@dataclass(frozen=True, slots=True)
class Log:
    """What one attempt of a step left."""

    step: str
    attempt: int
    path: Path


@click.command(
    cls=Command,
    name="logs",
    help="Print what STEP logged.",
    examples={
        "sbkube logs web:deploy": "every attempt in the last run",
        "sbkube logs web --run 12": "all stages of an app, in an earlier run",
    },
)
@argument("step", help="app:stage, or app for all its stages.")
@option("--run", type=click.IntRange(min=1), metavar="N", help="Of this run. [default: the last]")
@option("--attempt", type=click.IntRange(min=1), metavar="N", help="Of this attempt. [default: all]")
@where_options
async def command(*, step: str, run: int | None, attempt: int | None, **values: Any) -> int:
    where, console = where_of(values), console_for()
    reader = recorded(where)
    state = await newest(reader, where) if run is None else await _run_numbered(reader, run, where)
    ids = steps_named(step, state.steps, f"run {state.run}")
    logs = _logs(reader.run_folder(state.run) / "logs", ids)
    if attempt is not None:
        _refuse_unknown_attempt(step, attempt, state, ids, logs)
        logs = [log for log in logs if log.attempt == attempt]
    for log in logs:
        if len(logs) > 1:
            console.say(f"{log.step} attempt {log.attempt}", "strong")
        _print(log.path, console)
    if not logs:
        for id in ids:
            console.say(_why_nothing(state.steps[id], state.run, where))
    return 0


async def _run_numbered(reader: FileReader, run: int, where: Where) -> ExecutionState:
    state = await reader.run(run)
    if state is None:
        known = await reader.runs()
        if not known:
            raise NoRunYet(reader.path, where)
        more = f" and {len(known) - _TOLD} more" if len(known) > _TOLD else ""
        hint = f"runs are: {', '.join(map(str, known[:_TOLD]))}{more}"
        raise NothingRecorded(f"there is no run {run}", hint=hint)
    return state


def _print(path: Path, console: Console) -> None:
    with open(path, encoding="utf-8", errors="replace", newline="") as file:
        console.pour(file)


def _logs(folder: Path, ids: Sequence[str]) -> list[Log]:
    """In the order of the steps, then of the attempts."""
    matches = ((_LOG.fullmatch(path.name), path) for path in folder.glob("*.log"))
    logs = [Log(f"{unquote(match[1])}:{match[2]}", int(match[3]), path) for match, path in matches if match]
    return sorted(
        (log for log in logs if log.step in ids), key=lambda log: (ids.index(log.step), log.attempt)
    )


def _refuse_unknown_attempt(
    word: str, attempt: int, state: ExecutionState, ids: Sequence[str], logs: Sequence[Log]
) -> None:
    last = max([state.steps[id].attempt for id in ids] + [log.attempt for log in logs])
    if attempt > last:
        known = f"attempts are: {', '.join(map(str, range(1, last + 1)))}" if last else "it was not started"
        raise NothingRecorded(f"there is no attempt {attempt} of {word!r} in run {state.run}", hint=known)


def _why_nothing(step: StepExecution, run: int, where: Where) -> str:
    said = f"{step.name} logged nothing in run {run}"
    reused_from = step.metadata.get("reused_from", run)
    if reused_from != run:
        words = command_line("logs", step.name, "--run", str(reused_from), *where.flags)
        return f"{said}: it was taken over from run {reused_from}, see `{words}`"
    if step.blocked_by and step.status.value == "blocked":
        return f"{said}: it was blocked by {step.blocked_by}"
    if step.error:
        return f"{said}: {step.error}"
    return said if step.attempt else f"{said}: it is {step.status.value}"
