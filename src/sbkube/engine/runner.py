"""The one loop around the scheduler: start, wait, tell.

A fixed set of worker tasks takes steps from the scheduler, so a step costs no task of its own. A worker
waits for a durable IN_PROGRESS, runs the body, queues the end and goes on: what the end frees may be begun at
once, since its own IN_PROGRESS can only become durable together with that end or after it.
"""

from __future__ import annotations

import copy
import math
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from functools import partial
from typing import Any, Literal

import anyio

from .answers import is_completed_after_all, late_inputs_of, result_of
from .endings import describe, ending_of, is_a_cancellation_of_its_own, without_failures
from .errors import Fenced, InputsChanged, ResultNotJson, StoreError, TimeLimitExceeded
from .events import Event, RunDraining, RunFinished, RunStarted, RunStopping, StepLogged, StepRetrying
from .fingerprints import Json
from .graph import StepGraph
from .resume import EVERYTHING, Decision, Resume, Selection
from .scheduler import FailurePolicy, Limits, Scheduler, refuse_unknown_pools
from .state import ExecutionState, StepExecution, StepStatus
from .step import Step, StepContext
from .stores.base import Store
from .tracker import ExecutionTracker

Why = Literal["asked", "deadline", "state", "disk"]
"""`state`: it could not be saved; `disk`: a host says that what it keeps beside the state could not."""


class RunControl:
    """How a host ends a run early, from the event loop it runs in; hosts keep their own signals.

    One control serves several runs, one after the other or at once; what it was told holds for all of them, also for
    those that come later. `why` says who asked: the host, the deadline, or a store that failed.
    """

    def __init__(self) -> None:
        self.is_draining = False
        self.is_stopping = False
        self.why: Why | None = None
        self._on_drain: list[Callable[[], None]] = []
        self._on_stop: list[Callable[[], None]] = []

    def drain(self, why: Why = "asked") -> None:
        """Starts nothing more and repeats nothing; what runs may finish."""
        if not self.is_draining:
            self.is_draining, self.why = True, self.why or why
            for tell in self._on_drain:
                tell()

    def stop(self, why: Why = "asked") -> None:
        """Also cancels what runs; its ends are recorded as CANCELLED."""
        self.drain(why)
        if not self.is_stopping:
            self.is_stopping = True
            for tell in self._on_stop:
                tell()

    def listen(self, on_drain: Callable[[], None], on_stop: Callable[[], None]) -> None:
        """Calls each once when its time comes: at once, if that has been."""
        self._on_drain.append(on_drain)
        self._on_stop.append(on_stop)
        # It may have been told before there was anything to drain.
        if self.is_draining:
            on_drain()
        if self.is_stopping:
            on_stop()

    def forget(self, on_drain: Callable[[], None], on_stop: Callable[[], None]) -> None:
        """Takes back a `listen`, also one that never was."""
        self._on_drain = [tell for tell in self._on_drain if tell != on_drain]
        self._on_stop = [tell for tell in self._on_stop if tell != on_stop]


