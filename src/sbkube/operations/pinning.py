"""`sbkube lock`: asks for what the lock file has no answer to, and writes it."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import anyio
from anyio.to_thread import run_sync

from sbkube.apps.work import Asking
from sbkube.config.project import Project
from sbkube.errors import ConfigError, SbkubeError
from sbkube.fetch.lockfile import Asks, Difference, Entries, Lock, Pin, lock_text
from sbkube.planning import AppPlace, questions
from sbkube.wiring import open_fetching


class NoSource(ConfigError):
    def __init__(self, app: str, known: Collection[str]) -> None:
        super().__init__(
            f"app {app!r} takes nothing from elsewhere, or there is none of this name",
            hint=f"these do: {', '.join(sorted(known))}" if known else "no app of this project does",
        )


@dataclass(frozen=True, slots=True)
class Locked:
    """The lock as it was, and what it is now; with failures nothing was written."""

    lock: Lock
    difference: Difference
    before: Entries
    now: Entries
    failures: Mapping[str, SbkubeError] = field(default_factory=dict)


def outdated(project: Project) -> Difference:
    """Asks nobody."""
    return project.pins.difference(questions(project))


async def lock(
    project: Project,
    *,
    upgrade: Collection[str] | None = None,
    is_offline: bool = False,
    environ: Mapping[str, str] | None = None,
) -> Locked:
    """`upgrade`: apps that are asked for anew though the question is the same; an empty one means all."""
    asked, pins = questions(project), project.pins
    for app in upgrade or ():
        if app not in asked:
            raise NoSource(app, asked)
    again = set(upgrade or asked) if upgrade is not None else set()
    open_ = [app for app, asks in asked.items() if app in again or pins.entry(app, asks) is None]
    env = os.environ if environ is None else environ
    fresh, failures = await _resolve(project, open_, env, is_offline=is_offline)
    before = {app: entry for app in asked if (entry := pins.entry(app, asked[app])) is not None}
    difference = pins.difference(asked)
    if failures:
        return Locked(pins, difference, before, before, failures)
    own = pins.answered(asked, fresh)
    await run_sync(_write, pins, own)
    after = Lock(pins.file, own, pins.beneath, True)
    return Locked(pins, difference, before, _all(after, asked))


def _all(lock: Lock, asked: Mapping[str, Asks]) -> Entries:
    return {app: entry for app in asked if (entry := lock.entry(app, asked[app])) is not None}


async def _resolve(
    project: Project, apps: Collection[str], environ: Mapping[str, str], *, is_offline: bool
) -> tuple[dict[str, Pin], dict[str, SbkubeError]]:
    fresh: dict[str, Pin] = {}
    failures: dict[str, SbkubeError] = {}
    fetch = open_fetching(project, environ, is_offline=is_offline)

    async def resolve(name: str) -> None:
        try:
            fresh[name] = await project.apps[name].resolve(Asking(AppPlace(project, name), environ, fetch))
        except SbkubeError as error:
            failures[name] = error

    try:
        async with anyio.create_task_group() as tasks:
            for name in apps:
                tasks.start_soon(resolve, name)
    finally:
        with anyio.move_on_after(5, shield=True):
            await fetch.aclose()
    return fresh, failures


def _write(pins: Lock, own: Entries) -> None:
    """Where a profile has nothing of its own it has no file. What is there already is not touched."""
    if not own and pins.beneath:
        pins.file.unlink(missing_ok=True)
        return
    text = lock_text(own).encode()
    if pins.file.is_file() and pins.file.read_bytes() == text:
        return
    fresh = pins.file.with_name(f".{pins.file.name}-{os.getpid()}")
    fresh.write_bytes(text)
    fresh.replace(pins.file)
