"""Whose the apps of a directory target are: `.sbkube-apps.json`, of which each owner replaces and prunes his own.

Several projects, and profiles of a project, may use one folder, also at once. So who looks and then changes
something (the list, or a folder that it names) holds the target meanwhile.

An app is named before its folder appears. A crash in between leaves a name without a folder, which does no
harm and goes at its owner's next start; the other way round we would meet our own folder as a stranger's.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from sbkube.errors import SbkubeError
from sbkube.targets.folders import folder_name, is_folder
from sbkube.targets.lock import holding

APPS_FILE = ".sbkube-apps.json"
_FORMAT = 2
_FORMAT_WITHOUT_OWNERS = 1


@dataclass(frozen=True, slots=True)
class Owner:
    """A project, by the way from the target to its folder: the same wherever the two lie so; and its profile."""

    project: str
    profile: str | None = None

    @classmethod
    def of(cls, target: Path, project: Path, profile: str | None) -> Self:
        return cls(Path(os.path.relpath(project.resolve(), target.resolve())).as_posix(), profile)


Owners = Mapping[str, Owner | None]
"""By app; None: an app that sbkube deployed, for whom is not known."""


class AppsFileUnreadable(SbkubeError):
    """The list of our folders is not as we wrote it, so nothing there may be touched."""

    def __init__(self, file: Path, reason: str) -> None:
        super().__init__(
            f"cannot tell which folders of `{file.parent}` are sbkube's: `{file.name}` {reason}",
            hint=f"restore `{file}` from version control, or remove it together with the app folders",
        )
        self.file = file
        self.reason = reason


class ForeignFolder(SbkubeError):
    """Something that we did not make has an app's name."""

    def __init__(self, app: str, path: Path) -> None:
        super().__init__(
            f"app {app!r} would replace `{path}`, which sbkube did not make",
            hint=f"move `{path}` away, rename the app, or choose another folder with `--target PATH`",
        )
        self.app = app
        self.path = path


class AnotherProjectsApp(SbkubeError):
    """Two projects have an app of this name and one target."""

    def __init__(self, app: str, path: Path, project: Path) -> None:
        super().__init__(
            f"app {app!r} would replace `{path}`, which belongs to the project `{project}`",
            hint="rename the app, choose another folder with `--target PATH`, or take over what is there "
            "with `--accept-target-change`",
        )
        self.app = app
        self.path = path
        self.project = project