async def run_graph(
    graph: StepGraph,
    *,
    store: Store,
    resume: Resume = "no",
    limits: Limits | None = None,
    policy: FailurePolicy = FailurePolicy.KEEP_GOING,
    on_event: Callable[[Event], None] | None = None,
    on_decision: Callable[[Decision, ExecutionState], None] | None = None,
    control: RunControl | None = None,
    deadline: float | None = None,
    select: Selection = EVERYTHING,
    config: Json = None,
    profile: str | None = None,
    namespace: str | None = None,
    metadata: Mapping[str, Any] | None = None,
    command: Json = None,
    chance: Callable[[], float] = random.random,
) -> ExecutionState:
    """Runs every step that is not known to be done, each as soon as what it waits for is.

    Returns the final state; a failed step does not raise, `state.raise_for_failures()` does. `resume` is as in
    `ExecutionTracker.start_execution`. `limits` default to 32 steps at once. `deadline` is in seconds from the call:
    then it acts as `control.stop()`. `config` (JSON) is an input of every step; `metadata` (JSON) is recorded with the
    run, `command` (JSON) with what this process does of it. `chance` draws the jitter of retries from 0 to 1.

    `on_event` is called in the event loop with each event, `on_decision` once, when the run is open and before
    anything of it runs. The first error that `on_event` raises is raised at the end, when all is recorded; one of
    `on_decision` ends the run.

    Raises before anything runs, and then nothing was changed: `UnknownPool`, `UnknownStep`, `InputsNotJson`,
    `ResultNotJson` (the metadata), `NeedsNotMet`, `NothingToResume`, `TimeLimitExceeded` (an `output_holds`, or the
    deadline came first), and what the store and an `output_holds` raise. During the run: `StateNotSaved` (running
    bodies may finish, nothing more starts) and `Fenced`. When the host cancels its scope, the cancellation passes
    through after the ends are recorded.
    """
    limits = limits or Limits()
    refuse_unknown_pools(graph, limits)
    tracker = ExecutionTracker(store, on_event=on_event)
    ends_at = math.inf if deadline is None else anyio.current_time() + deadline
    with anyio.CancelScope(deadline=ends_at) as deciding:
        opened = await tracker.start_execution(
            graph,
            config=config,
            resume=resume,
            profile=profile,
            namespace=namespace,
            metadata=metadata,
            select=select,
            command=command,
        )
    if deadline is not None and deciding.cancelled_caught:
        raise TimeLimitExceeded(deadline, "deciding what to run", "the deadline")
    run = _Run(tracker, limits, policy, control or RunControl(), chance, select)
    try:
        if on_decision is not None:
            on_decision(tracker.decision, opened)
        run.tell_start(opened)
        await run.work(ends_at)
    except BaseException:
        # What ended the run is what the host must see, a cancellation above all.
        tracker.listener.forget()
        raise
    finally:
        run.forget_control()
        with anyio.CancelScope(shield=True):
            state = await tracker.end_execution()
    tracker.listener.tell(RunFinished(state.run, state.status))
    tracker.listener.raise_kept()
    return state


class _Outcome(Enum):
    COMPLETED = auto()
    FAILED = auto()
    NOT_STARTED = auto()
    """The state could not be saved, so the body never ran."""
    IN_DOUBT = auto()
    """Nobody can tell what its interrupted attempt did, so it stays INTERRUPTED."""


@dataclass(slots=True)
class _Worker:
    """A task that waits for its next step."""

    handed: anyio.Event
    step: Step | None = None


