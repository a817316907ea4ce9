"""`sbkube explain`: why a step ran, and whether and why it would run again."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import asyncclick as click

from sbkube.cli.help import Command
from sbkube.cli.options import argument, console_for, target_option, where_of, where_options
from sbkube.cli.records import NoRunYet, recorded, steps_named

if TYPE_CHECKING:
    from sbkube.api import Preview
    from sbkube.engine import ExecutionState, StepExecution
    from sbkube.engine.stores.base import Plan
    from sbkube.engine.stores.files import FileReader
    from sbkube.report.origins import Origin


@click.command(
    cls=Command,
    name="explain",
    help="Say why STEP ran, what it waits for, and what `run --resume` would do with it and why.",
    examples={
        "sbkube explain web:deploy": "one step",
        "sbkube explain web": "each stage of an app",
    },
)
@argument("step", help="app:stage, or app for all its stages.")
@where_options
@target_option
async def command(*, step: str, target: str | None, **values: Any) -> int:
    from sbkube import api
    from sbkube.api import Asked, Request
    from sbkube.cli.running import load_project

    where, console, environ = where_of(values), console_for(), dict(os.environ)
    reader = recorded(where)
    project = await load_project(where, goes_on=True, environ=environ)
    request = Request(Asked(resume=True), target=target, state_dir=where.state_dir)
    preview = await api.plan(project, request, environ=environ)
    if preview.previous is None:
        raise NoRunYet(reader.path, where)
    known = (*preview.planned.graph.steps, *preview.decision.gone)
    ids = steps_named(step, known, "this project")
    past = await Past.of(reader, preview.previous)
    console.data("\n\n".join(_told(id, past, preview) for id in ids))
    return 0


def _told(id: str, past: Past, preview: Preview) -> str:
    lines = [*past.lines(id), *_waits(id, preview), *_future(id, preview)]
    return "\n".join([id, *(f"  {line}" for line in lines)])


# What it did

_FETCHED = ("url", "version", "commit", "sha256")
"""What steps record of what came from elsewhere."""


@dataclass(frozen=True, slots=True)
class Past:
    """A run, and the plans of it and of the run that it took over from, if it did."""

    run: ExecutionState
    now: Plan | None
    then: Plan | None

    @classmethod
    async def of(cls, reader: FileReader, run: ExecutionState) -> Past:
        then = None if run.resumed_from is None else await reader.plan(run.resumed_from)
        return cls(run, await reader.plan(run.run), then)

    def lines(self, id: str) -> Iterator[str]:
        """How it stands, why it ran, and which inputs had changed then: its own, or of what it was made from."""
        step = self.run.steps.get(id)
        if step is None:
            return
        yield f"run {self.run.run}: {_how_it_stands(step)}"
        if fetched := [f"{key} {step.metadata[key]}" for key in _FETCHED if key in step.metadata]:
            yield f"fetched: {', '.join(fetched)}"
        if step.error:
            yield f"error: {step.error}"
        if step.blocked_by and step.status.value == "blocked":
            yield f"blocked by {step.blocked_by}"
        if step.reason and not _kept_from(step):
            yield f"why: {_as_it_came(step)}"
        if changed := self._changed(id):
            yield f"changed since run {self.run.resumed_from}: {', '.join(changed)}"
        elif self._ran(id):
            for origin in self._origins(id):
                what = ", ".join(self._changed(origin.step))
                yield f"changed since run {self.run.resumed_from}: {what}, {_read_by(origin)}"

    def _changed(self, id: str) -> list[str]:
        if self.now is None or self.then is None or id not in self.now.steps or id not in self.then.steps:
            return []
        return self.then.changed(id, self.now.steps[id].components)

    def _ran(self, id: str) -> bool:
        step = self.run.steps.get(id)
        return step is not None and step.started_at is not None and not _kept_from(step)

    def _origins(self, id: str) -> Iterator[Origin]:
        from sbkube.report.origins import origins

        steps = self.now.steps if self.now is not None else {}
        needs = {name: step.needs for name, step in steps.items()}
        return origins(id, needs, carries=self._ran, begins=lambda need: bool(self._changed(need)))


def _how_it_stands(step: StepExecution) -> str:
    from sbkube.cli.console import duration
    from sbkube.cli.tabular import local_time

    when = f" at {local_time(step.completed_at)}" if step.completed_at else ""
    if kept_from := _kept_from(step):
        return f"{step.status.value}{when}, kept from run {kept_from}"
    took = f" in {duration(step.duration)}" if step.duration is not None else ""
    return f"{step.status.value}{when}{took}" + (f", attempt {step.attempt}" if step.attempt else "")


def _kept_from(step: StepExecution) -> int | None:
    return step.metadata.get("reused_from") if step.is_done else None


def _as_it_came(step: StepExecution) -> str:
    """A reason is given before the run; of a step that was started, what it depended on has happened."""
    why = step.reason or ""
    if _begins(why) or not step.started_at:
        return why
    return f"{why.removeprefix('if ').removesuffix(' changes')} changed"


def _read_by(origin: Origin) -> str:
    through = f" (through {', '.join(origin.through)})" if origin.through else ""
    return f"which {origin.step} reads{through}"


# What it would do


def _waits(id: str, preview: Preview) -> Iterator[str]:
    graph = preview.planned.graph
    if id in graph:
        for how, ids in (("needs", graph.needs[id]), ("comes after", graph.after[id])):
            if ids:
                yield f"{how}: {', '.join(ids)}"


def _future(id: str, preview: Preview) -> Iterator[str]:
    from sbkube.cli.running import preview_rows

    if id in preview.decision.gone:
        yield "it is no longer in the project"
        return
    action, _, why = next(row for row in preview_rows(preview) if row[1] == id)
    found = list(_upstream(id, preview))
    would = f"`run --resume` would {action}"
    if found:
        yield would if action != "run" else f"{would} it: {why}"
        yield from (f"  {line}" for line in found)
    else:
        yield f"{would}: {why}" if why else f"{would} it"


def _upstream(id: str, preview: Preview) -> Iterator[str]:
    """What began it, where it runs only because of steps before it."""
    from sbkube.report.origins import origins

    to_run = preview.decision.to_run
    if id not in to_run or _begins(to_run[id]):
        return
    for origin in origins(
        id,
        preview.planned.graph.needs,
        carries=lambda need: need in to_run,
        begins=lambda need: _begins(to_run[need]),
    ):
        changed = ", ".join(preview.changes.get(origin.step, ()))
        if changed:
            yield f"changed: {changed}, {_read_by(origin)}"
        else:
            yield f"{origin.step} runs: {to_run[origin.step]}"


def _begins(why: str) -> bool:
    """Not only because of a step that it needs."""
    return not why.startswith("if ")
