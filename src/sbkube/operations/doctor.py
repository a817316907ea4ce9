"""Everything that a run of the project would lean on, looked at one by one. Changes nothing, and raises nothing of it."""

from __future__ import annotations

import os
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from pathlib import Path

import anyio

from sbkube.config.project import Project
from sbkube.engine import EngineError, ExecutionState, FileStore, RunStatus, StepStatus
from sbkube.errors import SbkubeError
from sbkube.helm.base import Helm
from sbkube.helm.looking import Server
from sbkube.helm.releases import ClusterUnreachable, Release, ReleaseStatus
from sbkube.locking import lock_place
from sbkube.selecting import Asked
from sbkube.targets.cluster.decide import is_ours
from sbkube.targets.cluster.identity import AnotherCluster
from sbkube.targets.cluster.kubectl import Kubectl
from sbkube.targets.cluster.target import ClusterTarget
from sbkube.wiring import Workshop, state_folder

from .diagnosis import Diagnosis, of_error, ok, problem, warning
from .live import named_releases
from .rendering import rendered
from .rights import rights
from .tools import tools

PATIENCE = 20.0  # seconds for the API server
SLOW = 1.0  # seconds for one look, from which it is worth a word


async def doctor(
    project: Project | None,
    environ: Mapping[str, str],
    *,
    opened: Callable[[Project], Workshop],
    target: str | None = None,
    state_dir: str | None = None,
    helm: str | Helm | None = None,
) -> list[Diagnosis]:
    """`opened` puts together what a run works with, and may raise what is wrong with that."""
    if project is None:
        return [*await tools(None, target, environ, helm), _unseen("there is no project")]
    state = state_folder(project.folder, state_dir, environ)
    found = await tools(project, target or str(project.target), environ, helm)
    found += await _state(state, project)
    try:
        workshop = opened(project)
    except SbkubeError as error:
        return [*found, of_error("target", error), _unseen("there is no telling which cluster is meant")]
    try:
        if not isinstance(workshop.target, ClusterTarget):
            return [*found, *await _folder(workshop)]
        return [*found, *[one async for one in _cluster(workshop, workshop.target)]]
    finally:
        with anyio.move_on_after(5, shield=True):
            await workshop.helms.close()


async def _folder(workshop: Workshop) -> list[Diagnosis]:
    apps = {name for name, app in workshop.project.apps.items() if app.enabled and app.is_deployed}
    refused = [of_error("target", error) for error in await workshop.target.refusals(apps)]
    return refused or [ok("target", f"the folder {workshop.target.identity.get('path', '')}")]


def _unseen(why: str) -> Diagnosis:
    return warning("cluster", f"not looked at, since {why}: its version and identity, rights, releases")


# The cluster


async def _cluster(workshop: Workshop, target: ClusterTarget) -> AsyncIterator[Diagnosis]:
    cluster = target.cluster
    yield ok("target", f"context {cluster.context} of {cluster.kubeconfig}")
    try:
        server, seconds = await _reached(target)
    except AnotherCluster as error:
        yield of_error("identity", error)
        return
    except (ClusterUnreachable, TimeoutError) as error:
        why = str(error) or f"no answer within {PATIENCE:g} s"
        yield problem("api", f"the API server cannot be reached: {why}", _how_to_reach(target))
        yield _unseen("the API server cannot be reached")
        return
    except SbkubeError as error:
        yield of_error("api", error)
        yield _unseen("it cannot be looked at")
        return
    tell = warning if seconds > SLOW else ok
    yield tell("api", f"the API server answers in {seconds * 1000:.0f} ms")
    yield ok("server", f"Kubernetes {server.version}, {len(server.api_versions)} API versions and kinds")
    yield _identity(target, server)
    if target.kubectl is not None:
        async for one in _as_far_as_possible("kubectl", lambda: _skew(target.kubectl, server)):
            yield one
        async for one in _as_far_as_possible("rights", lambda: _rights(workshop, target.kubectl)):
            yield one
    async for one in _as_far_as_possible("releases", lambda: _releases(workshop, target)):
        yield one


async def _as_far_as_possible(
    about: str, look: Callable[[], Awaitable[list[Diagnosis]]]
) -> AsyncIterator[Diagnosis]:
    try:
        found = await look()
    except (SbkubeError, EngineError) as error:
        found = [warning(about, f"cannot be looked at: {error}", error.hint)]
    for one in found:
        yield one


async def _reached(target: ClusterTarget) -> tuple[Server, float]:
    """What it says of itself, and how long it takes once Helm has started."""
    with anyio.fail_after(PATIENCE):
        await target.check()
        releases = await target.releases()
        began = time.monotonic()
        return await releases.server(), time.monotonic() - began


def _how_to_reach(target: ClusterTarget) -> str:
    return f"`kubectl --context {target.cluster.context} version` should answer; is it up, is a VPN needed?"


