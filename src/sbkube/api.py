"""Deploy from Python: load a project, see what a run would do, run it.

    project = load(Path("shop"), profile="prod")
    outcome = await run(project, Request(Asked(resume=True)))
    outcome.state.raise_for_failures()

Runs on asyncio. The host keeps its own signals: `RunControl` drains and stops.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, nullcontext
from dataclasses import dataclass, fields, replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
from anyio.to_thread import run_sync

from sbkube import checking
from sbkube.checking import Checked, Finding, findings_of
from sbkube.config.loading import find_project, load_project, refuse_not_yet
from sbkube.config.project import Project
from sbkube.config.unpinned import unpinned
from sbkube.config.without_effect import without_effect
from sbkube.engine import (
    Decision,
    Event,
    ExecutionState,
    FailurePolicy,
    FileStore,
    RunControl,
    StepStatus,
    consider,
    run_graph,
)
from sbkube.engine.stores.base import Plan
from sbkube.engine.stores.files import FileReader
from sbkube.errors import SbkubeError
from sbkube.helm.base import HelmError
from sbkube.leftovers import Attempt, Leftover, find_leftovers
from sbkube.outcomes import Outcome, Preview, Start
from sbkube.planning import questions, unsuited
from sbkube.request import EVERYTHING, Request, workshop_of
from sbkube.selecting import Asked
from sbkube.wiring import Planned, Workshop, limits_of, state_folder

if TYPE_CHECKING:
    from sbkube.operations.changes import Change, Changed, Changes
    from sbkube.operations.commands import delete, prune, rollback, upgrading
    from sbkube.operations.comparing import ObjectChange
    from sbkube.operations.diagnosis import Diagnosis
    from sbkube.operations.diff import AppDiff, Diff
    from sbkube.operations.facts import LiveFacts, ReleaseFact
    from sbkube.operations.images import Images, ImageUse, images
    from sbkube.operations.live import Live, LiveRelease, Verified
    from sbkube.operations.looks import diff, doctor, live, verify
    from sbkube.operations.outdated import AppVersions, Versions, outdated
    from sbkube.targets.cluster.holding import Held
    from sbkube.targets.cluster.lease import LockHeld, LockLost
    from sbkube.targets.cluster.target import ClusterTarget

__all__ = [
    "EVERYTHING",
    "AppDiff",
    "AppVersions",
    "Asked",
    "Change",
    "Changed",
    "Changes",
    "Checked",
    "Diagnosis",
    "Diff",
    "Finding",
    "ImageUse",
    "Images",
    "Live",
    "LiveFacts",
    "LiveRelease",
    "LockHeld",
    "LockLost",
    "ObjectChange",
    "Outcome",
    "Preview",
    "ReleaseFact",
    "Request",
    "Start",
    "Verified",
    "Versions",
    "check",
    "delete",
    "diff",
    "doctor",
    "find_project",
    "findings_of",
    "images",
    "live",
    "load",
    "outdated",
    "plan",
    "prune",
    "rollback",
    "run",
    "state_of",
    "upgrading",
    "verify",
]

# What only some commands need, loaded when it is first asked for: a run into a folder would pay a third more to start.
_LATER = {
    "sbkube.operations.changes": ("Change", "Changed", "Changes"),
    "sbkube.operations.commands": ("delete", "prune", "rollback", "upgrading"),
    "sbkube.operations.comparing": ("ObjectChange",),
    "sbkube.operations.diagnosis": ("Diagnosis",),
    "sbkube.operations.diff": ("AppDiff", "Diff"),
    "sbkube.operations.facts": ("LiveFacts", "ReleaseFact"),
    "sbkube.operations.images": ("ImageUse", "Images", "images"),
    "sbkube.operations.live": ("Live", "LiveRelease", "Verified"),
    "sbkube.operations.looks": ("diff", "doctor", "live", "verify"),
    "sbkube.operations.outdated": ("AppVersions", "Versions", "outdated"),
    "sbkube.targets.cluster.lease": ("LockHeld", "LockLost"),
}


def __getattr__(name: str) -> Any:
    for module, names in _LATER.items():
        if name in names:
            globals().update((each, getattr(import_module(module), each)) for each in names)
            return globals()[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def load(
    folder: str | Path,
    *,
    profile: str | None = None,
    config_file: str | Path | None = None,
    sources_file: str | Path | None = None,
    environ: Mapping[str, str] | None = None,
) -> Project:
    """A project from its folder. Raises `ConfigError`, and `NotYet` for what this version does not do."""
    env = os.environ if environ is None else environ
    project = load_project(
        Path(folder), profile=profile, config_file=config_file, sources_file=sources_file, environ=env
    )
    refuse_not_yet(project)
    asked = questions(project) if project.pins.is_there else {}
    without = [name for name, asks in asked.items() if project.pins.pin(name, asks) is None]
    project.notices.extend([*without_effect(project), *unpinned(project, asked.keys() - {*without})])
    if without:
        names = ", ".join(without)
        project.notices.append(
            f"`{project.pins.file.name}` has no answer to what these ask for now: {names}; `sbkube lock` adds it"
        )
    return project


def state_of(
    project: Project | Path, state_dir: str | None = None, environ: Mapping[str, str] | None = None
) -> FileReader:
    """The recorded runs of a project; takes no lock and creates nothing."""
    folder = project if isinstance(project, Path) else project.folder
    return FileStore.read(state_folder(folder, state_dir, os.environ if environ is None else environ))


async def plan(
    project: Project, request: Request | None = None, *, environ: Mapping[str, str] | None = None
) -> Preview:
    """What `run` would do now. Takes no lock, creates nothing. Raises what `run` raises before it runs.

    A cluster that is out of reach is none of that: `live` says so.
    """
    request = request or Request()
    workshop = workshop_of(project, request, os.environ if environ is None else environ)
    workshop.choose_helm()  # starts nothing
    try:
        return await _preview(workshop, request)
    finally:
        with anyio.move_on_after(5, shield=True):
            await workshop.helms.close()


async def _preview(workshop: Workshop, request: Request) -> Preview:
    project, reader = workshop.project, FileStore.read(workshop.state)
    cluster = workshop.cluster
    unseen = await _out_of_reach(cluster) if cluster is not None else None
    previous = await reader.latest(project.profile)
    planned = await workshop.plan(request.asked, await _plan_of(reader, previous))
    leftovers = await _leftovers(previous)
    select = replace(planned.select, still_running=leftovers.keys())
    decision, _ = await consider(previous, planned.graph, resume=request.resume, select=select)
    changed = _changes(decision, planned, await _plans(reader, previous))
    pruned = await workshop.would_prune(request.asked)
    facts = await _facts(workshop, cluster, request.asked, unseen) if cluster is not None else None
    return Preview(planned, decision, previous, changed, pruned, leftovers, facts)


async def _out_of_reach(cluster: ClusterTarget) -> str | None:
    from sbkube.operations.facts import reach

    return await reach(cluster)


async def _facts(workshop: Workshop, cluster: ClusterTarget, asked: Asked, unseen: str | None) -> LiveFacts:
    from sbkube.operations.facts import LiveFacts, live_facts

    return LiveFacts((), unseen) if unseen else await live_facts(workshop, cluster, asked)


def _changes(decision: Decision, planned: Planned, plans: Mapping[int, Plan | None]) -> dict[str, list[str]]:
    """For each step whose inputs differ from those of its last completion, which; by the plans of those runs."""
    now = planned.graph.planned()
    found = {}
    for step, done in decision.stale.items():
        then = plans.get(done.run)
        found[step] = then.changed(step, now[step].components) if then is not None else []
    return found


async def _plans(reader: FileReader, previous: ExecutionState | None) -> dict[int, Plan | None]:
    steps = previous.steps.values() if previous is not None else ()
    runs = {step.completion.run for step in steps if step.completion is not None}
    return {run: await reader.plan(run) for run in runs}


async def check(
    project: Project, request: Request | None = None, *, environ: Mapping[str, str] | None = None
) -> Checked:
    """What a run would stumble over: files, names and the target. Runs nothing, looks at no state, changes nothing.

    Raises `ConfigError` and `CyclicGraph` for what is no graph of steps.
    """
    request, environ = request or Request(), os.environ if environ is None else environ
    apps = {name for name, app in project.apps.items() if app.enabled and app.is_deployed}

    async def refused() -> list[SbkubeError]:
        target = workshop_of(project, request, environ).target
        return [*await target.refusals(apps), *unsuited(project, target.identity)]

    return await checking.check(project, refused)


async def run(
    project: Project,
    request: Request | None = None,
    *,
    on_start: Callable[[Start], None] | None = None,
    on_event: Callable[[Event], None] | None = None,
    on_held: Callable[[LockHeld], None] | None = None,
    control: RunControl | None = None,
    environ: Mapping[str, str] | None = None,
    metadata: Mapping[str, object] | None = None,
) -> Outcome:
    """Runs a project, or goes on with its newest run.

    `on_start` is called once, when it is decided what runs and before anything does; `on_held` before, if the lock in
    the cluster is held by another. Raises `RunLocked`, `LockHeld`, `NeedsNotMet`, `NothingToResume`, `ConfigError`,
    `StateNotSaved`, `Fenced`, `LockLost`, and what else the engine and the target raise; nothing has changed if it comes
    before `on_start`.
    """
    request = request or Request()
    workshop = workshop_of(project, request, os.environ if environ is None else environ)
    workshop.control = control = control or workshop.control
    workshop.choose_helm()
    reader = FileStore.read(workshop.state)
    # Before the store is opened, so that what is wrong with the project creates nothing.
    known = await _known(reader, project, workshop, request)
    await workshop.reach_first()
    decided: list[Decision] = []

    def started(decision: Decision, opened: ExecutionState) -> None:
        decided.append(decision)
        if held is not None:
            held.tell_run(opened.run)
        if on_start is not None:
            changed = _changes(decision, known.planned, known.plans)
            on_start(
                Start(
                    known.planned,
                    decision,
                    known.previous,
                    changed,
                    would_prune,
                    leftovers,
                    None,
                    opened,
                    workshop.helms.reason,
                )
            )

    async with AsyncExitStack() as opened:
        store = await opened.enter_async_context(FileStore.open(workshop.state))
        opened.push_async_callback(_close, workshop)
        held = await opened.enter_async_context(_alone(workshop, request, on_held, control))
        # Once more: nothing of this run writes any more when another may take the lock.
        opened.push_async_callback(_close, workshop)
        if await _is_outdated(known, reader, project, workshop) or (held is not None and held.waited):
            known = await _known(reader, project, workshop, request)
        await workshop.target.start()
        would_prune = await workshop.would_prune(request.asked)
        # Under the lock: before, whoever held it could start more, and be killed.
        leftovers = await _leftovers(known.previous)
        state = await run_graph(
            known.planned.graph,
            store=store,
            resume=request.resume,
            limits=limits_of(project, request.max_parallel),
            policy=_policy(project, request),
            on_event=on_event,
            on_decision=started,
            control=control,
            deadline=request.deadline,
            select=replace(known.planned.select, still_running=leftovers.keys()),
            profile=project.profile,
            namespace=project.namespace,
            metadata={**(metadata or {}), "config_file": _config_file(project)},
            command=_given(request),
        )
        pruned = await workshop.tidy(state, request.asked)
        left = await _left_behind(workshop, state, request.asked)
    return Outcome(
        state, decided[0], known.planned, tuple(pruned), leftovers, left, tuple(workshop.incomplete_logs)
    )


def _alone(
    workshop: Workshop, request: Request, on_held: Callable[[LockHeld], None] | None, control: RunControl
) -> AbstractAsyncContextManager[Held | None]:
    if workshop.target.kind != "cluster":
        return nullcontext()
    from sbkube.locking import Waiting, alone

    return alone(workshop.project, workshop.target, Waiting(request.wait_lock, on_held), control.stop)


async def _left_behind(workshop: Workshop, state: ExecutionState, asked: Asked) -> tuple[str, ...]:
    target = workshop.cluster_target
    if target is None or asked.is_partial or not state.is_complete:
        return ()
    from sbkube.operations import pruning

    try:
        listed = await target.listed()
    except HelmError:
        return ()  # the run is complete all the same
    runs = FileStore.read(workshop.state)
    found = await pruning.left_behind(listed, workshop.project, runs, target.owner())
    return tuple(one.name for one in found.releases)


async def _close(workshop: Workshop) -> None:
    with anyio.move_on_after(5, shield=True):
        await workshop.close()


async def _leftovers(run: ExecutionState | None) -> dict[str, Leftover]:
    # Its process may have been alive when this was read: who has the lock now knows that it is not.
    open_ends = [] if run is None else run.with_status(StepStatus.INTERRUPTED, StepStatus.IN_PROGRESS)
    attempts = {step.name: Attempt(step.key, step.attempt) for step in open_ends if step.key}
    return await run_sync(find_leftovers, attempts, abandon_on_cancel=True) if attempts else {}


@dataclass(frozen=True, slots=True)
class _Known:
    """What a run goes by: the run before it, the plans its completions were made by, and the plan of now."""

    previous: ExecutionState | None
    plans: Mapping[int, Plan | None]
    planned: Planned


async def _known(reader: FileReader, project: Project, workshop: Workshop, request: Request) -> _Known:
    previous = await reader.latest(project.profile)
    plans = await _plans(reader, previous)
    earlier = plans.get(previous.run) or await _plan_of(reader, previous) if previous is not None else None
    return _Known(previous, plans, await workshop.plan(request.asked, earlier))


async def _is_outdated(known: _Known, reader: FileReader, project: Project, workshop: Workshop) -> bool:
    """Under the lock: whether a run ended meanwhile, or there was no key yet by which secrets are compared."""
    now, then = await reader.latest(project.profile), known.previous
    moved = (now and (now.journal, now.seq)) != (then and (then.journal, then.seq))
    uses_secrets = any(stage.secrets for stage in known.planned.stages)
    # Releases in a cluster are known as ours by the same key.
    needs_key = uses_secrets or workshop.target.kind == "cluster"
    return (needs_key and await workshop.keep_key() and uses_secrets) or moved


async def _plan_of(reader: FileReader, run: ExecutionState | None) -> Plan | None:
    return None if run is None else await reader.plan(run.run)


def _policy(project: Project, request: Request) -> FailurePolicy:
    stops = request.fail_fast or project.settings.on_failure in ("stop", "rollback")
    return FailurePolicy.FAIL_FAST if stops else FailurePolicy.KEEP_GOING


def _given(request: Request) -> dict[str, object]:
    """What differs from a plain run, for people who read the journal."""
    plain, given = ({**_fields(one), **_fields(one.asked)} for one in (Request(), request))
    if not isinstance(request.helm, str | None):
        given["helm"] = "handed over"
    return {name: value for name, value in given.items() if name != "asked" and value != plain[name]}


def _fields(one: Request | Asked) -> dict[str, Any]:
    return {field.name: getattr(one, field.name) for field in fields(one)}


def _config_file(project: Project) -> str:
    return os.path.relpath(project.config_file, project.folder)
