"""What every app has that becomes a release: how it is brought about and waited for."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from sbkube.apps.base import App
from sbkube.apps.fields import Duration
from sbkube.apps.work import Place
from sbkube.helm.names import fitting
from sbkube.targets.base import Crds, DeployOptions


class ReleasedApp(App):
    """`timeout` is what Helm waits: for each hook, and for everything to become ready."""

    is_deployed: ClassVar[bool] = True

    create_namespace: bool = False
    wait: bool = True
    wait_for_jobs: bool = False
    timeout: Duration = 300.0
    atomic: bool = False
    force_conflicts: bool = False
    adopt: bool = False
    max_history: Annotated[int, Field(ge=1)] = 10
    prune: bool = True

    def release(self, place: Place) -> str:
        """Its name; that of the app as far as Helm takes it, unless it has a field for it."""
        return fitting(place.name)

    def deploy_options(self, crds: Crds = "upgrade") -> DeployOptions:
        return DeployOptions(
            wait=self.wait,
            wait_for_jobs=self.wait_for_jobs,
            timeout=self.timeout,
            atomic=self.atomic,
            create_namespace=self.create_namespace,
            adopt=self.adopt,
            force_conflicts=self.force_conflicts,
            crds=crds,
            max_history=self.max_history,
            prune=self.prune,
        )
