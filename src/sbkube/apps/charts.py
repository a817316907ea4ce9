"""A chart on disk: copied or unpacked, then changed by overrides and removes. Blocking."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

from sbkube.apps.archives import BadArchive, unpack
from sbkube.apps.files import BadPattern, copy_files, files_below, files_of_chart, kind_of
from sbkube.documents import parse, read_text
from sbkube.errors import ConfigError, Position, SbkubeError, is_disk_full
from sbkube.targets.base import ChartName


class UnusableChart(SbkubeError):
    """A folder or archive is no chart, or one that should not be unpacked."""

    def __init__(self, chart: str, why: str, where: Position | None = None) -> None:
        super().__init__(f"chart {chart!r} {why}", where=where)


class OutsideChart(SbkubeError):
    """A path in a chart leads out of it."""

    def __init__(self, path: str, where: Position) -> None:
        super().__init__(f"{path!r} is not a path inside the chart", where=where)


class NothingRemoved(SbkubeError):
    def __init__(self, pattern: str, where: Position) -> None:
        super().__init__(f"nothing to remove: {pattern!r} is not in the chart", where=where)


class NoChart(ConfigError):
    """A `Chart.yaml` that Helm would not take."""


def take_chart(source: Path, into: Path, written: str, where: Position) -> None:
    """The chart's files, from a folder or a `.tgz`."""
    if source.is_dir():
        if not (source / "Chart.yaml").is_file():
            raise UnusableChart(written, f"has no `Chart.yaml` in {source}", where)
        _copy(source, into, written, where)
        return
    unpacked = into.with_name("unpacked")
    try:
        unpack(source, unpacked)
        folders = [child for child in unpacked.iterdir() if (child / "Chart.yaml").is_file()]
        if len(folders) != 1:
            raise UnusableChart(written, "has no `Chart.yaml` in the one folder an archive holds", where)
        folders[0].rename(into)
    except BadArchive as error:
        raise UnusableChart(written, str(error), where) from error
    finally:
        shutil.rmtree(unpacked, ignore_errors=True)


def _copy(source: Path, into: Path, written: str, where: Position) -> None:
    files = list(files_of_chart(source))
    for name, path in files:
        if (kind := kind_of(path)) != "a file":
            raise UnusableChart(written, f"holds {name!r}, which is {kind or 'a link to nothing'}", where)
    try:
        copy_files(files, into)
    except OSError as error:
        if is_disk_full(error):
            raise
        told = f"cannot be copied: {error.filename}: {(error.strerror or str(error)).lower()}"
        raise UnusableChart(written, told, where) from error


def change_chart(
    source: Path,
    into: Path,
    overrides: Iterable[tuple[str, Path, Position]],
    removes: Iterable[tuple[str, Position]],
) -> list[str]:
    """A copy with files replaced or added, then others removed; returns the removes that matched nothing."""
    copy_files(files_below(source), into)
    for path, file, where in overrides:
        override(into, path, file, where)
    return [path for path, where in removes if not remove(into, path, where)]


def override(chart: Path, path: str, file: Path, where: Position) -> None:
    target = _inside(chart, path, where)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise OutsideChart(path, where) from error
    if target.is_dir():
        shutil.rmtree(target)
    shutil.copyfile(file, target)


def remove(chart: Path, pattern: str, where: Position) -> bool:
    """Whether there was something to remove."""
    relative = _relative(pattern, where)
    found = (
        [_inside(chart, pattern, where)]
        if not any(c in pattern for c in "*?[")
        else _globbed(chart, relative, where)
    )
    for path in found:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif os.path.lexists(path):
            path.unlink()
        elif not any(sign in pattern for sign in "*?["):
            return False
        # What a glob found may have gone with the folder it was in.
    return bool(found)


def remove_some(chart: Path, pattern: str, where: Position) -> None:
    if not remove(chart, pattern, where):
        raise NothingRemoved(pattern, where)


# Versions as Helm reads them: `1`, `v1.2`, `1.2.3-rc.1+build`.
_WORDS = r"[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*"
_VERSION = re.compile(rf"v?[0-9]+(\.[0-9]+){{0,2}}(-{_WORDS})?(\+{_WORDS})?")


def check_metadata(text: str, file: Path) -> None:
    """Raises `ConfigError` for a `Chart.yaml` with which no Helm renders anything; says `file` for where it is."""
    document = parse(text, file=file)
    metadata = document.mapping()
    for key in ("name", "version"):
        if isinstance(metadata.get(key), Mapping | list | None) or metadata[key] == "":
            raise NoChart(f"has no `{key}`", where=document.position([key]))
    name, version, kind = (
        str(metadata["name"]),
        str(metadata["version"]),
        metadata.get("type") or "application",
    )
    if "/" in name:
        raise NoChart(f"`name` {name!r} is a path", where=document.position(["name"]))
    if not _VERSION.fullmatch(version):
        raise NoChart(f"`version` {version!r} is no semantic version", where=document.position(["version"]))
    if kind == "library":
        raise NoChart("a library chart cannot be deployed itself", where=document.position(["type"]))
    if kind != "application":
        raise NoChart(f"`type` must be application, not {kind!r}", where=document.position(["type"]))


def chart_name(chart: Path) -> ChartName:
    """Of a chart whose metadata are known to be right."""
    metadata = parse(read_text(chart / "Chart.yaml"), file=chart / "Chart.yaml").mapping()
    app_version = metadata.get("appVersion")
    return ChartName(
        str(metadata["name"]), str(metadata["version"]), "" if app_version is None else str(app_version)
    )


def _globbed(chart: Path, pattern: str, where: Position) -> list[Path]:
    try:
        return list(chart.glob(pattern))
    except (ValueError, NotImplementedError) as error:
        raise BadPattern(pattern, str(error), where) from error


def _inside(chart: Path, path: str, where: Position) -> Path:
    return chart / _relative(path, where)


def _relative(path: str, where: Position) -> str:
    parts = PurePosixPath(path).parts
    if not parts or path.startswith("/") or ".." in parts:
        raise OutsideChart(path, where)
    return str(PurePosixPath(*parts))
