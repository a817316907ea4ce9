"""`sbkube plan`: what a run would do and why, by the code that decides for the run itself."""

from __future__ import annotations

import json
import os
from typing import Any

import asyncclick as click

from sbkube import api
from sbkube.api import Asked, Preview, Request
from sbkube.cli.commands.run import _refuse_contradictions
from sbkube.cli.console import Console, plural
from sbkube.cli.options import (
    console_for,
    output_option,
    resume_options,
    selection_options,
    stage_options,
    where_of,
    where_options,
)
from sbkube.cli.running import load_project, naming_what_runs_needs, notices, preview_rows
from sbkube.config.project import Project
from sbkube.engine import StepStatus
from sbkube.planning import missing_files


@click.command(name="plan", help="Show what a run would do, and why.")
@where_options
@resume_options
@stage_options
@selection_options
@click.option("--target", metavar="cluster|DIR", help="Where deploys go.")
@output_option("text", "json")
async def command(*, output: Any, target: str | None, **values: Any) -> int:
    where = where_of(values)
    _refuse_contradictions(values)
    environ = dict(os.environ)
    request = Request(asked=Asked(**values), target=target, state_dir=where.state_dir)
    goes_on = request.asked.resume or request.asked.retry_failed or request.asked.continue_from is not None
    project = await load_project(where, goes_on=goes_on, environ=environ)
    with naming_what_runs_needs(request, where):
        return await show_plan(project, request, console_for(output), environ)


async def show_plan(project: Project, request: Request, console: Console, environ: dict[str, str]) -> int:
    for notice in notices(project, request.asked):
        console.say(f"note: {notice}", "dim")
    preview = await api.plan(project, request, environ=environ)
    for stage, file in missing_files(preview.planned.stages, preview.planned.digests):
        console.warn(f"{file.where}: {file.what} {file.name!r} is missing, so {stage.id} would fail")
    if console.output == "text":
        console.data(_text(preview))
        console.say(_summary(preview))
    else:
        console.data(json.dumps(_document(preview), indent=2))
    return 0


def _text(preview: Preview) -> str:
    rows = preview_rows(preview)
    first = min(max((len(action) for action, _, _ in rows), default=0), 40)
    second = max((len(id) for _, id, _ in rows), default=0)
    return "\n".join(f"{action:<{first}}  {id:<{second}}  {why}".rstrip() for action, id, why in rows)


def _summary(preview: Preview) -> str:
    decision = preview.decision
    total = plural(sum(1 for s in decision.steps.values() if s.status is not StepStatus.SKIPPED), "step")
    certain = len(decision.to_run) - len(decision.conditional)
    also = f", {len(decision.conditional)} more if something changes" if decision.conditional else ""
    return f"would run {certain} of {total}{also}"


def _document(preview: Preview) -> dict[str, Any]:
    decision = preview.decision
    return {
        "new_run": decision.new_run,
        "resumed_from": decision.resumed_from,
        "steps": [
            {"step": id, "action": action, "reason": why, "changed": preview.changes.get(id, [])}
            for action, id, why in preview_rows(preview)
        ],
        "gone": list(decision.gone),
    }