class OwnedApps:
    """Many threads may claim at once; one of them writes for all that wait."""

    def __init__(self, folder: Path, owner: Owner, *, takes_over: bool = False) -> None:
        self._folder = folder
        self._file = folder / APPS_FILE
        self._temporary = folder / f"{APPS_FILE}.new"
        self._owner = owner
        self._takes_over = takes_over
        self._last: tuple[bytes | None, Owners] = (None, {})
        self._asked: set[str] = set()  # each use is one atomic operation on the set
        self._one_thread = threading.Lock()

    def place(self, app: str) -> Path:
        return self._folder / folder_name(app)

    @property
    def ours(self) -> AbstractSet[str]:
        return {app for app, owner in self._read().items() if owner == self._owner}

    def is_anothers(self, app: str) -> bool:
        owner = self._read().get(app)
        return owner is not None and owner.project != self._owner.project

    def refuse_others(self, app: str) -> None:
        """Raises if the app's place is not for us to write."""
        if error := self._refusal(app, self._read()):
            raise error

    def refusals(self, apps: AbstractSet[str]) -> list[SbkubeError]:
        owners = self._read()
        return [error for app in sorted(apps) if (error := self._refusal(app, owners))]

    @contextmanager
    def held(self) -> Iterator[None]:
        """No other thread or process changes the target meanwhile."""
        with self._one_thread, holding(self._folder):
            yield

    @contextmanager
    def claimed(self, app: str) -> Iterator[None]:
        """Holds the target, with the app named on disk as ours."""
        self._asked.add(app)
        try:
            with self.held():
                self._claim(app)
                yield
        finally:
            self._asked.discard(app)

    def _claim(self, app: str) -> None:
        owners = self._read()
        self.refuse_others(app)
        if owners.get(app) != self._owner:
            wanted = [asked for asked in self._asked.copy() if self._refusal(asked, owners) is None]
            self._write({**owners, **dict.fromkeys(wanted, self._owner)})

    def drop(self, apps: AbstractSet[str]) -> None:
        """Only while it is held."""
        owners = self._read()
        if apps & owners.keys():
            self._write({app: owner for app, owner in owners.items() if app not in apps})

    def remove_unfinished(self) -> None:
        """What a crash left of a list; only while it is held."""
        self._temporary.unlink(missing_ok=True)

    def _refusal(self, app: str, owners: Owners) -> SbkubeError | None:
        place, owner = self.place(app), owners.get(app)
        if owner is not None and owner.project != self._owner.project and not self._takes_over:
            project = os.path.normpath(self._folder.resolve() / owner.project)
            return AnotherProjectsApp(app, place, Path(project))
        if os.path.lexists(place) and not (app in owners and is_folder(place)):
            return ForeignFolder(app, place)
        return None

    def _read(self) -> Owners:
        try:
            text = self._file.read_bytes()
        except FileNotFoundError:
            return {}
        last, owners = self._last
        if text != last:
            owners = _parsed(self._file, text)
            self._last = (text, owners)
        return owners

    def _write(self, owners: Owners) -> None:
        with open(self._temporary, "w", encoding="utf-8") as file:
            file.write(_text(owners))
            file.flush()
            os.fchmod(file.fileno(), 0o644)
            os.fsync(file.fileno())  # an empty list after a power failure would disown every folder
        os.replace(self._temporary, self._file)


def kept_in(folder: Path) -> AbstractSet[str]:
    """Names of the app folders that are in a folder because it is a directory target; none if it is no such."""
    file = folder / APPS_FILE
    try:
        return {folder_name(app) for app in _parsed(file, file.read_bytes())}
    except (OSError, AppsFileUnreadable):
        return frozenset()


def _text(owners: Owners) -> str:
    """A line for each app, in order: changes to different apps merge in version control."""
    lines = [f"    {json.dumps(app)}: {_told(owner)}" for app, owner in sorted(owners.items())]
    apps = "{\n" + ",\n".join(lines) + "\n  }" if lines else "{}"
    return f'{{\n  "format": {_FORMAT},\n  "made_by": "sbkube",\n  "apps": {apps}\n}}\n'


def _told(owner: Owner | None) -> str:
    return json.dumps(owner and {"project": owner.project, "profile": owner.profile})


def _parsed(file: Path, text: bytes) -> Owners:
    try:
        content = json.loads(text)
    except ValueError as error:
        raise AppsFileUnreadable(file, "is not JSON") from error
    if not isinstance(content, dict) or not isinstance(content.get("format"), int):
        raise AppsFileUnreadable(file, "names no format")
    apps = content.get("apps")
    if content["format"] == _FORMAT_WITHOUT_OWNERS:
        if not isinstance(apps, list) or not all(isinstance(app, str) for app in apps):
            raise AppsFileUnreadable(file, "has no list of apps")
        return dict.fromkeys(apps)
    if content["format"] != _FORMAT:
        raise AppsFileUnreadable(file, f"has format {content['format']}, this sbkube writes {_FORMAT}")
    if not isinstance(apps, dict):
        raise AppsFileUnreadable(file, "does not say whose the apps are")
    return {app: _owner(file, app, told) for app, told in apps.items()}


def _owner(file: Path, app: str, told: object) -> Owner | None:
    match told:
        case None:
            return None
        case {"project": str(project), "profile": None | str() as profile}:
            return Owner(project, profile)
    raise AppsFileUnreadable(file, f"does not say whose {app!r} is")
