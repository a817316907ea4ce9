"""What is known from one command to the next, besides runs: a JSON object in a file of the state folder."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path


def kept(file: Path) -> dict[str, object]:
    """Empty where nothing, or nothing of use, was kept."""
    try:
        known = json.loads(file.read_bytes())
    except (FileNotFoundError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def keep(file: Path, known: Mapping[str, object]) -> None:
    """In place of what was kept before, whole or not at all. Only under the run lock."""
    fresh = file.with_name(f".{file.name}.unfinished")
    descriptor = os.open(fresh, os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w") as opened:
        json.dump(known, opened, indent=2, sort_keys=True)
        opened.write("\n")
        opened.flush()
        os.fsync(opened.fileno())
    fresh.replace(file)
