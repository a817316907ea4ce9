"""`sbkube plan`: what a run would do and why, by the code that decides for the run itself."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

import asyncclick as click

from sbkube import api
from sbkube.api import Preview, ReleaseFact, Request
from sbkube.cli.console import Console, plural
from sbkube.cli.hints import naming_commands
from sbkube.cli.machine import plan_lines
from sbkube.cli.options import (
    Resuming,
    asked_of,
    console_for,
    helm_option,
    output_option,
    resume_options,
    selection_options,
    stage_options,
    target_option,
    where_of,
    where_options,
)
from sbkube.cli.running import load_project, notices, preview_rows, what_goes
from sbkube.config.project import Project
from sbkube.engine import Decision, StepStatus
from sbkube.operations.facts import Would
from sbkube.planning import missing_files


@click.command(
    cls=Resuming,
    name="plan",
    help="Show what a run would do, and why: the same as `run --dry-run`. Changes nothing.",
    examples={
        "sbkube plan --resume": "what is left of the last run, and what changed",
        "sbkube plan --app web -o json": "one app, as a document",
    },
)
@where_options
@resume_options
@stage_options
@selection_options
@target_option
@helm_option
@output_option("text", "json", "ndjson")
async def command(*, output: Any, target: str | None, helm: str | None, **values: Any) -> int:
    where = where_of(values)
    environ = dict(os.environ)
    request = Request(asked_of(values), target=target, state_dir=where.state_dir, helm=helm)
    project = await load_project(where, goes_on=request.asked.goes_on, environ=environ)
    with naming_commands(request, where):
        return await show_plan(project, request, console_for(output), environ)


async def show_plan(project: Project, request: Request, console: Console, environ: dict[str, str]) -> int:
    for notice in notices(project, request.asked):
        console.say(f"note: {notice}", "dim")
    preview = await api.plan(project, request, environ=environ)
    for stage, file in missing_files(preview.planned.stages, preview.planned.digests):
        console.warn(f"{file.missing}, so {stage.id} would fail")
    if preview.live is not None and preview.live.unseen is not None:
        console.say(f"note: what the cluster has is not known: {preview.live.unseen}", "dim")
    if console.output == "text":
        console.data(_text(preview))
        for line in (*what_goes(preview), _summary(preview)):
            console.say(line)
    elif console.output == "json":
        console.data(json.dumps(_document(preview), indent=2))
    else:
        for line in plan_lines(_document(preview)):
            console.data(line)
    return 0


def _text(preview: Preview) -> str:
    live = {f"{one.app}:deploy": one for one in _live(preview)}
    also = {id: _told(one) for id, one in live.items()} | {
        stage.id: f"fetches {stage.fetches}" for stage in preview.planned.stages if stage.fetches
    }
    rows = [
        (action, id, f"{why}; {also[id]}" if id in also and (id in live or action != "keep") else why)
        for action, id, why in preview_rows(preview)
    ]
    first = min(max((len(action) for action, _, _ in rows), default=0), 40)
    second = max((len(id) for _, id, _ in rows), default=0)
    return "\n".join(f"{action:<{first}}  {id:<{second}}  {why}".rstrip() for action, id, why in rows)


def _live(preview: Preview) -> Sequence[ReleaseFact]:
    return preview.live.releases if preview.live is not None else ()


def _told(one: ReleaseFact) -> str:
    if one.status is None:
        return f"no release {one.namespace}/{one.release} yet"
    whose = "" if not one.status.is_pending else " by this project" if one.is_ours else " by somebody else"
    state = f"release {one.namespace}/{one.release} revision {one.revision} is {one.status.value}{whose}"
    return f"{state}, {_WOULD[one.would]}"


_WOULD: Mapping[Would | None, str] = {
    None: "upgraded if what is rendered differs",
    "install": "would be installed",
    "upgrade": "would be upgraded",
    "unchanged": "would stay unchanged",
    "unlock": "would be unlocked and deployed again",
    "uninstall": "would be uninstalled to the end and installed",
    "wait": "would be waited for",
    "refuse": "would fail",
}


def _counts(decision: Decision) -> dict[str, int]:
    total = sum(1 for step in decision.steps.values() if step.status is not StepStatus.SKIPPED)
    conditional = len(decision.conditional)
    return {"run": len(decision.to_run) - conditional, "run_if": conditional, "steps": total}


def _summary(preview: Preview) -> str:
    counts = _counts(preview.decision)
    also = f", {counts['run_if']} more if something changes" if counts["run_if"] else ""
    return f"would run {counts['run']} of {plural(counts['steps'], 'step')}{also}"


def _document(preview: Preview) -> dict[str, Any]:
    decision = preview.decision
    fetches = {stage.id: stage.fetches for stage in preview.planned.stages}
    return {
        "new_run": decision.new_run,
        "resumed_from": decision.resumed_from,
        "steps": [
            {
                "step": id,
                "action": action,
                "reason": why,
                "changed": preview.changes.get(id, []),
                "fetches": fetches.get(id),
            }
            for action, id, why in preview_rows(preview)
        ],
        "counts": _counts(decision),
        "gone": list(decision.gone),
        "would_prune": list(preview.would_prune),
        "live": _live_document(preview),
    }


def _live_document(preview: Preview) -> dict[str, Any] | None:
    """None: not a cluster."""
    if preview.live is None:
        return None
    releases = [
        {
            "app": one.app,
            "namespace": one.namespace,
            "release": one.release,
            "revision": one.revision,
            "status": one.status.value if one.status is not None else None,
            "is_ours": one.is_ours,
            "would": one.would,
        }
        for one in preview.live.releases
    ]
    return {"unseen": preview.live.unseen, "releases": releases}
