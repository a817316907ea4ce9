"""Which apps `sbkube upgrade` means: those that are Helm charts, and if so asked those that are installed."""

from __future__ import annotations

from collections.abc import Iterable

from sbkube.apps.helm import HelmApp
from sbkube.config.project import Project
from sbkube.errors import ConfigError, SbkubeError
from sbkube.operations.deleting import releases_there
from sbkube.operations.owning import release_of
from sbkube.operations.session import Session
from sbkube.selecting import Asked, chosen_apps


class NothingToUpgrade(SbkubeError):
    def __init__(self, asked: Asked, *, installed: bool) -> None:
        which = f"of {', '.join(asked.apps)}" if asked.apps else "of the project"
        super().__init__(
            f"no helm app {which} is installed" if installed else f"no app {which} is of type helm",
            hint="leave `--no-install` out to install it"
            if installed
            else "`sbkube deploy` is for all types",
        )


def helm_apps(project: Project, asked: Asked) -> list[str]:
    """Of those asked for, in the order of the project. Raises `ConfigError` for a named app of another type."""
    for name in asked.apps:
        app = project.apps.get(name)
        if app is not None and not isinstance(app, HelmApp):
            raise ConfigError(
                f"app {name!r} is of type {app.type}, and `upgrade` is for helm apps",
                hint=f"`sbkube deploy --app {name}`",
                where=project.position(name, "type"),
            )
    chosen = chosen_apps(project, asked)
    return [
        name
        for name, app in project.apps.items()
        if name in chosen and app.enabled and isinstance(app, HelmApp)
    ]


async def installed(session: Session, apps: Iterable[str]) -> list[str]:
    there = await releases_there(session)
    return [app for app in apps if release_of(session.project, app) in there]
