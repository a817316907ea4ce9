"""What `delete`, `rollback` and `prune` did to releases after the run that a status tells of.

For people: whether a deploy still holds, the cluster is asked. So what cannot be read or written here is left out.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sbkube.engine import ExecutionState
from sbkube.engine.state import now
from sbkube.kept import keep, kept

_FILE = "since.json"


@dataclass(frozen=True, slots=True)
class Since:
    app: str
    profile: str | None
    release: str
    namespace: str
    to: int | None
    """The revision that it was rolled back to; None: it was uninstalled."""
    at: str
    """RFC 3339."""

    @property
    def _of(self) -> tuple[str | None, str, str, str]:
        return self.profile, self.app, self.namespace, self.release


def note(
    folder: Path, *, app: str, profile: str | None, release: str, namespace: str, to: int | None
) -> None:
    """Blocking; whoever calls it holds the run lock of the state folder and writes one at a time."""
    noted = Since(app, profile, release, namespace, to, now())
    known = [*(one for one in _noted(folder) if one._of != noted._of), noted]
    with suppress(OSError):
        keep(folder / _FILE, {"releases": [asdict(one) for one in known]})


def since(folder: Path, state: ExecutionState) -> list[Since]:
    """Blocking: what was done to what the run has deployed."""
    return [one for one in _noted(folder) if one.profile == state.profile and _is_newer(one, state)]


def _is_newer(one: Since, state: ExecutionState) -> bool:
    step = state.steps.get(f"{one.app}:deploy")
    return step is not None and (step.started_at or "") < one.at


def _noted(folder: Path) -> Iterable[Since]:
    found: Any = kept(folder / _FILE).get("releases")
    try:
        return [Since(**one) for one in found or ()]
    except TypeError:
        return []  # of another version
