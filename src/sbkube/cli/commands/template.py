"""`sbkube template`: `sbkube run --only template`."""

from __future__ import annotations

from sbkube.cli.commands.run import stage_command

command = stage_command("template")
