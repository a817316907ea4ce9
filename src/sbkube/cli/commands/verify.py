"""`sbkube verify`: whether the cluster still is as the last run left it."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import asyncclick as click

from sbkube.cli.console import plural
from sbkube.cli.failures import OK, STEP_FAILED
from sbkube.cli.help import Command
from sbkube.cli.options import (
    app_options,
    cluster_options,
    console_for,
    output_option,
    where_of,
    where_options,
)

if TYPE_CHECKING:
    from sbkube.api import Verified
    from sbkube.cli.console import Console


@click.command(
    cls=Command,
    name="verify",
    help="Check that every app of the last run is deployed as recorded, and ready. Exit code 1 if one is not.",
    examples={
        "sbkube verify --app web": "one app",
        "sbkube verify -o json": "as a document, for other tools",
    },
)
@where_options
@app_options
@cluster_options
@output_option("text", "json")
async def command(*, output: Any, **values: Any) -> int:
    from sbkube import api
    from sbkube.cli.looking import looked_at

    where, console, environ = where_of(values), console_for(output), dict(os.environ)
    project, request = await looked_at(where, environ, **values)
    found = await api.verify(project, request, environ=environ)
    if output == "json":
        console.data(json.dumps([_entry(app) for app in found], indent=2))
    else:
        _tell(found, console)
    return STEP_FAILED if any(app.complaints for app in found) else OK


def _tell(found: list[Verified], console: Console) -> None:
    for app in found:
        for line in app.complaints:
            console.data(f"{app.app}: {line}")
    wrong = sum(1 for app in found if app.complaints)
    if wrong:
        console.say(f"{wrong} of {plural(len(found), 'app')} not as the last run left them")
    else:
        console.say(f"{plural(len(found), 'app')} deployed as recorded, and ready", "good")


def _entry(app: Verified) -> dict[str, Any]:
    from sbkube.cli.looking import release_document

    return {
        "app": app.app,
        "ok": not app.complaints,
        "complaints": list(app.complaints),
        "releases": [release_document(one) for one in app.releases],
    }
