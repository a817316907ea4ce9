"""Going back: one release to an earlier revision, or every release that a run changed to the one it had before.

Which revisions a run made is said by the labels they carry, also where a deploy failed and recorded nothing; Helm carries
labels over rollbacks, so they count for the revision that they name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import anyio

from sbkube.apps.released import ReleasedApp
from sbkube.config.project import Project
from sbkube.engine import ExecutionState
from sbkube.errors import ConfigError, SbkubeError
from sbkube.helm.releases import Release, ReleaseStatus, RollbackRequest
from sbkube.operations.changes import Change, Changes
from sbkube.operations.deleting import releases_there, uninstall
from sbkube.operations.owning import (
    Recorded,
    ReleaseName,
    crd_releases_of,
    dependents_first,
    recorded_in,
    refuse_busy,
    refuse_others,
    release_of,
)
from sbkube.operations.session import Session
from sbkube.selecting import nearest
from sbkube.targets.base import DeployOptions, Log
from sbkube.targets.cluster.decide import RUN, is_ours

AT_ONCE = 8
"""Histories that are read at the same time."""
_WERE_DEPLOYED = (ReleaseStatus.SUPERSEDED, ReleaseStatus.DEPLOYED)


class NoWayBack(SbkubeError):
    """There is nothing to roll back, or nothing to roll back to."""


# One app


async def plan_rollback(session: Session, app: str, to: int | None) -> Changes:
    """Raises `ConfigError` for an unknown app, `NoWayBack` and `NotOurs`."""
    project = session.project
    if app not in project.apps:
        raise ConfigError(
            f"there is no app {app!r} in {project.config_file}", hint=nearest(app, project.apps)
        )
    name = release_of(project, app)
    if name is None:
        raise NoWayBack(f"app {app!r} is of type {project.apps[app].type}, which has no revisions")
    history = await session.releases.history(name.name, name.namespace)
    if not history or history[-1].status is ReleaseStatus.UNINSTALLED:
        raise NoWayBack(f"there is no release {name}", hint=f"`sbkube run --app {app}` deploys it")
    now = history[-1]
    recorded = recorded_in(await session.runs.latest(project.profile))
    refuse_others([now], session.owner, recorded, accept=session.target.accept_change)
    begun, remark = session.target.rollback_of(*name), ""
    if to is None and begun is not None and begun.is_(now):
        to, remark = begun.to, "as was begun and cut off"
    target = _named(name, history, to) if to is not None else _previous(name, history)
    if target == now and now.status is ReleaseStatus.DEPLOYED:
        return Changes((), notes=(f"{app}: release {name} is at revision {now.revision} already",))
    return Changes((Change(app, name.name, name.namespace, now.revision, target.revision, remark=remark),))


def _named(name: ReleaseName, history: Sequence[Release], revision: int) -> Release:
    for one in history:
        if one.revision == revision:
            return one
    known = ", ".join(str(one.revision) for one in history)
    raise NoWayBack(f"release {name} has no revision {revision}", hint=f"there are: {known}")


def _previous(name: ReleaseName, history: Sequence[Release]) -> Release:
    """The newest before the last one that was ever deployed."""
    for one in reversed(history[:-1]):
        if one.status in _WERE_DEPLOYED:
            return one
    raise NoWayBack(
        f"release {name} has no revision before {history[-1].revision} that was deployed",
        hint="`sbkube delete` uninstalls it",
    )


# A run


async def plan_rollback_of_run(session: Session, number: int, app: str | None = None) -> Changes:
    """Raises `NoWayBack` if there is no such run of this profile, and `NotOurs`."""
    run = await _run_of(session, number)
    recorded = recorded_in(run)
    listed = await releases_there(session)
    names = _names(session.project, recorded, listed.values())
    if app is not None and app not in names.values():
        raise ConfigError(f"there is no app {app!r} in run {number}", hint=nearest(app, names.values()))
    chosen = {name: of for name, of in names.items() if app in (None, of)}
    histories = await _histories(session, [name for name in chosen if name in listed])
    changes, missing, notes = list[Change](), list[str](), list[str]()
    for name, of in chosen.items():
        then = _Then(number, session.owner, recorded.get(name), histories.get(name, ()))
        if then.first is None:
            continue
        if not then.history and then.was_installed:
            notes.append(f"{of}: release {name} is not there any more")
        elif not then.history:
            missing.append(f"{of}: release {name} is not there any more")
        elif then.is_forgotten:
            missing.append(f"{of}: of release {name} no revision before {then.first} is kept (`max_history`)")
        elif await _is_as_before(session, name, then):
            notes.append(f"{of}: release {name} is as it was before run {number}")
        else:
            changes.append(then.change(of, name))
    found = [histories[ReleaseName(one.namespace, one.release)][-1] for one in changes]
    refuse_others(found, session.owner, recorded, accept=session.target.accept_change)
    return Changes(tuple(changes), dependents_first(session.project), tuple(missing), tuple(notes))


async def _run_of(session: Session, number: int) -> ExecutionState:
    run = await session.runs.run(number)
    if run is None:
        known = await session.runs.runs()
        hint = f"there are: {', '.join(map(str, known[:12]))}" if known else None
        raise NoWayBack(f"run {number} is not recorded", hint=hint)
    if run.profile != session.project.profile:
        raise NoWayBack(
            f"run {number} is one of " + (f"profile {run.profile!r}" if run.profile else "no profile"),
            hint=f"add `--profile {run.profile}`" if run.profile else "leave `--profile` out",
        )
    return run


def _names(
    project: Project, recorded: Mapping[ReleaseName, Recorded], listed: Iterable[Release]
) -> dict[ReleaseName, str]:
    """The releases that a run may have changed, and their apps; those of CRDs after those that need them."""
    listed = list(listed)
    apps = [*project.apps][::-1]
    own = {name: app for app in apps if (name := release_of(project, app)) is not None}
    crds = {one: app for name, app in own.items() for one in crd_releases_of(app, name, listed)}
    return {**own, **{name: one.app for name, one in recorded.items()}, **crds}


class _Then:
    """What one run did to one release, by its history (oldest first)."""

    def __init__(self, run: int, owner: str, recorded: Recorded | None, history: Sequence[Release]) -> None:
        self.history = history
        self._run = run
        made = [one.revision for one in history if one.labels.get(RUN) == str(run) and is_ours(one, owner)]
        if not made and recorded is not None and recorded.run == run and recorded.action != "unchanged":
            made = [recorded.revision]
        self.was_installed = recorded is not None and recorded.before is None
        self.first = min(made, default=None)
        self.last = max(made, default=0)

    @property
    def _before(self) -> Sequence[Release]:
        return [one for one in self.history if self.first is not None and one.revision < self.first]

    @property
    def is_forgotten(self) -> bool:
        return not self._before and self.first != 1

    @property
    def before(self) -> Release | None:
        """None: the run installed it."""
        if not self._before or self._before[-1].status is ReleaseStatus.UNINSTALLED:
            return None
        good = [one for one in self._before if one.status in _WERE_DEPLOYED]
        return (good or self._before)[-1]

    def change(self, app: str, name: ReleaseName) -> Change:
        now, before = self.history[-1].revision, self.before
        later = f"revision {now}" if now == self.last + 1 else f"revisions {self.last + 1} to {now}"
        remark = f"which also undoes {later}, made after run {self._run}" if now > self.last else ""
        to = before.revision if before is not None else None
        return Change(app, name.name, name.namespace, now, to, remark=remark)


async def _is_as_before(session: Session, name: ReleaseName, then: _Then) -> bool:
    """Whether somebody went back already."""
    now, before = then.history[-1], then.before
    if before is None or now.revision == then.last or now.status is not ReleaseStatus.DEPLOYED:
        return False
    one = await session.releases.get(name.name, name.namespace, now.revision)
    other = await session.releases.get(name.name, name.namespace, before.revision)
    if one is None or other is None:
        return False
    return (one.manifest, one.hooks, one.values) == (other.manifest, other.hooks, other.values)


async def _histories(session: Session, names: Iterable[ReleaseName]) -> dict[ReleaseName, Sequence[Release]]:
    found: dict[ReleaseName, Sequence[Release]] = {}
    limit = anyio.CapacityLimiter(AT_ONCE)

    async def read(name: ReleaseName) -> None:
        async with limit:
            found[name] = await session.releases.history(name.name, name.namespace)

    async with anyio.create_task_group() as tasks:
        for name in names:
            tasks.start_soon(read, name)
    return found


# Doing it


async def go_back(session: Session, change: Change, log: Log) -> None:
    """Waits as a deploy of the app does."""
    if change.to is None:
        await uninstall(session, change, log)
        return
    app = session.project.apps.get(change.app)
    options = app.deploy_options() if isinstance(app, ReleasedApp) else DeployOptions()
    history = await session.releases.history(change.release, change.namespace)
    if not history:
        raise NoWayBack(f"there is no release {ReleaseName(change.namespace, change.release)} any more")
    refuse_busy(history[-1], session.owner, session.target.lock)
    await log(f"rolling {change.release} in {change.namespace} back to revision {change.to}")
    request = RollbackRequest(
        change.release,
        change.namespace,
        change.to,
        wait="watcher" if options.wait else "none",
        wait_for_jobs=options.wait and options.wait_for_jobs,
        timeout=options.timeout,
        max_history=options.max_history,
        force_conflicts=options.force_conflicts,
    )
    await session.target.roll_back(history[-1], request, log)
