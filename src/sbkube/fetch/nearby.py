"""What a path may have meant that leads to nothing."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import PurePosixPath

from sbkube.errors import as_text

_MOST = 8


def nearby(path: str, names: Sequence[str]) -> list[str]:
    """What has the same name elsewhere, then what is there as far as the path leads."""
    last = PurePosixPath(path).name
    alike = [name for name in names if PurePosixPath(name).name == last][:3]
    here = _here(PurePosixPath(path).parent, names)
    close = difflib.get_close_matches(path, here, n=3, cutoff=0.5)
    return [as_text(name) for name in dict.fromkeys([*alike, *close, *here])][:_MOST]


def _here(folder: PurePosixPath, names: Sequence[str]) -> list[str]:
    while True:
        depth = len(folder.parts)
        parts = [PurePosixPath(name).parts for name in names]
        found = sorted({"/".join(p[: depth + 1]) for p in parts if p[:depth] == folder.parts})
        if found or not depth:
            return found
        folder = folder.parent
