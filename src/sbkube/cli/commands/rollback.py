"""`sbkube rollback`: one release back to an earlier revision, or all that a run changed."""

from __future__ import annotations

import os
from dataclasses import replace
from functools import partial
from typing import Any

import asyncclick as click

from sbkube.cli.help import PART, Command
from sbkube.cli.options import (
    Where,
    argument,
    change_options,
    command_line,
    console_for,
    option,
    together,
    where_of,
    where_options,
)

_NOW = (
    "write `sbkube rollback APP --to REVISION` for one app, or `sbkube rollback --run N` for all that a run changed; "
    "`sbkube history` lists the runs"
)

_older = together(
    *(option(name, hidden=True) for name in ("--scope", "--phase", "--cluster")),
    option("--limit", "-n", hidden=True),
    option("--list", "list_", is_flag=True, hidden=True),
    option("--force", is_flag=True, hidden=True),
    option("--app", "named", hidden=True),
)


@click.command(
    cls=Command,
    name="rollback",
    help="Take the release of APP back, or with --run all that a run changed.",
    examples={
        "sbkube rollback web": "to the revision before",
        "sbkube rollback web --to 3": "to this revision; `helm history web` lists them",
        "sbkube rollback --run 12": "every release to what it was before run 12",
    },
)
@argument("app", required=False, help="The app; with --run, of that run.")
@option(
    "--to",
    type=click.IntRange(min=1),
    metavar="REVISION",
    group=PART,
    help="To this one. [default: that before]",
)
@option("--run", type=click.IntRange(min=1), metavar="N", group=PART, help="Undo what run N did to releases.")
@where_options
@_older
@change_options
async def command(
    *,
    output: Any,
    yes: bool,
    dry_run: bool,
    app: str | None,
    to: int | None,
    run: int | None,
    named: str | None,
    **values: Any,
) -> int:
    _refuse_older(values)
    app = app or named
    if app is None and run is None:
        raise click.UsageError(f"what to roll back? {_NOW}")
    if to is not None and run is not None:
        raise click.UsageError(
            "--to is one revision of one app; --run goes back to what each release was before"
        )
    from sbkube import api
    from sbkube.cli.changing import ChangeSession, request_of
    from sbkube.cli.running import load_project

    where, console, environ = where_of(values), console_for(output), dict(os.environ)
    where = await _of_run(where, run, environ)
    request = request_of(where, values, environ)
    project = await load_project(where, goes_on=False, environ=environ)
    own = [*([app] if app else []), *(["--to", str(to)] if to else []), *(["--run", str(run)] if run else [])]
    session = ChangeSession(["rollback", *own], request, where, console, yes, dry_run)
    resume = command_line("run", "--resume", *where.flags)
    return await session.run(
        partial(api.rollback, project, request, app=app, to=to, run=run, environ=environ),
        f"the project is as it was, so `{resume}` would deploy it again: change it first to stay here",
    )


def _refuse_older(values: dict[str, Any]) -> None:
    """Those of 0.4 to 0.11, which went by a database that nothing was ever written to."""
    given = {name: values.pop(name) for name in ("scope", "phase", "cluster", "limit", "list_", "force")}
    for name, value in given.items():
        if value:
            raise click.UsageError(f"`rollback --{name.rstrip('_')}` is of older versions: {_NOW}")
    target = values["target"]
    if target is not None and target != "cluster":
        raise click.UsageError(
            f"`--target {target}` is no cluster; older versions named a deployment so: {_NOW}"
        )


async def _of_run(where: Where, run: int | None, environ: dict[str, str]) -> Where:
    """A run is rolled back with the profile that it had, unless another is said."""
    if run is None or where.profile_of(environ) is not None:
        return where
    from sbkube import api

    found = await api.state_of(where.project_folder(), where.state_dir, environ).run(run)
    return where if found is None else replace(where, profile=found.profile)
