"""`sbkube template`: `sbkube run --only template`."""

from __future__ import annotations

from typing import Any

import asyncclick as click

from sbkube.cli.commands.run import carry_out
from sbkube.cli.options import resume_options, run_options, selection_options, where_of, where_options


@click.command(name="template", help="Run the stage template; the same as `run --only template`.")
@where_options
@resume_options
@selection_options
@run_options
async def command(**values: Any) -> int:
    return await carry_out(where_of(values), only="template", **values)
