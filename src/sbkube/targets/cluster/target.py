"""Apps as Helm releases in a cluster: look, decide, act, and say what came of it.

`decide.py` decides, `wrapping.py` makes charts of manifests, `adoption.py` looks whose the objects are, `unready.py` finds
out why something is not ready. One deploy of one release at a time; deploys of different releases overlap.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import anyio
from anyio.to_thread import run_sync

from sbkube.errors import SbkubeError
from sbkube.helm.base import Capabilities, HelmError
from sbkube.helm.looking import Server
from sbkube.helm.releases import (
    BESIDES,
    Cluster,
    ClusterUnreachable,
    DeployRequest,
    Forbidden,
    OwnedByOther,
    Release,
    ReleaseError,
    Releases,
    RollbackRequest,
    UninstallRequest,
)
from sbkube.targets.base import Deployed, Deployment, Log, Manifests, ObjectAction, PendingPolicy

from .adoption import adopt
from .charts import chart_of, name_of
from .completing import completing
from .crds import releases_before
from .decide import (
    Decision,
    FinishUninstall,
    Install,
    Locked,
    Taken,
    Unchanged,
    Unlock,
    Upgrade,
    WaitForOther,
    Wanted,
    decide,
    is_deployed,
    told,
)
from .digests import digest_of
from .explaining import explained, unreachable
from .identity import Identities, refuse_another_cluster
from .kubeconfig import pinning
from .kubectl import Kubectl, KubectlMissing
from .namespaces import Namespaces
from .objects import objects_of
from .others import AnotherChart, PendingElsewhere
from .rollbacks import Rollback, Rollbacks
from .unready import Watch
from .waiting import Turns

TURNS = 6
"""Decisions of one deploy before it gives up: unlock, install, and some for what others do meanwhile."""
LOOK_AGAIN = 2.0
"""Seconds between two looks at a release on which somebody else works."""


@dataclass(slots=True)
class ClusterTarget:
    """`scratch` is a folder for generated charts; `owner` names the state folder in labels of releases."""

    cluster: Cluster
    releases: Callable[[], Awaitable[Releases]]
    kubectl: Kubectl | None
    scratch: Path
    owner: Callable[[], str]
    identities: Identities
    namespaces: Mapping[str, int] = field(default_factory=dict)
    """Where releases may be, for those who may not list them everywhere; and how many the project has there."""
    force: bool = False
    pending: PendingPolicy = "ours"
    accept_change: bool = False
    lock: str = ""
    """As in `Wanted`; who deploys holds it."""
    kind: str = field(default="cluster", init=False)
    server: Server | None = field(default=None, init=False)
    is_out_of_reach: bool = field(default=False, init=False)
    """Somebody waited for it in vain, so nobody else who only looks needs to."""
    _known: dict[tuple[str, str], Release] | None = field(default=None, init=False)
    _looking: anyio.Lock = field(default_factory=anyio.Lock, init=False)
    _busy: dict[tuple[str, str], anyio.Lock] = field(default_factory=dict, init=False)
    _first: dict[tuple[str, str], int] = field(default_factory=dict, init=False)
    """The newest revision of each release before its deploy was tried the first time."""
    _turns: Turns = field(default_factory=Turns, init=False)
    _watch: Watch = field(default_factory=Watch, init=False)
    _namespaces: Namespaces = field(init=False)
    _rollbacks: Rollbacks = field(init=False)

    def __post_init__(self) -> None:
        self._namespaces = Namespaces(self.kubectl)
        self._rollbacks = Rollbacks(self.identities.file.with_name("rollbacks.json"))

    @property
    def identity(self) -> dict[str, str]:
        return {"kind": self.kind, "context": self.cluster.context or ""}

    @property
    def capabilities(self) -> Capabilities | None:
        """As Helm sees them when it installs, so that what is rendered and what is deployed agree."""
        return None if self.server is None else Capabilities(self.server.version, self.server.api_versions)

    @property
    def environment(self) -> dict[str, str]:
        """A command that names no context means that of the project, whatever the current one of the user is."""
        pinned = self.scratch / "kubeconfig"
        if not pinned.exists():
            return self.cluster.environment()
        files = filter(None, (str(pinned), self.cluster.kubeconfig))
        return {**self.cluster.environment(), "KUBECONFIG": os.pathsep.join(files)}

    async def refusals(self, apps: AbstractSet[str]) -> list[SbkubeError]:
        """Nothing: a lint job need not reach the cluster."""
        return []

    async def check(self) -> None:
        """Raises `ClusterUnreachable` and `AnotherCluster`; changes nothing, here or there."""
        releases = await self.releases()
        try:
            self.server = await releases.server()
        except ClusterUnreachable as error:
            raise unreachable(error, self.cluster.context) from error
        if not self.accept_change:
            refuse_another_cluster(self.cluster, self.identities.of(self.cluster), self.server.uid)

    async def start(self) -> None:
        await self.check()
        assert self.server is not None
        if self.server.uid and self.server.uid != self.identities.of(self.cluster):
            await run_sync(self.identities.remember, self.cluster, self.server.uid)
        await run_sync(self._pin)

    def _pin(self) -> None:
        shutil.rmtree(self.scratch, ignore_errors=True)
        if text := pinning(self.cluster):
            self.scratch.mkdir(parents=True, mode=0o700)
            (self.scratch / "kubeconfig").write_text(text)

    async def deploy(self, deployment: Deployment, log: Log) -> Deployed:
        before = [await self._deploy(crds, log) for crds in await run_sync(releases_before, deployment)]
        deployed = await self._deploy(deployment, log)
        if not before:
            return deployed
        return replace(
            deployed,
            record={**deployed.record, "crds": [{"digest": one.digest, **one.record} for one in before]},
        )

    async def _deploy(self, deployment: Deployment, log: Log) -> Deployed:
        name = (deployment.namespace, deployment.release)
        async with self._busy.setdefault(name, anyio.Lock()), chart_of(deployment, self.scratch) as chart:
            digest = await run_sync(digest_of, deployment, chart)
            wanted = Wanted(
                digest,
                deployment.run,
                self.owner(),
                deployment.app,
                self.identities.profile,
                deployment.options.prune,
                lock=self.lock,
                is_undone_by_helm=deployment.options.atomic,
                rollback=self.rollback_of(*name),
                chart="" if self.accept_change else (await run_sync(name_of, chart)).name,
            )
            with self._in_plain_words(deployment):
                deployed = await self._brought_about(deployment, chart, wanted, log)
            if wanted.rollback is not None:
                await self.forget_rollback(*name)
            return deployed

    @contextmanager
    def _in_plain_words(self, deployment: Deployment) -> Iterator[None]:
        try:
            yield
        except (ReleaseError, ClusterUnreachable) as error:
            better: HelmError = (
                explained(error, deployment)
                if isinstance(error, ReleaseError)
                else unreachable(error, self.cluster.context)
            )
            if better is error:
                raise
            better.transient = error.transient
            raise better from error

    async def act(self, action: ObjectAction, log: Log) -> None:
        if self.kubectl is None:
            raise KubectlMissing(f"`{action.verb}` of {action.source!r}")
        await self.kubectl.act(action, log)

    async def holds(self, app: str, output: Mapping[str, Any]) -> bool:
        if self.is_out_of_reach:
            return False
        try:
            known = await self._releases_known()
        except HelmError:
            return False  # not known to be there; a deploy will say what is wrong
        release = known.get((str(output.get("namespace")), str(output.get("release"))))
        return is_deployed(release, str(output.get("digest")))

    async def would_prune(self, keep: AbstractSet[str]) -> list[str]:
        return []

    async def prune(self, keep: AbstractSet[str]) -> list[str]:
        """Nothing by itself: what left the project is removed from a cluster by `sbkube prune` only."""
        return []

    async def finish(self) -> None:
        await run_sync(lambda: shutil.rmtree(self.scratch, ignore_errors=True))

    def rollback_of(self, namespace: str, name: str) -> Rollback | None:
        """The last one of ours that is not known to have ended well. Blocking, and quick."""
        return self._rollbacks.noted(self.cluster, namespace, name)

    async def forget_rollback(self, namespace: str, name: str) -> None:
        """Since the release has gone on; its revisions to come may be anybody's."""
        await run_sync(self._rollbacks.forget, self.cluster, namespace, name)

    async def roll_back(self, now: Release, request: RollbackRequest, log: Log) -> Release:
        """Waits as a deploy does, and says as one why something is not ready. `now` is the newest revision."""
        releases = await self.releases()
        then = await releases.get(request.name, request.namespace, request.revision)
        rendered = Manifests() if then is None else Manifests(manifests=then.manifest, hooks=then.hooks)
        watched = Deployment(request.name, request.name, request.namespace, rendered)
        await run_sync(self._rollbacks.note, self.cluster, now, request.revision)
        async with self._turns.turn(request, watched, self._releases_in(request.namespace)) as waiting:
            made = await self._watch.during(partial(releases.rollback, waiting), releases, watched, log)
        await self.forget_rollback(request.namespace, request.name)
        return made

    # One deploy

    async def _brought_about(self, deployment: Deployment, chart: Path, wanted: Wanted, log: Log) -> Deployed:
        before = now = (await self._releases_known()).get((deployment.namespace, deployment.release))
        if decide(now, wanted, force=self.force, pending=self.pending) == Unchanged(
            now.revision if now else 0
        ):
            assert now is not None
            return _deployed(now, wanted, before, "unchanged")
        now, earlier = await self._history(deployment)
        first = self._first.setdefault((deployment.namespace, deployment.release), now.revision if now else 0)
        before, turns = now, 0
        waits_until = anyio.current_time() + deployment.options.timeout
        while turns < TURNS:
            decision = decide(now, wanted, force=self.force, pending=self.pending, earlier=earlier)
            await log(f"release {deployment.release} in {deployment.namespace}: {told(decision, now)}")
            if isinstance(decision, Unchanged):
                assert now is not None
                return _deployed(now, wanted, before, "unchanged")
            if isinstance(decision, Install | Upgrade):
                async with self._with_hooks(decision, deployment, chart, log) as (whole, made):
                    with _sparing_history(deployment, now, first):
                        return await self._deployed(decision, now, whole, made, wanted, before, log)
            if isinstance(decision, WaitForOther) and anyio.current_time() > waits_until:
                decision = Locked()
            turns += not isinstance(decision, WaitForOther)
            await self._unlocked(decision, now, deployment, wanted)
            now, earlier = await self._history(deployment)
        raise ReleaseError(
            deployment.release,
            deployment.namespace,
            "it is changed by somebody else all the time",
            hint="try again later",
        )

    async def _unlocked(
        self, decision: Decision, now: Release | None, deployment: Deployment, wanted: Wanted
    ) -> None:
        releases = await self.releases()
        name, namespace = deployment.release, deployment.namespace
        if isinstance(decision, Locked):
            assert now is not None
            raise PendingElsewhere(now, wanted.owner)
        if isinstance(decision, Taken):
            assert now is not None
            raise AnotherChart(now, wanted.chart)
        if isinstance(decision, Unlock):
            await releases.rollback(
                RollbackRequest(
                    name,
                    namespace,
                    decision.revision,
                    wait="hooks",
                    disable_hooks=True,
                    max_history=deployment.options.max_history,
                )
            )
        elif isinstance(decision, FinishUninstall):
            await releases.uninstall(UninstallRequest(name, namespace))
        else:
            await anyio.sleep(LOOK_AGAIN)

    @asynccontextmanager
    async def _with_hooks(
        self, decision: Decision, deployment: Deployment, chart: Path, log: Log
    ) -> AsyncIterator[tuple[Deployment, Path]]:
        """With all that have to run now: those of an install too, if an upgrade is to complete it."""
        whole = None
        if isinstance(decision, Upgrade) and decision.completes_install:
            whole = await run_sync(completing, deployment, await run_sync(name_of, chart))
        if whole is None:
            yield deployment, chart
            return
        await log("it was never installed to the end: its hooks for an install run with this upgrade")
        async with chart_of(whole, self.scratch) as made:
            yield whole, made

    async def _deployed(
        self,
        decision: Install | Upgrade,
        now: Release | None,
        deployment: Deployment,
        chart: Path,
        wanted: Wanted,
        before: Release | None,
        log: Log,
    ) -> Deployed:
        releases = await self.releases()
        await self._namespaces.ensure(deployment, releases, log)
        request = request_of(deployment, chart, wanted, 1 if now is None else now.revision + 1)
        act, action = releases.upgrade, "upgraded"
        if isinstance(decision, Install):
            act, action = releases.install, "installed"
            request = replace(request, replace=decision.replace)
            if request.atomic or deployment.manifests.crds:
                # Undoing it would delete what was running before, and CRDs Helm installs before it looks.
                request = await self._taking_over(request, deployment, log)
        try:
            made = await self._waited_for(act, request, deployment, log)
        except OwnedByOther:
            # Helm looks before it changes anything: the objects of nearly every release are nobody's yet, or its own.
            request = await self._taking_over(request, deployment, log)
            made = await self._waited_for(act, request, deployment, log)
        return _deployed(made, wanted, before, action)

    async def _taking_over(self, request: DeployRequest, deployment: Deployment, log: Log) -> DeployRequest:
        adopted = await adopt(await self.releases(), self.kubectl, deployment, log)
        return replace(request, take_ownership=adopted, atomic=request.atomic and not adopted)

    async def _waited_for(
        self,
        act: Callable[[DeployRequest], Awaitable[Release]],
        request: DeployRequest,
        deployment: Deployment,
        log: Log,
    ) -> Release:
        async with self._turns.turn(request, deployment, self._releases_in(request.namespace)) as waiting:
            return await self._watch.during(partial(act, waiting), await self.releases(), deployment, log)

    # What is there

    def _releases_in(self, namespace: str) -> int:
        """Those there, or those that will be once everything is deployed."""
        there = sum(known == namespace for known, _ in self._known or ())
        return max(1, there, self.namespaces.get(namespace, 0))

    async def _history(self, deployment: Deployment) -> tuple[Release | None, Sequence[Release]]:
        """The newest revision, and those before it."""
        releases = await self.releases()
        history = await releases.history(deployment.release, deployment.namespace)
        return (history[-1], history[:-1]) if history else (None, ())

    async def _releases_known(self) -> Mapping[tuple[str, str], Release]:
        """As one list saw them, once for the run; who acts on one looks again."""
        async with self._looking:
            if self._known is None:
                self._known = {(one.namespace, one.name): one for one in await self.listed()}
            return self._known

    async def listed(self) -> list[Release]:
        """The newest revision of each release as it is now, where the project may look."""
        releases = await self.releases()
        try:
            return await releases.list()
        except Forbidden:
            found: list[Release] = []
            for namespace in self.namespaces:
                found += await releases.list(namespace)
            return found


