"""What a run would give to the target now, without deploying it and without writing into the state folder.

The last run goes on in memory, as `run --resume` would: what is rendered already is read where it is, what is not
current is rendered by the stages themselves into a folder that is removed. At the end the deploy stages of the apps
give what they would deploy to a target that only keeps it.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator, Mapping
from collections.abc import Set as AbstractSet
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import anyio
from anyio.to_thread import run_sync

from sbkube.apps.work import Outputs
from sbkube.engine import (
    ExecutionState,
    FileStore,
    MemoryStore,
    Selection,
    Step,
    StepGraph,
    StepStatus,
    consider,
    run_graph,
)
from sbkube.engine.state import settled
from sbkube.engine.stores.base import Plan
from sbkube.engine.stores.files import FileReader
from sbkube.errors import SbkubeError
from sbkube.helm.base import Capabilities
from sbkube.selecting import Asked
from sbkube.targets.base import Deployed, Deployment, Log, ObjectAction, Target
from sbkube.wiring import Planned, Workshop, limits_of


@dataclass(frozen=True, slots=True)
class Rendering:
    """`deployments` by app, in the order of the project; `scratch` lives as long as the charts in them."""

    deployments: Mapping[str, Deployment]
    failures: Mapping[str, str]
    """By app, why there is none."""
    commands: tuple[str, ...]
    """Apps that were asked for and that run something instead of deploying objects."""
    scratch: Path


@asynccontextmanager
async def rendered(
    workshop: Workshop, asked: Asked, *, only_current: bool = False
) -> AsyncIterator[Rendering]:
    """Of the apps that are asked for; or of these only what need not be rendered any more.

    Raises `ConfigError` and `NeedsNotMet`.
    """
    scratch = Path(await run_sync(tempfile.mkdtemp, "", "sbkube-look-"))
    try:
        yield await _rendered(workshop, asked, scratch, only_current=only_current)
    finally:
        with anyio.move_on_after(5, shield=True):
            await run_sync(lambda: shutil.rmtree(scratch, ignore_errors=True))


async def _rendered(workshop: Workshop, asked: Asked, scratch: Path, *, only_current: bool) -> Rendering:
    keeping = _Keeping(workshop.target)
    apart = _apart(workshop, scratch, keeping)
    try:
        return await _by(apart, workshop, asked, keeping, only_current=only_current)
    finally:
        with anyio.move_on_after(5, shield=True):
            await apart.fetch.aclose()


async def _by(
    apart: Workshop, workshop: Workshop, asked: Asked, keeping: _Keeping, *, only_current: bool
) -> Rendering:
    project = workshop.project
    reader = FileStore.read(workshop.state)
    store = _GoesOn(await reader.latest(project.profile))
    planned = await apart.plan(asked, await store.plan_before(reader))
    apps = {s.app for s in planned.stages if planned.select.steps is None or s.id in planned.select.steps}
    chosen = [app for app in project.apps if app in apps and project.apps[app].enabled]
    wanted = {app for app in chosen if project.apps[app].is_deployed}
    graph = _without_waiting(planned, wanted)
    if only_current:
        wanted -= await _to_render(graph, store, wanted)
    state = await _run(graph, store, wanted, apart) if wanted else None
    return Rendering(
        {app: keeping.deployments[app] for app in chosen if app in keeping.deployments},
        _failures(state, wanted) if state is not None else {},
        tuple(app for app in chosen if "deploy" in project.apps[app].stages and app not in wanted)
        if not only_current
        else (),
        apart.state,
    )


async def _run(
    graph: StepGraph, store: _GoesOn, apps: AbstractSet[str], workshop: Workshop
) -> ExecutionState:
    return await run_graph(
        graph,
        store=store,
        resume="always",
        limits=limits_of(workshop.project, None),
        select=Selection(steps=_steps_of(graph, apps)),
        profile=workshop.project.profile,
        namespace=workshop.project.namespace,
    )


async def _to_render(graph: StepGraph, store: _GoesOn, apps: AbstractSet[str]) -> set[str]:
    select = Selection(steps=_steps_of(graph, apps))
    decision, _ = await consider(await store.recover(None), graph, resume="always", select=select)
    return {id.rpartition(":")[0] for id in decision.to_run if not id.endswith(":deploy")}


def _steps_of(graph: StepGraph, apps: AbstractSet[str]) -> frozenset[str]:
    return frozenset(step.id for step in graph if step.id.rpartition(":")[0] in apps)


def _apart(workshop: Workshop, scratch: Path, target: Target) -> Workshop:
    """With a state folder of its own, so that nothing of this is written where runs are recorded."""
    apart = Workshop(workshop.project, scratch, target, workshop.environ, workshop.helms, workshop.is_offline)
    apart.outputs = Outputs(scratch / "out", beneath=workshop.outputs.folder)
    if workshop.key.is_there:
        # Else what depends on a secret would look changed.
        apart.key.write(workshop.key.read())
    return apart


def _without_waiting(planned: Planned, apps: AbstractSet[str]) -> StepGraph:
    """Nothing is deployed, so nothing waits for a deploy; and what was deployed before is given once more."""

    def step(one: Step) -> Step:
        app, _, stage = one.id.rpartition(":")
        if app not in apps or stage != "deploy":
            return one
        return replace(one, after=(), inputs={**(one.inputs or {}), "kept": True}, on_interrupt="rerun")

    return StepGraph(step(one) for one in planned.graph)


def _failures(state: ExecutionState, apps: AbstractSet[str]) -> dict[str, str]:
    """Of each app the first stage that failed."""
    found: dict[str, str] = {}
    for step in state.steps.values():
        app, _, stage = step.name.rpartition(":")
        if app in apps and step.status is not StepStatus.COMPLETED and app not in found:
            found[app] = f"{stage}: {step.error or f'is {step.status.value}'}"
    return found


class _GoesOn(MemoryStore):
    """Goes on from a recorded run, and keeps for itself what becomes of it."""

    def __init__(self, previous: ExecutionState | None) -> None:
        super().__init__()
        self._before = previous

    async def plan_before(self, reader: FileReader) -> Plan | None:
        return None if self._before is None else await reader.plan(self._before.run)

    async def recover(self, profile: str | None) -> ExecutionState | None:
        if self._before is None:
            return None
        return replace(self._before, steps={id: settled(step) for id, step in self._before.steps.items()})


@dataclass(slots=True)
class _Keeping:
    """A target that keeps what it is given; in all else it is the one that it stands for."""

    instead_of: Target
    deployments: dict[str, Deployment] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        return self.instead_of.kind

    @property
    def identity(self) -> dict[str, str]:
        return self.instead_of.identity

    @property
    def capabilities(self) -> Capabilities | None:
        return self.instead_of.capabilities

    @property
    def environment(self) -> Mapping[str, str]:
        return self.instead_of.environment

    async def refusals(self, apps: AbstractSet[str]) -> list[SbkubeError]:
        return []

    async def start(self) -> None: ...

    async def deploy(self, deployment: Deployment, log: Log) -> Deployed:
        self.deployments[deployment.app] = deployment
        return Deployed("")

    async def act(self, action: ObjectAction, log: Log) -> None:
        raise AssertionError("nothing is done here")

    async def holds(self, app: str, output: Mapping[str, Any]) -> bool:
        return True  # of no app that is asked for, so that others are taken over as they are

    async def would_prune(self, keep: AbstractSet[str]) -> list[str]:
        return []

    async def prune(self, keep: AbstractSet[str]) -> list[str]:
        return []

    async def finish(self) -> None: ...
