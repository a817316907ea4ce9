"""One run as the command line sees it: load, tell, run, report."""

from __future__ import annotations

import json
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from sbkube import api
from sbkube.api import Asked, LockHeld, Outcome, Preview, Request, Start
from sbkube.apps.fields import seconds
from sbkube.cli.console import Console, plural
from sbkube.cli.ending import Report, end_report
from sbkube.cli.hints import naming_commands, run_flags, still_runs
from sbkube.cli.listener import Listener
from sbkube.cli.options import Where, command_line
from sbkube.cli.records import latest
from sbkube.cli.signals import signals_to
from sbkube.config.project import Project
from sbkube.engine import Event, ExecutionState, FileStore, RunControl, StepFinished, StepStatus
from sbkube.errors import ConfigError
from sbkube.wiring import log_path, state_folder

INTERRUPTED = 128
_TOLD = 8


async def load_project(where: Where, *, goes_on: bool, environ: dict[str, str]) -> Project:
    """With `goes_on`, profile and config file are those of the latest run where they are not given."""
    folder = where.project_folder()
    profile, config_file = where.profile_of(environ), where.config_file
    if goes_on:
        run = await latest(api.state_of(folder, where.state_dir, environ), where, environ)
        if run is not None:
            profile = run.profile
            config_file = config_file or run.metadata.get("config_file")
    return api.load(
        folder, profile=profile, config_file=config_file, sources_file=where.sources, environ=environ
    )


def looking_at(held: LockHeld) -> str:
    return f"{held}; looking whether it is renewed"


def time_limit(text: str | None, flag: str = "--timeout") -> float | None:
    if text is None:
        return None
    try:
        return seconds(text)
    except ValueError as error:
        raise ConfigError(f"`{flag}` {error}") from None


@dataclass(slots=True)
class RunSession:
    """What one `sbkube run` holds on to while it runs."""

    project: Project
    request: Request
    where: Where
    console: Console
    environ: dict[str, str]
    control: RunControl = field(default_factory=RunControl)
    listener: Listener | None = None
    doubts: dict[str, str] = field(default_factory=dict)
    """Why interrupted steps could not be verified."""
    open: ExitStack = field(default_factory=ExitStack)

    @property
    def state(self) -> Path:
        return state_folder(self.project.folder, self.request.state_dir, self.environ)

    async def run(self) -> int:
        began = time.monotonic()
        for notice in notices(self.project, self.request.asked):
            self.console.say(f"note: {notice}", "dim")
        with signals_to(self.control, self.tell_drain) as caught:

            def on_start(start: Start) -> None:
                caught.has_started = True
                self.tell_start(start)

            with self.open, caught.scope:
                outcome = await self._run(on_start)
            if caught.scope.cancelled_caught:
                self.console.error("interrupted before anything ran")
                return INTERRUPTED + (caught.number or 2)
        report = self.report(outcome, time.monotonic() - began, caught.number)
        await self.tell_end(outcome, report)
        return report.exit_code

    async def _run(self, on_start: object) -> Outcome:
        with naming_commands(self.request, self.where):
            return await api.run(
                self.project,
                self.request,
                on_start=on_start,  # type: ignore[arg-type]
                on_event=self.hear,
                on_held=self.tell_held,
                control=self.control,
                environ=self.environ,
            )

    def hear(self, event: Event) -> None:
        if isinstance(event, StepFinished) and event.status is StepStatus.INTERRUPTED:
            self.doubts[event.step] = event.error or ""
        if self.listener is not None:
            self.listener(event)

    def log_of(self, step: str, attempt: int, run: int) -> str | None:
        app, _, stage = step.rpartition(":")
        path = log_path(self.state, app, stage, run, attempt)
        return str(_from_here(path)) if path.exists() else None

    # What is told

    def tell_start(self, start: Start) -> None:
        for line in headlines(start, self.request):
            self.console.say(line)
        if start.helm is not None and start.decision.to_run:
            self.console.say(f"  {start.helm}", "dim")
        steps = {s.id: (s.app, s.stage or "deploy") for s in start.planned.stages}
        initial = {id: step.status for id, step in start.opened.steps.items()}
        for id in start.decision.to_run:
            initial[id] = StepStatus.PENDING
        run = start.opened.run
        self.listener = self.console.listener(
            steps, initial, log_path=lambda step, attempt: self.log_of(step, attempt, run)
        )
        self.open.enter_context(self.listener)

    def tell_held(self, held: LockHeld) -> None:
        self.console.say(looking_at(held), "dim")

    def tell_drain(self) -> None:
        if self.listener is not None and self.listener.is_busy:
            self.console.say("what runs may finish; Ctrl-C again stops it, a third one ends at once", "warn")

    def report(self, outcome: Outcome, seconds: float, signal: int | None) -> Report:
        run, listener = outcome.state.run, self.listener
        return end_report(
            outcome.state,
            outcome.decision,
            seconds=seconds,
            asked=self.request.asked,
            flags=self.where.flags,
            run_flags=run_flags(self.request),
            leftovers=outcome.leftovers,
            signal=signal,
            why=self.control.why,
            log_path=lambda step, attempt: self.log_of(step, attempt, run),
            tail=listener.tail if listener is not None else lambda step: (),
            marks=self.console.marks,
            doubts=self.doubts,
        )

    async def tell_end(self, outcome: Outcome, report: Report) -> None:
        if outcome.pruned:
            self.console.say(f"pruned from the target: {', '.join(outcome.pruned)}")
        for told in outcome.incomplete_logs[:_TOLD]:
            self.console.warn(told)
        report.print(self.console)
        if outcome.left_behind:
            command = command_line("prune", *self.where.flags, *run_flags(self.request))
            self.console.say(f"`{command}` would uninstall: {', '.join(outcome.left_behind)}")
        if self.console.output == "json":
            from sbkube.cli.machine import document

            view = await FileStore.read(self.state).view(outcome.state)
            self.console.data(document(json.loads(view), report, outcome.pruned))
        elif self.console.output == "ndjson":
            from sbkube.cli.machine import ending_line

            self.console.data(ending_line(report, outcome.pruned))


