"""`sbkube run`, and what the commands that are forms of it share."""

from __future__ import annotations

import os
from typing import Any

import asyncclick as click

from sbkube.cli.options import (
    Where,
    console_for,
    resume_options,
    run_options,
    selection_options,
    stage_options,
    where_of,
    where_options,
)


@click.command(name="run", help="Run a project, or go on with its last run.")
@where_options
@resume_options
@stage_options
@selection_options
@run_options
async def command(**values: Any) -> int:
    return await carry_out(where_of(values), **values)


async def carry_out(
    where: Where,
    *,
    output: Any = "text",
    no_progress: bool = False,
    dry_run: bool = False,
    timeout: str | None = None,
    target: str | None = None,
    max_parallel: int | None = None,
    no_parallel: bool = False,
    fail_fast: bool = False,
    helm: str | None = None,
    **asked: Any,
) -> int:
    """Everything after the command line; the exit code."""
    _refuse_contradictions(asked)
    if target == "":
        raise click.UsageError("--target is empty")
    from sbkube.api import Asked, Request
    from sbkube.cli.running import RunSession, load_project, naming_what_runs_needs, time_limit

    console = console_for(output, progress=not no_progress)
    environ = dict(os.environ)
    request = Request(
        asked=Asked(**asked),
        target=target,
        state_dir=where.state_dir,
        helm=helm,
        max_parallel=1 if no_parallel else max_parallel,
        fail_fast=fail_fast,
        deadline=time_limit(timeout),
    )
    goes_on = request.asked.resume or request.asked.retry_failed or request.asked.continue_from is not None
    project = await load_project(where, goes_on=goes_on, environ=environ)
    if dry_run:
        from sbkube.cli.commands.plan import show_plan

        with naming_what_runs_needs(request, where):
            return await show_plan(project, request, console, environ)
    if goes_on:
        from sbkube.cli.asking import with_answers

        request = await with_answers(project, request, console, environ)
    return await RunSession(project, request, where, console, environ).run()


def _refuse_contradictions(asked: dict[str, Any]) -> None:
    given = [
        f"--{name.replace('_', '-')}"
        for name in ("resume", "retry_failed", "continue_from")
        if asked.get(name)
    ]
    for name in ("only", "from_step", "to_step", "continue_from"):
        if asked.get(name) == "":
            raise click.UsageError(f"--{name.replace('_', '-')} is empty")
    if len(given) > 1:
        raise click.UsageError(f"{' and '.join(given)} exclude each other")
    if asked.get("only") and (asked.get("from_step") or asked.get("to_step")):
        raise click.UsageError("--only is one stage; --from-step and --to-step are a range")
    if asked.get("rerun_interrupted") and not given:
        raise click.UsageError("--rerun-interrupted goes with --resume, --retry-failed or --continue-from")
    for name in ("apps", "labels"):
        asked[name] = tuple(asked.get(name) or ())
