"""From a project and what its files hold to steps. Pure; which of them are to run is for `selecting`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sbkube.apps.base import App, OnInterrupt, Stage
from sbkube.apps.exec import ExecApp
from sbkube.apps.files import FileInput
from sbkube.apps.helm import HelmApp
from sbkube.apps.released import ReleasedApp
from sbkube.apps.sought import Fetched, Sought
from sbkube.apps.work import GitRepository, HelmRepository, OciRegistryEntry, Reading
from sbkube.config.project import Project
from sbkube.engine import Retry
from sbkube.engine.stores.base import Plan
from sbkube.errors import ConfigError, Position, SbkubeError
from sbkube.fetch.lockfile import Asks, Pin
from sbkube.targets.base import NeedsCluster

GATE = "done"
"""The stage of an app that has none: `shop-ready:done`."""

TRANSIENT_ONLY = Retry(
    retries=2, when=lambda error: is_transient(error), pause=lambda error: asked_pause(error)
)
DEPLOYS = replace(TRANSIENT_ONLY, retries=6, cap=15.0)
"""An API server that is restarted, or behind a broken line, is back within half a minute."""


LONGEST_PAUSE = 120.0


@dataclass(frozen=True, slots=True)
class AppPlace:
    """An app's place in its project, as its stages see it (`apps.work.Place`)."""

    project: Project = field(repr=False)
    name: str
    outputs: Mapping[str, Path] = field(default_factory=dict, repr=False)
    """Where apps have put what they fetched; empty while it is planned, when that is nobody's business yet."""

    @property
    def app(self) -> App:
        return self.project.apps[self.name]

    @property
    def folder(self) -> Path:
        return self.project.folder

    @property
    def namespace(self) -> str:
        return self.app.namespace if self.app.namespace is not None else self.project.namespace

    @property
    def shared_values(self) -> tuple[str | dict[str, Any], ...]:
        settings = self.project.settings
        file = (settings.cluster_values_file,) if settings.cluster_values_file else ()
        return (*file, *((settings.global_values,) if settings.global_values else ()))

    @property
    def where_shared_values(self) -> Position:
        return self.project.where("settings", "cluster_values_file")

    @property
    def object_labels(self) -> Mapping[str, str]:
        return {**self.project.settings.global_labels, **self.app.labels} if self._puts_metadata else {}

    @property
    def object_annotations(self) -> Mapping[str, str]:
        if not self._puts_metadata:
            return {}
        return {**self.project.settings.global_annotations, **self.app.annotations}

    @property
    def _puts_metadata(self) -> bool:
        """On the objects of a chart only if nobody asked to leave them alone."""
        app, settings = self.app, self.project.settings
        if not isinstance(app, HelmApp) or _is_among(app.chart, settings.force_label_injection):
            return True
        is_asked_for = app.helm_label_injection and settings.helm_label_injection
        return is_asked_for and not _is_among(app.chart, settings.incompatible_charts)

    def where(self, *path: str | int) -> Position:
        return self.project.position(self.name, *path)

    def values_candidates(self, name: str) -> list[Path]:
        return self.project.values_candidates(name)

    @property
    def helm_repos(self) -> Mapping[str, HelmRepository]:
        return self.project.settings.helm_repos

    @property
    def oci_registries(self) -> Mapping[str, OciRegistryEntry]:
        return self.project.settings.oci_registries

    @property
    def git_repos(self) -> Mapping[str, GitRepository]:
        return self.project.settings.git_repos

    def where_setting(self, *path: str | int) -> Position:
        return self.project.where("settings", *path)

    @property
    def fetched(self) -> Fetched:
        return self.project.fetched

    def pin(self, asks: Asks | None) -> Pin | None:
        return self.project.pins.pin(self.name, asks)

    def seek(self, path: str) -> Sought | None:
        return self.fetched.seek(path, self.folder, self.outputs)


def _is_among(chart: str, charts: Collection[str]) -> bool:
    """By its whole name, or by its last part."""
    return chart in charts or chart.rstrip("/").rpartition("/")[2] in charts


