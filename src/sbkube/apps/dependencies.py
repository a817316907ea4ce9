"""What a chart needs of other charts, as Helm reads it: `dependencies`, what lies in `charts/`, and what a lock says. Blocking.

Only what a chart does not hold yet is anybody's business here: what is in `charts/` Helm takes, however it came there.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sbkube.apps.archives import BadArchive, unpack
from sbkube.documents import parse, read_text
from sbkube.errors import ConfigError, Position, SbkubeError

FILE = "file://"
UPDATE = "helm dependency update"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a chart came from."""

    folder: Path
    """In which it lay, so that paths in it lead from there."""
    root: Path | None
    """What they must not lead out of; None: the chart is the user's own."""
    chart: str
    """As it is told."""
    where: Position
    """The line that names it, of a chart from elsewhere."""
    is_packed: bool = False
    """Whoever packed it has tried it with what it holds."""

    @property
    def is_own(self) -> bool:
        return self.root is None


@dataclass(frozen=True, slots=True)
class Dependency:
    name: str
    version: str
    repository: str
    where: Position
    entry: Mapping[str, Any]
    """All that is written of it."""

    @property
    def told(self) -> str:
        return f"dependency {self.name!r}"

    @property
    def is_local(self) -> bool:
        return self.repository.startswith(FILE)


class DependencyError(SbkubeError):
    def __init__(self, dependency: Dependency, chart: str, why: str, hint: str | None = None) -> None:
        super().__init__(f"{dependency.told} of chart {chart!r} {why}", where=dependency.where, hint=hint)


class WrongVersion(DependencyError):
    """In `charts/`, or where a `file://` leads."""

    def __init__(self, dependency: Dependency, origin: Origin, version: str, where: str, hint: str) -> None:
        wanted = dependency.version
        why = f"is at version {version} in {where}, which does not satisfy the constraint {wanted!r}"
        super().__init__(dependency, origin.chart, why, hint)


class NotInCharts(DependencyError):
    def __init__(self, dependency: Dependency, origin: Origin) -> None:
        super().__init__(
            dependency,
            origin.chart,
            "is not in `charts/`, and names no repository",
            f"put it there, or say with `repository` of {dependency.name!r} where it is",
        )


class NoLocalChart(DependencyError):
    """A `file://` that leads to no chart, or out of what was fetched."""


def missing(chart: Path, origin: Origin) -> list[Dependency]:
    """What a chart does not hold, with the versions that its lock says. Raises `SbkubeError`."""
    from sbkube.apps.dependency_locks import locked

    needed = dependencies(chart, origin)
    if not needed:
        return []
    held = held_by(chart)
    if not origin.is_packed:
        for it in needed:
            _check_held(it, origin, held.get(it.name, []))
    absent = [it for it in needed if it.name not in held]
    for it in absent:
        if not it.repository:
            raise NotInCharts(it, origin)
        fits("0.0.0", it)
    if not absent:
        return []
    of_lock = locked(chart, needed, origin)
    return [it for it in of_lock if it.name not in held]


def dependencies(chart: Path, origin: Origin) -> list[Dependency]:
    """None where they are written so that Helm takes none of the chart: it says why when it renders."""
    for name in ("requirements.yaml", "Chart.yaml"):
        try:
            if "dependencies" not in (text := read_text(chart / name)):
                continue
            document = parse(text, file=origin.folder / name)
            listed = document.mapping().get("dependencies")
        except ConfigError:
            continue
        if not isinstance(listed, list) or not all(isinstance(it, Mapping) for it in listed):
            continue
        where = document.position if origin.is_own else lambda path: origin.where
        return [_dependency(entry, where(["dependencies", n])) for n, entry in enumerate(listed)]
    return []


def _dependency(entry: Mapping[str, Any], where: Position) -> Dependency:
    name, version, repository = (text_of(entry.get(key)) for key in ("name", "version", "repository"))
    return Dependency(name, version, repository, where, entry)


def text_of(value: object) -> str:
    """A scalar where Helm reads a text; whitespace and what cannot be printed as Helm takes it."""
    if value is None:
        return ""
    text = str(value).lower() if isinstance(value, bool) else str(value)
    spaced = (" " if sign.isspace() else sign for sign in text)
    return "".join(sign for sign in spaced if sign.isprintable())


