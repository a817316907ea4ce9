"""A step: one unit of work, what it waits for, and how it is repeated, limited and resumed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, Literal

from .fingerprints import Json
from .frozen import quickly_made
from .retry import Retry

ONCE = Retry()
OnInterrupt = Literal["rerun", "verify", "ask"]


@dataclass(slots=True)
class StepContext:
    """What a body sees and says while it runs."""

    id: str
    attempt: int
    """Counts from 1 and goes on over retries and resumes of one run."""
    run: int
    key: str
    """The same while an interrupted or failed attempt is repeated, new when the step starts afresh."""
    results: Mapping[str, Json]
    """What each completed need returned, also in an earlier process."""
    say: Callable[[str], None] = field(repr=False)
    result: Json = None
    """What is recorded if the body returns None."""
    metadata: dict[str, Any] = field(default_factory=dict)
    """JSON, recorded with the end of the step, whatever the end."""

    def log(self, line: str) -> None:
        """Tells the listener of the run one line; nothing of it is recorded."""
        self.say(line)


Body = Callable[[StepContext], Awaitable[object]]


@quickly_made
@dataclass(frozen=True, slots=True)
class Step:
    """`Step("load", load, needs=["extract"])`. Without a body it is a gate: it completes when its needs have."""

    id: str
    body: Body | None = None
    _: KW_ONLY
    needs: Sequence[str] = ()
    """Must be completed, and their results are inputs."""
    after: Sequence[str] = ()
    """Must be completed, and are no inputs."""
    inputs: Json = None
    """What the result depends on; the keys of a mapping are the names by which a change is told."""
    late_inputs: Callable[[Mapping[str, Json]], Awaitable[Json]] | None = None
    """Awaited when the step is about to start, with what its needs returned; what it returns joins the full fingerprint."""
    reads: Collection[str] = ()
    """Of `needs`, those of whose output only that counts which `late_inputs` returns: a part of it, for example."""
    pools: Sequence[str] = ()
    time_limit: float | None = None
    """Seconds: for the body at each attempt, and for each of `late_inputs`, `verify` and `output_holds`."""
    retry: Retry = ONCE
    on_interrupt: OnInterrupt = "rerun"
    verify: Callable[[StepContext], Awaitable[bool]] | None = None
    """Awaited before a start after an interruption if `on_interrupt` is "verify"; True: it is completed.

    It gets the context of the interrupted attempt; the result that it leaves there is recorded. What it raises is
    repeated as `retry` says; then the step stays INTERRUPTED, and the next resume asks again.
    """
    output_holds: Callable[[Json], Awaitable[bool]] | None = None
    """Given the recorded result; False: what it stands for is gone, so the step is pending again."""
    enabled: bool = True
    """A disabled step is SKIPPED, and counts as met once its own needs are."""
    weight: float = 1.0
    """Its share of the longest remaining path, in any unit."""
