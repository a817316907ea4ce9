"""What a project fetches by a name that may mean something else tomorrow: each is said."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from sbkube.config.problems import Notice, told
from sbkube.config.project import Project


def unpinned(project: Project, locked: Collection[str] = ()) -> list[str]:
    """`locked`: apps of which the lock file says what it is."""
    return told(_notices(project, locked))


def _notices(project: Project, locked: Collection[str]) -> Iterator[Notice]:
    for name, app in project.apps.items():
        for path, text in app.unpinned(project.folder) if app.enabled and name not in locked else ():
            said = f"{text!r} of app {name!r} is not pinned: what it holds may change, and no `--resume` would see that"
            yield Notice(project.position(name, *path), said)
