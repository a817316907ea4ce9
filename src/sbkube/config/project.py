"""A project as it was loaded: checked, merged, with its defaults applied."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from sbkube.apps.base import App
from sbkube.apps.fields import Spellings
from sbkube.apps.hooks import CommandHooks
from sbkube.apps.sought import Fetched
from sbkube.config import profiles
from sbkube.config.layers import Layers
from sbkube.config.models import ClusterLock, Command, Limits, Phase, Settings
from sbkube.errors import Position
from sbkube.fetch.lockfile import Lock


@dataclass(frozen=True, slots=True)
class Project:
    """`folder` is that of the config file: what apps name by a path is relative to it."""

    folder: Path
    config_file: Path
    files: tuple[Path, ...]
    profile: str | None
    namespace: str
    settings: Settings
    apps: Mapping[str, App]
    target: Literal["cluster"] | Path
    lock: Literal["cluster", "none"] | ClusterLock
    limits: Limits
    notices: list[str]
    metadata: Mapping[str, Any]
    phases: Mapping[str, Phase]
    app_dirs: tuple[str, ...]
    deps: tuple[str, ...]
    hooks: Mapping[Command, CommandHooks]
    fetched: Fetched
    """Which paths lead to what its apps fetch."""
    pins: Lock
    """What others answered to what its apps ask them for."""
    _layers: Layers = field(repr=False, compare=False)
    _spelled: Mapping[str, Spellings] = field(repr=False, compare=False)

    def position(self, app: str, *path: str | int) -> Position:
        """Where a field of an app is written, by its name of today; else where the app is."""
        spelled = self._spelled.get(app)
        written = spelled.written(path) if spelled else path
        depth, where = self._layers.trace(("apps", app, *written))
        if path and depth <= 2:
            shared = [("defaults", *path), *([("settings", "namespace")] if path == ("namespace",) else [])]
            found = [place for at in shared for depth, place in [self._layers.trace(at)] if depth > 1]
            return found[0] if found else where
        return where

    def says(self, *path: str | int) -> bool:
        """Whether some file has this, outside the apps."""
        return self._layers.trace(path)[0] == len(path)

    def where(self, *path: str | int) -> Position:
        """Where something outside the apps is written."""
        return self._layers.position(path)

    def values_candidates(self, name: str) -> list[Path]:
        """Where a values file may be; the first that is there is meant."""
        return profiles.values_candidates(self.folder, self.profile, name)
