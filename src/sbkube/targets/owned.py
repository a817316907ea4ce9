"""Which folders of a directory target are ours: `.sbkube-apps.json`, the only ones we replace or prune.

An app is named before its folder appears. A crash in between leaves a name without a folder, which does no
harm and goes at the next start; the other way round we would meet our own folder as a stranger's.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Set as AbstractSet
from pathlib import Path

from sbkube.errors import SbkubeError

APPS_FILE = ".sbkube-apps.json"
_FORMAT = 1


class AppsFileUnreadable(SbkubeError):
    """The list of our folders is not as we wrote it, so nothing there may be touched."""

    def __init__(self, file: Path, reason: str) -> None:
        super().__init__(
            f"cannot tell which folders of `{file.parent}` are sbkube's: `{file.name}` {reason}",
            hint=f"restore `{file}` from version control, or remove it together with the app folders",
        )
        self.file = file
        self.reason = reason


class OwnedApps:
    """Many threads may claim at once; one of them writes for all that wait."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / APPS_FILE
        self._temporary = folder / f"{APPS_FILE}.new"
        self._named: frozenset[str] = frozenset()
        self._asked: set[str] = set()  # each use is one atomic operation on the set
        self._writing = threading.Lock()

    @property
    def named(self) -> AbstractSet[str]:
        return self._named

    def load(self) -> None:
        self._temporary.unlink(missing_ok=True)
        try:
            text = self._file.read_bytes()
        except FileNotFoundError:
            self._named = frozenset()
        else:
            self._named = _parsed(self._file, text)

    def claim(self, app: str) -> None:
        """Returns when the app is named on disk."""
        self._asked.add(app)
        try:
            with self._writing:
                if app not in self._named:
                    self._write(self._named | self._asked.copy())
        finally:
            self._asked.discard(app)

    def drop(self, apps: AbstractSet[str]) -> None:
        with self._writing:
            if apps & self._named:
                self._write(self._named - apps)

    def _write(self, apps: frozenset[str]) -> None:
        text = json.dumps({"format": _FORMAT, "made_by": "sbkube", "apps": sorted(apps)}, indent=2) + "\n"
        with open(self._temporary, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fchmod(file.fileno(), 0o644)
            os.fsync(file.fileno())  # an empty list after a power failure would disown every folder
        os.replace(self._temporary, self._file)
        self._named = apps


def _parsed(file: Path, text: bytes) -> frozenset[str]:
    try:
        content = json.loads(text)
    except ValueError as error:
        raise AppsFileUnreadable(file, "is not JSON") from error
    if not isinstance(content, dict) or not isinstance(content.get("format"), int):
        raise AppsFileUnreadable(file, "names no format")
    if content["format"] != _FORMAT:
        raise AppsFileUnreadable(file, f"has format {content['format']}, this sbkube writes {_FORMAT}")
    apps = content.get("apps")
    if not isinstance(apps, list) or not all(isinstance(app, str) for app in apps):
        raise AppsFileUnreadable(file, "has no list of apps")
    return frozenset(apps)
