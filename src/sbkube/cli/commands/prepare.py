"""`sbkube prepare`: `sbkube run --only prepare`."""

from __future__ import annotations

from typing import Any

import asyncclick as click

from sbkube.cli.commands.run import carry_out
from sbkube.cli.options import resume_options, run_options, selection_options, where_of, where_options


@click.command(name="prepare", help="Run the stage prepare; the same as `run --only prepare`.")
@where_options
@resume_options
@selection_options
@run_options
async def command(**values: Any) -> int:
    return await carry_out(where_of(values), only="prepare", **values)
