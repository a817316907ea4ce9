"""What a stage of an app is given, says that it reads, and leaves behind."""

from __future__ import annotations

import os
import shutil
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from uuid import uuid4

from anyio.to_thread import run_sync

from sbkube.apps.fields import Secret, Stage
from sbkube.apps.files import FileInput
from sbkube.apps.sought import Fetched, Sought
from sbkube.engine import StepContext
from sbkube.errors import Position, SbkubeError, is_disk_full
from sbkube.fetch.lockfile import Asks, Pin
from sbkube.helm.base import Helm
from sbkube.targets.base import Target
from sbkube.targets.trees import digest_tree

if TYPE_CHECKING:
    from sbkube.fetch.fetching import Fetching

Json = Any


@dataclass(frozen=True, slots=True)
class Reading:
    """All that the result of a stage depends on, besides what it needs from other steps."""

    settings: dict[str, Json] = field(default_factory=dict)
    files: tuple[FileInput, ...] = ()
    secrets: tuple[str, ...] = ()
    """Names of environment variables whose values count without ever being written."""
    uses: tuple[str, ...] = ()
    """Apps that fetch, of whose files any may be used."""
    fetches: str | None = None
    """What comes from elsewhere, to be told: nobody is asked for it before the stage runs."""
    asks: Asks | None = None
    """The same as the lock file has it: what decides on what comes, and nothing secret."""


class GitRepository(Protocol):
    """An entry of `git_repos`."""

    @property
    def url(self) -> str: ...

    @property
    def branch(self) -> str | None: ...

    @property
    def username(self) -> Secret | None: ...

    @property
    def password(self) -> Secret | None: ...

    @property
    def ssh_key(self) -> str | None: ...


class ServerEntry(Protocol):
    """What opens a server of charts."""

    @property
    def username(self) -> Secret | None: ...

    @property
    def password(self) -> Secret | None: ...

    @property
    def ca_file(self) -> str | None: ...

    @property
    def cert_file(self) -> str | None: ...

    @property
    def key_file(self) -> str | None: ...

    @property
    def insecure_skip_tls_verify(self) -> bool: ...


class HelmRepository(ServerEntry, Protocol):
    """An entry of `helm_repos`."""

    @property
    def url(self) -> str: ...


class OciRegistryEntry(ServerEntry, Protocol):
    """An entry of `oci_registries`; `registry` begins with `oci://`."""

    @property
    def registry(self) -> str: ...

    @property
    def plain_http(self) -> bool: ...


class Place(Protocol):
    """Where an app stands in its project."""

    @property
    def name(self) -> str: ...

    @property
    def folder(self) -> Path:
        """Of the config file; what the app names by a path is relative to it."""
        ...

    @property
    def namespace(self) -> str: ...

    @property
    def shared_values(self) -> tuple[str | dict[str, Any], ...]:
        """Values for every helm app, below its own: files as written, or mappings."""
        ...

    @property
    def where_shared_values(self) -> Position: ...

    @property
    def object_labels(self) -> Mapping[str, str]: ...

    @property
    def object_annotations(self) -> Mapping[str, str]: ...

    def where(self, *path: str | int) -> Position: ...

    def values_candidates(self, name: str) -> list[Path]: ...

    @property
    def helm_repos(self) -> Mapping[str, HelmRepository]: ...

    @property
    def oci_registries(self) -> Mapping[str, OciRegistryEntry]: ...

    @property
    def git_repos(self) -> Mapping[str, GitRepository]: ...

    def where_setting(self, *path: str | int) -> Position: ...

    @property
    def fetched(self) -> Fetched:
        """Which paths lead to what other apps fetch."""
        ...

    def seek(self, path: str) -> Sought | None:
        """None: it leads to the project's own files."""
        ...

    def pin(self, asks: Asks | None) -> Pin | None:
        """What the lock file answers."""
        ...


@dataclass(frozen=True, slots=True)
class Asking:
    """Who asks others for something, and with what."""

    place: Place
    env: Mapping[str, str]
    fetch: Fetching


