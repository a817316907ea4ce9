"""`sbkube run`, and what the commands that are forms of it share."""

from __future__ import annotations

import os
from typing import Any

import asyncclick as click

from sbkube.cli.options import (
    Resuming,
    Where,
    asked_of,
    console_for,
    most_at_once,
    resume_options,
    run_options,
    selection_options,
    stage_options,
    where_of,
    where_options,
)


@click.command(
    cls=Resuming,
    name="run",
    help="Run a project, or go on with its last run.",
    examples={
        "sbkube run": "everything, as a new run",
        "sbkube run --resume": "what the last run left, and what changed since",
        "sbkube run --app web --only template": "one stage of one app",
        "sbkube run --profile prod --dry-run": "only show what would run, and why",
    },
)
@where_options
@resume_options
@stage_options
@selection_options
@run_options
async def command(**values: Any) -> int:
    return await carry_out(where_of(values), **values)


def stage_command(stage: str) -> click.Command:
    @click.command(
        cls=Resuming,
        name=stage,
        help=f"Run the stage {stage}; the same as `run --only {stage}`.",
        examples={f"sbkube {stage} --app web --with-needs": "of one app, after what it needs"},
    )
    @where_options
    @resume_options
    @selection_options
    @run_options
    async def command(**values: Any) -> int:
        return await carry_out(where_of(values), only=stage, **values)

    return command


async def carry_out(
    where: Where,
    *,
    output: Any = "text",
    no_progress: bool = False,
    dry_run: bool = False,
    timeout: str | None = None,
    target: str | None = None,
    accept_target_change: bool = False,
    pending: Any = None,
    force: bool = False,
    max_parallel: int | None = None,
    no_parallel: bool = False,
    fail_fast: bool = False,
    helm: str | None = None,
    wait_lock: str | None = None,
    offline: bool = False,
    **asked: Any,
) -> int:
    """Everything after the command line; the exit code."""
    chosen = asked_of(asked)
    if target == "":
        raise click.UsageError("--target is empty")
    from sbkube.api import Request
    from sbkube.cli.hints import naming_commands
    from sbkube.cli.running import RunSession, load_project, time_limit

    console = console_for(output, progress=not no_progress)
    environ = dict(os.environ)
    request = Request(
        asked=chosen,
        target=target,
        state_dir=where.state_dir,
        helm=helm,
        max_parallel=most_at_once(max_parallel, no_parallel, environ),
        fail_fast=fail_fast,
        deadline=time_limit(timeout),
        accept_target_change=accept_target_change,
        wait_lock=time_limit(wait_lock, "--wait-lock") or 0.0,
        force=force,
        pending=pending or "ours",
        is_offline=offline,
    )
    project = await load_project(where, goes_on=chosen.goes_on, environ=environ)
    with naming_commands(request, where):
        if dry_run:
            from sbkube.cli.commands.plan import show_plan

            return await show_plan(project, request, console, environ)
        if chosen.goes_on:
            from sbkube.cli.asking import with_answers

            request = await with_answers(project, request, console, environ)
    return await RunSession(project, request, where, console, environ).run()