def held_by(chart: Path) -> dict[str, list[str]]:
    """The versions in `charts/`, by the names of the charts themselves."""
    found: dict[str, list[str]] = {}
    folder = chart / "charts"
    for name in sorted(os.listdir(folder)) if folder.is_dir() else ():
        if not name.startswith(("_", ".")) and (metadata := _metadata(folder / name)):
            found.setdefault(text_of(metadata.get("name")), []).append(text_of(metadata.get("version")))
    return found


def metadata_of(chart: Path) -> dict[str, Any]:
    """Nothing where there is no chart that could be read."""
    try:
        return parse(read_text(chart / "Chart.yaml"), file=chart / "Chart.yaml").mapping()
    except ConfigError:
        return {}


def _metadata(path: Path) -> dict[str, Any]:
    if path.is_dir():
        return metadata_of(path)
    if path.suffix != ".tgz":
        return {}
    with TemporaryDirectory(prefix="sbkube-") as temporary:
        try:
            unpack(path, Path(temporary, "chart"))
        except BadArchive:
            return {}  # Helm refuses the whole chart for it
        return next((found for it in Path(temporary, "chart").iterdir() if (found := metadata_of(it))), {})


def _check_held(dependency: Dependency, origin: Origin, versions: list[str]) -> None:
    if versions and not any(fits(version, dependency) for version in versions):
        hint = f"run `{UPDATE} {origin.folder}`" if origin.is_own else "its maker has to mend that"
        raise WrongVersion(dependency, origin, versions[0], "`charts/`", hint)


def fits(version: str, dependency: Dependency) -> bool:
    """Raises `BadConstraint`."""
    from sbkube.fetch.versions import BadConstraint, parse_constraint, parse_version

    try:
        constraint = parse_constraint(dependency.version or "*")
    except BadConstraint as error:
        error.set_place(dependency.where)
        raise
    parsed = parse_version(version)
    return parsed is not None and (not dependency.version or constraint.admits(parsed))


# Charts in other folders


def local_chart(dependency: Dependency, origin: Origin) -> Path:
    """Of a `file://`. Raises `NoLocalChart`, and `WrongVersion`."""
    path = origin.folder / dependency.repository.removeprefix(FILE)
    if origin.root is not None and not path.resolve().is_relative_to(origin.root.resolve()):
        why = f"is at {dependency.repository!r}, which leads out of what was fetched"
        raise NoLocalChart(dependency, origin.chart, why)
    if not (path / "Chart.yaml").is_file():
        hint = f"looked at: {os.path.normpath(path)}" if origin.is_own else None
        raise NoLocalChart(dependency, origin.chart, f"is not at {dependency.repository!r}", hint)
    version = text_of(metadata_of(path).get("version"))
    if not fits(version, dependency):
        hint = f"run `{UPDATE} {origin.folder}`, or change the `version` there"
        raise WrongVersion(dependency, origin, version, repr(dependency.repository), hint)
    return path


def within(dependency: Dependency, origin: Origin, path: Path) -> Origin:
    """Of a chart that was found by `local_chart`."""
    return replace(origin, folder=Path(os.path.normpath(path)), chart=f"{origin.chart} > {dependency.name}")


def local_charts(chart: Path, origin: Origin) -> Iterator[tuple[Dependency, Path]]:
    """All folders that `file://` leads to, from one to the next; what is wrong with any is told when it is taken."""
    seen = {os.path.realpath(chart)}
    left = [(chart, origin)]
    while left:
        folder, come = left.pop()
        for dependency in _local(folder, come):
            path = Path(os.path.normpath(come.folder / dependency.repository.removeprefix(FILE)))
            if (real := os.path.realpath(path)) not in seen:
                seen.add(real)
                yield dependency, path
                left.append((path, within(dependency, come, path)))


def leads_elsewhere(chart: Path) -> bool:
    """Whether a `file://` may. Most charts have none, which is seen sooner than read."""
    try:
        return any(FILE in read_text(file) for file in _written_in(chart))
    except ConfigError:
        return False


def _local(chart: Path, origin: Origin) -> list[Dependency]:
    if not leads_elsewhere(chart):
        return []
    try:
        return [it for it in missing(chart, origin) if it.is_local]
    except SbkubeError:
        return []


def _written_in(chart: Path) -> list[Path]:
    return [file for name in ("requirements.yaml", "Chart.yaml") if (file := chart / name).is_file()]
