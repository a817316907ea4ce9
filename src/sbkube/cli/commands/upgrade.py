"""`sbkube upgrade`: deploy the helm apps, as older versions spelled it."""

from __future__ import annotations

import os
from typing import Any

import asyncclick as click

from sbkube.cli.commands.run import carry_out
from sbkube.cli.help import HOW, Command
from sbkube.cli.options import app_options, option, run_options, where_of, where_options


@click.command(
    cls=Command,
    name="upgrade",
    help="Deploy the helm apps, and first what they wait for that is not done.",
    examples={
        "sbkube upgrade --app web": "one of them",
        "sbkube upgrade --no-install": "only those that are installed",
    },
)
@where_options
@app_options
@option("--no-install", is_flag=True, group=HOW, help="Leave out apps that are not installed.")
@run_options
async def command(*, no_install: bool, **values: Any) -> int:
    from sbkube import api
    from sbkube.api import Asked, Request
    from sbkube.cli.running import load_project

    where, environ = where_of(values), dict(os.environ)
    project = await load_project(where, goes_on=False, environ=environ)
    asked = Asked(apps=tuple(values.pop("apps")), labels=tuple(values.pop("labels")))
    request = Request(
        asked,
        target=values["target"],
        state_dir=where.state_dir,
        helm=values["helm"],
        accept_target_change=values["accept_target_change"],
        force=values["force"],
        pending=values["pending"] or "ours",
    )
    asked = (await api.upgrading(project, request, install=not no_install, environ=environ)).asked
    return await carry_out(
        where, apps=asked.apps, only=asked.only, with_needs=asked.with_needs, rerun_interrupted=(), **values
    )
