"""Which cluster a project deploys to: remembered at the first deploy, so that another one is never met by accident.

A context's name is only a name: the same one may lead elsewhere on another day. What stays is the UID of the namespace
`kube-system`, for as long as the cluster lives.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sbkube.errors import SbkubeError
from sbkube.helm.releases import Cluster
from sbkube.kept import keep, kept


class AnotherCluster(SbkubeError):
    def __init__(self, cluster: Cluster, remembered: str, found: str) -> None:
        super().__init__(
            f"context {cluster.context!r} leads to another cluster than before: "
            f"its `kube-system` has the UID {found}, that of the runs before {remembered}",
            hint="check the context; `--accept-target-change` deploys to the new cluster from now on",
        )
        self.remembered = remembered
        self.found = found


class ContextForbidden(SbkubeError):
    def __init__(self, context: str, allowed: tuple[str, ...]) -> None:
        super().__init__(
            f"context {context!r} is not one of `allowed_contexts`: {', '.join(allowed)}",
            hint="choose another with `kubeconfig_context`, or add it there",
        )
        self.context = context


def refuse_another_cluster(cluster: Cluster, remembered: str | None, found: str) -> None:
    """A UID that may not be read cannot be compared."""
    if remembered and found and remembered != found:
        raise AnotherCluster(cluster, remembered, found)


@dataclass(frozen=True, slots=True)
class Identities:
    """By profile and context, in a file of the state folder."""

    file: Path
    profile: str | None

    def of(self, cluster: Cluster) -> str | None:
        found = kept(self.file).get(self._key(cluster))
        return found if isinstance(found, str) else None

    def remember(self, cluster: Cluster, uid: str) -> None:
        """Only under the run lock."""
        keep(self.file, {**kept(self.file), self._key(cluster): uid})

    def _key(self, cluster: Cluster) -> str:
        return f"{self.profile or ''}/{cluster.context or ''}"
