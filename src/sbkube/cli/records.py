"""The runs that are recorded for a project, as the commands that only look at them do."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

from sbkube.cli.console import Console
from sbkube.cli.options import Where, command_line

if TYPE_CHECKING:
    from sbkube.engine import ExecutionState
    from sbkube.engine.stores.files import FileReader


def recorded(where: Where) -> FileReader:
    from sbkube.engine import FileStore
    from sbkube.wiring import state_folder

    return FileStore.read(state_folder(where.project_folder(), where.state_dir, os.environ))


async def latest(reader: FileReader, where: Where, environ: Mapping[str, str]) -> ExecutionState | None:
    """The newest run: of the profile that is meant, else of any."""
    profile = where.profile_of(environ)
    return await reader.latest(profile, any_profile=profile is None)


def no_run_yet(console: Console, where: Where) -> int:
    console.error("no run is recorded here", f"`{command_line('run', *where.flags)}` starts one")
    return 2
