"""`sbkube deploy`: `sbkube run --only deploy`."""

from __future__ import annotations

from sbkube.cli.commands.run import stage_command

command = stage_command("deploy")