@dataclass(frozen=True, slots=True)
class Work:
    """What a stage works with; `out` is a fresh folder that becomes its output when it succeeds."""

    place: Place
    context: StepContext
    inputs: Mapping[Stage, Path]
    """Outputs of the earlier stages of the app."""
    out: Path
    helm: Callable[[], Awaitable[Helm]]
    fetch: Fetching
    target: Target
    env: Mapping[str, str]
    """The environment for commands."""
    log: Callable[[str], Awaitable[None]]
    """One line for the step's log; it may take until `flush`, or the end, until it is there."""
    flush: Callable[[], Awaitable[None]]
    time_limit: float | None = None

    @property
    def asking(self) -> Asking:
        return Asking(self.place, self.env, self.fetch)


class OutputUnwritable(SbkubeError):
    """The disk of the state folder does not take what a stage makes."""

    def __init__(self, path: Path, error: OSError) -> None:
        hint = (
            "free some space there, or choose another disk with `--state-dir`"
            if is_disk_full(error)
            else None
        )
        super().__init__(f"cannot write `{path}`: {error.strerror or error}", hint=hint)
        self.path = path


class Outputs:
    """What stages made: `out/<app>/<stage>/<digest>`, each written to a fresh folder and renamed.

    So part of an output is never taken for one, and none of it needs to be synced: a completion counts only
    while its folder has the recorded digest.
    """

    def __init__(self, folder: Path, beneath: Path | None = None) -> None:
        """What is not in `folder` is looked for `beneath`, where nothing is ever written."""
        self.folder = folder
        self.beneath = beneath

    async def fresh(self, app: str, stage: Stage) -> Path:
        return await run_sync(self._fresh, app, stage)

    async def keep(self, fresh: Path) -> dict[str, Json]:
        """Moves a finished folder to where it belongs; what the step returns and what is recorded."""
        return await run_sync(self._keep, fresh)

    async def discard(self, fresh: Path) -> None:
        await run_sync(shutil.rmtree, fresh, True)

    async def holds(self, output: Json) -> bool:
        return await run_sync(self._holds, output)

    def path(self, output: Json) -> Path:
        path = self.folder / str(output["path"])
        return path if self.beneath is None or path.exists() else self.beneath / str(output["path"])

    async def show(self, app: str, path: Path) -> bool:
        """Makes `repos/<app>` beside this folder lead to an output, for commands; False if something else has that name."""
        return await run_sync(self._show, self.folder.parent / "repos" / app, path)

    def _show(self, link: Path, path: Path) -> bool:
        if link.exists() and not link.is_symlink():
            return False  # a clone of old, which may hold work of the user's
        link.parent.mkdir(mode=0o700, exist_ok=True)
        fresh = link.with_name(f".{link.name}-{uuid4().hex[:12]}")
        fresh.symlink_to(os.path.relpath(path, link.parent))
        fresh.replace(link)
        return True

    def _fresh(self, app: str, stage: Stage) -> Path:
        fresh = self.folder / app / stage / f".fresh-{uuid4().hex[:12]}"
        fresh.mkdir(parents=True, mode=0o700)
        return fresh

    def _keep(self, fresh: Path) -> dict[str, Json]:
        digest = digest_tree(fresh)
        kept = fresh.with_name(digest[:16])
        if kept.exists() and digest_tree(kept) != digest:
            shutil.rmtree(kept)
        if kept.exists():
            shutil.rmtree(fresh)
            os.utime(kept)
        else:
            fresh.rename(kept)
        return {"digest": digest, "path": kept.relative_to(self.folder).as_posix()}

    def _holds(self, output: Json) -> bool:
        try:
            path = self.path(output)
            homes = (self.folder, self.beneath or self.folder)
            inside = any(path.resolve().is_relative_to(home.resolve()) for home in homes)
            return inside and bool(digest_tree(path) == output["digest"])
        except (OSError, KeyError, TypeError):
            return False

    def remove_unused(self, used: Iterable[str], older_than: float) -> None:
        """Blocking: removes fresh leftovers and outputs that nothing uses and that are older (by `time.time`)."""
        kept = set(used)
        for stage in self.folder.glob("*/*"):
            for output in stage.iterdir() if stage.is_dir() else ():
                unused = output.relative_to(self.folder).as_posix() not in kept
                with suppress(OSError):
                    if unused and output.stat().st_mtime < older_than:
                        shutil.rmtree(output, ignore_errors=True)