@contextmanager
def _sparing_history(deployment: Deployment, now: Release | None, first: int) -> Iterator[None]:
    """Each try is a revision: those of one run are not to push out of the history what one could go back to."""
    try:
        yield
    except HelmError as error:
        tried = (now.revision if now else 0) - first + (not isinstance(error, ClusterUnreachable))
        most = deployment.options.max_history // 2
        if deployment.options.max_history and tried >= max(1, most):
            error.transient = False
        raise


def request_of(deployment: Deployment, chart: Path, wanted: Wanted, revision: int) -> DeployRequest:
    options = deployment.options
    # Helm waits as long for each hook, for what it deploys, and for each of these again when it goes back.
    waits = (1 + len(objects_of(deployment.manifests.hooks))) * (2 if options.atomic else 1)
    return DeployRequest(
        chart,
        deployment.release,
        deployment.namespace,
        deployment.values,
        labels=wanted.labels(revision),
        description=f"sbkube run {deployment.run}",
        wait="watcher" if options.wait else "none",
        wait_for_jobs=options.wait and options.wait_for_jobs,
        timeout=options.timeout,
        atomic=options.atomic,
        max_history=options.max_history,
        skip_crds=options.crds != "install",
        force_conflicts=options.force_conflicts,
        time_limit=waits * options.timeout + BESIDES,
    )


def _deployed(made: Release, wanted: Wanted, before: Release | None, action: str) -> Deployed:
    return Deployed(
        wanted.digest,
        record={
            "release": made.name,
            "namespace": made.namespace,
            "revision": made.revision,
            "before": before.revision if before is not None else None,
            "action": action,
        },
    )
