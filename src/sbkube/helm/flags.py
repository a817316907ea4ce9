"""How one thing is said to the `helm` programs 3 and 4, whose flags differ."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from .base import HelmError, HelmMissing
from .releases import DeployRequest, RollbackRequest, UninstallRequest, Wait


class Flavour(NamedTuple):
    """Which Helm."""

    major: int
    minor: int

    @property
    def is_3(self) -> bool:
        return self.major < 4

    def wait(self, wait: Wait) -> Iterator[str]:
        waits = wait in ("watcher", "legacy")
        if not self.is_3:
            yield f"--wait={wait if waits else 'hookOnly'}"
        elif waits:
            yield "--wait"


def flavour_of(version: str) -> Flavour:
    found = re.match(r"v(\d+)\.(\d+)", version.strip())
    if found is None:
        raise HelmError(f"{version.strip()!r} is no version of Helm")
    return Flavour(int(found[1]), int(found[2]))


def deploy_flags(request: DeployRequest, helm: Flavour, *, is_install: bool) -> Iterator[str]:
    yield f"--timeout={request.timeout}s"
    yield f"--description={request.description or ''}"
    yield from helm.wait(request.wait)
    # It costs 200 ms a deploy, and says nothing that the server does not say when it applies.
    yield "--disable-openapi-validation"
    if request.labels:
        yield f"--labels={','.join(f'{name}={value}' for name, value in request.labels.items())}"
    if request.wait_for_jobs:
        yield "--wait-for-jobs"
    if request.skip_crds:
        yield "--skip-crds"
    if request.disable_hooks:
        yield "--no-hooks"
    if request.take_ownership:
        yield _ownership(helm)
    if request.atomic:
        yield "--atomic" if helm.is_3 else "--rollback-on-failure"
    if is_install:
        yield from ["--replace"] * request.replace
    else:
        yield f"--history-max={request.max_history}"
        yield "--reset-values"  # else an upgrade without values takes those of the revision before
    yield from _applying(helm, server_side=request.server_side, force_conflicts=request.force_conflicts)


def rollback_flags(request: RollbackRequest, helm: Flavour) -> Iterator[str]:
    yield f"--timeout={request.timeout}s"
    yield f"--history-max={request.max_history}"
    yield from helm.wait(request.wait)
    if request.wait_for_jobs:
        yield "--wait-for-jobs"
    if request.disable_hooks:
        yield "--no-hooks"
    yield from _applying(helm, server_side=request.server_side, force_conflicts=request.force_conflicts)


def uninstall_flags(request: UninstallRequest, helm: Flavour) -> Iterator[str]:
    yield f"--timeout={request.timeout}s"
    yield from helm.wait("watcher" if request.wait else "none")
    if request.disable_hooks:
        yield "--no-hooks"
    if request.keep_history:
        yield "--keep-history"


def _applying(helm: Flavour, *, server_side: bool, force_conflicts: bool) -> Iterator[str]:
    """Helm 3 patches from the client, and always takes the fields that it sets."""
    if helm.is_3:
        return
    yield f"--server-side={str(server_side).lower()}"
    if force_conflicts and server_side:
        yield "--force-conflicts"


def _ownership(helm: Flavour) -> str:
    if helm < (3, 17):
        raise HelmMissing(
            f"Helm {helm.major}.{helm.minor} cannot take over objects that are there",
            hint="use Helm 3.17 or newer",
        )
    return "--take-ownership"
