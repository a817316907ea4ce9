"""`sbkube lock`: what apps take from elsewhere, written down so that the next run takes the same."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import asyncclick as click

from sbkube.cli.console import Console, plural
from sbkube.cli.failures import OK, STEP_FAILED
from sbkube.cli.help import HOW, Command
from sbkube.cli.options import (
    command_line,
    console_for,
    offline_option,
    option,
    output_option,
    where_of,
    where_options,
)

if TYPE_CHECKING:
    from sbkube.cli.options import Where
    from sbkube.fetch.lockfile import Difference
    from sbkube.operations.pinning import Locked


class _Upgrading(Command):
    """`--upgrade` may stand alone, at the end or before another option."""

    async def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        following = [*args[1:], "-"]
        return await super().parse_args(
            ctx,
            [
                f"{arg}=" if arg == "--upgrade" and following[n].startswith("-") else arg
                for n, arg in enumerate(args)
            ],
        )


@click.command(
    cls=_Upgrading,
    name="lock",
    help="Write into sbkube.lock which version, URL and digest each chart, file and repository is now. Runs take exactly "
    "that. What is in it stays, unless an app asks for something else.",
    examples={
        "sbkube lock": "what is new or changed in the project",
        "sbkube lock --upgrade web": "what is newest now of what web asks for",
        "sbkube lock --check": "in CI: exit code 1 if it is out of date",
    },
)
@where_options
@option("--upgrade", multiple=True, metavar="[APP]", group=HOW, help="Ask anew: for all, or for APP.")
@option("--check", is_flag=True, group=HOW, help="Only say whether it is out of date; ask nobody.")
@offline_option
@output_option("text", "json")
async def command(*, output: Any, upgrade: tuple[str, ...], check: bool, offline: bool, **values: Any) -> int:
    if check and upgrade:
        raise click.UsageError("--check and --upgrade exclude each other")
    from sbkube.cli.running import load_project
    from sbkube.operations import pinning

    where, console, environ = where_of(values), console_for(output), dict(os.environ)
    project = await load_project(where, goes_on=False, environ=environ)
    if check:
        return _checked(pinning.outdated(project), project.pins.file.name, where, console)
    apps = None if not upgrade else () if "" in upgrade else upgrade
    locked = await pinning.lock(project, upgrade=apps, is_offline=offline, environ=environ)
    return _tell(locked, console)


def _checked(difference: Difference, name: str, where: Where, console: Console) -> int:
    if console.output == "json":
        found = {
            "missing": list(difference.missing),
            "changed": list(difference.changed),
            "gone": list(difference.gone),
        }
        console.data(json.dumps({"file": name, "is_current": not difference, **found}, indent=2))
    elif difference:
        for word, apps in (
            ("not in it", difference.missing),
            ("asks for something else", difference.changed),
            ("no longer there", difference.gone),
        ):
            for app in apps:
                console.data(f"{app}: {word}")
        console.error(
            f"`{name}` is out of date", f"`{command_line('lock', *where.flags)}` brings it up to date"
        )
    else:
        console.say(f"`{name}` is up to date", "good")
    return STEP_FAILED if difference else OK


def _tell(locked: Locked, console: Console) -> int:
    for app, error in locked.failures.items():
        console.error(f"{app}: {error}", error.hint)
    name = locked.lock.file.name
    if locked.failures:
        console.say(
            f"`{name}` is as it was, since {plural(len(locked.failures), 'app')} got no answer", "bad"
        )
        return STEP_FAILED
    changes = list(_changes(locked))
    if console.output == "json":
        entries = {app: dict(entry.pin.fields) for app, entry in sorted(locked.now.items())}
        changed = sorted({app for app, _ in changes})
        console.data(json.dumps({"file": name, "changed": changed, "sources": entries}, indent=2))
        return OK
    for app, told in changes:
        console.data(f"{app}: {told}")
    console.say(f"`{name}`: {plural(len(locked.now), 'source')}, {len(changes)} changed", "good")
    return OK


def _changes(locked: Locked) -> list[tuple[str, str]]:
    found = []
    for app in sorted(locked.now.keys() | locked.difference.gone):
        before, now = locked.before.get(app), locked.now.get(app)
        if now is None:
            found.append((app, "removed"))
        elif now != before:
            old, new = (_short(entry.pin.fields) if entry is not None else "" for entry in (before, now))
            found.append((app, f"{old} -> {new}" if old else new))
    return found


def _short(fields: dict[str, str]) -> str:
    """The version or commit; bytes without either by their digest."""
    return fields.get("version") or fields.get("commit") or f"SHA-256 {fields.get('sha256', '')[:12]}"
