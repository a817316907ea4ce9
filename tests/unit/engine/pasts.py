"""Runs that have been, and what is decided after them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Any

from sbkube.engine import Decision, ExecutionState, Selection, StepExecution, StepGraph, StepStatus
from sbkube.engine.fingerprints import full
from sbkube.engine.resume import Resume, decide
from sbkube.engine.state import Completion, run_status


def past(graph: StepGraph, run: int = 1, config: object = None, **ends: str) -> ExecutionState:
    """A run of this graph that ended as said; what is not named completed. `failed b` is blocked by b."""
    fingerprints = graph.planned(config)
    steps: dict[str, StepExecution] = {}
    for step in graph:
        status, *by = ends.get(step.id, "completed" if step.enabled else "skipped").split()
        execution = StepExecution(
            step.id,
            StepStatus(status),
            planned=fingerprints[step.id].fingerprint,
            blocked_by=by[0] if by else None,
        )
        if status == "completed":
            execution = completed(graph, execution, steps, run)
        elif status in ("failed", "cancelled", "interrupted"):
            execution = replace(execution, attempt=1, key="key of 1", full=execution.planned)
        steps[step.id] = execution
    return ExecutionState(
        run_id=f"run-{run}",
        profile=None,
        namespace=None,
        started_at="",
        completed_at="",
        status=run_status(steps.values(), alive=False, ended=True),
        steps=steps,
        config_hash="",
        run=run,
        plan_hash=graph.plan_hash(fingerprints),
    )


def completed(
    graph: StepGraph, execution: StepExecution, before: dict[str, StepExecution], run: int
) -> StepExecution:
    outputs = {need: done.digest for need in graph.needs[execution.name] if (done := before[need].completion)}
    print_then = full(execution.planned, outputs, None)
    return replace(
        execution,
        status=StepStatus.COMPLETED,
        attempt=1,
        key="key of 1",
        full=print_then,
        output=f"made by {execution.name}",
        completion=Completion(run, execution.planned, print_then, f"{execution.name}@{run}"),
    )


def decided(
    graph: StepGraph,
    previous: ExecutionState | None,
    *,
    resume: Resume = "always",
    config: object = None,
    lost: Collection[str] = (),
    **selection: Any,
) -> Decision:
    fingerprints = graph.planned(config)
    return decide(
        graph,
        previous,
        fingerprints,
        plan_hash=graph.plan_hash(fingerprints),
        resume=resume,
        selection=Selection(**selection),
        lost=lost,
    )


def to_run(decision: Decision) -> list[str]:
    return list(decision.to_run)


def status_of(decision: Decision) -> dict[str, str]:
    return {id: step.status.value for id, step in decision.steps.items()}


def played(graph: StepGraph, before: ExecutionState, decision: Decision) -> ExecutionState:
    """The run after all that was decided to run has completed, each step with a new output."""
    steps = dict(decision.steps)
    run = before.run + decision.new_run
    for id in graph.steps:
        if id in decision.to_run:
            steps[id] = completed(graph, replace(steps[id], fresh=False, blocked_by=None), steps, run + 100)
    status = run_status(steps.values(), alive=False, ended=True)
    return replace(before, run=run, steps=steps, status=status)