@dataclass(frozen=True, slots=True)
class StagePlan:
    """A step before it has a body."""

    id: str
    app: str
    stage: Stage | None
    """None: a gate."""
    needs: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()
    """Of `needs`, what fetches files of which only those count that are read."""
    after: tuple[str, ...] = ()
    inputs: Mapping[str, Any] = field(default_factory=dict)
    files: tuple[FileInput, ...] = ()
    fetches: str | None = None
    late: frozenset[str] = frozenset()
    """Components that may appear or change until the step starts, because a step before it makes them."""
    secrets: tuple[str, ...] = ()
    pools: tuple[str, ...] = ()
    time_limit: float | None = None
    retry: Retry = TRANSIENT_ONLY
    on_interrupt: OnInterrupt = "rerun"
    enabled: bool = True


def is_transient(error: Exception) -> bool:
    return isinstance(error, SbkubeError) and error.transient


def asked_pause(error: Exception) -> float:
    """What the error knows of when to try again, within reason."""
    asked = error.after if isinstance(error, SbkubeError) else None
    return min(asked or 0.0, LONGEST_PAUSE)


def step_id(app: str, stage: Stage | None) -> str:
    return f"{app}:{stage or GATE}"


def readings(project: Project) -> dict[tuple[str, Stage], Reading]:
    """What each stage of each enabled app reads; looks only where files are."""
    return {
        (name, stage): app.reads(stage, AppPlace(project, name))
        for name, app in project.apps.items()
        if app.enabled
        for stage in app.stages
    }


def questions(project: Project) -> dict[str, Asks]:
    """What each enabled app asks others for, as the lock file has it."""
    read = {
        name: app.reads("prepare", AppPlace(project, name)).asks
        for name, app in project.apps.items()
        if app.enabled and "prepare" in app.stages
    }
    return {name: asks for name, asks in read.items() if asks is not None}


def unsuited(project: Project, target: Mapping[str, str]) -> Iterator[NeedsCluster]:
    """What cannot be done to a target of this kind."""
    for name, app in project.apps.items():
        if app.enabled and app.needs_cluster and target.get("kind") != "cluster":
            yield NeedsCluster(f"app {name!r} of type {app.type}", project.position(name, "type"))


def plan_stages(
    project: Project,
    read: Mapping[tuple[str, Stage], Reading],
    digests: Mapping[Path, str | None],
    *,
    target: Mapping[str, str],
    secret: Callable[[str], str | None],
    earlier: Plan | None = None,
) -> list[StagePlan]:
    """The steps of a project, as declared.

    `digests` are those of all files that are read, `target` identifies where deploys go, `secret` gives a keyed
    digest of an environment variable. `earlier` is the plan of the run before: a file that an `exec` app made
    then still comes from it, though it is there now.
    """
    facts = _Facts(project, read, digests, dict(target), secret, earlier)
    return [stage for name in project.apps for stage in _stages(AppPlace(project, name), facts)]


@dataclass(frozen=True, slots=True)
class _Facts:
    project: Project
    read: Mapping[tuple[str, Stage], Reading]
    digests: Mapping[Path, str | None]
    target: dict[str, str]
    secret: Callable[[str], str | None]
    earlier: Plan | None

    def digest(self, file: FileInput) -> str | None:
        return None if file.path is None else self.digests.get(file.path)


def _stages(place: AppPlace, facts: _Facts) -> Iterator[StagePlan]:
    app, name = place.app, place.name
    before = _waits_for(place)
    if not app.stages:
        yield StagePlan(
            step_id(name, None), name, None, after=before, inputs={"type": app.type}, enabled=app.enabled
        )
    for stage in app.stages:
        id = step_id(name, stage)
        reading = facts.read.get((name, stage), Reading())
        made = _made_by_commands(place, id, reading, facts)
        fetched = frozenset(file.component for file in reading.files if file.by is not None)
        sources = tuple(dict.fromkeys(step_id(f.by, "prepare") for f in reading.files if f.by is not None))
        late = made | fetched
        previous = tuple(step_id(name, earlier) for earlier in _earlier(app, stage, facts.target))
        yield StagePlan(
            id,
            name,
            stage,
            needs=(
                *previous,
                *(_makers(place) if made else ()),
                *sources,
                *(step_id(used, "prepare") for used in reading.uses),
            ),
            reads=sources,
            after=before if stage == _waiting_stage(app) else (),
            inputs={**_inputs(app, stage, reading, late, facts), **_locked(place, reading)},
            files=reading.files,
            fetches=reading.fetches,
            late=late,
            secrets=reading.secrets,
            pools=(_pool(app, stage),),
            time_limit=app.time_limit_of(stage),
            retry=_retry(app, stage),
            on_interrupt=app.after_interruption(stage),
            enabled=app.enabled,
        )


