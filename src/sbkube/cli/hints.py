"""The commands that hints print: they mean the same project, and run no more than was asked for."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from sbkube.api import Asked, Request
from sbkube.cli.console import plural
from sbkube.cli.options import Where, command_line, flag
from sbkube.engine import (
    Decision,
    EngineError,
    ExecutionState,
    NeedsNotMet,
    NothingToResume,
    StateNotSaved,
    StateNotWritable,
    StepExecution,
    StepStatus,
)
from sbkube.engine.retry import leaves
from sbkube.leftovers import Leftover

_FEW = 5
"""Apps that a command may name where nobody named them."""


def run_flags(request: Request) -> list[str]:
    """What a run that goes on must repeat, beside which project it is and what of it."""
    target = ["--target", request.target] if request.target is not None else []
    accept = ["--accept-target-change"] if request.accept_target_change else []
    pending = ["--pending", request.pending] if request.pending != "ours" else []
    return [*target, *accept, *pending, *(["--force"] if request.force else [])]


def selecting(asked: Asked) -> list[str]:
    """The flags that say again what was asked for."""
    words = [flag(name) for name in ("resume", "retry_failed") if getattr(asked, name)]
    for name in ("continue_from", "only", "from_step", "to_step"):
        value = getattr(asked, name)
        words += [flag(name), value] if value else []
    words += [word for app in asked.apps for word in ("--app", app)]
    words += [word for label in asked.labels for word in ("-l", label)]
    words += ["--with-needs"] if asked.with_needs else []
    again = asked.rerun_interrupted
    every = ["--rerun-interrupted"] if again else []
    return words + (every if isinstance(again, bool) else [f"--rerun-interrupted={id}" for id in again])


# After a run


@dataclass(frozen=True, slots=True)
class Next:
    """How to go on with a run that is not complete."""

    asked: Asked
    left: str = "what is left"
    of: str = ""


def to_go_on(
    asked: Asked, decision: Decision, state: ExecutionState, unverified: Collection[str] = ()
) -> Next:
    """The whole run where no more of it is left than was asked for, else what is left of that."""
    left = [step for step in state.steps.values() if not step.is_done]
    mine = [step for step in left if step.name in decision.asked]
    again = _to_rerun(asked, {*decision.asks, *unverified}, decision, state)
    every = Next(Asked(resume=True, rerun_interrupted=again), f"the {plural(len(left), 'step')} left")
    if not mine or len(mine) == len(left):
        return every
    if not asked.continue_from and not _retry_would_miss(asked, mine):
        scope = replace(asked, resume=not asked.retry_failed, rerun_interrupted=again)
        return Next(scope, f"the {plural(len(mine), 'step')} left", " of those asked for")
    # To say the same once more would run again what has completed, or miss something.
    apps = tuple(dict.fromkeys(step.name.rpartition(":")[0] for step in mine))
    if len(apps) > _FEW:
        return every
    scope = replace(every.asked, only=asked.only, from_step=asked.from_step, to_step=asked.to_step, apps=apps)
    return Next(scope, of=f" of {', '.join(apps)}")


def _retry_would_miss(asked: Asked, left: list[StepExecution]) -> bool:
    """A step between two attempts has not failed."""
    return asked.retry_failed and any(step.status is StepStatus.PENDING and step.error for step in left)


def _to_rerun(
    asked: Asked, in_doubt: set[str], decision: Decision, state: ExecutionState
) -> bool | tuple[str, ...]:
    """What is in doubt, and what was to run again and did not start; by name where others are interrupted."""
    interrupted = [step.name for step in state.with_status(StepStatus.INTERRUPTED)]
    wanted = {*in_doubt, *(decision.to_run if asked.rerun_interrupted else ())}
    found = tuple(id for id in interrupted if id in wanted)
    return len(found) > 0 if len(found) == len(interrupted) else found


def still_runs(left: Leftover) -> str:
    return f"still runs, left by a run that died: {left}; wait until it ends, or end it with `{left.kill}`"


# With an error


@contextmanager
def naming_commands(request: Request, where: Where) -> Iterator[None]:
    """What the engine tells a program to do, the command line tells a person to type."""
    try:
        yield
    except BaseException as error:
        for leaf in leaves(error):
            if isinstance(leaf, EngineError):
                leaf.hint = _hint(leaf, request, where) or leaf.hint
        raise


def _hint(error: EngineError, request: Request, where: Where) -> str | None:
    def run(*words: str) -> str:
        return f"`{command_line('run', *words, *where.flags, *run_flags(request))}`"

    asked = request.asked
    match error:
        case NeedsNotMet():
            return f"{run(*selecting(replace(asked, with_needs=True)))} runs them too"
        case NothingToResume():
            anew = replace(asked, retry_failed=False, continue_from=None, rerun_interrupted=False)
            return f"{run(*selecting(anew))} starts one"
        case StateNotSaved():
            again = replace(asked, resume=not asked.retry_failed, continue_from=None)
            return f"mend the disk, then {run(*selecting(again))}: what was saved is not run again"
        case StateNotWritable():
            return "choose another folder with `--state-dir`"
    return None
