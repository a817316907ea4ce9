"""`sbkube version`."""

from __future__ import annotations

from typing import Any

import asyncclick as click

from sbkube import __version__
from sbkube.cli.help import Command
from sbkube.cli.options import console_for, output_option


@click.command(
    cls=Command,
    name="version",
    help="Print the version; as json also that of Python, and which Helm there is.",
    examples={"sbkube version -o json": "for a bug report"},
)
@output_option("text", "json")
async def command(*, output: Any) -> int:
    console = console_for(output)
    console.data(f"sbkube {__version__}" if output == "text" else _document())
    return 0


def _document() -> str:
    import json
    import os
    import platform

    from sbkube.helm.binary import find_helm
    from sbkube.helm.select import embedded_version

    helm = {"embedded": embedded_version(), "binary": find_helm(os.environ)}
    return json.dumps({"version": __version__, "python": platform.python_version(), "helm": helm}, indent=2)
