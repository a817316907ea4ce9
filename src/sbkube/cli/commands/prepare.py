"""`sbkube prepare`: `sbkube run --only prepare`."""

from __future__ import annotations

from sbkube.cli.commands.run import stage_command

command = stage_command("prepare")
