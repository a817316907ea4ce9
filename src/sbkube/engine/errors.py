"""What can go wrong before, during or around a run. Every error carries a hint where one helps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path


class EngineError(Exception):
    """Base of every error the engine raises on purpose; `hint` says what to do."""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


class Transient(Exception):
    """Raised by a step whose failure is worth a retry, whatever its `Retry.when` says."""


class DuplicateStep(EngineError):
    """Two steps of one graph have the same id."""

    def __init__(self, step: str) -> None:
        super().__init__(f"step {step!r} is in the graph twice")
        self.step = step


class UnusableStepId(EngineError):
    """An id that cannot be written down."""

    def __init__(self, step: str, why: str) -> None:
        super().__init__(f"{step!r} cannot be the id of a step: {why}")
        self.step = step


class UnknownStep(EngineError):
    """A step, or the caller, names a step that is not in the graph."""

    def __init__(self, missing: str, *, needed_by: str | None = None) -> None:
        who = "" if needed_by is None else f"step {needed_by!r} needs "
        super().__init__(f"{who}{missing!r}{', which' if who else ''} is not in the graph")
        self.missing = missing
        self.needed_by = needed_by


class CyclicGraph(EngineError):
    """Steps that wait for each other can never start."""

    def __init__(self, path: Sequence[str]) -> None:
        super().__init__(f"steps need each other in a circle: {' -> '.join(path)}")
        self.path = tuple(path)


class UnknownPool(EngineError):
    """A step draws from a pool that the limits do not name."""

    def __init__(self, step: str, pool: str, known: Iterable[str]) -> None:
        names = ", ".join(sorted(known)) or "none"
        super().__init__(f"step {step!r} draws from pool {pool!r}; the limits name: {names}")
        self.step = step
        self.pool = pool


class NothingToResume(EngineError):
    """The command goes on with an earlier run, and there is none."""

    def __init__(self) -> None:
        super().__init__(
            "there is no earlier run to go on with", hint="start one: select no part of an earlier run"
        )


class NeedsNotMet(EngineError):
    """Selected steps need others that are neither selected nor completed as they stand now."""

    def __init__(self, missing: Mapping[str, Sequence[str]]) -> None:
        lines = [f"{step} needs {', '.join(needs)}" for step, needs in list(missing.items())[:10]]
        if len(missing) > 10:
            lines.append(f"and {len(missing) - 10} more steps")
        super().__init__("not selected and not completed as they stand now: " + "; ".join(lines))
        self.missing = {step: tuple(needs) for step, needs in missing.items()}


class StepAlreadyCompleted(EngineError):
    """`track_step` was asked for a step that is completed."""

    def __init__(self, step: str) -> None:
        super().__init__(f"step {step!r} is completed", hint="pass `rerun=True` to run it again")
        self.step = step


class IllegalMove(EngineError):
    """A step cannot go from the status it has to the one asked for."""

    def __init__(self, step: str, before: str, after: str) -> None:
        super().__init__(f"step {step!r} is {before}; it cannot become {after}")
        self.step = step
        self.before = before
        self.after = after


class ResultNotJson(EngineError):
    """What a step returned, or its metadata, cannot be recorded."""

    def __init__(self, why: str, what: str = "result") -> None:
        super().__init__(
            f"the {what} cannot be recorded: {why}", hint="return JSON, or write a file and return its path"
        )
        self.why = why
        self.what = what


class InputsNotJson(EngineError):
    """What steps depend on cannot be compared with a later run."""

    def __init__(self, what: str, why: str) -> None:
        super().__init__(
            f"{what} cannot be fingerprinted: {why}", hint="give JSON, or a digest of what it is"
        )
        self.what = what
        self.why = why


class InputsChanged(EngineError):
    """What a step depends on changed between planning and its start."""

    def __init__(self, what: Sequence[str]) -> None:
        super().__init__(
            f"inputs changed during the run: {', '.join(what)}", hint="resume the run, which plans anew"
        )
        self.what = tuple(what)


class TimeLimitExceeded(EngineError):
    """Something took longer than it may: an attempt, or what the engine asks of a step beside its body."""

    def __init__(self, seconds: float, what: str = "it", whose: str = "its time limit") -> None:
        super().__init__(f"{what} took longer than {whose} of {seconds:g} s")
        self.seconds = seconds
        self.what = what


class StepsFailed(EngineError):
    """Raised by `ExecutionState.raise_for_failures`: the root causes, by step."""

    def __init__(self, causes: Mapping[str, str | None]) -> None:
        told = "; ".join(f"{step}: {error}" if error else step for step, error in causes.items())
        super().__init__(f"{len(causes)} step{'s' if len(causes) != 1 else ''} did not complete: {told}")
        self.causes = dict(causes)


class NoExecution(EngineError):
    """The tracker was used before `start_execution`, after its end, or after its store went on to another."""

    def __init__(self, why: str = "no execution is open") -> None:
        super().__init__(why, hint="await `start_execution` first; a store carries one execution at a time")


class StoreError(EngineError):
    """Base of what can go wrong with the state itself."""


class RunLocked(StoreError):
    """Another process, or another store of this one, holds the run lock."""

    def __init__(self, path: Path, holder: str | None) -> None:
        who = holder or "a process that did not leave its name"
        super().__init__(
            f"{path} is locked by {who}", hint="wait for it to end, or end it; the lock goes with the process"
        )
        self.path = path
        self.holder = holder


class StateNotWritable(StoreError):
    """The state folder cannot be used at all; nothing was run."""

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(f"state cannot be kept in {path}: {why}", hint="choose another folder")
        self.path = path


class StateCorrupt(StoreError):
    """Records that were known durable cannot be read; nothing was changed."""

    def __init__(self, file: Path | str, seq: int, offset: int, why: str) -> None:
        super().__init__(
            f"{file}: record {seq} at byte {offset} is damaged: {why}",
            hint="restore the file from a backup, or move the state folder away and start a new run",
        )
        self.file = file
        self.seq = seq
        self.offset = offset


class StateTooNew(StoreError):
    """The state was written by a newer version; nothing was changed."""

    def __init__(self, file: Path | str, format: int, writer: str) -> None:
        super().__init__(
            f"{file} has format {format}, written by {writer}; this version reads up to format 1",
            hint="use that version or a newer one",
        )
        self.file = file
        self.format = format


class StateNotSaved(StoreError):
    """The disk did not take a record; what is named may have happened without being recorded."""

    def __init__(self, why: str, unsaved: Sequence[str] = ()) -> None:
        lost = f"; not saved: {', '.join(unsaved)}" if unsaved else ""
        super().__init__(
            f"the state could not be saved: {why}{lost}",
            hint="mend the disk, then resume the run: what was saved is not run again",
        )
        self.why = why
        self.unsaved = tuple(unsaved)


class Fenced(StoreError):
    """A newer process has taken over this state; this one must stop."""

    def __init__(self, path: Path | str) -> None:
        super().__init__(f"another process took over this run ({path} exists); this one stops")
        self.path = path
