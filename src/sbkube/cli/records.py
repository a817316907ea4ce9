"""The runs that are recorded for a project, as the commands that only look at them do."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from sbkube.cli.options import Where, command_line
from sbkube.errors import Position, SbkubeError

if TYPE_CHECKING:
    from sbkube.engine import ExecutionState
    from sbkube.engine.stores.files import FileReader


class NoRunYet(SbkubeError):
    """Nothing is recorded of what was asked for."""

    def __init__(self, state_folder: Path, where: Where) -> None:
        profile = where.profile_of(os.environ)
        of = f" of profile {profile!r}" if profile else ""
        super().__init__(
            f"no run{of} is recorded in {Position(state_folder)}",
            hint=f"`{command_line('run', *where.flags)}` starts one",
        )


class NoSuchStep(SbkubeError):
    """Neither a step nor an app has this name."""


def recorded(where: Where) -> FileReader:
    from sbkube.engine import FileStore
    from sbkube.wiring import state_folder

    return FileStore.read(state_folder(where.project_folder(), where.state_dir, os.environ))


async def latest(reader: FileReader, where: Where, environ: Mapping[str, str]) -> ExecutionState | None:
    """The newest run: of the profile that is meant, else of any."""
    profile = where.profile_of(environ)
    return await reader.latest(profile, any_profile=profile is None)


async def newest(reader: FileReader, where: Where) -> ExecutionState:
    """As `latest`, for commands that say something of a run; raises `NoRunYet`."""
    state = await latest(reader, where, os.environ)
    if state is None:
        raise NoRunYet(reader.path, where)
    return state


def steps_named(word: str, ids: Collection[str], place: str) -> list[str]:
    """The step of this name, else the steps of the app in order; raises `NoSuchStep` naming the nearest."""
    if word in ids:
        return [word]
    found = [id for id in ids if id.rpartition(":")[0] == word.removesuffix(":")]
    if not found:
        raise NoSuchStep(f"there is no step or app {word!r} in {place}", hint=_nearest(word, ids))
    return found


def _nearest(word: str, ids: Collection[str]) -> str | None:
    from sbkube.selecting import nearest

    app, colon, _ = word.rpartition(":")
    of_app = [id for id in ids if colon and id.startswith(f"{app}:")]
    if of_app:
        return f"steps of {app!r} are: {', '.join(of_app)}"
    apps = dict.fromkeys(id.rpartition(":")[0] for id in ids)
    return nearest(word, ids if colon else apps)
