"""`sbkube apply`: `sbkube run` under the name it had; `--app` brings what the app needs."""

from __future__ import annotations

from typing import Any

import asyncclick as click

from sbkube.cli.commands.run import carry_out
from sbkube.cli.options import (
    Resuming,
    resume_options,
    run_options,
    selection_options,
    stage_options,
    where_of,
    where_options,
)


@click.command(
    cls=Resuming,
    name="apply",
    help="The same as `run`; `--app` brings what the app needs.",
    examples={"sbkube apply --app web": "the same as `run --app web --with-needs`"},
)
@where_options
@resume_options
@stage_options
@selection_options
@run_options
async def command(**values: Any) -> int:
    if values.get("apps"):
        values["with_needs"] = True
    return await carry_out(where_of(values), **values)
