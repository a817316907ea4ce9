"""What the dependencies of a chart in the project make of it: more inputs, and what is not pinned. Blocking."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from sbkube.apps.dependencies import (
    Dependency,
    Origin,
    local_chart,
    local_charts,
    missing,
    within,
)
from sbkube.apps.dependency_locks import lock_of
from sbkube.apps.dependency_sources import repository_of, url_of
from sbkube.apps.files import FileInput
from sbkube.apps.registry_charts import OCI
from sbkube.apps.work import Place, Reading
from sbkube.errors import Position, SbkubeError
from sbkube.fetch.addresses import redacted, told_apart


def dependency_reading(chart: FileInput, origin: Origin, place: Place) -> Reading:
    """Remote ones are pinned by a lock, which lies in the chart, or by nothing."""
    files, remote = [chart], [it for it in _missing(origin.folder, origin) if not it.is_local]
    for dependency, path in local_charts(origin.folder, origin):
        files.append(_input(dependency, path, place, origin.where))
        remote += [it for it in _missing(path, within(dependency, origin, path)) if not it.is_local]
    urls = {it.repository: told_apart(url) for it in remote if (url := url_of(it, place))}
    told = ", ".join(dict.fromkeys(f"{it.name} {it.version}".rstrip() for it in remote))
    return Reading(
        {"repositories": urls} if urls else {},
        tuple(files),
        fetches=f"what chart {origin.chart} depends on: {told}" if told else None,
    )


def check_dependencies(origin: Origin, place: Place) -> Iterator[SbkubeError]:
    """What is wrong with them without asking anybody."""
    left, seen = [origin], set()
    while left:
        come = left.pop()
        if (real := os.path.realpath(come.folder)) in seen:
            continue
        seen.add(real)
        try:
            for dependency in missing(come.folder, come):
                if dependency.is_local:
                    left.append(within(dependency, come, local_chart(dependency, come)))
                elif not dependency.repository.startswith(OCI):
                    _check_repository(dependency, place)
        except SbkubeError as error:
            yield error


def unpinned_dependencies(chart: Path) -> Iterator[str]:
    """Of a chart in the project that has no lock."""
    from sbkube.fetch.versions import is_exact

    if not chart.is_dir() or lock_of(chart) is not None:
        return
    for dependency in _missing(chart, Origin(chart, None, str(chart), Position(chart))):
        if not dependency.is_local and not is_exact(dependency.version):
            yield f"{redacted(dependency.repository)} {dependency.name} {dependency.version}".rstrip()


def _check_repository(dependency: Dependency, place: Place) -> None:
    try:
        repository_of(dependency, place)
    except SbkubeError as error:
        error.set_place(dependency.where)
        raise


def _missing(chart: Path, origin: Origin) -> list[Dependency]:
    """None where anything is wrong, which is told when they are taken."""
    try:
        return missing(chart, origin)
    except SbkubeError:
        return []


def _input(dependency: Dependency, path: Path, place: Place, where: Position) -> FileInput:
    shown = os.path.relpath(path, place.folder)
    there = path if (path / "Chart.yaml").is_file() else None
    return FileInput("chart", shown, there, where, (path,))