def notices(project: Project, asked: Asked) -> list[str]:
    disabled = [name for name in asked.apps if name in project.apps and not project.apps[name].enabled]
    return [*project.notices, *(f"app {name!r} is disabled, so nothing of it runs" for name in disabled)]


def headlines(start: Start, request: Request) -> list[str]:
    """Which run this is, how it relates to the one before, and how much there is to do."""
    decision, opened = start.decision, start.opened
    total = sum(1 for step in opened.steps.values() if step.status is not StepStatus.SKIPPED)
    amount = f"{len(decision.to_run)} of {plural(total, 'step')}"
    profile = f" ({opened.profile})" if opened.profile else ""
    lines = []
    if decision.resumed_from is None:
        if start.previous is not None and not start.previous.is_complete:
            lines.append(_last_run(start.previous))
        elif request.asked.resume and start.previous is None:
            lines.append("there is no earlier run, so this is a new one")
        lines.append(f"run {opened.run}{profile}: {amount}")
    elif decision.new_run:
        lines.append(
            f"run {opened.run}{profile} takes over from run {decision.resumed_from}, whose plan differs: {amount}"
        )
    else:
        lines.append(f"run {opened.run}{profile} goes on: {amount}")
    return [*lines, *_what_changed(start), *(f"  {line}" for line in what_goes(start))]


def what_goes(preview: Preview) -> list[str]:
    """Told before it happens; all of it, however much."""
    gone = ", ".join(preview.would_prune)
    return [f"would prune from the target: {gone}"] if gone else []


def _last_run(previous: ExecutionState) -> str:
    told = {status: n for status, n in previous.counts.items() if status not in ("completed", "skipped")}
    counts = ", ".join(f"{n} {status}" for status, n in told.items())
    flight = [step.name for step in previous.with_status(StepStatus.INTERRUPTED, StepStatus.IN_PROGRESS)]
    doubt = f"; in flight when it ended: {', '.join(flight[:_TOLD])}" if flight else ""
    return (
        f"the last run ({previous.run}) is {previous.status}: {counts}{doubt}; `--resume` would go on with it"
    )


def _what_changed(start: Start) -> list[str]:
    if start.decision.resumed_from is None:
        return []
    lines = []
    by_reason: dict[str, list[str]] = {}
    for step, names in start.changes.items():
        by_reason.setdefault(", ".join(names) or "not known any more", []).append(step)
    for reason, steps in list(by_reason.items())[:_TOLD]:
        more = f" and {len(steps) - 3} more" if len(steps) > 3 else ""
        lines.append(f"  changed for {', '.join(steps[:3])}{more}: {reason}")
    left = [step for step in start.changes if step in start.decision.left]
    if left:
        lines.append(f"  changed and not run now: {', '.join(left[:_TOLD])}")
    if start.decision.gone:
        lines.append(f"  no longer in the project: {', '.join(start.decision.gone[:_TOLD])}")
    return lines


def _from_here(path: Path) -> Path:
    try:
        return path.relative_to(Path.cwd())
    except ValueError:
        return path


def preview_rows(preview: Preview) -> list[tuple[str, str, str]]:
    """Each step as `run`, `keep`, `run if …`, `ask`, `wait`, `skip` or `leave`, with why; in graph order."""
    decision, rows = preview.decision, []
    for id, step in decision.steps.items():
        if id in decision.conditional and decision.to_run[id].startswith("if "):
            rows.append((f"run {decision.to_run[id]}", id, "an output it was made from may change"))
        elif id in decision.to_run:
            changed = ", ".join(preview.changes.get(id, ()))
            rows.append(("run", id, f"changed: {changed}" if changed else decision.to_run[id]))
        elif id in decision.still_running:
            action = "wait" if id in decision.undecided else "leave"
            rows.append((action, id, still_runs(preview.leftovers[id])))
        elif id in decision.undecided:
            rows.append(
                ("ask", id, f"was in flight when the run died; `--rerun-interrupted={id}` runs it again")
            )
        elif step.status is StepStatus.SKIPPED:
            rows.append(("skip", id, step.reason or ""))
        elif step.is_done:
            rows.append(("keep", id, f"completed in run {step.completion.run}" if step.completion else ""))
        else:
            rows.append(("leave", id, decision.left.get(id, step.status.value)))
    return rows