class _Run:
    """What one call of `run_graph` has in hand."""

    def __init__(
        self,
        tracker: ExecutionTracker,
        limits: Limits,
        policy: FailurePolicy,
        control: RunControl,
        chance: Callable[[], float],
        select: Selection,
    ) -> None:
        self.tracker = tracker
        self.graph = tracker.graph
        self.policy = policy
        self.control = control
        self.chance = chance
        self.select = select
        decision = tracker.decision
        self.scheduler = Scheduler(self.graph, decision.to_run, limits=limits, held_back=decision.undecided)
        self.idle: list[_Worker] = []
        self.running: dict[str, None] = {}
        self.failures: dict[str, int] = {}
        self.is_draining = False
        self.in_doubt = {id for id in decision.to_run if _is_to_verify(self.graph[id], tracker.step(id))}

    def tell_start(self, opened: ExecutionState) -> None:
        decision = self.tracker.decision
        resumed = decision.resumed_from is not None
        to_run = tuple(decision.to_run)
        started = RunStarted(
            opened.run, opened.run_id, resumed, decision.resumed_from, to_run, len(self.graph)
        )
        self.tracker.listener.tell(started)

    async def work(self, ends_at: float) -> None:
        for id, cause in self.scheduler.start():
            self.tracker.block(id, cause)
        async with anyio.create_task_group() as self.tasks:
            self.tracker.store.on_failure(self._state_lost)
            if ends_at != math.inf:
                self.tasks.start_soon(self._stop_at, ends_at)
            self.control.listen(self._drain, self._stop)
            self._fill()
            self._end_if_over()

    def forget_control(self) -> None:
        self.control.forget(self._drain, self._stop)

    # Workers

    def _fill(self) -> None:
        """Hands out every step that may start: to an idle worker, else to a new one."""
        while (step := self.scheduler.next()) is not None:
            self.running[step.id] = None
            if self.idle:
                worker = self.idle.pop()
                worker.step = step
                worker.handed.set()
            else:
                self.tasks.start_soon(self._work, step, name="sbkube worker")

    async def _work(self, step: Step | None) -> None:
        while step is not None:
            await self._carry_out(step)
            self._end_if_over()
            step = self.scheduler.next()
            if step is not None:
                self.running[step.id] = None
                self._fill()
            else:
                step = await self._next_step()

    async def _next_step(self) -> Step | None:
        worker = _Worker(anyio.Event())
        self.idle.append(worker)
        await worker.handed.wait()
        return worker.step

    def _end_if_over(self) -> None:
        if self.scheduler.is_done or (self.is_draining and not self.running):
            # What is left are idle workers, the deadline, and steps that wait to be repeated.
            self.tasks.cancel_scope.cancel()

    # One attempt of one step

    async def _carry_out(self, step: Step) -> None:
        try:
            outcome = await self._attempt(step)
        finally:
            del self.running[step.id]
            self.scheduler.release(step)
        if outcome is _Outcome.COMPLETED:
            self.scheduler.completed(step.id)
        elif outcome in (_Outcome.FAILED, _Outcome.IN_DOUBT):
            for id, cause in self.scheduler.failed(step.id):
                self.tracker.block(id, cause)
            if outcome is _Outcome.FAILED and self.policy is FailurePolicy.FAIL_FAST:
                self._drain()
        elif isinstance(outcome, float):
            self.tasks.start_soon(self._repeat_after, step, outcome)

    async def _attempt(self, step: Step) -> _Outcome | float:
        """How it ended, or after how many seconds it is to be repeated."""
        late, refused = await late_inputs_of(step, self._results(step))
        late = self.tracker.late_digest(step, late)
        if step.id not in self.in_doubt:
            return await self._start(step, late, refused)
        found = await self._verified(step, refused)
        if isinstance(found, _Outcome | float):
            return found
        return await self._start(step, late, refused, found)

    async def _start(
        self, step: Step, late: str | None, refused: BaseException | None, found: StepContext | None = None
    ) -> _Outcome | float:
        """`found`: it is completed after all, and this is what is known of it."""
        if refused is None and self._still_holds(step, late):
            self.tracker.take_over(step.id, late)
            return _Outcome.COMPLETED
        try:
            begun = await self.tracker.begin(step.id, late=late)
        except StoreError:
            return _Outcome.NOT_STARTED
        except anyio.get_cancelled_exc_class():
            if self.tracker.step(step.id).status is StepStatus.IN_PROGRESS:
                self._never_ran(step, found)
            raise
        self.tracker.started(begun)
        context = found or self._context(step, begun)
        try:
            if refused is not None:
                raise refused
            result = context.result if found else await result_of(step, context)
            self.tracker.complete(step.id, result, context.metadata, is_gate=step.body is None)
        except Exception as error:  # noqa: BLE001 - whatever a step raises is its result
            return self._failed(step, error, context)
        except BaseException as error:  # noqa: BLE001 - it goes on from there
            return self._broken_off(step, error, context)
        return _Outcome.COMPLETED

    def _never_ran(self, step: Step, found: StepContext | None) -> None:
        if found is None:
            self.tracker.fail(step.id, StepStatus.CANCELLED, None)
        else:
            self.tracker.complete(step.id, found.result, found.metadata)

    async def _verified(
        self, step: Step, refused: BaseException | None
    ) -> StepContext | _Outcome | float | None:
        """What was found of a step that is completed after all, None if it is to run, else how this ended.

        It comes before the start: one that cannot be verified, or is cancelled meanwhile, stays in doubt.
        """
        context, is_completed, error = self._context(step, self.tracker.step(step.id)), False, refused
        if error is None:
            is_completed, error = await is_completed_after_all(step, context)
        if error is not None:
            error, delay = self._again(step, error)
            if delay is not None:
                self.tracker.listener.tell(StepRetrying(step.id, context.attempt, describe(error)[0], delay))
                return delay
            if not self.select.reruns(step.id):
                self.tracker.still_in_doubt(step.id, error)
                return _Outcome.IN_DOUBT
        self.in_doubt.discard(step.id)
        self.failures.pop(step.id, None)
        return context if is_completed else None

    def _broken_off(self, step: Step, error: BaseException, context: StepContext) -> _Outcome:
        """Records how the step ended and lets a cancellation, or something like `KeyboardInterrupt`, go on."""
        status, failure = ending_of(error)
        self.tracker.fail(step.id, status, failure, context.metadata)
        if is_a_cancellation_of_its_own(error):
            return _Outcome.FAILED
        raise without_failures(error)

    def _still_holds(self, step: Step, late: str | None) -> bool:
        known = self.tracker.step(step.id)
        done = known.completion
        if done is None or known.fresh:
            return False
        if step.reads and late is not None:
            return (done.planned, done.late) == (known.planned, late)
        return done.full == self.tracker.full_fingerprint(step.id, late)

    def _context(self, step: Step, begun: StepExecution) -> StepContext:
        say = partial(self._say, step.id, begun.attempt)
        return StepContext(
            step.id, begun.attempt, self.tracker.run, begun.key or "", self._results(step), say
        )

    def _results(self, step: Step) -> dict[str, Json]:
        return {need: _own_copy(self.tracker.step(need).output) for need in self.graph.needs[step.id]}

    def _say(self, step: str, attempt: int, line: str) -> None:
        self.tracker.listener.tell(StepLogged(step, attempt, line))

    def _failed(self, step: Step, error: Exception, context: StepContext) -> _Outcome | float:
        told, delay = self._again(step, error)
        if delay is None:
            self.tracker.fail(step.id, StepStatus.FAILED, told, context.metadata)
            return _Outcome.FAILED
        self.tracker.retry_later(step.id, told, delay, context.metadata)
        return delay

    def _again(self, step: Step, error: BaseException) -> tuple[BaseException, float | None]:
        """What to say of the error, and after how many seconds to repeat; None: not at all."""
        failures = self.failures[step.id] = self.failures.get(step.id, 0) + 1
        error, delay = _judged(step, failures, error, self.chance)
        return error, None if self.is_draining else delay

    async def _repeat_after(self, step: Step, delay: float) -> None:
        await anyio.sleep(delay)
        self.scheduler.again(step.id)
        self._fill()

    # Ending early

    async def _stop_at(self, deadline: float) -> None:
        await anyio.sleep_until(deadline)
        self.control.stop("deadline")

    def _drain(self) -> None:
        if not self.is_draining:
            self.is_draining = True
            self.scheduler.stop()
            self.tracker.listener.tell(RunDraining(tuple(self.running)))
            self._end_if_over()

    def _stop(self) -> None:
        self.tracker.listener.tell(RunStopping(tuple(self.running)))
        self.tasks.cancel_scope.cancel()

    def _state_lost(self) -> None:
        # Another process has the run now, so what runs here must not go on beside it.
        if isinstance(self.tracker.store.failure, Fenced):
            self.control.stop("state")
        else:
            self.control.drain("state")


def _own_copy(result: Json) -> Json:
    """What a body does to it must not reach what is recorded."""
    return copy.deepcopy(result) if isinstance(result, list | dict) else result


def _is_to_verify(step: Step, known: StepExecution) -> bool:
    return (
        known.status is StepStatus.INTERRUPTED and step.on_interrupt == "verify" and step.verify is not None
    )


def _judged(
    step: Step, failures: int, error: BaseException, chance: Callable[[], float]
) -> tuple[BaseException, float | None]:
    """What to record, and when to repeat, if at all. What the engine itself refuses would be refused again."""
    if not isinstance(error, Exception) or isinstance(error, ResultNotJson | InputsChanged):
        return error, None
    try:
        again = step.retry.wants(failures, error)
        return error, float(step.retry.delay(failures, chance(), error)) if again else None
    except Exception as broken:  # noqa: BLE001 - it calls the host's functions; that fails this step and no other
        return ExceptionGroup("its `Retry` failed too", [error, broken]), None
