"""`sbkube version`."""

from __future__ import annotations

import asyncclick as click

from sbkube import __version__


@click.command(name="version", help="Print the version.")
async def command() -> None:
    click.echo(f"sbkube {__version__}")
