"""One execution in hand: what it started from and what became of it, as a state and as the head of a journal."""

from __future__ import annotations

from dataclasses import dataclass

from .... import __version__
from ...fingerprints import Json
from ...state import FORMAT, ExecutionState, RunStatus, StepExecution
from ..base import Opening
from .lock import Holder
from .recovery import Recovered


@dataclass(slots=True)
class Execution:
    opening: Opening
    recovered: Recovered | None
    run: int
    steps: dict[str, StepExecution]
    seq: int = 0
    generation: int = 0
    """Counts the journals it was continued in."""
    ended_at: str | None = None

    def state(self, journal: int, status: RunStatus) -> ExecutionState:
        opening = self.opening
        return ExecutionState(
            run_id=opening.run_id,
            profile=opening.profile,
            namespace=opening.namespace,
            started_at=opening.started_at,
            completed_at=self.ended_at,
            status=status,
            steps=dict(self.steps),
            config_hash=opening.config_hash,
            metadata=opening.metadata,
            run=self.run,
            journal=journal,
            seq=self.seq,
            plan_hash=opening.plan.hash,
            resumed_from=opening.resumed_from,
        )

    def head(self, holder: Holder) -> dict[str, Json]:
        opening, known = self.opening, self.recovered
        head = {
            "format": FORMAT,
            "writer": f"sbkube {__version__}",
            "run": self.run,
            "run_id": opening.run_id,
            "profile": opening.profile,
            "namespace": opening.namespace,
            "started_at": opening.started_at,
            "config_hash": opening.config_hash,
            "metadata": opening.metadata,
            "plan": opening.plan.hash,
            "resumed_from": opening.resumed_from,
            "from": None if known is None else [known.state.journal, known.state.seq],
            "command": opening.command,
            "holder": holder.to_record(),
            "steps": {id: step.to_record() for id, step in self.steps.items()},
        }
        return head if self.ended_at is None else {**head, "ended_at": self.ended_at}