def _earlier(app: App, stage: Stage, target: Mapping[str, str]) -> tuple[Stage, ...]:
    """The stages of the app whose outputs it needs; a cluster is given the chart itself, a folder what it renders."""
    before = app.stages[: app.stages.index(stage)]
    gets_chart = stage == "deploy" and target.get("kind") == "cluster" and "build" in before
    return (*before[-1:], *(("build",) if gets_chart else ()))


def _waiting_stage(app: App) -> Stage:
    return "deploy" if "deploy" in app.stages else app.stages[0]


def _waits_for(place: AppPlace) -> tuple[str, ...]:
    """The steps of other apps that its deploy comes after."""
    found = []
    for index, dependency in enumerate(place.app.depends_on):
        other = place.project.apps.get(dependency.app)
        if other is None:
            continue
        if dependency.stage is not None and dependency.stage not in other.stages:
            raise ConfigError(
                f"app {place.name!r} waits for stage {dependency.stage!r} of {dependency.app!r}, which has "
                + (f"only: {', '.join(other.stages)}" if other.stages else "no stages"),
                where=place.where("depends_on", index),
            )
        last = other.stages[-1] if other.stages else None
        found.append(step_id(dependency.app, dependency.stage or last))
    return tuple(dict.fromkeys(found))


def _makers(place: AppPlace) -> tuple[str, ...]:
    """The commands that an app depends on, so that may make files for it."""
    apps = place.project.apps
    names = [
        d.app for d in place.app.depends_on if isinstance(apps.get(d.app), ExecApp) and apps[d.app].enabled
    ]
    return tuple(step_id(name, "deploy") for name in dict.fromkeys(names))


def _made_by_commands(place: AppPlace, id: str, reading: Reading, facts: _Facts) -> frozenset[str]:
    """The components that a command makes before the step starts."""
    makers = _makers(place)
    if not makers:
        return frozenset()
    then = facts.earlier.steps.get(id) if facts.earlier is not None else None
    were_made = then is not None and any(maker in then.needs for maker in makers)
    return frozenset(
        file.component
        for file in reading.files
        if file.by is None
        and (
            facts.digest(file) is None
            or (were_made and then is not None and file.component not in then.components)
        )
    )


def _inputs(app: App, stage: Stage, reading: Reading, late: frozenset[str], facts: _Facts) -> dict[str, Any]:
    inputs: dict[str, Any] = {"type": app.type, **reading.settings}
    inputs |= {f.component: facts.digest(f) for f in reading.files if f.component not in late}
    if late:
        # What is in them is known later; that another file is named now must show all the same.
        inputs["files made by other apps"] = sorted(late)
    inputs |= {f"environment variable {name}": facts.secret(name) for name in reading.secrets}
    if stage == "deploy":
        inputs["target"] = facts.target
        if isinstance(app, ReleasedApp) and not app.prune:
            inputs["prune"] = False  # the release says so itself, for when the app is gone
    return inputs


def _locked(place: AppPlace, reading: Reading) -> dict[str, Any]:
    pin = place.pin(reading.asks)
    return {} if pin is None else {"locked": pin.fields}


def _pool(app: App, stage: Stage) -> str:
    if stage == "template":
        return "render"
    return "deploy" if stage == "deploy" and not app.runs_commands else "work"


def _retry(app: App, stage: Stage) -> Retry:
    rule = app.retry
    if rule is None:
        return DEPLOYS if stage == "deploy" else TRANSIENT_ONLY
    # Who asks for retries of commands means their failures; elsewhere only what may pass by itself is repeated.
    when = (lambda error: True) if app.runs_commands else is_transient
    return Retry(rule.retries, rule.base, rule.factor, rule.cap, rule.jitter, when)


def missing_files(
    stages: Iterable[StagePlan], digests: Mapping[Path, str | None]
) -> list[tuple[StagePlan, FileInput]]:
    """What steps read, is not there, and no other app makes."""
    return [
        (stage, file)
        for stage in stages
        for file in stage.files
        if file.component not in stage.late and (file.path is None or digests.get(file.path) is None)
    ]
