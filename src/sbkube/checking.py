"""What a run of a project would stumble over, found without running it: its files, its names, its target."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from anyio.to_thread import run_sync

from sbkube.apps.base import Stage
from sbkube.apps.files import BadFile, FileInput
from sbkube.apps.work import Reading
from sbkube.config.problems import InvalidConfig
from sbkube.config.project import Project
from sbkube.engine import Step, StepGraph
from sbkube.errors import Position, SbkubeError
from sbkube.planning import AppPlace, StagePlan, missing_files, plan_stages, step_id


@dataclass(frozen=True, slots=True)
class Finding:
    """Something to mend before a run. `where` is in the project's own files."""

    message: str
    where: Position
    hint: str | None = None
    at: Position | None = None
    """The place in the file that `where` names, if there is one."""
    app: str | None = None
    steps: tuple[str, ...] = ()
    """Those that would fail."""

    def __str__(self) -> str:
        more = f" and {len(self.steps) - 1} more" if len(self.steps) > 1 else ""
        effect = f", so {self.steps[0]}{more} would fail" if self.steps else ""
        return f"{self.where}: {self.message}{effect}"


@dataclass(frozen=True, slots=True)
class Checked:
    """What can be said of a project that is not run."""

    graph: StepGraph
    findings: tuple[Finding, ...]
    fetches: tuple[tuple[str, str], ...] = ()
    """By step, what comes from elsewhere. Whether it is there was not asked."""


async def check(project: Project, target: Callable[[], Awaitable[Iterable[SbkubeError]]]) -> Checked:
    """`target` says what it would refuse, or raises it."""
    read, found = await run_sync(_look, project, abandon_on_cancel=True)  # it only reads
    there = await run_sync(_presence, read, abandon_on_cancel=True)
    stages = plan_stages(project, read, there, target={}, secret=lambda name: None)
    found += [_missing(stage, file) for stage, file in missing_files(stages, there)]
    try:
        refused = list(await target())
    except SbkubeError as error:
        refused = [error]
    whole = Position(project.config_file) if not project.says("target") else project.where("target")
    found += [_finding(error, whole) for error in refused]
    graph = StepGraph(Step(s.id, needs=s.needs, after=s.after, enabled=s.enabled) for s in stages)
    fetches = tuple((stage.id, stage.fetches) for stage in stages if stage.fetches)
    return Checked(graph, tuple(_in_order(_together(found), project)), fetches)


def findings_of(error: SbkubeError) -> list[Finding]:
    """Of a project that could not even be loaded; none if the error stands in no file."""
    if isinstance(error, InvalidConfig):
        return [Finding(p.message, p.where, p.hint) for p in error.problems]
    return [] if error.where is None else [_finding(error, error.where)]


Read = dict[tuple[str, Stage], Reading]


def _look(project: Project) -> tuple[Read, list[Finding]]:
    read: Read = {}
    found: list[Finding] = []
    for name, app in project.apps.items():
        if app.enabled:
            place = AppPlace(project, name)
            try:
                read |= {(name, stage): app.reads(stage, place) for stage in app.stages}
                found += _findings(place)
            except SbkubeError as error:
                found.append(_finding(error, place.where(), name))
            except OSError as error:
                told = f"{error.filename or name}: {(error.strerror or str(error)).lower()}"
                found.append(Finding(told, place.where(), app=name))
    return read, found


def _findings(place: AppPlace) -> Iterator[Finding]:
    for stage, error in place.app.check(place):
        yield _finding(
            error, place.where(), place.name, () if stage is None else (step_id(place.name, stage),)
        )


def _finding(
    error: SbkubeError, where: Position, app: str | None = None, steps: tuple[str, ...] = ()
) -> Finding:
    at = error.at if isinstance(error, BadFile) else None
    return Finding(error.message, error.where or where, error.hint, at, app, steps)


def _missing(stage: StagePlan, file: FileInput) -> Finding:
    return _finding(file.missing, file.where, stage.app, (stage.id,))


def _presence(read: Mapping[tuple[str, Stage], Reading]) -> dict[Path, str | None]:
    """In place of digests: what planning asks here is only whether a file is there."""
    return {
        file.path: "there" if file.path.exists() else None
        for reading in read.values()
        for file in reading.files
        if file.path is not None
    }


def _together(found: Iterable[Finding]) -> Iterator[Finding]:
    """What is wrong in one place is said once, with all steps that it fails."""
    by_place: dict[tuple[Position, str], list[Finding]] = {}
    for finding in found:
        by_place.setdefault((finding.where, finding.message), []).append(finding)
    for same in by_place.values():
        first, steps = same[0], tuple(step for finding in same for step in finding.steps)
        app = first.app if len({finding.app for finding in same}) == 1 else None
        yield Finding(first.message, first.where, first.hint, first.at, app, steps)


def _in_order(found: Iterable[Finding], project: Project) -> list[Finding]:
    files = {file: place for place, file in enumerate(project.files)}
    return sorted(found, key=lambda it: (files.get(it.where.file, -1), it.where.line or 0))
