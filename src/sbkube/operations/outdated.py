"""Which charts and tags of a project have newer versions. Asks repositories, and fetches nothing but their lists."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

import anyio

from sbkube.apps.newer import Offered, offered
from sbkube.config.project import Project
from sbkube.errors import Position, SbkubeError
from sbkube.planning import AppPlace
from sbkube.request import Request, workshop_of
from sbkube.selecting import chosen_apps
from sbkube.targets.cluster.abreast import abreast
from sbkube.wiring import Workshop


@dataclass(frozen=True, slots=True)
class AppVersions:
    """`where` the version is written, which is what to change."""

    app: str
    offered: Offered
    where: Position

    @property
    def is_outdated(self) -> bool:
        return self.offered.is_outdated


@dataclass(frozen=True, slots=True)
class Versions:
    """Of the apps that fetch something with versions, in the order of the project."""

    apps: tuple[AppVersions, ...]
    failures: Mapping[str, SbkubeError]
    """Apps whose repository could not be asked, and why."""

    @property
    def outdated(self) -> list[AppVersions]:
        return [one for one in self.apps if one.is_outdated]


async def outdated(
    project: Project, request: Request | None = None, *, environ: Mapping[str, str] | None = None
) -> Versions:
    """What each enabled app that is asked for fetches, the version that this means now, and the newest stable one.

    All repositories are asked at once, each index, registry and git repository one time. One that cannot be asked hides no
    other. Plans nothing, takes no lock and leaves the state folder alone. Raises `ConfigError`.
    """
    request = request or Request()
    chosen = chosen_apps(project, request.asked)
    workshop = workshop_of(project, request, os.environ if environ is None else environ)
    try:
        apps = [name for name, app in project.apps.items() if name in chosen and app.enabled]
        answers = await abreast(lambda name: _ask(workshop, name), apps)
    finally:
        with anyio.move_on_after(5, shield=True):
            await workshop.fetch.aclose()
    found = dict(zip(apps, answers, strict=True))
    return Versions(
        tuple(one for one in answers if isinstance(one, AppVersions)),
        {app: one for app, one in found.items() if isinstance(one, SbkubeError)},
    )


async def _ask(workshop: Workshop, name: str) -> AppVersions | SbkubeError | None:
    place = AppPlace(workshop.project, name)
    limit = place.app.time_limit_of("prepare")
    try:
        with anyio.fail_after(limit):
            found = await offered(place.app, place, workshop.environ, workshop.fetch)
    except TimeoutError:
        return SbkubeError(f"no answer within its time limit of {limit:g} s", where=place.where())
    except SbkubeError as error:
        return error
    return None if found is None else AppVersions(name, found, place.where(found.field))
