"""Where deployed apps go, as apps and planning see it. Implementations stand beside this file."""

from __future__ import annotations

import errno
from collections.abc import Awaitable, Callable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from sbkube.errors import Position, SbkubeError
from sbkube.helm.base import Capabilities


@dataclass(frozen=True, slots=True)
class Manifests:
    """An app's documents as YAML text, split as Helm treats them; an empty text has no documents."""

    crds: str = ""
    manifests: str = ""
    hooks: str = ""


Crds = Literal["install", "upgrade", "skip"]
PendingPolicy = Literal["ours", "rollback", "fail", "wait"]
"""What to do with a pending release: unlock it if it is `ours`, whosever it is, never; or wait for its end."""
Log = Callable[[str], Awaitable[None]]
"""Takes one line for the log of the step."""


@dataclass(frozen=True, slots=True)
class DeployOptions:
    """How a release is brought about; a target without releases has no use for them."""

    wait: bool = True
    wait_for_jobs: bool = False
    timeout: float = 300.0
    """Seconds for each hook, and for everything to become ready."""
    atomic: bool = False
    create_namespace: bool = False
    adopt: bool = False
    """Takes over objects that no release owns."""
    force_conflicts: bool = False
    crds: Crds = "install"
    max_history: int = 10
    prune: bool = True
    """False: it stays when its app leaves the project."""


@dataclass(frozen=True, slots=True)
class ChartName:
    """What a chart says it is."""

    name: str
    version: str
    app_version: str = ""


@dataclass(frozen=True, slots=True)
class Deployment:
    """What an app gives to a target."""

    app: str
    release: str
    namespace: str
    manifests: Manifests
    chart: Path | None = None
    """None: the manifests are all there is."""
    chart_name: ChartName | None = None
    """Of the chart that the manifests came from, where they are deployed in its place."""
    values: Mapping[str, Any] = field(default_factory=dict)
    notes: str = ""
    options: DeployOptions = DeployOptions()
    run: str = ""


@dataclass(frozen=True, slots=True)
class Deployed:
    """What a deploy leaves behind: the digest of it, where it can be seen if that is a path, and what to record."""

    digest: str
    path: str | None = None
    record: Mapping[str, Any] = field(default_factory=dict)


Verb = Literal["apply", "create", "delete"]


@dataclass(frozen=True, slots=True)
class ObjectAction:
    """Something done to the objects of a file, a folder or a URL, which become part of no release."""

    verb: Verb
    source: str
    namespace: str
    """For objects that name none; "": that of the context."""
    is_only_namespace: bool = False
    """An object that names another namespace is refused."""
    key: str = ""
    """The same while a failed or interrupted attempt is repeated."""


class Target(Protocol):
    """One run uses it between `start` and `finish`; deploys of different apps may overlap."""

    @property
    def kind(self) -> str: ...

    @property
    def identity(self) -> dict[str, str]:
        """What makes it another target if changed: JSON, the same on every machine."""
        ...

    @property
    def capabilities(self) -> Capabilities | None:
        """What charts are rendered for; None: nothing in particular, or of a cluster that was not asked yet."""
        ...

    @property
    def environment(self) -> Mapping[str, str]:
        """What commands are told of it."""
        ...

    async def refusals(self, apps: AbstractSet[str]) -> list[SbkubeError]:
        """What `start` and the deploys of these apps would refuse, as far as looking tells; changes nothing."""
        ...

    async def start(self) -> None:
        """Checks that deploys can work and mends what a crash left; nothing else may be called before."""
        ...

    async def deploy(self, deployment: Deployment, log: Log) -> Deployed: ...

    async def act(self, action: ObjectAction, log: Log) -> None:
        """What of it is true already is not done again, but for `create`, which fails unless it was done with this key."""
        ...

    async def holds(self, app: str, output: Mapping[str, Any]) -> bool:
        """Whether the app is there as `deploy` left it, by what was recorded of it. Needs no `start`."""
        ...

    async def would_prune(self, keep: AbstractSet[str]) -> list[str]:
        """What `prune` would remove now. Needs no `start` and writes nothing."""
        ...

    async def prune(self, keep: AbstractSet[str]) -> list[str]:
        """Removes the apps that we deployed and that are not to be kept; names what it removed."""
        ...

    async def finish(self) -> None:
        """Tidies up after the last deploy, whatever the result; after a crash `start` does it."""
        ...


class UnsuitableTarget(SbkubeError):
    """What was named cannot be a target."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(
            f"`{path}` cannot be the target: it {reason}",
            hint="name a folder of its own, in `target: {directory: PATH}` or with `--target PATH`",
        )
        self.path = path
        self.reason = reason


class NeedsCluster(SbkubeError):
    """Something can be done to a cluster only."""

    def __init__(self, what: str, where: Position | None = None) -> None:
        super().__init__(
            f"{what} needs a cluster, and the target is a folder",
            hint="deploy to a cluster with `--target cluster`, or disable it for this target: `enabled: false`",
            where=where,
        )


class TargetUnwritable(SbkubeError):
    """The file system refuses to take what is deployed; what was there is as it was."""

    def __init__(self, path: Path, error: OSError) -> None:
        reason = error.strerror or str(error)
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        hint = "free some space there" if full else "make it writable or choose another with `--target PATH`"
        super().__init__(f"cannot write `{path}`: {reason}", hint=hint)
        self.path = path
        self.reason = reason
