"""`sbkube history`: the runs of a project, newest first."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import asyncclick as click

from sbkube.cli.help import Command
from sbkube.cli.options import console_for, option, output_option, where_of, where_options
from sbkube.cli.records import NoRunYet, recorded

if TYPE_CHECKING:
    from sbkube.report.history import RunRow


@click.command(
    cls=Command,
    name="history",
    help="List the runs of a project, newest first.",
    examples={
        "sbkube history -n 5": "the last five",
        "sbkube history -o ndjson": "one run a line, for other tools",
    },
)
@where_options
@option("--limit", "-n", type=click.IntRange(min=1), metavar="N", default=20, help="At most N. [default: 20]")
@output_option("text", "json", "ndjson")
async def command(*, output: Any, limit: int, **values: Any) -> int:
    from sbkube.report.history import RunRow

    where, console = where_of(values), console_for(output)
    reader = recorded(where)
    rows = [RunRow.of(state) for state in await reader.history(limit)]
    if not rows:
        raise NoRunYet(reader.path, where)
    if output == "json":
        console.data(json.dumps([dataclasses.asdict(row) for row in rows], indent=2))
    elif output == "ndjson":
        console.data("\n".join(json.dumps(dataclasses.asdict(row)) for row in rows))
    else:
        console.data(_text(rows))
    return 0


def _text(rows: Sequence[RunRow]) -> str:
    from sbkube.cli.console import duration
    from sbkube.cli.tabular import columns, local_time

    table = [["run", "profile", "status", "started", "took", "steps", "from"]]
    for row in rows:
        started, profile = local_time(row.started_at), row.profile or ""
        took = "" if row.seconds is None else duration(row.seconds)
        resumed_from = "" if row.resumed_from is None else str(row.resumed_from)
        table.append([row.name, profile, row.status, started, took, row.counted, resumed_from])
    return columns(table)
