"""`sbkube delete`: uninstall the releases of apps, dependents first."""

from __future__ import annotations

import os
from functools import partial
from typing import Any

import asyncclick as click

from sbkube.cli.help import HOW, Command
from sbkube.cli.options import (
    app_options,
    change_options,
    command_line,
    console_for,
    option,
    where_of,
    where_options,
)


@click.command(
    cls=Command,
    name="delete",
    help="Uninstall the releases of apps, those that depend on others first.",
    examples={
        "sbkube delete --dry-run": "what would be uninstalled, and in which order",
        "sbkube delete --app web --yes": "one app, without asking",
        "sbkube delete -l team=shop": "the apps with this label",
    },
)
@where_options
@app_options
@option("--skip-not-found", is_flag=True, group=HOW, help="It is no failure that a release is not there.")
@option("--with-crds", is_flag=True, group=HOW, help="And their CRDs, with all resources of these kinds.")
@change_options
async def command(
    *, output: Any, yes: bool, dry_run: bool, skip_not_found: bool, with_crds: bool, **values: Any
) -> int:
    from sbkube import api
    from sbkube.cli.changing import ChangeSession, request_of
    from sbkube.cli.running import load_project

    where, console, environ = where_of(values), console_for(output), dict(os.environ)
    request = request_of(where, values, environ)
    project = await load_project(where, goes_on=False, environ=environ)
    own = [*(["--skip-not-found"] if skip_not_found else []), *(["--with-crds"] if with_crds else [])]
    session = ChangeSession(["delete", *own], request, where, console, yes, dry_run)
    resume = command_line("run", "--resume", *where.flags)
    return await session.run(
        partial(
            api.delete,
            project,
            request,
            skip_not_found=skip_not_found,
            with_crds=with_crds,
            environ=environ,
        ),
        f"`{resume}` deploys again what the project has",
    )
