"""Rollbacks of ours that are under way, noted in the state folder.

A Helm that was killed over a rollback leaves a revision with the labels of the one it went back to, so they do not say
whose it is. Who notes one holds the run lock, and no Helm outlives us: so who holds that lock later and finds the revision
pending has it to itself.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from sbkube.helm.releases import Cluster, Release, ReleaseStatus
from sbkube.kept import keep, kept


class Rollback(NamedTuple):
    revision: int
    """Which it makes."""
    to: int

    def is_(self, now: Release) -> bool:
        """Whether that is the newest revision, and was left pending."""
        return now.status is ReleaseStatus.PENDING_ROLLBACK and now.revision == self.revision


@dataclass(frozen=True, slots=True)
class Rollbacks:
    """In a file of the state folder, written under the run lock only; all of it blocks."""

    file: Path
    _writing: threading.Lock = field(default_factory=threading.Lock)

    def note(self, cluster: Cluster, now: Release, to: int) -> None:
        """To be forgotten when it ends well. When it fails, what became of it is not known."""
        self._write(cluster, now.namespace, now.name, Rollback(now.revision + 1, to))

    def forget(self, cluster: Cluster, namespace: str, name: str) -> None:
        """The release has gone on since, so its revisions may be anybody's."""
        self._write(cluster, namespace, name, None)

    def noted(self, cluster: Cluster, namespace: str, name: str) -> Rollback | None:
        found = kept(self.file).get(_key(cluster, namespace, name))
        try:
            return Rollback(**found) if isinstance(found, dict) else None
        except TypeError:
            return None  # of another version

    def _write(self, cluster: Cluster, namespace: str, name: str, rollback: Rollback | None) -> None:
        key = _key(cluster, namespace, name)
        with self._writing:
            known = kept(self.file)
            if rollback is None and key not in known:
                return
            others = {one: of for one, of in known.items() if one != key}
            keep(self.file, others if rollback is None else {**others, key: rollback._asdict()})


def _key(cluster: Cluster, namespace: str, name: str) -> str:
    return f"{cluster.context or ''}/{namespace}/{name}"
