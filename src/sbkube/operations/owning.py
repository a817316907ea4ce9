"""Which releases are an app's, and which of them we may touch: by their labels and by what our runs recorded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from sbkube.apps.released import ReleasedApp
from sbkube.config.project import Project
from sbkube.engine import ExecutionState
from sbkube.engine.fingerprints import Json
from sbkube.errors import SbkubeError
from sbkube.helm.names import is_crd_release
from sbkube.helm.releases import Release, ReleaseStatus
from sbkube.planning import AppPlace
from sbkube.targets.cluster.decide import APP, DIGEST, OWNER, RUN, as_label, is_left_to_us
from sbkube.targets.cluster.others import PendingElsewhere


class ReleaseName(NamedTuple):
    namespace: str
    name: str

    @classmethod
    def of(cls, release: Release) -> ReleaseName:
        return cls(release.namespace, release.name)

    def __str__(self) -> str:
        return f"{self.name!r} in namespace {self.namespace!r}"


class Recorded(NamedTuple):
    """What a deploy said of a release."""

    app: str
    run: int
    release: ReleaseName
    revision: int
    before: int | None
    action: str


class NotOurs(SbkubeError):
    """Releases that this project did not make have the names of its apps."""

    def __init__(self, made_by_hand: Iterable[Release], made_elsewhere: Iterable[Release]) -> None:
        hand, elsewhere = list(made_by_hand), list(made_elsewhere)
        told = [f"{ReleaseName.of(one)} was not made by sbkube" for one in hand]
        told += [f"{ReleaseName.of(one)} was made from another state folder" for one in elsewhere]
        hint = (
            "leave its app out with `--app`, or `helm uninstall` it by hand"
            if hand
            else "`--accept-target-change` takes it for this project's"
        )
        super().__init__(f"release {', release '.join(told)}", hint=hint)
        self.made_by_hand, self.made_elsewhere = tuple(hand), tuple(elsewhere)


def release_of(project: Project, name: str) -> ReleaseName | None:
    """As the project says; None for an app that has none."""
    app, place = project.apps[name], AppPlace(project, name)
    if not isinstance(app, ReleasedApp):
        return None
    return ReleaseName(place.namespace or "default", app.release(place))


def crd_releases_of(app: str, release: ReleaseName, listed: Iterable[Release]) -> list[ReleaseName]:
    """Those that hold its custom resource definitions."""
    return sorted(
        ReleaseName.of(one)
        for one in listed
        if one.labels.get(APP) == as_label(app)
        and one.namespace == release.namespace
        and is_crd_release(one.name, release.name)
    )


def recorded_in(run: ExecutionState | None) -> dict[ReleaseName, Recorded]:
    """What the deploys of a run left, also those that it took over."""
    steps = run.steps.items() if run is not None else ()
    found = [
        recorded
        for id, step in steps
        if id.endswith(":deploy") and step.completion is not None
        for recorded in _recorded(id.removesuffix(":deploy"), step.completion.run, step.output)
    ]
    return {one.release: one for one in found}


def _recorded(app: str, run: int, output: Json) -> Iterator[Recorded]:
    if not isinstance(output, Mapping):
        return
    if isinstance(output.get("release"), str):
        name = ReleaseName(str(output["namespace"]), output["release"])
        yield Recorded(app, run, name, output["revision"], output["before"], str(output["action"]))
    for crds in output.get("crds") or ():
        yield from _recorded(app, run, crds)


def dependents_first(project: Project) -> dict[str, list[str]]:
    """By app, those that depend on it."""
    return {
        name: [other for other, app in project.apps.items() if any(name == one.app for one in app.depends_on)]
        for name in project.apps
    }


def is_ours(now: Release, owner: str, recorded: Recorded | None) -> bool:
    """By the label, which Helm carries over what is done by hand; if our key was lost, by what a run recorded."""
    if now.labels.get(OWNER) == owner:
        return True
    if recorded is None:
        return False
    return (now.revision, now.labels.get(RUN)) == (recorded.revision, str(recorded.run))


def refuse_others(
    found: Iterable[Release], owner: str, recorded: Mapping[ReleaseName, Recorded], *, accept: bool
) -> None:
    """Raises `NotOurs`; with `accept`, for those made by hand only."""
    others = [one for one in found if not is_ours(one, owner, recorded.get(ReleaseName.of(one)))]
    by_hand = [one for one in others if DIGEST not in one.labels]
    elsewhere = [] if accept else [one for one in others if DIGEST in one.labels]
    if by_hand or elsewhere:
        raise NotOurs(by_hand, elsewhere)


def refuse_busy(now: Release, owner: str, lock: str = "") -> None:
    """Raises `PendingElsewhere` if somebody else works on it. Labels do not say whose a rollback is: so as ours."""
    is_busy = now.status.is_pending or now.status is ReleaseStatus.UNINSTALLING
    if is_busy and now.status is not ReleaseStatus.PENDING_ROLLBACK and not is_left_to_us(now, owner, lock):
        raise PendingElsewhere(now)
