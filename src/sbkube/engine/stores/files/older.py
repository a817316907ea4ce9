"""Run files of the sequential sbkube, which named them by UUID: left alone, and listed as far as they can be read."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...state import ExecutionState, RunStatus, StepExecution, StepStatus
from .disk import Disk

_OURS = re.compile(r"\..*|latest\.json|\d{6,}\.json")
_RUN_STATUS = {"completed": RunStatus.COMPLETED, "failed": RunStatus.FAILED}
_STEP_STATUS = {status.value: status for status in StepStatus}


def runs_of_older_versions(disk: Disk, runs: Path) -> list[ExecutionState]:
    """Newest first, by what they say of themselves."""
    names = [n for n in disk.names(runs) if n.endswith(".json") and not _OURS.fullmatch(n)]
    states = [_read(disk, runs / name) for name in names]
    known = [state for state in states if state is not None]
    return sorted(known, key=lambda state: state.started_at, reverse=True)


def _read(disk: Disk, path: Path) -> ExecutionState | None:
    try:
        written = json.loads(disk.read(path))
        steps = {name: _step(name, step) for name, step in written.get("steps", {}).items()}
        return ExecutionState(
            run_id=str(written["run_id"]),
            profile=written.get("profile"),
            namespace=written.get("namespace"),
            started_at=str(written["started_at"]),
            completed_at=written.get("completed_at"),
            status=_RUN_STATUS.get(str(written.get("status")), RunStatus.INTERRUPTED),
            steps=steps,
            config_hash=str(written.get("config_hash", "")),
            metadata=written.get("metadata") or {},
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _step(name: str, step: Mapping[str, Any]) -> StepExecution:
    return StepExecution(
        name,
        _STEP_STATUS.get(str(step.get("status")), StepStatus.PENDING),
        started_at=step.get("started_at"),
        completed_at=step.get("completed_at"),
        duration=step.get("duration"),
        error=step.get("error"),
        output=step.get("output"),
        metadata=step.get("metadata") or {},
    )
