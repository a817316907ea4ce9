"""`sbkube status`: how the last run stands, read from the journal; with `--live`, how its releases stand."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import asyncclick as click

from sbkube.cli.help import Command
from sbkube.cli.options import (
    app_options,
    cluster_options,
    command_line,
    console_for,
    option,
    output_option,
    where_of,
    where_options,
)
from sbkube.cli.records import newest, recorded

if TYPE_CHECKING:
    from sbkube.report.since import Since


@click.command(
    cls=Command,
    name="status",
    help="Show how the last run stands.",
    examples={
        "sbkube status --profile prod": "the last run of a profile",
        "sbkube status --live": "what the cluster has of it, and what others changed there",
        "sbkube status -o json | jq .counts": "as a document, for other tools",
    },
)
@where_options
@option("--live", is_flag=True, help="Look at the releases in the cluster instead of the record.")
@app_options
@cluster_options
@output_option("text", "json")
async def command(*, output: Any, live: bool, **values: Any) -> int:
    from sbkube.report.since import since

    where, console = where_of(values), console_for(output)
    if live:
        from sbkube.cli.live_status import show_live

        return await show_live(where, console, values)
    if given := [flag for flag, name in _OF_LIVE.items() if values.get(name)]:
        raise click.UsageError(f"{' and '.join(given)} go with --live")
    reader = recorded(where)
    state = await newest(reader, where)
    if await reader.view_is_edited():
        console.warn(f"{reader.latest_view} was edited by hand; such edits are not read")
    done_since = since(reader.path, state)
    if output == "json":
        console.data(_document((await reader.view(state)).decode(), done_since))
    else:
        console.data(_text(state, done_since))
        if done_since:
            again = command_line("run", "--resume", *where.flags)
            console.say(f"`{again}` deploys again what was deleted or rolled back since")
    return 0


_OF_LIVE = {"--app": "apps", "--label": "labels", "--target": "target", "--helm": "helm"}


def _document(view: str, done_since: Sequence[Since]) -> str:
    """The view as it is; what came after the run is no part of it."""
    if not done_since:
        return view
    return json.dumps({**json.loads(view), "since": [asdict(one) for one in done_since]}, indent=2)


def _text(state: Any, done_since: Sequence[Since]) -> str:
    from sbkube.apps.fields import STAGES
    from sbkube.cli.tabular import columns, local_time
    from sbkube.report.history import RunRow, by_app, in_a_word

    row = RunRow.of(state)
    profile = f" ({row.profile})" if row.profile else ""
    head = f"run {row.name}{profile} {row.status}, started {local_time(row.started_at)}: {row.counted}"
    table = [["app", *STAGES, ""]]
    for app, steps in by_app(state.steps.values()).items():
        words = [in_a_word(steps[stage]) if stage in steps else "" for stage in STAGES]
        # A gate has a stage of its own, and stands where the deploys do.
        words[-1] = words[-1] or next((in_a_word(step) for step in steps.values()), "")
        came_after = [_told(one) for one in done_since if one.app == app]
        table.append([app, *words, *(came_after[:1] or _remarks(steps.values()))])
    return f"{head}\n\n{columns(table)}"


def _told(one: Since) -> str:
    from sbkube.cli.tabular import local_time

    done = "deleted" if one.to is None else f"rolled back to revision {one.to}"
    return f"{done} since ({local_time(one.at)})"


def _remarks(steps: Any) -> list[str]:
    """The first thing of an app that somebody must know."""
    for step in steps:
        if step.error and step.status.value in ("failed", "interrupted"):
            return [step.error.splitlines()[0]]
    for step in steps:
        if step.blocked_by and step.status.value == "blocked":
            return [f"blocked by {step.blocked_by}"]
    return []
