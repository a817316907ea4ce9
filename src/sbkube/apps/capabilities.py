"""Which server a chart was rendered for, beside what came of it.

Where it goes to a cluster, a chart is rendered for that server's version and for the kinds it knows, as Helm does when it
installs; `helm template` alone takes what it was built with. Neither is an input of the plan, which is made without a
cluster. So it is kept with the output: one that was made for another version counts no longer, and for other kinds
only if the chart asks for them. Else each new definition, also one that the same run installed, would render everything anew.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from sbkube.apps.files import files_below
from sbkube.apps.rendered import write_private
from sbkube.helm.base import Capabilities
from sbkube.targets.base import Target

_FILE = "capabilities.json"
_ASKING = b"APIVersions"


def write_capabilities(folder: Path, known: Capabilities, chart: Path) -> None:
    """Blocking."""
    kinds = _digest(known) if asks_for_kinds(chart) else None
    made_for = {"kube_version": known.kube_version, "api_versions": kinds}
    write_private(folder / _FILE, json.dumps(made_for))


def are_current(folder: Path, target: Target) -> bool:
    """Blocking. Of a cluster that was not asked yet, nothing says otherwise."""
    made_for = _read(folder)
    if target.kind != "cluster":
        return made_for is None
    known = target.capabilities
    if known is None:
        return True
    if made_for is None or made_for["kube_version"] != known.kube_version:
        return False
    return made_for["api_versions"] in (None, _digest(known))


def asks_for_kinds(chart: Path) -> bool:
    """Whether a template may ask which kinds the server knows; a subchart in an archive may."""
    return any(path.suffix == ".tgz" or _ASKING in path.read_bytes() for _, path in files_below(chart))


def _digest(known: Capabilities) -> str:
    return hashlib.sha256("\n".join(sorted(known.api_versions)).encode()).hexdigest()


def _read(folder: Path) -> dict[str, Any] | None:
    path = folder / _FILE
    found: dict[str, Any] | None = json.loads(path.read_bytes()) if path.exists() else None
    return found
