"""Folders of a directory target that are not yet or no longer in place, under names that readers pass over.

`.sbkube-new.APP.OWNER.N` was written or replaced, `.sbkube-old.APP.OWNER.N` put aside where two folders cannot change
places at once, `.sbkube-gone.APP.OWNER.N` pruned. OWNER stands for who made it: somebody else may be at work on his,
or have readers that are not done with it, so each mends only what he left himself.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote

from sbkube.targets.folders import folder_name, remove
from sbkube.targets.owned import Owner


class HiddenFolders:
    """Those of one owner."""

    def __init__(self, root: Path, owner: Owner) -> None:
        self._root = root
        self._mark = hashlib.sha256(repr((owner.project, owner.profile)).encode()).hexdigest()[:8]
        self._ours = re.compile(rf"\.sbkube-(new|old|gone)\.(.+)\.{self._mark}\.(\d+)")
        self._numbers = itertools.count(1)

    def fresh(self, kind: str, app: str) -> Path:
        return self._root / f".sbkube-{kind}.{folder_name(app)}.{self._mark}.{next(self._numbers)}"

    def mend(self, place: Callable[[str], Path], belongs_to_another: Callable[[str], bool]) -> None:
        """A folder that was put aside goes back if the new one never took its place; the rest goes."""
        found = filter(None, map(self._ours.fullmatch, os.listdir(self._root)))
        for name in sorted(found, key=lambda name: int(name[3]), reverse=True):
            path, app = self._root / name[0], unquote(name[2])
            if name[1] == "old" and not os.path.lexists(place(app)) and not belongs_to_another(app):
                os.rename(path, place(app))
            else:
                remove([path])
