"""What a run tells its listener: always of durable facts, in the order in which they became durable."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .fingerprints import Json
from .frozen import quickly_made
from .state import RunStatus, StepStatus


@dataclass(frozen=True, slots=True)
class RunStarted:
    """It is decided what runs, and nothing of it has begun."""

    run: int
    """The number that orders runs."""
    run_id: str
    """A UUID, for other tools."""
    resumed: bool
    """It goes on with an earlier run: the same, or one taken over because the plan changed."""
    resumed_from: int | None
    to_run: tuple[str, ...]
    """What this process is to run, in graph order."""
    total: int
    """Steps of the graph."""


@quickly_made
@dataclass(frozen=True, slots=True)
class StepStarted:
    """An attempt is durably in progress, and its body is about to run."""

    step: str
    attempt: int
    """Counts from 1 over all attempts of the run."""


@dataclass(frozen=True, slots=True)
class StepLogged:
    """What a body said by `StepContext.log`: not recorded, so told at once."""

    step: str
    attempt: int
    line: str


@dataclass(frozen=True, slots=True)
class StepRetrying:
    """An attempt failed, or a step could not be verified, and it is tried again."""

    step: str
    attempt: int
    """The attempt that failed."""
    error: str
    delay: float
    """Seconds until the next."""


@quickly_made
@dataclass(frozen=True, slots=True)
class StepFinished:
    """The end of a step in this process: COMPLETED, FAILED, CANCELLED, or still INTERRUPTED."""

    step: str
    status: StepStatus
    """INTERRUPTED: it could not be verified, was not started and stays as it was; `error` says why."""
    attempt: int = 0
    seconds: float | None = None
    """Of its last attempt; None if none began here."""
    error: str | None = None
    error_type: str | None = None
    """The name of the error's class."""
    reused_from: int | None = None
    """Taken over from that run without running."""
    output: Json = None
    metadata: Any = None


@dataclass(frozen=True, slots=True)
class StepBlocked:
    """It will not run in this process, since something that it waits for did not complete."""

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
    """The last event: all ends are recorded and the views are written."""

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


@dataclass(slots=True)
class Listener:
    """The function that is told, if there is one. What it raises stops nothing: the first of it is kept for the end."""

    hear: Callable[[Event], None] | None
    _raised: Exception | None = None

    def tell(self, event: Event) -> None:
        if self.hear is None:
            return
        try:
            self.hear(event)
        except Exception as error:  # noqa: BLE001 - raised again by `raise_kept`
            self._raised = self._raised or error

    def forget(self) -> None:
        """For who has a graver error to raise."""
        self._raised = None

    def raise_kept(self) -> None:
        """Once: then it is forgotten."""
        if self._raised is not None:
            error, self._raised = self._raised, None
            raise error
