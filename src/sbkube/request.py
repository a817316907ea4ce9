"""What is asked for of a project, by a program or by flags, and the workshop that does it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sbkube.choosing import TargetWishes
from sbkube.config.project import Project
from sbkube.engine.resume import Resume
from sbkube.helm.base import Helm
from sbkube.selecting import Asked
from sbkube.targets.base import PendingPolicy
from sbkube.wiring import Workshop, open_workshop

EVERYTHING = Asked()


@dataclass(frozen=True, slots=True)
class Request:
    """What to run of a project, and how."""

    asked: Asked = EVERYTHING
    target: str | None = None
    """`cluster` or the path of a folder, from the current one; None: what the project says."""
    state_dir: str | None = None
    """None: `.sbkube` beside the config, or the variable SBKUBE_STATE_DIR."""
    helm: str | Helm | None = None
    """`embedded`, `binary` or the path of a helm; None: the first that is there. Or a Helm (`helm.base`), which the run closes."""
    max_parallel: int | None = None
    """The pool `work` and all steps together; None: the limits of the project."""
    fail_fast: bool = False
    deadline: float | None = None
    """Seconds for the whole run; then it is stopped."""
    accept_target_change: bool = False
    """Take over apps in the target that another project deployed, or deploy to another cluster than before."""
    force: bool = False
    """Deploy a new revision also of releases that are as they should be."""
    wait_lock: float = 0.0
    """Seconds to wait for the project's lock in the cluster while another holds it."""
    pending: PendingPolicy = "ours"
    """What to do with a release that a killed Helm left `pending-*`; see `targets.base`."""

    is_offline: bool = False
    """Fetch nothing: what the cache lacks fails its step. Also by the variable SBKUBE_OFFLINE."""

    @property
    def resume(self) -> Resume:
        return "always" if self.asked.resume else "no"


def workshop_of(project: Project, request: Request, environ: Mapping[str, str]) -> Workshop:
    wishes = TargetWishes(request.target, request.accept_target_change, request.force, request.pending)
    return open_workshop(
        project,
        environ,
        wishes,
        state_dir=request.state_dir,
        helm=request.helm,
        is_offline=request.is_offline,
    )
