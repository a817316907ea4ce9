"""What a run tells whoever asked for it: before it starts, when it starts, and how it ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sbkube.engine import Decision, ExecutionState
from sbkube.leftovers import Leftover
from sbkube.wiring import Planned

if TYPE_CHECKING:
    from sbkube.operations.facts import LiveFacts


@dataclass(frozen=True, slots=True)
class Preview:
    """What a run would do now, by the code that decides for the run itself."""

    planned: Planned
    decision: Decision
    previous: ExecutionState | None
    """The run it would go on with or come after; None if there is none."""
    changes: Mapping[str, list[str]]
    """By step, the inputs that differ from those of its last completion."""
    would_prune: tuple[str, ...]
    """Apps that the run would remove from the target if it completes, since the project has them no more."""
    leftovers: Mapping[str, Leftover]
    """By interrupted step, what still runs of it though its process is gone; such a step is not started."""
    live: LiveFacts | None
    """What the cluster has of the releases; None if that was not looked at, or the target is a folder."""


@dataclass(frozen=True, slots=True)
class Start(Preview):
    """What is known when it is decided what runs, and before anything does."""

    opened: ExecutionState
    helm: str | None
    """Which Helm renders and why; None if no app needs one."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended. A failed step is in the state, not an exception."""

    state: ExecutionState
    decision: Decision
    planned: Planned
    pruned: tuple[str, ...]
    """Apps whose objects were removed from the target, since the project has them no more."""
    leftovers: Mapping[str, Leftover]
    """As they were found at the start."""
    left_behind: tuple[str, ...] = ()
    """Releases in the cluster that no app of the project has any more; `prune` uninstalls them."""
    incomplete_logs: tuple[str, ...] = ()
    """Logs that could not be written to the end, in words. No step fails for that."""
