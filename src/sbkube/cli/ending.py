"""The report at the end of a run: root causes first, what they held back, and the commands to go on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from signal import Signals
from types import MappingProxyType

from ..api import EVERYTHING, Asked
from ..engine.resume import Decision
from ..engine.runner import Why
from ..engine.state import ExecutionState, StepExecution, StepStatus
from ..leftovers import Leftover
from .console import UNICODE, Console, Marks, Style, clean, duration, plural
from .failures import run_exit_code
from .hints import selecting, still_runs, to_go_on
from .options import command_line
from .progress import error_lines, names

_IN_FULL = 5
_IN_SHORT = 20
_S = StepStatus
_NO_DOUBTS: Mapping[str, str] = MappingProxyType({})

Line = tuple[str, Style]
_EMPTY: Line = ("", "")


@dataclass(frozen=True, slots=True)
class Report:
    lines: tuple[Line, ...]
    exit_code: int
    commands: tuple[str, ...]
    """To go on, as they can be typed."""

    @property
    def text(self) -> str:
        return "\n".join(text for text, _ in self.lines)

    def print(self, console: Console) -> None:
        for text, style in self.lines:
            console.say(text, style)


def end_report(
    state: ExecutionState,
    decision: Decision,
    *,
    seconds: float,
    asked: Asked = EVERYTHING,
    flags: Sequence[str] = (),
    run_flags: Sequence[str] = (),
    leftovers: Mapping[str, Leftover] | None = None,
    signal: int | None = None,
    why: Why | None = None,
    log_path: Callable[[str, int], str | None] = lambda step, attempt: None,
    tail: Callable[[str], Sequence[str]] = lambda step: (),
    marks: Marks = UNICODE,
    doubts: Mapping[str, str] = _NO_DOUBTS,
) -> Report:
    """`flags` name the project in every hint, `run_flags` what else a run must repeat; `why` is that of the
    run's control; `tail` gives the last lines that a step logged; `doubts` says of interrupted steps why they
    could not be verified.
    """
    ending = _Ending(
        state,
        decision,
        seconds,
        asked,
        flags,
        run_flags,
        leftovers or {},
        signal,
        why,
        log_path,
        tail,
        marks,
        doubts,
    )
    return Report(tuple(ending.lines()), ending.exit_code, tuple(ending.commands()))


@dataclass(slots=True)
class _Ending:
    state: ExecutionState
    decision: Decision
    seconds: float
    request: Asked
    flags: Sequence[str]
    run_flags: Sequence[str]
    leftovers: Mapping[str, Leftover]
    signal: int | None
    why: Why | None
    log_path: Callable[[str, int], str | None]
    tail: Callable[[str], Sequence[str]]
    marks: Marks
    doubts: Mapping[str, str]

    @property
    def exit_code(self) -> int:
        return run_exit_code(self.state, self.decision, signal=self.signal, why=self.why)

    def asked(self, *statuses: StepStatus) -> list[StepExecution]:
        """Of the steps that count, those that ended so, in the order of the graph."""
        return [step for step in self.state.with_status(*statuses) if step.name in self.decision.asked]

    def not_asked(self, *statuses: StepStatus) -> list[StepExecution]:
        return [step for step in self.state.with_status(*statuses) if step.name not in self.decision.asked]

    @property
    def undone(self) -> int:
        return sum(1 for step in self.state.steps.values() if not step.is_done)

    # Lines

    def lines(self) -> list[Line]:
        if self.exit_code == 0:
            told: list[Line] = [(self._success(), "good"), *self._left()]
        else:
            told = [
                (self._headline(), "bad"),
                *self._roots(),
                *self._blocked(),
                *self._one_line("stopped while they ran", self.asked(_S.CANCELLED)),
                *self._not_repeated(),
                *self._one_line("not started", [s for s in self.asked(_S.PENDING) if s.error is None]),
                *self._undecided(),
                *self._left(),
            ]
        return [*told, *self._how_to_go_on()]

    def _success(self) -> str:
        run, total = self.state.run, plural(self._total, "step")
        if self.undone:
            done = len(self.state.with_status(_S.COMPLETED))
            return f"{self._did()}; run {run} is {self.state.status}: {done} of {total} completed"
        if not self.decision.to_run:
            return f"nothing left to do: all {total} of run {run} are completed"
        return f"completed run {run}: {total} {self._how()}"

    def _did(self) -> str:
        """The run goes on, or failed elsewhere: this process has done its part."""
        if not self.decision.to_run:
            return "nothing left of what was asked for"
        return f"did all that was asked for {self._how()}"

    def _how(self) -> str:
        counts = Counter(step.status for step in self.state.steps.values())
        ran = sum(1 for id in self.decision.to_run if self._ran(self.state.steps[id]))
        kept, disabled = counts[_S.COMPLETED] - ran, counts[_S.SKIPPED]
        parts = [f"{ran} ran", *([f"{kept} kept"] if kept else ())]
        parts += [f"{disabled} disabled"] if disabled else []
        return f"in {duration(self.seconds)} ({', '.join(parts)})"

    @property
    def _total(self) -> int:
        return len(self.state.steps) - len(self.state.with_status(_S.SKIPPED))

    @staticmethod
    def _ran(step: StepExecution) -> bool:
        return step.status is _S.COMPLETED and "reused_from" not in step.metadata

    def _headline(self) -> str:
        counts = Counter(
            step.status for step in self.state.steps.values() if step.name in self.decision.asked
        )
        done = f"{counts[_S.COMPLETED]} of {plural(counts.total(), 'step')} completed"
        rest = [f"{counts[status]} {word}" for status, word in _COUNTED if counts[status]]
        return f"run {self.state.run} {self._what_happened()}: {', '.join((done, *rest))}"

    def _what_happened(self) -> str:
        after = duration(self.seconds)
        if self.signal is not None:
            return f"was ended by {Signals(self.signal).name} after {after}"
        if self.why == "deadline":
            return f"was stopped at its deadline after {after}"
        if self.why == "state":
            return f"ended after {after}, since its state could not be saved"
        if self.why == "disk":
            return f"ended after {after}, since the disk of its state folder takes nothing more"
        if self.exit_code == 1:
            return f"failed after {after}"
        return "needs a decision" if self._in_doubt != self._still_running else "waits for what still runs"

    def _roots(self) -> list[Line]:
        failed = self.asked(_S.FAILED)
        told = [line for step in failed[:_IN_FULL] for line in self._root(step)]
        short = failed[_IN_FULL : _IN_FULL + _IN_SHORT]
        told += [_EMPTY] if short else []
        told += [
            (f"{self.marks.failed} {step.name}: {error_lines(step.error, 2)[0]}", "bad") for step in short
        ]
        more = len(failed) - _IN_FULL - _IN_SHORT
        if more > 0:
            told.append((f"and {plural(more, 'more failed step')}", "bad"))
        return told

    def _root(self, step: StepExecution) -> list[Line]:
        again = f", attempt {step.attempt}" if step.attempt > 1 else ""
        after = f" after {duration(step.duration)}{again}" if step.duration is not None else ""
        told: list[Line] = [_EMPTY, (f"{self.marks.failed} {step.name} failed{after}", "bad")]
        told += [(f"    {line}", "") for line in error_lines(step.error, 20)]
        told += [(f"    | {clean(line)}", "dim") for line in self.tail(step.name)]
        log = self.log_path(step.name, step.attempt)
        if log:
            told.append((f"    log: {log}", "dim"))
        return told

    def _blocked(self) -> list[Line]:
        by: dict[str, list[str]] = {}
        for step in self.asked(_S.BLOCKED):
            by.setdefault(step.blocked_by or "another step", []).append(step.name)
        mark = self.marks.blocked
        lines: list[Line] = [
            (f"{mark} blocked by {cause}: {names(ids)}", "warn") for cause, ids in by.items()
        ]
        return [_EMPTY, *lines] if lines else []

    def _not_repeated(self) -> list[Line]:
        """An attempt failed, and before the next the run ended."""
        waiting = [step for step in self.asked(_S.PENDING) if step.error is not None]
        mark = self.marks.retry
        return [
            (f"{mark} {step.name} was not repeated after: {error_lines(step.error, 2)[0]}", "warn")
            for step in waiting
        ]

    def _one_line(self, what: str, steps: Sequence[StepExecution]) -> list[Line]:
        return [(f"{what}: {names([step.name for step in steps], 5)}", "warn")] if steps else []

    def _undecided(self) -> list[Line]:
        lines: list[Line] = []
        for step in self._still_running:
            text = f"{self.marks.question} {step.name} {still_runs(self.leftovers[step.name])}"
            lines.append((text, "warn"))
        for step in (step for step in self._in_doubt if step not in self._still_running):
            when = f" (started {step.started_at})" if step.started_at else ""
            text = f"{self.marks.question} {step.name} was running when its process died{when}"
            lines.append((f"{text}; what it did is not known", "warn"))
            if step.name in self.doubts:
                lines += [(f"    {line}", "") for line in error_lines(self.doubts[step.name], 20)]
        return lines

    @property
    def _in_doubt(self) -> list[StepExecution]:
        open_questions = {*self.decision.undecided, *self.doubts}
        return [step for step in self.state.with_status(_S.INTERRUPTED) if step.name in open_questions]

    @property
    def _still_running(self) -> list[StepExecution]:
        return [step for step in self._in_doubt if step.name in self.decision.still_running]

    def _left(self) -> list[Line]:
        broken = self.not_asked(_S.FAILED, _S.CANCELLED, _S.INTERRUPTED)
        waiting = self.not_asked(_S.PENDING, _S.BLOCKED)
        return [
            *self._one_line("did not complete earlier and not asked for now", broken),
            *self._one_line("left for later", waiting),
        ]

    # Commands

    def _how_to_go_on(self) -> list[Line]:
        told = self._commands_and_why()
        if not told:
            return []
        width = max(len(command) for command, _ in told)
        lines: list[Line] = [(f"  {command:<{width}}  # {why}", "strong") for command, why in told]
        return [_EMPTY, *lines]

    def commands(self) -> list[str]:
        return [command for command, _ in self._commands_and_why()]

    def _commands_and_why(self) -> list[tuple[str, str]]:
        if not self.undone:
            return []
        logs = [s.name for s in self.asked(_S.FAILED) if self.log_path(s.name, s.attempt)]
        told = [(command_line("logs", id, *self.flags), f"what {id} printed") for id in logs[:3]]
        again = [self._resume(())] if self.doubts else []
        return [*again, self._resume(self.doubts), *told]

    def _resume(self, unverified: Collection[str]) -> tuple[str, str]:
        next = to_go_on(self.request, self.decision, self.state, unverified)
        command = command_line("run", *selecting(next.asked), *self.flags, *self.run_flags)
        if self.doubts and not unverified:
            return command, f"verifies {names(list(self.doubts))} once more"
        if not self._in_doubt:
            return command, f"runs {next.left}{next.of}"
        doubt = names([step.name for step in self._in_doubt])
        running = names([step.name for step in self._still_running])
        when = f"once {running} has ended: " if running else ""
        return command, f"{when}runs {doubt} again, and what is left{next.of}"


_COUNTED = (
    (_S.FAILED, "failed"),
    (_S.BLOCKED, "blocked"),
    (_S.CANCELLED, "cancelled"),
    (_S.INTERRUPTED, "in doubt"),
    (_S.PENDING, "not started"),
)
