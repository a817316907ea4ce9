"""What an app gives to a target, for tests that care about its manifests only."""

from __future__ import annotations

from sbkube.targets.base import Deployment, Log, Manifests


async def unheard(line: str) -> None:
    """A log that nobody reads."""


def given(app: str, manifests: Manifests) -> tuple[Deployment, Log]:
    return Deployment(app, app, "default", manifests), unheard
