"""What a run tells its listener: always of durable facts, in the order in which they became durable."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .fingerprints import Json
from .frozen import quickly_made
from .state import RunStatus, StepStatus


@dataclass(frozen=True, slots=True)
class RunStarted:
    run: int
    run_id: str
    resumed: bool
    """It goes on with an earlier run: the same, or one taken over because the plan changed."""
    resumed_from: int | None
    to_run: tuple[str, ...]
    total: int


@quickly_made
@dataclass(frozen=True, slots=True)
class StepStarted:
    step: str
    attempt: int


@dataclass(frozen=True, slots=True)
class StepLogged:
    step: str
    attempt: int
    line: str


@dataclass(frozen=True, slots=True)
class StepRetrying:
    step: str
    attempt: int
    """The attempt that failed."""
    error: str
    delay: float
    """Seconds until the next."""


@quickly_made
@dataclass(frozen=True, slots=True)
class StepFinished:
    step: str
    status: StepStatus
    """INTERRUPTED: it could not be verified, was not started and stays as it was; `error` says why."""
    attempt: int = 0
    seconds: float | None = None
    error: str | None = None
    error_type: str | None = None
    reused_from: int | None = None
    """Taken over from that run without running."""
    output: Json = None
    metadata: Any = None


@dataclass(frozen=True, slots=True)
class StepBlocked:
    step: str
    by: str
    """The root cause: the step that failed, was cancelled or waits for a decision."""


@dataclass(frozen=True, slots=True)
class RunDraining:
    """Nothing more is started."""

    running: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RunStopping:
    """What runs is being cancelled."""

    running: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RunFinished:
    run: int
    status: RunStatus


Event = (
    RunStarted
    | StepStarted
    | StepLogged
    | StepRetrying
    | StepFinished
    | StepBlocked
    | RunDraining
    | RunStopping
    | RunFinished
)
