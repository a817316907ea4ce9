"""`sbkube history`: the runs of a project, newest first."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import asyncclick as click

from sbkube.cli.console import duration
from sbkube.cli.options import console_for, output_option, where_of, where_options
from sbkube.cli.records import no_run_yet, recorded


@click.command(name="history", help="List the runs of a project, newest first.")
@where_options
@click.option("--limit", "-n", type=click.IntRange(min=1), default=20, show_default=True, help="How many.")
@output_option("text", "json")
async def command(*, output: Any, limit: int, **values: Any) -> int:
    from sbkube.cli.tabular import columns, local_time
    from sbkube.report.history import RunRow

    where, console = where_of(values), console_for(output)
    rows = [RunRow.of(state) for state in await recorded(where).history(limit)]
    if output == "json":
        console.data(json.dumps([dataclasses.asdict(row) for row in rows], indent=2))
        return 0
    if not rows:
        return no_run_yet(console, where)
    table = [["run", "profile", "status", "started", "took", "steps", "from"]]
    for row in rows:
        took = duration(row.seconds) if row.seconds is not None else ""
        table.append(
            [row.run, row.profile, row.status, local_time(row.started_at), took, row.counts, row.resumed_from]
        )
    console.data(columns(table))
    return 0
