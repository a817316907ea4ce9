"""`sbkube explain`: why a step ran, and whether and why it would run again."""

from __future__ import annotations

import os
from typing import Any

import asyncclick as click

from sbkube.cli.options import console_for, where_of, where_options
from sbkube.cli.records import NoRunYet, recorded


@click.command(name="explain", help="Say why STEP (`app:stage`) ran, and what a resume would do with it.")
@click.argument("step")
@where_options
@click.option("--target", metavar="cluster|DIR", help="As for `run`.")
async def command(*, step: str, target: str | None, **values: Any) -> int:
    from sbkube import api
    from sbkube.api import Asked, Request
    from sbkube.cli.running import load_project, preview_rows
    from sbkube.planning import refuse_unknown_step

    where, console, environ = where_of(values), console_for(), dict(os.environ)
    reader = recorded(where)
    project = await load_project(where, goes_on=True, environ=environ)
    preview = await api.plan(
        project, Request(Asked(resume=True), target=target, state_dir=where.state_dir), environ=environ
    )
    if preview.previous is None:
        raise NoRunYet(reader.path, where)
    refuse_unknown_step(step, preview.planned.graph.steps)
    planned = preview.planned.graph[step]
    known = preview.previous.steps.get(step)
    lines = [] if known is None else await _past(reader, preview.previous, known)
    waits = [
        ("needs", preview.planned.graph.needs[planned.id]),
        ("comes after", preview.planned.graph.after[planned.id]),
    ]
    lines += [f"{how}: {', '.join(ids)}" for how, ids in waits if ids]
    action, _, why = next(row for row in preview_rows(preview) if row[1] == step)
    lines.append(f"`run --resume` would {action}: {why}" if why else f"`run --resume` would {action} it")
    console.data("\n".join([step, *(f"  {line}" for line in lines)]))
    return 0


async def _past(reader: Any, previous: Any, step: Any) -> list[str]:
    """How it stands, why it ran, and which of its inputs had changed then."""
    from sbkube.cli.console import duration
    from sbkube.cli.tabular import local_time

    when = f" at {local_time(step.completed_at)}" if step.completed_at else ""
    took = f" in {duration(step.duration)}" if step.duration is not None else ""
    lines = [
        f"run {previous.run}: {step.status.value}{when}{took}"
        + (f", attempt {step.attempt}" if step.attempt else "")
    ]
    if step.error:
        lines.append(f"error: {step.error}")
    if step.blocked_by and step.status.value == "blocked":
        lines.append(f"blocked by {step.blocked_by}")
    if step.reason:
        lines.append(f"why: {step.reason}")
    changed = await _changed_since(reader, previous, step.name)
    if changed:
        lines.append(f"changed since run {previous.resumed_from}: {', '.join(changed)}")
    return lines


async def _changed_since(reader: Any, run: Any, step: str) -> list[str]:
    """Between the run that this one took over from, and this one."""
    if run.resumed_from is None:
        return []
    then, now = await reader.plan(run.resumed_from), await reader.plan(run.run)
    if then is None or now is None or step not in now.steps or step not in then.steps:
        return []
    return list(then.changed(step, now.steps[step].components))
