"""`sbkube diff`: what a deploy would change in the cluster."""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import asyncclick as click

from sbkube.cli.console import Console, Style, painted, plural, speaks_color
from sbkube.cli.failures import OK, STEP_FAILED, USAGE, describe_error, exit_code_of
from sbkube.cli.help import OUTPUT, Command
from sbkube.cli.options import (
    app_options,
    cluster_options,
    console_for,
    offline_option,
    option,
    output_option,
    where_of,
    where_options,
)
from sbkube.errors import SbkubeError

if TYPE_CHECKING:
    from sbkube.api import AppDiff, Diff
    from sbkube.operations.comparing import Kind

CHANGED = 2


@click.command(
    cls=Command,
    name="diff",
    help="Show what a deploy would change in the cluster, object by object. Changes nothing.\n\n"
    "Values of Secrets are masked. Hooks are left out, since each deploy makes them anew.",
    examples={
        "sbkube diff --app web": "one app",
        "sbkube diff --detailed-exitcode || notify": "tell somebody of a difference",
    },
)
@where_options
@app_options
@cluster_options
@offline_option
@option(
    "--detailed-exitcode",
    is_flag=True,
    group=OUTPUT,
    help="Exit code 0: nothing would change; 2: something would; 1: it cannot be said.",
)
@output_option("text", "json")
async def command(*, output: Any, detailed_exitcode: bool, **values: Any) -> int:
    where, console = where_of(values), console_for(output)
    try:
        found = await _found(where, values)
    except SbkubeError as error:
        if not detailed_exitcode or exit_code_of(error) != USAGE:
            raise
        return cannot_say(error, console)
    if output == "json":
        console.data(json.dumps(_document(found), indent=2))
    else:
        _tell(found, console, color=speaks_color(os.environ, sys.stdout.isatty()))
    if found.failures:
        return STEP_FAILED
    return CHANGED if detailed_exitcode and found.changes else OK


async def _found(where: Any, values: dict[str, Any]) -> Diff:
    from sbkube import api
    from sbkube.cli.hints import naming_commands
    from sbkube.cli.looking import looked_at

    environ = dict(os.environ)
    project, request = await looked_at(where, environ, **values)
    with naming_commands(request, where):
        return await api.diff(project, request, environ=environ)


def cannot_say(error: SbkubeError, console: Console) -> int:
    """The usual exit code is that of changes."""
    message, hint = describe_error(error)
    console.error(message, hint)
    if console.output == "json":
        from sbkube.cli.machine import error_line

        console.data(error_line(error, message, hint, STEP_FAILED))
    return STEP_FAILED


def _tell(found: Diff, console: Console, *, color: bool) -> None:
    if found.changes:
        console.data("\n".join(_lines(found, color)))
    for app, why in found.failures.items():
        console.error(f"app {app!r} cannot be compared: {why}")
    if found.changes:
        console.say(_summary(found))
        for note in _notes(found):
            console.say(f"note: {note}", "dim")


def _lines(found: Diff, color: bool) -> Iterator[str]:
    def styled(text: str, style: Style) -> str:
        return painted(text, style) if color else text

    for change in found.changes:
        yield styled(f"{change.app}: {change.object} {_WORDS[change.kind]}", "strong")
        if change.why is not None:
            yield styled(f"  {change.why}", "bad")
        for line in change.lines:
            yield styled(line, _STYLES.get(line[:1], ""))


_WORDS: dict[Kind, str] = {
    "added": "would be created",
    "changed": "would change",
    "removed": "would be deleted",
    "refused": "cannot be compared",
}
_STYLES: dict[str, Style] = {"+": "good", "-": "bad", "@": "run"}


def _summary(found: Diff) -> str:
    counts = Counter(change.kind for change in found.changes)
    told = [f"{counts[kind]} {words}" for kind, words in _WORDS.items() if counts[kind]]
    apps = sum(1 for app in found.apps if app.changes)
    return f"{plural(len(found.changes), 'object')} of {plural(apps, 'app')}: {', '.join(told)}"


def _notes(found: Diff) -> Iterator[str]:
    drifted = [app.app for app in found.apps if app.is_deployed and app.changes]
    if drifted:
        yield (
            f"{', '.join(drifted)}: deployed as the project has it and changed since by others, which a deploy leaves alone"
        )
    hooks = sum(app.hooks for app in found.apps)
    if hooks:
        yield f"{plural(hooks, 'hook')} left out: each deploy makes them anew"
    if found.commands:
        yield f"left out, since they run commands: {', '.join(found.commands)}"


def _document(found: Diff) -> dict[str, Any]:
    return {
        "apps": [_app(app) for app in found.apps],
        "failed": dict(found.failures),
        "commands": list(found.commands),
    }


def _app(app: AppDiff) -> dict[str, Any]:
    from sbkube.cli.looking import object_document

    return {
        "app": app.app,
        "is_deployed": app.is_deployed,
        "hooks": app.hooks,
        "objects": [object_document(change) for change in app.changes],
    }
