"""Uninstalling the releases of apps. Custom resource definitions stay, as Helm leaves them, unless they are asked for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sbkube.apps.released import ReleasedApp
from sbkube.helm.releases import Release, ReleaseStatus, UninstallRequest
from sbkube.operations.changes import Change, Changes
from sbkube.operations.owning import (
    ReleaseName,
    crd_releases_of,
    dependents_first,
    recorded_in,
    refuse_busy,
    refuse_others,
    release_of,
)
from sbkube.operations.session import Session
from sbkube.selecting import Asked, chosen_apps
from sbkube.targets.base import DeployOptions, Log
from sbkube.targets.cluster.kubectl import KubectlMissing
from sbkube.targets.cluster.objects import objects_of

Listed = Mapping[ReleaseName, Release]


async def plan_deletion(session: Session, asked: Asked, *, skip_not_found: bool, with_crds: bool) -> Changes:
    """Raises `ConfigError` for unknown apps and labels, `NotOurs`, and `KubectlMissing` if CRDs are to go without it."""
    if with_crds and session.kubectl is None:
        raise KubectlMissing("deleting custom resource definitions")
    project = session.project
    recorded = recorded_in(await session.runs.latest(project.profile))
    listed = await releases_there(session)
    changes, missing, without = list[Change](), list[str](), list[str]()
    found = list[Release]()
    chosen = chosen_apps(project, asked)
    for app in reversed([name for name in project.apps if name in chosen]):
        own = release_of(project, app)
        if own is None:
            without.append(f"{app} ({project.apps[app].type})")
            continue
        there = dict.fromkeys(
            name for name in (own, *(r.release for r in recorded.values() if r.app == app)) if name in listed
        )
        crds = crd_releases_of(app, own, listed.values())
        if not there.keys() - set(crds) and not skip_not_found:
            missing.append(f"{app}: there is no release {own}")
        for name in [*(name for name in there if name not in crds), *crds]:
            found.append(listed[name])
            gone = await _crds_in(session, name) if with_crds and name in crds else ()
            changes.append(Change(app, name.name, name.namespace, listed[name].revision, crds=gone))
    refuse_others(found, session.owner, recorded, accept=session.target.accept_change)
    nothing = [f"nothing to delete of {', '.join(reversed(without))}: no release"] if without else []
    return Changes(tuple(changes), dependents_first(project), tuple(missing), tuple(nothing))


async def uninstall(session: Session, change: Change, log: Log) -> None:
    app = session.project.apps.get(change.app)
    timeout = app.timeout if isinstance(app, ReleasedApp) else DeployOptions().timeout
    history = await session.releases.history(change.release, change.namespace)
    if history and history[-1].status is not ReleaseStatus.UNINSTALLED:
        refuse_busy(history[-1], session.owner, session.target.lock)
        await log(f"uninstalling {change.release} in {change.namespace}")
        await session.releases.uninstall(UninstallRequest(change.release, change.namespace, timeout=timeout))
        await session.target.forget_rollback(change.namespace, change.release)
    if change.crds:
        assert session.kubectl is not None
        await log(f"deleting {', '.join(change.crds)}")
        await session.kubectl.run(
            "delete", "customresourcedefinitions", *change.crds, "--ignore-not-found", time_limit=timeout
        )


async def releases_there(session: Session) -> dict[ReleaseName, Release]:
    """Without those of which only the history was kept."""
    listed: Iterable[Release] = await session.target.listed()
    return {ReleaseName.of(one): one for one in listed if one.status is not ReleaseStatus.UNINSTALLED}


async def _crds_in(session: Session, name: ReleaseName) -> tuple[str, ...]:
    contents = await session.releases.get(name.name, name.namespace)
    return tuple(sorted(o.id.name for o in objects_of(contents.manifest) if o.is_crd)) if contents else ()
