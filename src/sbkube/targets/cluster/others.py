"""What others did to a release that stands in the way of ours."""

from __future__ import annotations

from datetime import UTC, datetime

from sbkube.helm.releases import Release, ReleaseError, ReleaseStatus

from .decide import OWNER, RUN


class PendingElsewhere(ReleaseError):
    """An operation on a release is under way or was killed, and it is not known to be ours to mend."""

    def __init__(self, now: Release, owner: str = "") -> None:
        undone = now.status is ReleaseStatus.UNINSTALLING
        by_hand = f"helm uninstall {now.name}" if undone else f"helm rollback {now.name} {now.revision}"
        super().__init__(
            now.name,
            now.namespace,
            f"{_who(now, owner)} works on it, or was killed over it: revision {now.revision}{_of_chart(now)} is "
            f"`{now.status.value}` since {now.updated}{_ago(now.updated)}",
            hint="`--pending wait` waits for its end; if whoever did it is gone, `--pending rollback` "
            f"{'ends it' if undone else 'unlocks it'}, as `{by_hand} -n {now.namespace} --no-hooks` does",
        )


class AnotherChart(ReleaseError):
    """The name of the release is that of something else."""

    def __init__(self, now: Release, chart: str) -> None:
        super().__init__(
            now.name,
            now.namespace,
            f"its name is taken: {_who(now)} made it of {now.chart}, and what this app deploys is {chart}, "
            "which would remove all that is there",
            hint=f"`release_name` gives this app another name; `--accept-target-change` takes {now.name!r} over all the same",
        )


def _who(now: Release, owner: str = "") -> str:
    if OWNER not in now.labels:
        return "somebody else's Helm"
    if now.labels[OWNER] == owner:
        return f"run {now.labels.get(RUN, '?')} of this project"
    return f"sbkube with another state folder (its run {now.labels.get(RUN, '?')})"


def _of_chart(now: Release) -> str:
    return f" ({now.chart})" if now.chart else ""


def _ago(when: str) -> str:
    try:
        then = datetime.fromisoformat(when)
    except ValueError:
        return ""
    seconds = (datetime.now(UTC) - (then if then.tzinfo else then.replace(tzinfo=UTC))).total_seconds()
    for unit, name in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= unit:
            return f", {seconds // unit:.0f} {name} ago"
    return f", {max(seconds, 0):.0f} s ago"
