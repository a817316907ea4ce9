"""`sbkube build`: `sbkube run --only build`."""

from __future__ import annotations

from typing import Any

import asyncclick as click

from sbkube.cli.commands.run import carry_out
from sbkube.cli.options import resume_options, run_options, selection_options, where_of, where_options


@click.command(name="build", help="Run the stage build; the same as `run --only build`.")
@where_options
@resume_options
@selection_options
@run_options
async def command(**values: Any) -> int:
    return await carry_out(where_of(values), only="build", **values)
