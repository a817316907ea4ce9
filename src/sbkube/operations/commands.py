"""The commands that change releases without being runs, as `sbkube.api` offers them."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial

from anyio import CapacityLimiter
from anyio.to_thread import run_sync

from sbkube.config.project import Project
from sbkube.engine import Event, RunControl
from sbkube.errors import SbkubeError
from sbkube.locking import Waiting, alone
from sbkube.operations.changes import Act, Agree, Change, Changed, Changes, carried_out
from sbkube.operations.deleting import plan_deletion, uninstall
from sbkube.operations.pruning import plan_pruning
from sbkube.operations.reverting import go_back, plan_rollback, plan_rollback_of_run
from sbkube.operations.session import Session, open_session
from sbkube.operations.upgrading import NothingToUpgrade, helm_apps, installed
from sbkube.report.since import note
from sbkube.request import Request, workshop_of
from sbkube.targets.base import Log
from sbkube.targets.cluster.lease import LockHeld


class ChangedMeanwhile(SbkubeError):
    """Another run changed the releases after it was shown what would be done to them."""

    def __init__(self) -> None:
        super().__init__(
            "nothing was changed, since what would be done is no longer what was shown",
            hint="run the command again",
        )


async def delete(
    project: Project,
    request: Request | None = None,
    *,
    skip_not_found: bool = False,
    with_crds: bool = False,
    dry_run: bool = False,
    agree: Agree | None = None,
    on_event: Callable[[Event], None] | None = None,
    on_held: Callable[[LockHeld], None] | None = None,
    control: RunControl | None = None,
    environ: Mapping[str, str] | None = None,
) -> Changed:
    """Uninstalls the releases of the apps that are asked for, dependents first, on past what fails.

    Of `request.asked` apps and labels count. What is not there is in `Changed.changes.missing` unless
    `skip_not_found`. Custom resource definitions stay unless `with_crds`. `agree` is given what would be done and says
    whether it is; without it nobody is asked. Holds the run lock unless `dry_run`, which changes nothing. A deploy
    whose release is gone is pending for the next resume.

    Raises before anything is done `NoReleases` if the target is a folder, `NotOurs` if a release of that name was not
    made by this project, `ConfigError`, `RunLocked`, `ClusterUnreachable`, `AnotherCluster`, `KubectlMissing`, and with a
    lock in the cluster `LockHeld` and `ChangedMeanwhile`; and `LockLost` when that could not be kept.
    """
    request = request or Request()
    plan = partial(plan_deletion, asked=request.asked, skip_not_found=skip_not_found, with_crds=with_crds)
    how = _How(request, environ, dry_run, agree, on_event, on_held, control)
    return await _changed(project, plan, uninstall, how)


async def rollback(
    project: Project,
    request: Request | None = None,
    *,
    app: str | None = None,
    to: int | None = None,
    run: int | None = None,
    dry_run: bool = False,
    agree: Agree | None = None,
    on_event: Callable[[Event], None] | None = None,
    on_held: Callable[[LockHeld], None] | None = None,
    control: RunControl | None = None,
    environ: Mapping[str, str] | None = None,
) -> Changed:
    """Takes the release of `app` back to revision `to`, or to the one before; or undoes what `run` did to releases.

    The run of that number is undone for all its apps, or for `app` alone: what it installed is uninstalled, what it
    upgraded goes back to the revision it had before, dependents first. Waits as deploys do. The project stays as it is,
    so the next resume deploys again. `agree` and `dry_run` are as in `delete`.

    Raises as `delete` does, and `NoWayBack` if there is no such run, release or revision.
    """
    if run is not None:
        plan = partial(plan_rollback_of_run, number=run, app=app)
    elif app is not None:
        plan = partial(plan_rollback, app=app, to=to)
    else:
        raise ValueError("either an app or a run is rolled back")
    how = _How(request or Request(), environ, dry_run, agree, on_event, on_held, control)
    return await _changed(project, plan, go_back, how)


async def prune(
    project: Project,
    request: Request | None = None,
    *,
    disabled: bool = False,
    dry_run: bool = False,
    agree: Agree | None = None,
    on_event: Callable[[Event], None] | None = None,
    on_held: Callable[[LockHeld], None] | None = None,
    control: RunControl | None = None,
    environ: Mapping[str, str] | None = None,
) -> Changed:
    """Uninstalls the releases that this project and profile deployed and that no app of it has any more.

    With `disabled`, also those of apps with `enabled: false`. What had `prune: false` stays, and what another profile
    still has; `Changed.changes.notes` names it. `agree` and `dry_run` are as in `delete`, and so is what it raises.
    """
    how = _How(request or Request(), environ, dry_run, agree, on_event, on_held, control)
    return await _changed(project, partial(plan_pruning, disabled=disabled), uninstall, how)


async def upgrading(
    project: Project,
    request: Request | None = None,
    *,
    install: bool = True,
    environ: Mapping[str, str] | None = None,
) -> Request:
    """The request that deploys the helm apps of those asked for, and what these need; for `run` and `plan`.

    Without `install` only those whose releases are in the cluster. Raises `NothingToUpgrade` if that leaves none.
    """
    request = request or Request()
    apps = helm_apps(project, request.asked)
    if not install:
        async with _opened(project, request, environ, writes=False) as session:
            apps = await installed(session, apps)
    if not apps:
        raise NothingToUpgrade(request.asked, installed=not install)
    asked = replace(request.asked, apps=tuple(apps), labels=(), only="deploy", with_needs=True)
    return replace(request, asked=asked)


def _opened(
    project: Project, request: Request, environ: Mapping[str, str] | None, *, writes: bool
) -> AbstractAsyncContextManager[Session]:
    workshop = workshop_of(project, request, os.environ if environ is None else environ)
    return open_session(workshop, writes=writes)


@dataclass(frozen=True, slots=True)
class _How:
    request: Request
    environ: Mapping[str, str] | None
    dry_run: bool
    agree: Agree | None
    on_event: Callable[[Event], None] | None
    on_held: Callable[[LockHeld], None] | None
    control: RunControl | None


async def _changed(
    project: Project,
    plan: Callable[[Session], Awaitable[Changes]],
    act: Callable[[Session, Change, Log], Awaitable[None]],
    how: _How,
) -> Changed:
    async with _opened(project, how.request, how.environ, writes=not how.dry_run) as session:
        changes, control = await plan(session), how.control or RunControl()
        if how.dry_run:
            return Changed(changes, None)
        return await carried_out(
            project,
            changes,
            _noted(session, act),
            agree=how.agree,
            max_parallel=how.request.max_parallel,
            on_event=how.on_event,
            control=control,
            under=_alone(session, plan, changes, how, control),
        )


def _noted(session: Session, act: Callable[[Session, Change, Log], Awaitable[None]]) -> Act:
    """What is done is what a status of the run tells from then on."""
    one_at_a_time = CapacityLimiter(1)

    async def act_and_note(change: Change, log: Log) -> None:
        await act(session, change, log)
        done = partial(
            note,
            session.workshop.state,
            app=change.app,
            profile=session.project.profile,
            release=change.release,
            namespace=change.namespace,
            to=change.to,
        )
        await run_sync(done, limiter=one_at_a_time)

    return act_and_note


@asynccontextmanager
async def _alone(
    session: Session,
    plan: Callable[[Session], Awaitable[Changes]],
    changes: Changes,
    how: _How,
    control: RunControl,
) -> AsyncIterator[None]:
    """The lock is taken when somebody has agreed, who may take his time, so it is looked once more what there is to do."""
    waiting = Waiting(how.request.wait_lock, how.on_held)
    async with alone(session.project, session.target, waiting, control.stop) as held:
        if held is not None and await plan(session) != changes:
            raise ChangedMeanwhile
        yield
