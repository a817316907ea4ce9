"""The only writer to a store: each step's status is durable before anything relies on it.

`track_step` is the whole of it for a program with its own loop. `run_graph` uses its two halves: `begin`
waits until IN_PROGRESS is durable, `finish` queues the end and returns at once.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import anyio

from .endings import describe, ending_of, finished, metadata_or_why
from .errors import NoExecution, ResultNotJson, StateNotSaved, StepAlreadyCompleted
from .events import Event, Listener, StepBlocked, StepFinished, StepRetrying, StepStarted
from .fingerprints import Json, as_json, digest, full
from .graph import StepGraph
from .opening import consider, opening_of
from .resume import EVERYTHING, Decision, Resume, Selection, goes_on
from .state import (
    ExecutionState,
    StepExecution,
    StepStatus,
    apply_change,
    first_key,
    now,
)
from .step import Step
from .stores.base import StateMoved, Store


@dataclass(slots=True)
class TrackedStep:
    """What the body of `track_step` may say of its step."""

    name: str
    attempt: int
    key: str
    """The idempotency key: the same while a failed or interrupted attempt is repeated."""
    result: Json = None
    """JSON, recorded when the step completes."""
    metadata: dict[str, Any] = field(default_factory=dict)
    """JSON, recorded with the end, whatever the end."""


class ExecutionTracker:
    """Records one execution in a store.

    `on_event` is called in the event loop with each event once what it tells is durable. The first error
    it raises is raised again by `end_execution`.
    """

    def __init__(self, store: Store, *, on_event: Callable[[Event], None] | None = None) -> None:
        self.store = store
        self.listener = Listener(on_event)
        self._decision: Decision | None = None
        self._graph = StepGraph([])
        self._opened: ExecutionState | None = None
        self._has_ended = False
        self._steps: dict[str, StepExecution] = {}
        self._began: dict[str, float] = {}
        self._waiting = set[anyio.Event]()
        self._unsaved = dict[str, None]()

    # One execution, from its start to its end

    async def start_execution(
        self,
        steps: StepGraph | Iterable[str],
        *,
        config: Json = None,
        resume: Resume = "no",
        profile: str | None = None,
        namespace: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        select: Selection = EVERYTHING,
        command: Json = None,
    ) -> ExecutionState:
        """Opens a new run, or goes on with the newest of this profile, and returns its state.

        `resume`: "no" a new run; "unfinished" goes on unless the newest is complete; "always" even then. A
        changed graph, input or `config` (JSON) makes a new run that takes over what still holds. `metadata` and
        `command` are JSON, for people. Raises `UnknownStep`, `InputsNotJson`, `ResultNotJson` (the metadata),
        `NeedsNotMet`, `NothingToResume`, `TimeLimitExceeded`, what a graph of ids and an `output_holds` raise, and
        `StateNotWritable` (also a `command` that is no JSON), `StateCorrupt`, `StateTooNew`, `Fenced` of the store; then nothing was changed.
        """
        graph = steps if isinstance(steps, StepGraph) else StepGraph(Step(id) for id in steps)
        while True:
            previous = await self.store.recover(profile)
            decision, plan = await consider(previous, graph, config=config, resume=resume, select=select)
            opening = opening_of(decision, plan, previous, config, profile, namespace, metadata, command)
            try:
                opened = await self.store.open_execution(opening)
            except StateMoved:
                continue
            break
        self._graph, self._decision, self._opened, self._has_ended = graph, decision, opened, False
        self._steps = dict(opened.steps)
        self._began.clear()
        self._unsaved.clear()
        self.store.on_failure(self._wake_all)
        return opened

    async def end_execution(self) -> ExecutionState:
        """Records that this process ended its work, and returns the final state.

        Raises `NoExecution`, `StateNotSaved` naming the steps whose ends were lost, `Fenced`, and last the first error
        that the listener raised.
        """
        state = self.state
        self._refuse_if_superseded()
        self._has_ended = True
        try:
            await self.store.flush()
            closed = await self.store.close_execution()
        except StateNotSaved as error:
            raise StateNotSaved(error.why, sorted(self._unsaved)) from error
        self.listener.raise_kept()
        return closed or state

    @property
    def decision(self) -> Decision:
        """What this execution runs, and why. Raises `NoExecution`, as all questions do before the start."""
        if self._decision is None:
            raise NoExecution
        return self._decision

    @property
    def graph(self) -> StepGraph:
        """Of the execution; empty before the start."""
        return self._graph

    @property
    def state(self) -> ExecutionState:
        """The run as it stands now, all its steps included."""
        return replace(self._open(), steps=dict(self._steps))

    @property
    def run(self) -> int:
        """Its number."""
        return self._open().run

    def step(self, name: str) -> StepExecution:
        """As it stands now, durable or not yet. Raises `UnknownStep`."""
        self._open()
        try:
            return self._steps[name]
        except KeyError:
            self._graph[name]  # raises UnknownStep
            raise

    def _open(self) -> ExecutionState:
        if self._opened is None:
            raise NoExecution
        return self._opened

    def _refuse_if_superseded(self) -> ExecutionState:
        """What it still said would end up in a journal that is not its own."""
        opened = self._open()
        if self.store.opened is not opened:
            raise NoExecution("the store went on to another execution")
        return opened

    # Questions

    def unfinished(self) -> list[str]:
        """What this execution has to run and has not completed, in graph order."""
        return [name for name in self.decision.to_run if not self._steps[name].is_done]

    def get_restart_point(self) -> str | None:
        """The first step, in graph order, of what is to be run; None if nothing is."""
        return next(iter(self.unfinished()), None)

    async def can_resume(self, profile: str | None = None) -> bool:
        """Whether there is a run of this profile that is not complete."""
        latest = await self.store.latest(profile)
        return goes_on("unfinished", EVERYTHING, latest)

    def get_execution_summary(self) -> dict[str, Any]:
        """The run and where a resume would start; JSON.

        `run, run_id, profile, started_at, total` (steps), `counts` (by status), `seconds` (of all steps together),
        `errors` (of failed steps, by step), `next` (a step or None).
        """
        steps = self._steps.values()
        return {
            "run": self.run,
            "run_id": self._open().run_id,
            "profile": self._open().profile,
            "started_at": self._open().started_at,
            "total": len(self._steps),
            "counts": self.state.counts,
            "seconds": sum(step.duration or 0.0 for step in steps),
            "errors": {step.name: step.error for step in steps if step.status is StepStatus.FAILED},
            "next": self.get_restart_point(),
        }

    async def load_execution_history(self, limit: int | None = 10) -> list[ExecutionState]:
        """The newest runs first."""
        return await self.store.history(limit)

    async def cleanup_old_states(self, keep: int = 20) -> list[int]:
        """Deletes all runs but the newest `keep`, the newest of each profile, and one that is open.

        Returns the numbers of those deleted. `keep` is at least 1.
        """
        return await self.store.remove_runs(keep)

    # The two halves of a step

    def full_fingerprint(self, name: str, late: str | None = None) -> str:
        """The planned one with the outputs that its needs have now, and the digest of its late inputs."""
        return full(self._steps[name].planned, self._outputs(self._graph.needs[name]), late)

    def late_digest(self, step: Step, late: str | None) -> str | None:
        """Of a step that reads parts of outputs: with what it needs whole, all that counts besides what was planned."""
        if late is None or not step.reads:
            return late
        return full(
            late, self._outputs(need for need in self._graph.needs[step.id] if need not in step.reads), None
        )

    def _outputs(self, ids: Iterable[str]) -> dict[str, str]:
        completions = {id: self._steps[id].completion for id in ids}
        return {id: done.digest for id, done in completions.items() if done is not None}

    async def begin(self, name: str, *, rerun: bool = False, late: str | None = None) -> StepExecution:
        """Returns when it is durable that the step is in progress; only then may it have any effect."""
        if self._has_ended:
            raise NoExecution
        if self.store.failure is not None:
            raise self.store.failure
        step = self.step(name)
        if step.status is StepStatus.COMPLETED:
            if not rerun:
                raise StepAlreadyCompleted(name)
            step = self._change(step, {"to": "pending", "reason": "asked for"}, None)
        print_now = self.full_fingerprint(name, late)
        attempt = step.attempt + 1
        repeated = step.key is not None and step.full == print_now
        change = {
            "to": "in_progress",
            "attempt": attempt,
            "key": step.key if repeated else first_key(self._open().run_id, name, attempt),
        }
        if print_now != step.planned:
            change["full"] = print_now
        if late is not None:
            change["late"] = late
        durable = anyio.Event()
        self._waiting.add(durable)
        try:
            step = self._change(step, change, lambda _: durable.set())
            await durable.wait()
        finally:
            self._waiting.discard(durable)
        if self.store.failure is not None:
            raise self.store.failure
        return step

    def started(self, step: StepExecution) -> None:
        """To be called after `begin`, when the body starts: from here its duration counts."""
        self._began[step.name] = time.monotonic()
        self.listener.tell(StepStarted(step.name, step.attempt))

    def complete(
        self,
        name: str,
        result: object = None,
        metadata: Mapping[str, Any] | None = None,
        *,
        is_gate: bool = False,
    ) -> None:
        """Queues COMPLETED. Raises `ResultNotJson`, and then records nothing.

        A result counts as a new output each time it is None; that of a gate is what went into it.
        """
        recorded = as_json(result)
        noted = as_json(dict(metadata), "metadata") if metadata else None
        step = self.step(name)
        change: dict[str, Any] = {"to": "completed", "seconds": self._seconds(name)}
        if recorded is not None:
            change["output"] = recorded
            change["digest"] = digest(recorded)
        elif is_gate:
            change["digest"] = step.full
        if noted:
            change["metadata"] = noted
        self._finish(step, change)

    def take_over(self, name: str, late: str | None = None) -> None:
        """Queues COMPLETED for a step whose last completion still holds, without running it."""
        step = self.step(name)
        assert step.completion is not None
        change = {"to": "completed"}
        if (print_now := self.full_fingerprint(name, late)) != step.completion.full:
            change["full"] = print_now  # it was made from another output, of which it reads the same
        self._change(step, change, lambda changed: self.listener.tell(finished(changed)))

    def fail(
        self,
        name: str,
        status: StepStatus,
        error: BaseException | None,
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        """Queues FAILED or CANCELLED."""
        self._finish(self.step(name), {"to": status.value, **self._ending(name, error, metadata)})

    def retry_later(
        self, name: str, error: BaseException, delay: float, metadata: Mapping[str, Any] | None
    ) -> None:
        """Queues PENDING for a failed attempt that is repeated after `delay` seconds."""
        step = self.step(name)
        ending = self._ending(name, error, metadata)
        change = {"to": "pending", **ending, "delay": round(delay, 3), "reason": "waits to be repeated"}
        event = StepRetrying(name, step.attempt, ending["error"], delay)
        self._unsaved[name] = None
        self._change(step, change, lambda _: self._saved(name, event))

    def block(self, name: str, by: str) -> None:
        """Queues BLOCKED, unless the step already has an end of its own to keep."""
        step = self.step(name)
        if step.status in (StepStatus.PENDING, StepStatus.BLOCKED):
            self._change(
                step, {"to": "blocked", "by": by}, lambda _: self.listener.tell(StepBlocked(name, by))
            )
        else:
            self.listener.tell(StepBlocked(name, by))

    def still_in_doubt(self, name: str, error: BaseException) -> None:
        """Tells that a step stays INTERRUPTED: it was not started, so there is nothing to record."""
        step, (why, kind) = self.step(name), describe(error)
        told = f"could not be verified: {why}"
        self.listener.tell(StepFinished(name, step.status, step.attempt, error=told, error_type=kind))

    def _finish(self, step: StepExecution, change: dict[str, Any]) -> None:
        self._unsaved[step.name] = None
        self._change(step, change, lambda changed: self._saved(changed.name, finished(changed)))

    def _saved(self, name: str, event: Event) -> None:
        self._unsaved.pop(name, None)
        self.listener.tell(event)

    def _ending(
        self, name: str, error: BaseException | None, metadata: Mapping[str, Any] | None
    ) -> dict[str, Any]:
        ending: dict[str, Any] = {"seconds": self._seconds(name)}
        if error is not None:
            ending["error"], ending["error_type"] = describe(error)
        if metadata:
            ending["metadata"] = metadata_or_why(metadata)
        return ending

    def _seconds(self, name: str) -> float:
        return round(time.monotonic() - self._began.pop(name, time.monotonic()), 6)

    def _change(
        self,
        step: StepExecution,
        change: Mapping[str, Any],
        on_durable: Callable[[StepExecution], None] | None,
    ) -> StepExecution:
        opened, at = self._refuse_if_superseded(), now()
        changed = apply_change(step, change, at, opened.run)
        self._steps[step.name] = changed
        self.store.append(changed, change, at, on_durable and partial(on_durable, changed))
        return changed

    def _wake_all(self) -> None:
        for waiting in self._waiting:
            waiting.set()

    # Both halves around a body of your own

    @asynccontextmanager
    async def track_step(self, name: str, *, rerun: bool = False) -> AsyncIterator[TrackedStep]:
        """IN_PROGRESS is durable before the body, its end before this returns, whatever was raised.

        The exception goes on to the caller; a cancelled body is CANCELLED. Many may be open at once. Raises before
        the body `NoExecution`, `UnknownStep`, `StepAlreadyCompleted` for a completed step unless `rerun`,
        `IllegalMove` for one that is in progress or disabled, and `StateNotSaved` or `Fenced` if the start could not
        be saved; after it `ResultNotJson` if the result or the metadata cannot be recorded (the step is then FAILED),
        and `StateNotSaved` or `Fenced` if the end could not be saved.
        """
        begun = await self._begin_or_cancel(name, rerun)
        self.started(begun)
        tracked = TrackedStep(name, begun.attempt, begun.key or "")
        try:
            yield tracked
        except BaseException as error:
            if isinstance(error, GeneratorExit):
                raise
            self.fail(name, *ending_of(error), tracked.metadata)
            await self._all_durable()
            raise
        try:
            self.complete(name, tracked.result, tracked.metadata)
        except ResultNotJson as error:
            self.fail(name, StepStatus.FAILED, error, tracked.metadata)
            raise
        finally:
            await self._all_durable()

    async def _begin_or_cancel(self, name: str, rerun: bool) -> StepExecution:
        try:
            return await self.begin(name, rerun=rerun)
        except anyio.get_cancelled_exc_class():
            if self._steps[name].status is StepStatus.IN_PROGRESS:
                self.fail(name, StepStatus.CANCELLED, None)
                await self._all_durable()
            raise

    async def _all_durable(self) -> None:
        # The store bounds this wait: a disk that does not answer makes it fail.
        with anyio.CancelScope(shield=True):
            try:
                await self.store.flush()
            except StateNotSaved as error:
                raise StateNotSaved(error.why, sorted(self._unsaved)) from error


async def load_execution_history(path: str | Path, limit: int | None = 10) -> list[ExecutionState]:
    """The newest runs recorded in a state folder, newest first; takes no lock and creates nothing.

    Raises `StateCorrupt`, `StateTooNew`, and `StateNotWritable` where the folder cannot be read.
    """
    from .stores.files import FileStore

    return await FileStore.read(path).history(limit)
