"""How a command ends: every exit code there is, errors in words, and the report at the end of a run."""

from __future__ import annotations

import errno

from ..engine.errors import (
    EngineError,
    Fenced,
    RunLocked,
    StateCorrupt,
    StateNotSaved,
    StateNotWritable,
    StateTooNew,
    StepsFailed,
    TimeLimitExceeded,
)
from ..engine.resume import Decision
from ..engine.retry import leaves
from ..engine.runner import Why
from ..engine.state import ExecutionState, StepStatus
from ..errors import Busy, SbkubeError, TakenOver

OK = 0
STEP_FAILED = 1
OUTPUT_LOST = 1
USAGE = 2
LOCKED = 3
STATE_REFUSED = 4
STATE_LOST = 5
UNDECIDED = 6
FENCED = 7
INTERRUPTED = 130

_PRECEDENCE = (STATE_LOST, FENCED, STATE_REFUSED, LOCKED, USAGE, STEP_FAILED, UNDECIDED, OK)
_DISK = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO})
_CODES: tuple[tuple[type[BaseException], int], ...] = (
    (KeyboardInterrupt, INTERRUPTED),
    (Fenced, FENCED),
    (StateNotSaved, STATE_LOST),
    (StateNotWritable, STATE_LOST),
    (StateCorrupt, STATE_REFUSED),
    (StateTooNew, STATE_REFUSED),
    (RunLocked, LOCKED),
    (StepsFailed, STEP_FAILED),
    (TimeLimitExceeded, STEP_FAILED),
    (Busy, LOCKED),
    (TakenOver, FENCED),
    (EngineError, USAGE),
    (SbkubeError, USAGE),
)


def exit_code_of(error: BaseException) -> int:
    """Of several errors in a group, the one that matters most to who must act."""
    return first_of({_code(leaf) for leaf in leaves(error)})


def first_of(codes: set[int]) -> int:
    signals = sorted(code for code in codes if code > 128)
    ordered = [*signals, *(code for code in _PRECEDENCE if code in codes)]
    return ordered[0] if ordered else STEP_FAILED


def run_exit_code(
    state: ExecutionState, decision: Decision, *, signal: int | None = None, why: Why | None = None
) -> int:
    """Only steps that this process was asked to run count; `why` is that of the run's control."""
    if signal is not None:
        return 128 + signal
    if why in ("state", "disk"):
        return STATE_LOST
    codes = {_STEP_CODES.get(state.steps[id].status, OK) for id in decision.asked if id in state.steps}
    if why == "deadline":
        codes.add(STEP_FAILED)
    if any(state.steps[id].status is StepStatus.INTERRUPTED for id in decision.undecided):
        codes.add(UNDECIDED)
        codes.discard(OK)
    return first_of(codes - {OK}) if codes - {OK} else OK


_STEP_CODES = {
    StepStatus.FAILED: STEP_FAILED,
    StepStatus.CANCELLED: STEP_FAILED,
    StepStatus.INTERRUPTED: UNDECIDED,
}


def _code(error: BaseException) -> int:
    for kind, code in _CODES:
        if isinstance(error, kind):
            return code
    if isinstance(error, OSError):
        return STATE_LOST if error.errno in _DISK else USAGE
    # The errors of asyncclick and click, and SystemExit.
    own = getattr(error, "exit_code", getattr(error, "code", None))
    if isinstance(own, int):
        return own
    return INTERRUPTED if type(error).__name__ == "Abort" else STEP_FAILED


def describe_error(error: BaseException) -> tuple[str, str | None]:
    """What to tell, and a hint; of a group, the error that gives the exit code."""
    code = exit_code_of(error)
    error = next((leaf for leaf in leaves(error) if _code(leaf) == code), error)
    if isinstance(error, EngineError | SbkubeError):
        return str(error), error.hint
    if isinstance(error, OSError):
        return what_failed(error), "free some space, then run again" if error.errno in _DISK else None
    told = getattr(error, "format_message", None)
    if callable(told):
        return str(told()), None
    if isinstance(error, KeyboardInterrupt) or type(error).__name__ == "Abort":
        return "interrupted", None
    return f"internal error: {type(error).__name__}: {error}", BUG


BUG = "this is a bug in sbkube; please report it with the traceback"


def is_bug(error: BaseException) -> bool:
    """Nothing that anyone meant to raise: its traceback is worth showing."""
    return describe_error(error)[1] is BUG


def what_failed(error: OSError) -> str:
    what = (error.strerror or str(error) or type(error).__name__).lower()
    return f"{error.filename}: {what}" if error.filename is not None else what
