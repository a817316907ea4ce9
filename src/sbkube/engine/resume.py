"""What a process runs, decided by subtraction: not known to be done, therefore run.

`decide` is a pure function of the graph, the recovered state, the fingerprints and the selection. It
gives the whole state with which the process starts, so a preview and a run cannot differ.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from .errors import NeedsNotMet, NothingToResume, UnknownStep
from .fingerprints import Planned, full
from .graph import StepGraph
from .state import FAILURES, Completion, ExecutionState, RunStatus, StepExecution, StepStatus

Resume = Literal["no", "unfinished", "always"]

_KEPT_AS_THEY_ARE = FAILURES | {StepStatus.BLOCKED}


@dataclass(frozen=True, slots=True)
class Selection:
    """What this process is asked to run; it never limits what the run is. The parts intersect."""

    steps: Collection[str] | None = None
    """None: every step."""
    left_pending: Collection[str] = ()
    """Not selected, and in a new run not taken over either: the later stages of what is selected."""
    retry_failed: bool = False
    """Of the latest run, what failed, was cancelled or interrupted, what that blocked, and what these need."""
    continue_from: Collection[str] = ()
    """Of the latest run, these and everything behind them, even if completed."""
    with_needs: bool = False
    """Also what the selected steps wait for, where it is not completed as it stands now."""
    rerun_interrupted: bool | Collection[str] = False
    """Run interrupted steps about which the question stays open: all, or those named.

    These are steps whose `on_interrupt` is "ask", and those that could not be verified.
    """
    still_running: Collection[str] = ()
    """Interrupted steps whose earlier attempt outlived its process: not started beside it, whatever is asked for.

    They are what is found, not what is asked for: one that is not in the graph is no mistake.
    """

    @property
    def needs_a_run(self) -> bool:
        """It speaks of an earlier run, so without one it is refused."""
        return self.retry_failed or bool(self.continue_from)

    @property
    def named(self) -> Iterator[str]:
        """Every step that is spoken of."""
        yield from self.steps or ()
        yield from self.left_pending
        yield from self.continue_from
        if not isinstance(self.rerun_interrupted, bool):
            yield from self.rerun_interrupted

    def reruns(self, id: str) -> bool:
        """Whether that step is to run though nobody knows what its interrupted attempt did."""
        again = self.rerun_interrupted
        return again if isinstance(again, bool) else id in again


EVERYTHING = Selection()


@dataclass(frozen=True, slots=True)
class Decision:
    """The state to start with, and why."""

    steps: dict[str, StepExecution]
    to_run: dict[str, str]
    """What this process runs, in graph order, each with the reason."""
    conditional: frozenset[str]
    """Of `to_run`, what runs only if the output of something it needs changes."""
    asked: frozenset[str]
    """Selected, so they count for the result of this process."""
    undecided: tuple[str, ...]
    """Asked for, interrupted and not started: somebody must say so first, or the earlier attempt must end."""
    left: dict[str, str]
    """Not to run now and not done, each with the reason."""
    new_run: bool
    resumed_from: int | None
    """The run this one goes on with, or takes over from."""
    same_plan: bool
    gone: tuple[str, ...] = ()
    """Steps of the earlier run that are no longer in the graph."""
    stale: Mapping[str, Completion] = field(default_factory=dict)
    """Steps whose planned fingerprint differs from that of their last completion."""
    asks: frozenset[str] = frozenset()
    """Of `undecided`, what only `rerun_interrupted` starts; the rest starts once its earlier attempt has ended."""
    still_running: frozenset[str] = frozenset()
    """Interrupted steps whose earlier attempt has not ended; those that were asked for are `undecided`."""


def goes_on(resume: Resume, selection: Selection, previous: ExecutionState | None) -> bool:
    if selection.needs_a_run and previous is None:
        raise NothingToResume
    if previous is None:
        return False
    if selection.needs_a_run or resume == "always":
        return True
    return resume == "unfinished" and previous.status is not RunStatus.COMPLETED


def decide(
    graph: StepGraph,
    previous: ExecutionState | None,
    fingerprints: Mapping[str, Planned],
    *,
    plan_hash: str,
    resume: Resume,
    selection: Selection = EVERYTHING,
    lost: Collection[str] = (),
) -> Decision:
    """Raises `UnknownStep`, `NeedsNotMet` and `NothingToResume`; `lost` are steps whose recorded output is gone.

    `previous` is the newest run of the same profile, settled: nothing in it is in progress.
    """
    for id in selection.named:
        if id not in graph:
            raise UnknownStep(id)
    resumes = goes_on(resume, selection, previous)
    same_plan = previous is not None and previous.plan_hash == plan_hash
    deciding = _Deciding(graph, previous, fingerprints, selection, resumes, frozenset(lost))
    new_run = not resumes or not same_plan
    steps = deciding.steps(new_run)
    deciding.refuse_unmet_needs(steps)
    return Decision(
        steps=steps,
        to_run=deciding.to_run,
        conditional=frozenset(deciding.conditional),
        asked=frozenset(deciding.asked),
        undecided=tuple(deciding.undecided),
        left=deciding.left,
        new_run=new_run,
        resumed_from=previous.run if previous is not None and resumes else None,
        same_plan=same_plan,
        gone=tuple(id for id in previous.steps if id not in graph)
        if previous is not None and resumes
        else (),
        stale=deciding.stale,
        asks=frozenset(id for id in deciding.undecided if graph[id].on_interrupt == "ask"),
        still_running=frozenset(deciding.still_running),
    )


class _Deciding:
    """The one pass over the graph, and what it finds on the way."""

    def __init__(
        self,
        graph: StepGraph,
        previous: ExecutionState | None,
        fingerprints: Mapping[str, Planned],
        selection: Selection,
        resumes: bool,
        lost: frozenset[str],
    ) -> None:
        self.graph = graph
        self.old = dict(previous.steps) if previous is not None else {}
        self.planned = {id: fingerprints[id].fingerprint for id in graph.steps}
        self.selection = selection
        self.resumes = resumes
        self.still_running = {
            id for id in selection.still_running if id in graph and self._status(id) is StepStatus.INTERRUPTED
        }
        self.lost = {id for id in lost if self._completion(id) is not None}
        for id in self.lost:
            # A completion counts only while its output is there; else the start of the step could find it equal.
            self.old[id] = replace(self.old[id], completion=None, output=None)
        self.stale: dict[str, Completion] = {}
        self.holds = self._what_holds()
        self.again = graph.all_behind(selection.continue_from)
        self.asked = self._asked()
        self.needed = self._needed_by_asked()
        self.to_run: dict[str, str] = {}
        self.conditional: set[str] = set()
        self.undecided: list[str] = []
        self.left: dict[str, str] = {}

    def _what_holds(self) -> set[str]:
        """Steps whose last completion is still right: inputs, output, and the outputs it was made from."""
        holds = set[str]()
        for id, step in self.graph.steps.items():
            done = self._completion(id)
            if done is None or not step.enabled:
                continue
            if done.planned != self.planned[id]:
                self.stale[id] = done
            elif all(need in holds for need in self.graph.needs[id]) and self._is_made_from_what_is(id, done):
                holds.add(id)
        return holds

    def _is_made_from_what_is(self, id: str, done: Completion) -> bool:
        found = {need: self._completion(need) for need in self.graph.needs[id]}
        outputs = {need: made.digest for need, made in found.items() if made is not None}
        return done.full == full(done.planned, outputs, done.late)

    def _completion(self, id: str) -> Completion | None:
        old = self.old.get(id)
        return None if old is None else old.completion

    def _status(self, id: str) -> StepStatus | None:
        old = self.old.get(id)
        return None if old is None else old.status

    def _is_kept(self, id: str) -> bool:
        return self._status(id) is StepStatus.COMPLETED and id in self.holds

    # What is asked for

    def _asked(self) -> set[str]:
        chosen = self.selection.steps
        asked = {
            id for id, step in self.graph.steps.items() if step.enabled and (chosen is None or id in chosen)
        }
        if self.selection.continue_from:
            asked &= self.again
        if self.selection.retry_failed:
            asked &= self._to_retry()
        if self.selection.with_needs:
            asked |= self._unmet_before(asked)
        return asked

    def _to_retry(self) -> set[str]:
        # Whatever is blocked, not only what is behind a failure: its cause may be mended or gone by now.
        retried = {id for id in self.graph.steps if self._status(id) in _KEPT_AS_THEY_ARE}
        return retried | self._unmet_before(retried)

    def _unmet_before(self, ids: set[str]) -> set[str]:
        """What these wait for that will not be completed as it stands, and what that waits for in turn."""
        unsettled = self._unsettled_by(ids)
        found, todo = set[str](), list(ids)
        while todo:
            id = todo.pop()
            unmet = [need for need in self.graph.needs[id] if need in unsettled]
            unmet += [before for before in self.graph.after[id] if self._completion(before) is None]
            todo += [before for before in unmet if before not in found and before not in ids]
            found.update(unmet)
        return found

    def _unsettled_by(self, ids: set[str]) -> set[str]:
        """What does not hold, or may not once these have run: between two of them may stand one that was not asked."""
        found = set[str]()
        for id in self.graph.steps:
            runs = id in ids and (not self.resumes or id in self.again or not self._is_kept(id))
            if runs or id not in self.holds or any(need in found for need in self.graph.needs[id]):
                found.add(id)
        return found

    # What becomes of each step

    def steps(self, new_run: bool) -> dict[str, StepExecution]:
        return {id: self._found(id, step.enabled, new_run) for id, step in self.graph.steps.items()}

    def _found(self, id: str, enabled: bool, new_run: bool) -> StepExecution:
        if id in self.still_running:
            return self._kept_from_a_second_start(id)
        return self._step(id, new_run) if enabled else self._skipped(id)

    def _kept_from_a_second_start(self, id: str) -> StepExecution:
        """Also in a new run and where nobody asks for it: by its key and attempt it is found again next time."""
        if id in self.asked:
            self.undecided.append(id)
        else:
            self.left[id] = "still running"
        return replace(self.old[id], planned=self.planned[id])

    def _skipped(self, id: str) -> StepExecution:
        old = self.old.get(id) or StepExecution(id)
        base = _pending(old, fresh=False, reason="disabled")
        return replace(base, status=StepStatus.SKIPPED, planned=self.planned[id])

    def _step(self, id: str, new_run: bool) -> StepExecution:
        planned, step = self.planned[id], self.old.get(id)
        if step is None:
            step = StepExecution(id, planned=planned)
        elif step.planned != planned:
            step = replace(step, planned=planned)
        if id in self.asked:
            return self._asked_step(id, step, new_run)
        if not self.resumes:
            return self._left_by_new_run(id, step)
        return self._left_by_resume(id, step, new_run)

    def _asked_step(self, id: str, step: StepExecution, new_run: bool) -> StepExecution:
        if self.resumes and step.status is StepStatus.INTERRUPTED and self._must_ask(id):
            self.undecided.append(id)
            return step
        if not self.resumes or id in self.again:
            return self._afresh(id, step)
        runs_before = [need for need in self.graph.needs[id] if need in self.to_run]
        if self._is_kept(id) and not runs_before:
            return _taken_over(step, afresh=True) if new_run else step
        if not step.fresh and self._may_still_hold(id, runs_before):
            self.conditional.add(id)
        is_left_as_it_is = step.status in _KEPT_AS_THEY_ARE
        why = self.to_run[id] = _why_again(step) if is_left_as_it_is else self._why(id, runs_before)
        return replace(step, reason=why) if is_left_as_it_is else _pending(step, reason=why)

    def _afresh(self, id: str, step: StepExecution) -> StepExecution:
        """By a command that takes nothing over."""
        why = self.to_run[id] = "asked for" if self.resumes else "new run"
        if self.resumes and step.status in _KEPT_AS_THEY_ARE:
            return replace(step, fresh=True, key=None, reason=why)
        attempt = step.attempt if self.resumes else 0
        return _pending(step, fresh=True, keeps_key=False, attempt=attempt, reason=why)

    def _may_still_hold(self, id: str, runs_before: list[str]) -> bool:
        if id in self.holds:
            return True
        return bool(runs_before) and self._completion(id) is not None and id not in self.stale

    def _must_ask(self, id: str) -> bool:
        # Who names the step itself has decided; what is only behind it is still in doubt.
        is_decided = self.selection.reruns(id) or id in self.selection.continue_from
        return self.graph[id].on_interrupt == "ask" and not is_decided

    def _why(self, id: str, runs_before: list[str]) -> str:
        if id in self.stale:
            return "inputs changed"
        if id in self.lost:
            return "its output is missing or not what it should be"
        if runs_before and self._completion(id) is not None:
            return f"if {runs_before[0]} changes"
        if self._status(id) is None:
            return "new in the plan"
        if self._status(id) is StepStatus.COMPLETED:
            return "what it needs changed"
        return "did not run yet" if self._completion(id) is None else "asked for, and did not run yet"

    def _left_by_new_run(self, id: str, step: StepExecution) -> StepExecution:
        """Not asked for by a new run: taken over where it still holds, else left as it is."""
        if id in self.selection.left_pending:
            self.left[id] = "a later stage than those selected"
            if step.status in _KEPT_AS_THEY_ARE:
                return replace(step, fresh=True, attempt=0)
            return _pending(step, fresh=True, attempt=0)
        return self._left(id, replace(step, attempt=0) if step.attempt else step, take_over=True)

    def _left_by_resume(self, id: str, step: StepExecution, new_run: bool) -> StepExecution:
        return self._left(id, step, take_over=new_run)

    def _left(self, id: str, step: StepExecution, *, take_over: bool) -> StepExecution:
        runs_before = [need for need in self.graph.needs[id] if need in self.to_run or need in self.left]
        if (
            id in self.holds
            and not runs_before
            and (id in self.needed or step.status is StepStatus.COMPLETED)
        ):
            changed = take_over or step.status is not StepStatus.COMPLETED
            return _taken_over(step, afresh=take_over) if changed else step
        self.left[id] = (
            self._why(id, runs_before) if step.status is StepStatus.COMPLETED else step.status.value
        )
        if step.status in _KEPT_AS_THEY_ARE:
            return step
        return _pending(step)

    def _needed_by_asked(self) -> set[str]:
        """Everything the asked steps need, over needs alone: only results must be current."""
        found, todo = set[str](), list(self.asked)
        while todo:
            for need in self.graph.needs[todo.pop()]:
                if need not in found:
                    found.add(need)
                    todo.append(need)
        return found

    # What would never start

    def refuse_unmet_needs(self, steps: Mapping[str, StepExecution]) -> None:
        missing: dict[str, list[str]] = {}
        for id in self.to_run:
            unmet = [n for n in self.graph.needs[id] if n not in self.asked and not steps[n].is_done]
            unmet += [a for a in self.graph.after[id] if a not in self.asked and steps[a].completion is None]
            if unmet:
                missing[id] = unmet
        if missing:
            raise NeedsNotMet(missing)


def _pending(
    step: StepExecution,
    *,
    fresh: bool | None = None,
    keeps_key: bool = True,
    attempt: int | None = None,
    reason: str | None = None,
) -> StepExecution:
    """Left to run; its last completion, output and attempts go along."""
    return StepExecution(
        step.name,
        attempt=step.attempt if attempt is None else attempt,
        output=step.output,
        reason=reason,
        planned=step.planned,
        full=step.full,
        fresh=step.fresh if fresh is None else fresh,
        completion=step.completion,
        key=step.key if keeps_key and step.status is StepStatus.PENDING else None,
    )


def _taken_over(step: StepExecution, *, afresh: bool) -> StepExecution:
    """`afresh`: into another run, where attempts count anew; in the same run their keys and logs would meet again."""
    assert step.completion is not None
    return replace(
        step,
        status=StepStatus.COMPLETED,
        attempt=0 if afresh else step.attempt,
        error=None,
        error_type=None,
        blocked_by=None,
        fresh=False,
        reason=f"taken over from run {step.completion.run}",
        metadata={**step.metadata, "reused_from": step.completion.run},
    )


def _why_again(step: StepExecution) -> str:
    if step.status is StepStatus.BLOCKED:
        return f"was blocked by {step.blocked_by}"
    return {"failed": "failed", "cancelled": "was cancelled"}.get(step.status.value, "was interrupted")