def _identity(target: ClusterTarget, server: Server) -> Diagnosis:
    remembered = target.identities.of(target.cluster)
    if not server.uid:
        return warning(
            "identity",
            "the UID of the namespace kube-system may not be read, so another cluster by this name would not be noticed",
            "ask for the right to `get` the namespace kube-system",
        )
    if remembered is None:
        return ok("identity", f"{server.uid}, remembered from the first deploy on")
    return ok("identity", f"{server.uid}, the cluster of the runs before")


async def _skew(kubectl: Kubectl | None, server: Server) -> list[Diagnosis]:
    if kubectl is None:
        return []
    client = (await kubectl.json("version", "--client"))["clientVersion"]["gitVersion"]
    ours, theirs = _minor(client), _minor(server.version)
    if ours is None or theirs is None or abs(ours - theirs) <= 1:
        return []
    told = f"kubectl {client} and a server {server.version} are {abs(ours - theirs)} minor versions apart"
    return [warning("kubectl", told, "kubectl supports servers one minor version older or newer")]


def _minor(version: str) -> int | None:
    match = re.match(r"v?\d+\.(\d+)", version)
    return int(match[1]) if match else None


async def _rights(workshop: Workshop, kubectl: Kubectl | None) -> list[Diagnosis]:
    if kubectl is None:
        return []
    async with rendered(workshop, Asked()) as rendering:
        failed = [
            problem("project", f"app {app!r} cannot be rendered: {why}")
            for app, why in rendering.failures.items()
        ]
        place = lock_place(workshop.project)
        lock = None if place is None else place.namespace
        return [
            *failed,
            *await rights(kubectl, list(rendering.deployments.values()), lock),
        ]


async def _releases(workshop: Workshop, target: ClusterTarget) -> list[Diagnosis]:
    state = await FileStore.read(workshop.state).latest(workshop.project.profile)
    known = {(one.namespace, one.name): one for one in await target.listed()}
    owner = target.owner() if workshop.key.is_there else ""
    names = [(one.namespace, one.release) for one in named_releases(workshop.project, state)]
    there = [known[name] for name in names if name in known]
    found = [one for release in there for one in _release(release, owner, target)]
    missing = len(names) - len(there)
    counted = f"{len(there)} of {len(names)} releases of the project are there"
    return found or [ok("releases", counted + ("" if missing else ", none failed or pending"))]


def _release(now: Release, owner: str, target: ClusterTarget) -> Iterator[Diagnosis]:
    state = f"release {now.name} in {now.namespace}: revision {now.revision} is {now.status.value}"
    if now.status.is_pending or now.status is ReleaseStatus.UNINSTALLING:
        rollback = target.rollback_of(now.namespace, now.name)
        if is_ours(now, owner) or (rollback is not None and rollback.is_(now)):
            yield warning("releases", f"{state}, by this project", "the next run of it mends that")
        else:
            unlock = f"`helm rollback {now.name} {now.revision} -n {now.namespace} --no-hooks`"
            yield problem(
                "releases",
                f"{state} since {now.updated}, by somebody else",
                f"wait for whoever does it, or {unlock} unlocks it",
            )
    elif now.status is ReleaseStatus.FAILED:
        yield warning("releases", state, "the next run upgrades it; `sbkube logs` has why it failed")


# The state folder


async def _state(folder: Path, project: Project) -> list[Diagnosis]:
    if not _is_writable(folder):
        return [
            problem(
                "state",
                f"`{folder}` cannot be written",
                "mend its mode, or choose another with `--state-dir`",
            )
        ]
    reader = FileStore.read(folder)
    try:
        state = await reader.latest(project.profile)
        edited = await reader.view_is_edited()
    except EngineError as error:
        return [problem("state", str(error), error.hint)]
    found = list(_last_run(state))
    if edited:
        found.append(warning("state", f"{reader.latest_view} was edited by hand; such edits are not read"))
    return found


def _is_writable(folder: Path) -> bool:
    """It, or where it would be made."""
    there = next(path for path in (folder, *folder.parents) if path.exists())
    return os.access(there, os.W_OK | os.X_OK)


def _last_run(state: ExecutionState | None) -> Iterator[Diagnosis]:
    if state is None:
        yield ok("state", "no run is recorded yet")
    elif state.status is RunStatus.IN_PROGRESS:
        yield ok("state", f"run {state.run} is under way")
    elif state.is_complete:
        yield ok("state", f"run {state.run} is complete")
    else:
        counts = ", ".join(
            f"{n} {word}" for word, n in state.counts.items() if word not in ("completed", "skipped")
        )
        open_ends = state.with_status(StepStatus.INTERRUPTED, StepStatus.IN_PROGRESS)
        doubt = (
            f"; in flight when it ended: {', '.join(step.name for step in open_ends)}" if open_ends else ""
        )
        yield warning(
            "state",
            f"run {state.run} is {state.status.value}: {counts}{doubt}",
            "`sbkube run --resume` goes on with it",
        )
