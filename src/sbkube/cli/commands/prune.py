"""`sbkube prune`: uninstall what the project deployed and has no more."""

from __future__ import annotations

import os
from functools import partial
from typing import Any

import asyncclick as click

from sbkube.cli.help import PART, Command
from sbkube.cli.options import change_options, console_for, option, where_of, where_options


@click.command(
    cls=Command,
    name="prune",
    help="Uninstall releases of apps that left the project; asks first.",
    examples={
        "sbkube prune --dry-run": "only show what left",
        "sbkube prune --profile prod": "of one profile; other profiles are left alone",
    },
)
@where_options
@option(
    "--disabled", is_flag=True, also=["--prune-disabled"], group=PART, help="Also apps with `enabled: false`."
)
@change_options
async def command(*, output: Any, yes: bool, dry_run: bool, disabled: bool, **values: Any) -> int:
    from sbkube import api
    from sbkube.cli.changing import ChangeSession, request_of
    from sbkube.cli.running import load_project

    where, console, environ = where_of(values), console_for(output), dict(os.environ)
    request = request_of(where, values, environ)
    project = await load_project(where, goes_on=False, environ=environ)
    own = ["--disabled"] if disabled else []
    session = ChangeSession(["prune", *own], request, where, console, yes, dry_run)
    return await session.run(partial(api.prune, project, request, disabled=disabled, environ=environ))
