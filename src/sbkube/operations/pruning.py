"""Releases of apps that left the project: known by the labels that our deploys put on them.

What another profile deployed is not asked about, and what one took over from this profile unchanged stays too: its newest
run says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sbkube.config.project import Project
from sbkube.engine import ExecutionState
from sbkube.engine.stores.files import FileReader
from sbkube.helm.releases import Release, ReleaseStatus
from sbkube.operations.changes import Change, Changes
from sbkube.operations.owning import ReleaseName, crd_releases_of, recorded_in, release_of
from sbkube.operations.session import Session
from sbkube.targets.cluster.decide import APP, OWNER, PROFILE, PRUNE, RUN, as_label

_DEPLOY = ":deploy"


@dataclass(frozen=True, slots=True)
class LeftBehind:
    """What of a cluster belongs to no app any more."""

    releases: tuple[Release, ...]
    notes: tuple[str, ...]
    """Which stay, and why."""


async def plan_pruning(session: Session, *, disabled: bool) -> Changes:
    """With `disabled`, also what apps with `enabled: false` have in the cluster."""
    listed = await session.target.listed()
    left = await left_behind(listed, session.project, session.runs, session.owner, disabled=disabled)
    changes = [
        Change(one.labels[APP] or one.name, one.name, one.namespace, one.revision) for one in left.releases
    ]
    return Changes(tuple(changes), await _dependents_first(left.releases, session.runs), notes=left.notes)


async def left_behind(
    listed: Iterable[Release], project: Project, runs: FileReader, owner: str, *, disabled: bool = False
) -> LeftBehind:
    found = strangers(listed, project, owner, disabled=disabled)
    if not found:
        return LeftBehind((), ())
    others = _others(await runs.history(), project.profile)
    releases, notes = list[Release](), list[str]()
    for one in found:
        why = _why_it_stays(one, others)
        if why is None:
            releases.append(one)
        else:
            notes.append(f"release {ReleaseName.of(one)} stays: {why}")
    return LeftBehind(tuple(releases), tuple(notes))


def strangers(
    listed: Iterable[Release], project: Project, owner: str, *, disabled: bool = False
) -> list[Release]:
    """Releases that this profile made and that none of its apps has, also where an app now has another."""
    profile = as_label(project.profile or "")
    ours = [
        one
        for one in listed
        if owner
        and one.labels.get(OWNER) == owner
        and one.labels.get(PROFILE) == profile
        and one.status is not ReleaseStatus.UNINSTALLED
    ]
    kept = set[ReleaseName]()
    for name, app in project.apps.items():
        own = release_of(project, name)
        if own is not None and (app.enabled or not disabled):
            kept |= {own, *crd_releases_of(name, own, ours)}
    return [one for one in ours if ReleaseName.of(one) not in kept]


def _others(history: Iterable[ExecutionState], profile: str | None) -> dict[str | None, ExecutionState]:
    """The newest run of each other profile."""
    found: dict[str | None, ExecutionState] = {}
    for run in history:
        if run.run and run.profile != profile:
            found.setdefault(run.profile, run)
    return found


def _why_it_stays(one: Release, others: Mapping[str | None, ExecutionState]) -> str | None:
    if one.labels.get(PRUNE) == "false":
        return "its app has `prune: false`"
    for profile, run in others.items():
        if ReleaseName.of(one) in recorded_in(run) or one.labels.get(APP) in _in_doubt(run):
            return f"profile {profile!r} has it" if profile else "it is deployed without a profile too"
    return None


def _in_doubt(run: ExecutionState) -> set[str]:
    """Labels of the apps of which the run does not say where they are, since their last deploy did not complete."""
    tried = [step for step in run.steps.values() if step.attempt and step.completion is None]
    return {as_label(step.name.removesuffix(_DEPLOY)) for step in tried if step.name.endswith(_DEPLOY)}


async def _dependents_first(left: Sequence[Release], runs: FileReader) -> dict[str, list[str]]:
    """By app, those that depended on it when they were deployed."""
    found: dict[str, list[str]] = {}
    for one in left:
        run, app = one.labels.get(RUN, ""), one.labels[APP]
        plan = await runs.plan(int(run)) if run.isdecimal() else None
        step = plan.steps.get(f"{app}{_DEPLOY}") if plan is not None else None
        for other in step.after if step is not None else ():
            found.setdefault(other.rpartition(":")[0], []).append(app)
    return found
