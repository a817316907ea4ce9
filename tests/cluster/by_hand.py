"""Releases that are not sbkube's: Helm's own library makes them, without our labels and knowledge."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from sbkube.helm import releases
from sbkube.helm.base import HelmError
from sbkube.helm.embedded_releases import EmbeddedReleases

from . import many
from .client import Cluster


@dataclass(frozen=True, slots=True)
class ByHand:
    folder: Path
    cluster: Cluster
    namespace: str

    def install(self, name: str, chart: Path) -> None:
        asyncio.run(self._install(name, chart))

    def install_and_die(self, name: str, chart: Path) -> None:
        """In the middle of it."""
        asyncio.run(self._install(name, chart, and_die=True))

    @contextmanager
    def installing(self, name: str, chart: Path) -> Iterator[None]:
        thread = threading.Thread(target=self.install, args=(name, chart))
        thread.start()
        try:
            self._until_pending(name)
            yield
        finally:
            thread.join()

    def _until_pending(self, name: str) -> None:
        many.until(lambda: name in many.pending(self.cluster, self.namespace), "it is not pending")

    async def _install(self, name: str, chart: Path, *, and_die: bool = False) -> None:
        where = releases.Cluster(str(self.cluster.kubeconfig), None)
        helm = EmbeddedReleases(where, self.cluster.environment)
        request = releases.DeployRequest(chart, name, self.namespace, wait="watcher", timeout=60)
        try:
            task = asyncio.create_task(helm.install(request))
            if and_die:
                await asyncio.to_thread(self._until_pending, name)
                await helm.aclose()
                with suppress(HelmError):
                    await task
            else:
                await task
        finally:
            await helm.aclose()
