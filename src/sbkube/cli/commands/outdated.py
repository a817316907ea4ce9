"""`sbkube outdated`: which charts and tags have newer versions."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any

import asyncclick as click

from sbkube.cli.console import Console, painted, plural, speaks_color
from sbkube.cli.failures import OK, STEP_FAILED, USAGE, exit_code_of
from sbkube.cli.help import OUTPUT, Command
from sbkube.cli.options import (
    Where,
    app_options,
    command_line,
    console_for,
    option,
    output_option,
    where_of,
    where_options,
)
from sbkube.cli.tabular import columns
from sbkube.errors import SbkubeError

if TYPE_CHECKING:
    from sbkube.api import AppVersions, Versions

OUTDATED = 2


@click.command(
    cls=Command,
    name="outdated",
    help="List the apps for whose chart or git tag there is a newer stable version. Asks the repositories; changes "
    "nothing, here or there. `where` is the place to change the version.",
    examples={
        "sbkube outdated --all": "also what is up to date, or cannot be compared",
        "sbkube outdated --detailed-exitcode || notify": "tell somebody of newer versions",
    },
)
@where_options
@app_options
@option("--all", "everything", is_flag=True, group=OUTPUT, help="Also what is up to date, or not compared.")
@option(
    "--detailed-exitcode",
    is_flag=True,
    group=OUTPUT,
    help="Exit code 0: nothing is outdated; 2: something is; 1: it cannot be said.",
)
@option("--update-config", is_flag=True, hidden=True)
@output_option("text", "json")
async def command(
    *, output: Any, everything: bool, detailed_exitcode: bool, update_config: bool, **values: Any
) -> int:
    from sbkube import api
    from sbkube.cli.commands.diff import cannot_say
    from sbkube.cli.looking import looked_at

    if update_config:
        raise click.UsageError(
            "sbkube edits no config: which of its files and profiles should say the new version is yours to decide. "
            "`sbkube outdated` says where the version of today stands"
        )
    where, console, environ = where_of(values), console_for(output), dict(os.environ)
    try:
        project, request = await looked_at(where, environ, **values)
        found = await api.outdated(project, request, environ=environ)
    except SbkubeError as error:
        if not detailed_exitcode or exit_code_of(error) != USAGE:
            raise
        return cannot_say(error, console)
    if output == "json":
        console.data(json.dumps(_document(found, everything), indent=2))
    else:
        _tell(found, console, everything, color=speaks_color(os.environ, sys.stdout.isatty()))
        _tell_of_lock(found, console, where)
    if found.failures:
        return STEP_FAILED
    return OUTDATED if detailed_exitcode and found.outdated else OK


def _tell(found: Versions, console: Console, everything: bool, *, color: bool) -> None:
    shown = found.apps if everything else found.outdated
    if shown:
        head, *rows = columns([_HEAD, *map(_row, shown)]).split("\n")
        lines = [
            painted(row, "warn") if color and one.is_outdated else row
            for row, one in zip(rows, shown, strict=True)
        ]
        console.data("\n".join([head, *lines]))
    for app, error in found.failures.items():
        console.error(f"app {app!r} cannot be compared: {error}", error.hint)
    console.say(_summary(found))


def _tell_of_lock(found: Versions, console: Console, where: Where) -> None:
    held = [one for one in found.outdated if one.offered.may_move]
    if held:
        upgrades = [word for one in held for word in ("--upgrade", one.app)]
        told = ", ".join(f"{one.app} {one.offered.allowed}" for one in held)
        console.say(f"`{command_line('lock', *where.flags, *upgrades)}` takes what is allowed: {told}")


_HEAD = ("app", "", "asked", "now", "newest", "where", "from")


def _row(one: AppVersions) -> tuple[str, ...]:
    offered = one.offered
    source = offered.source if offered.why is None else f"{offered.source} ({offered.why})"
    versions = (offered.asked or "", offered.now or "", offered.newest or "")
    return (one.app, _state(one), *versions, str(one.where), source)


def _state(one: AppVersions) -> str:
    if one.is_outdated:
        return "outdated"
    return "up to date" if one.offered.why is None else "not compared"


def _summary(found: Versions) -> str:
    apart = sum(1 for one in found.apps if one.offered.why is not None)
    told = f"{len(found.outdated)} of {plural(len(found.apps) - apart, 'app')} outdated"
    return f"{told}, {apart} not compared" if apart else told


def _document(found: Versions, everything: bool) -> dict[str, Any]:
    return {
        "apps": [_app(one) for one in (found.apps if everything else found.outdated)],
        "failed": {app: {"message": str(error), "hint": error.hint} for app, error in found.failures.items()},
    }


def _app(one: AppVersions) -> dict[str, Any]:
    offered = one.offered
    return {
        "app": one.app,
        "from": offered.source,
        "asked": offered.asked,
        "now": offered.now,
        "newest": offered.newest,
        "is_outdated": one.is_outdated,
        "allowed": offered.allowed,
        "is_locked": offered.is_locked,
        "not_compared": offered.why,
        "where": str(one.where),
    }
