"""From the newest run to the state with which an execution opens, for a preview and for the run itself."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from functools import partial
from typing import Any

from .answers import in_time
from .fingerprints import Json, Planned, as_json, digest
from .graph import StepGraph
from .resume import EVERYTHING, Decision, Resume, Selection, decide
from .state import ExecutionState, now
from .stores.base import Opening, Plan


async def consider(
    previous: ExecutionState | None,
    graph: StepGraph,
    *,
    config: Json = None,
    resume: Resume = "no",
    select: Selection = EVERYTHING,
) -> tuple[Decision, Plan]:
    """What a run would do; the same code path decides for a preview and for the run itself.

    `previous` is the newest run of the profile, as `latest` or `recover` of a store gives it. Awaits `output_holds`
    of steps, each within its time limit. Raises `UnknownStep`, `NeedsNotMet`, `NothingToResume`, `InputsNotJson`,
    `TimeLimitExceeded`, and what an `output_holds` raises.
    """
    fingerprints = graph.planned(config)
    plan = Plan.of(graph, fingerprints, graph.plan_hash(fingerprints))
    lost = await _lost_outputs(graph, previous, fingerprints)
    decision = decide(
        graph, previous, fingerprints, plan_hash=plan.hash, resume=resume, selection=select, lost=lost
    )
    return decision, plan


async def _lost_outputs(
    graph: StepGraph, previous: ExecutionState | None, fingerprints: Mapping[str, Planned]
) -> set[str]:
    lost = set()
    for step in graph:
        known = None if previous is None else previous.steps.get(step.id)
        if step.output_holds is None or known is None or known.completion is None:
            continue
        # Who has other inputs now must run anyway, so its output is not looked at.
        same = known.completion.planned == fingerprints[step.id].fingerprint
        holds = partial(step.output_holds, known.output)
        if same and not await in_time(step, holds, f"looking for the output of step {step.id!r}"):
            lost.add(step.id)
    return lost


def opening_of(
    decision: Decision,
    plan: Plan,
    previous: ExecutionState | None,
    config: Json,
    profile: str | None,
    namespace: str | None,
    metadata: Mapping[str, Any] | None,
    command: Json,
) -> Opening:
    goes_on_with = None if decision.new_run else previous
    return Opening(
        run_id=goes_on_with.run_id if goes_on_with else str(uuid.uuid4()),
        profile=profile,
        namespace=namespace,
        started_at=goes_on_with.started_at if goes_on_with else now(),
        config_hash=digest(config),
        plan=plan,
        steps=decision.steps,
        run=goes_on_with.run if goes_on_with else None,
        resumed_from=goes_on_with.resumed_from if goes_on_with else decision.resumed_from,
        metadata=as_json(dict(metadata or {}), "metadata of the run"),
        command=command,
    )
