"""`sbkube validate`: everything that can be said about a project without running it."""

from __future__ import annotations

import os
from typing import Any

import asyncclick as click

from sbkube.cli.console import plural
from sbkube.cli.failures import OK, USAGE
from sbkube.cli.options import console_for, where_of, where_options


@click.command(name="validate", help="Check a project without running anything.")
@where_options
async def command(**values: Any) -> int:
    from sbkube import api
    from sbkube.cli.running import load_project

    where, console = where_of(values), console_for()
    project = await load_project(where, goes_on=False, environ=dict(os.environ))
    for notice in project.notices:
        console.say(f"note: {notice}", "dim")
    checked = await api.check(project)
    for stage, file in checked.missing:
        missing = file.missing
        looked = f" ({missing.hint})" if missing.hint else ""
        console.error(f"{missing}, so {stage.id} would fail{looked}")
    if checked.missing:
        return USAGE
    console.say(
        f"{project.config_file.name} is fine: {plural(len(project.apps), 'app')}, {plural(len(checked.graph), 'step')}"
    )
    return OK
