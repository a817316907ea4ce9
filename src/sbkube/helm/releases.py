"""The life of a release in a cluster, as sbkube asks for it, whichever Helm does it, and what can go wrong.

Nothing here decides: whether to install, upgrade or leave alone is the target's affair. A call returns when Helm
has; one that is cancelled or meets its time limit leaves the release as a killed Helm does, perhaps `pending-*`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

from .base import HelmError
from .looking import Query, Server

LOOK_LIMIT = 60.0  # seconds for what only reads
BESIDES = 60.0  # seconds that a deploy may take besides what Helm itself waits

Wait = Literal["watcher", "legacy", "hooks", "none"]
"""`watcher` and `legacy` are Helm 4's two ways to wait for readiness (Helm 3 has the second); `hooks`: for hooks only."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """Which API server; None: what kubectl would take by itself, which sbkube resolves before it deploys."""

    kubeconfig: str | None = None
    """A path, or several joined as in the variable KUBECONFIG."""
    context: str | None = None

    def environment(self) -> dict[str, str]:
        named = {
            "KUBECONFIG": self.kubeconfig,
            "KUBE_CONTEXT": self.context,
            "HELM_KUBECONTEXT": self.context,
        }
        return {name: value for name, value in named.items() if value is not None}


class ReleaseStatus(StrEnum):
    """Helm's own words."""

    UNKNOWN = "unknown"
    DEPLOYED = "deployed"
    UNINSTALLED = "uninstalled"
    SUPERSEDED = "superseded"
    FAILED = "failed"
    UNINSTALLING = "uninstalling"
    PENDING_INSTALL = "pending-install"
    PENDING_UPGRADE = "pending-upgrade"
    PENDING_ROLLBACK = "pending-rollback"

    @property
    def is_pending(self) -> bool:
        return self.value.startswith("pending-")


@dataclass(frozen=True, slots=True)
class Release:
    """One revision of a release, as Helm's storage has it."""

    name: str
    namespace: str
    revision: int
    status: ReleaseStatus
    chart: str = ""
    """Such as `redis-1.2.3`."""
    updated: str = ""
    """RFC 3339."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """Those that somebody gave it, without Helm's own. Helm carries them on: see `DeployRequest.labels`."""


@dataclass(frozen=True, slots=True)
class ReleaseContents:
    """What a revision was made of."""

    release: Release
    manifest: str
    """YAML documents, without hooks and CRDs."""
    hooks: str
    values: Mapping[str, Any]
    notes: str


@dataclass(frozen=True, slots=True)
class DeployRequest:
    """An install or an upgrade; which of them, the caller says by the method."""

    chart: Path
    name: str
    namespace: str
    values: Mapping[str, Any] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    """On the release's Secret, besides those of the revision before; values at most 63 characters."""
    description: str | None = None
    wait: Wait = "watcher"
    wait_for_jobs: bool = False
    timeout: float = 300.0
    """Seconds that Helm itself waits, for each hook and for readiness."""
    atomic: bool = False
    """A failed upgrade is rolled back, a failed install is uninstalled."""
    max_history: int = 10
    skip_crds: bool = False
    disable_hooks: bool = False
    replace: bool = False
    """An install may take the name of an uninstalled release."""
    take_ownership: bool = False
    force_conflicts: bool = False
    server_side: bool = True
    """Also for a release that a Helm 3 has made: its fields move to server-side apply. Helm 3 has no such thing."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """More for a process of its own, by which a leftover is found; a Helm without one has no use for it."""
    time_limit: float | None = None
    """Seconds until the Helm that does it is killed; None: `timeout` and a minute."""


@dataclass(frozen=True, slots=True)
class RollbackRequest:
    name: str
    namespace: str
    revision: int
    wait: Wait = "watcher"
    wait_for_jobs: bool = False
    disable_hooks: bool = False
    timeout: float = 300.0
    max_history: int = 10
    force_conflicts: bool = False
    server_side: bool = True
    time_limit: float | None = None


@dataclass(frozen=True, slots=True)
class UninstallRequest:
    name: str
    namespace: str
    wait: bool = True
    disable_hooks: bool = False
    keep_history: bool = False
    timeout: float = 300.0
    time_limit: float | None = None


@runtime_checkable
class Releases(Protocol):
    """The releases of one cluster. Calls for different releases may overlap; for one release they must not."""

    async def history(self, name: str, namespace: str) -> list[Release]:
        """Oldest first, with labels; empty if there is no such release."""
        ...

    async def get(self, name: str, namespace: str, revision: int | None = None) -> ReleaseContents | None: ...

    async def install(self, request: DeployRequest) -> Release: ...

    async def upgrade(self, request: DeployRequest) -> Release: ...

    async def rollback(self, request: RollbackRequest) -> Release:
        """The new revision. Raises `ReleaseMissing`."""
        ...

    async def uninstall(self, request: UninstallRequest) -> bool:
        """False if there was no such release."""
        ...

    async def server(self) -> Server:
        """Raises `ClusterUnreachable`."""
        ...

    async def look(self, queries: Sequence[Query]) -> Sequence[Any]:
        """For each query the object or the list (JSON), or None. Raises if one may not be read."""
        ...

    async def aclose(self) -> None: ...

    async def list(self, namespace: str | None = None) -> list[Release]:
        """The newest revision of each release whatever its status, with labels; None: of all namespaces."""
        ...


HELMS_LABELS = frozenset({"name", "owner", "status", "version", "createdAt", "modifiedAt"})


def own_labels(labels: Mapping[str, str]) -> dict[str, str]:
    """Those of a release's Secret that are not Helm's own."""
    return {name: value for name, value in labels.items() if name not in HELMS_LABELS}


class ReleaseError(HelmError):
    """Helm could not bring a release to where it should be; `text` is in Helm's own words."""

    def __init__(self, release: str, namespace: str, text: str, *, hint: str | None = None) -> None:
        about = f"release {release!r} in namespace {namespace!r}: " if release else ""
        super().__init__(about + text, hint=hint)
        self.release = release
        self.namespace = namespace
        self.said = text


class ClusterUnreachable(HelmError):
    """The API server did not answer, or refused who asked."""

    transient = True


class NotAuthenticated(ClusterUnreachable):
    """It answered, and did not take the credentials."""

    transient = False


class Forbidden(ReleaseError):
    """RBAC refused a request."""


class ReleaseMissing(ReleaseError):
    """There is no such release, or no such revision of it."""


class WebhookUnreachable(ReleaseError):
    """A webhook by which the API server has objects checked or completed did not answer it."""

    transient = True
    after = 10.0  # what serves it may be about to start; and Helm keeps each try as a revision


class NotReady(ReleaseError):
    """It was applied, and did not become ready in time; or a hook or job failed."""


class ReleaseLocked(ReleaseError):
    """Another operation on the release is in progress (`pending-*`), or was quicker to take its name."""


class OwnedByOther(ReleaseError):
    """An object exists that this release does not own; `owner` is the release that does, None if none does."""

    def __init__(self, release: str, namespace: str, text: str, owner: str | None) -> None:
        super().__init__(release, namespace, text)
        self.owner = owner


class ApplyConflict(ReleaseError):
    """Another field manager owns a field that would change."""
