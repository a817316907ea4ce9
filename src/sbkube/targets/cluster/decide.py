"""What a deploy has to do, from what is wanted and what the cluster has. Pure.

A Helm that was killed leaves `pending-*`, and every further Helm then refuses. Whether that is ours to mend is
known: our releases carry the owner (this state folder) as a label, and while we hold the lock of that folder no other
process of ours lives. Rolling back to the pending revision itself only unlocks: no pod is replaced by it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sbkube.helm.releases import Release, ReleaseStatus
from sbkube.targets.base import PendingPolicy

from .rollbacks import Rollback

DIGEST = "sbkube.dev/digest"
REVISION = "sbkube.dev/rev"
RUN = "sbkube.dev/run"
OWNER = "sbkube.dev/owner"
LOCK = "sbkube.dev/lock"
APP = "sbkube.dev/app"
PROFILE = "sbkube.dev/profile"
PRUNE = "sbkube.dev/prune"
_LABEL = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")


@dataclass(frozen=True, slots=True)
class Wanted:
    digest: str
    """Of chart, values and manifests; at most 63 characters."""
    run: str
    owner: str
    """Which state folder; what it left is ours."""
    app: str = ""
    profile: str | None = None
    prune: bool = True
    lock: str = ""
    """Under which lock in the cluster; what an earlier holder of it left is ours too."""
    is_undone_by_helm: bool = False
    """A deploy that fails is rolled back by Helm itself."""
    chart: str = ""
    """Its name; "": that of the release's may be any."""
    rollback: Rollback | None = None
    """The last one of ours that is not known to have ended well; none lives while we hold the lock."""

    def labels(self, revision: int) -> Mapping[str, str]:
        """By the last three `sbkube prune` knows what left the project, whatever became of the recorded runs."""
        return {
            DIGEST: self.digest,
            REVISION: str(revision),
            RUN: self.run,
            OWNER: self.owner,
            APP: as_label(self.app),
            PROFILE: as_label(self.profile or ""),
            PRUNE: str(self.prune).lower(),
            **({LOCK: self.lock} if self.lock else {}),
        }


@dataclass(frozen=True, slots=True)
class Install:
    replace: bool = False
    """An uninstalled release whose history was kept has the name."""


@dataclass(frozen=True, slots=True)
class Upgrade:
    revision: int
    completes_install: bool = False
    """No revision was ever deployed to its end."""


@dataclass(frozen=True, slots=True)
class Unchanged:
    revision: int


@dataclass(frozen=True, slots=True)
class Unlock:
    """Roll back to the pending revision itself, without hooks or waiting; then decide anew."""

    revision: int


@dataclass(frozen=True, slots=True)
class FinishUninstall:
    """Uninstall again; then decide anew."""


@dataclass(frozen=True, slots=True)
class WaitForOther:
    """Until the operation that is under way has ended; then decide anew."""


@dataclass(frozen=True, slots=True)
class Locked:
    """Somebody else's operation is under way, or was killed: a person has to say."""


@dataclass(frozen=True, slots=True)
class Taken:
    """Something else has the name: an upgrade would remove it."""


Decision = Install | Upgrade | Unchanged | Unlock | FinishUninstall | WaitForOther | Locked | Taken


def decide(
    now: Release | None,
    wanted: Wanted,
    *,
    force: bool = False,
    pending: PendingPolicy = "ours",
    earlier: Sequence[Release] = (),
) -> Decision:
    """`now` is the newest revision of the release, None if there is no such release; `earlier` are those before it."""
    if now is None:
        return Install()
    if now.status is ReleaseStatus.UNINSTALLED:
        return Install(replace=True)
    if now.status.is_pending or now.status is ReleaseStatus.UNINSTALLING:
        return _unlocking(now, wanted, pending, earlier)
    if not force and is_deployed(now, wanted.digest):
        return Unchanged(now.revision)
    if _is_something_else(now, wanted):
        return Taken()
    return Upgrade(now.revision + 1, completes_install=not any(map(_was_completed, (now, *earlier))))


def _was_completed(one: Release) -> bool:
    """What only unlocks has the labels of the revision that was cut off."""
    is_of_its_own = one.labels.get(REVISION, str(one.revision)) == str(one.revision)
    return is_of_its_own and one.status in (ReleaseStatus.DEPLOYED, ReleaseStatus.SUPERSEDED)


def is_deployed(now: Release | None, digest: str) -> bool:
    """Helm carries labels over upgrades and rollbacks made by hand, so they count for their own revision only."""
    return (
        now is not None
        and now.status is ReleaseStatus.DEPLOYED
        and now.labels.get(DIGEST) == digest
        and now.labels.get(REVISION) == str(now.revision)
    )


def _is_something_else(now: Release, wanted: Wanted) -> bool:
    """Another checkout of the project, or a hand that ran Helm, had the same chart."""
    if now.labels.get(OWNER) == wanted.owner or not wanted.chart or not now.chart:
        return False
    return _VERSION.sub("", now.chart) != wanted.chart


_VERSION = re.compile(r"-v?\d+(\.\d+)*([-+.].*)?$")


def as_label(text: str) -> str:
    """The text, or if no label may hold it, what stands for it."""
    if not text or _LABEL.fullmatch(text):
        return text
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def is_ours(now: Release, owner: str) -> bool:
    return now.labels.get(OWNER) == owner and now.labels.get(REVISION) == str(now.revision)


def is_left_to_us(now: Release, owner: str, lock: str) -> bool:
    """Made by this state folder or under the lock that we hold, so by no process that lives."""
    is_under_lock = bool(lock) and now.labels.get(LOCK) == lock
    return is_ours(now, owner) or (is_under_lock and now.labels.get(REVISION) == str(now.revision))


def was_left_by_us(now: Release, wanted: Wanted, earlier: Sequence[Release]) -> bool:
    """A rollback has the labels of the revision it goes to: so it is ours if we noted it, or if it was to mend one of ours."""
    if is_left_to_us(now, wanted.owner, wanted.lock):
        return True
    if wanted.rollback is not None and wanted.rollback.is_(now):
        return True
    if now.status is not ReleaseStatus.PENDING_ROLLBACK or not earlier:
        return False
    *before, mended = earlier
    is_one_to_mend = mended.status.is_pending or (
        mended.status is ReleaseStatus.FAILED and wanted.is_undone_by_helm
    )
    return is_one_to_mend and was_left_by_us(mended, wanted, before)


def _unlocking(now: Release, wanted: Wanted, pending: PendingPolicy, earlier: Sequence[Release]) -> Decision:
    ours = was_left_by_us(now, wanted, earlier)
    if pending == "wait" and not ours:
        return WaitForOther()
    if pending == "fail" or (pending == "ours" and not ours):
        return Locked()
    return FinishUninstall() if now.status is ReleaseStatus.UNINSTALLING else Unlock(now.revision)


def told(decision: Decision, now: Release | None) -> str:
    """One line for the step's log."""
    state = f"revision {now.revision} is {now.status.value}" if now is not None else "not there"
    match decision:
        case Install():
            return f"{state}, installing"
        case Upgrade(revision):
            whose = "" if now is None or OWNER in now.labels else ", made without sbkube"
            return f"{state}{whose}, upgrading to revision {revision}"
        case Unchanged():
            return f"{state} with this content, nothing to do"
        case Unlock():
            return f"{state}: it was cut off; unlocking it"
        case FinishUninstall():
            return f"{state}: it was cut off; uninstalling it to the end"
        case WaitForOther():
            return f"{state}, waiting for whoever does it"
        case Locked():
            return f"{state}, by somebody else"
        case Taken():
            return f"{state}, and is something else"
