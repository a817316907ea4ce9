"""`sbkube version`."""

from __future__ import annotations

import asyncclick as click

from sbkube import __version__
from sbkube.cli.options import console_for


@click.command(name="version", help="Print the version.")
async def command() -> int:
    console_for().data(f"sbkube {__version__}")
    return 0
