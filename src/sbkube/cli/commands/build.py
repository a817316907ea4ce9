"""`sbkube build`: `sbkube run --only build`."""

from __future__ import annotations

from sbkube.cli.commands.run import stage_command

command = stage_command("build")
