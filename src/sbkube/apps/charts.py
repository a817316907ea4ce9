"""A chart on disk: copied or unpacked, then changed by overrides and removes. Blocking."""

from __future__ import annotations

import os
import shutil
import tarfile
import zlib
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from sbkube.apps.work import NOT_READ, BadPattern
from sbkube.errors import Position, SbkubeError

_LARGEST = 512 * 1024 * 1024
"""Bytes that an archive may unpack to."""


class UnusableChart(SbkubeError):
    """A folder or archive is no chart, or one that should not be unpacked."""

    def __init__(self, chart: str, why: str, where: Position | None = None) -> None:
        super().__init__(f"chart {chart!r} {why}", where=where)


class OutsideChart(SbkubeError):
    """A path in a chart leads out of it."""

    def __init__(self, path: str, where: Position) -> None:
        super().__init__(f"{path!r} is not a path inside the chart", where=where)


def take_chart(source: Path, into: Path, written: str, where: Position) -> None:
    """The chart's files, from a folder or a `.tgz`."""
    if source.is_dir():
        if not (source / "Chart.yaml").is_file():
            raise UnusableChart(written, f"has no `Chart.yaml` in {source}", where)
        try:
            shutil.copytree(source, into, ignore=shutil.ignore_patterns(*NOT_READ))
        except (OSError, shutil.Error) as error:
            raise UnusableChart(written, f"cannot be copied: {_first_reason(error)}", where) from error
        return
    unpacked = into.with_name("unpacked")
    try:
        _unpack(source, unpacked, written, where)
        folders = [child for child in unpacked.iterdir() if (child / "Chart.yaml").is_file()]
        if len(folders) != 1:
            raise UnusableChart(written, "has no `Chart.yaml` in the one folder an archive holds", where)
        folders[0].rename(into)
    finally:
        shutil.rmtree(unpacked, ignore_errors=True)


def _first_reason(error: OSError) -> str:
    """`shutil.Error` holds one entry for each file, with paths that only we know."""
    entries = error.args[0] if isinstance(error, shutil.Error) and error.args else None
    return str(entries[0][2]) if isinstance(entries, list) and entries else str(error)


def _unpack(source: Path, into: Path, written: str, where: Position) -> None:
    try:
        with tarfile.open(source, "r:gz") as archive:
            total = 0
            for member in archive:
                total += member.size
                if total > _LARGEST:
                    raise UnusableChart(written, f"unpacks to more than {_LARGEST >> 20} MiB", where)
                _extract(archive, member, into, written, where)
    except (tarfile.TarError, zlib.error, EOFError, OSError) as error:
        raise UnusableChart(written, f"cannot be unpacked: {error}", where) from error


def _extract(
    archive: tarfile.TarFile, member: tarfile.TarInfo, into: Path, written: str, where: Position
) -> None:
    """Files and folders only. `filter="data"` of tarfile would do, but 3.11 has it only from 3.11.4 on."""
    parts = PurePosixPath(member.name).parts
    if member.name.startswith("/") or ".." in parts or not (member.isfile() or member.isdir()):
        raise UnusableChart(written, f"holds {member.name!r}, which is no file or folder inside it", where)
    path = into.joinpath(*parts)
    if member.isdir():
        path.mkdir(parents=True, exist_ok=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    content = archive.extractfile(member)
    assert content is not None
    with content, path.open("wb") as file:
        shutil.copyfileobj(content, file)


def change_chart(
    source: Path,
    into: Path,
    overrides: Iterable[tuple[str, Path, Position]],
    removes: Iterable[tuple[str, Position]],
) -> list[str]:
    """A copy with files replaced or added, then others removed; returns the removes that matched nothing."""
    shutil.copytree(source, into)
    for path, file, where in overrides:
        target = _inside(into, path, where)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError) as error:
            raise OutsideChart(path, where) from error
        if target.is_dir():
            shutil.rmtree(target)
        shutil.copyfile(file, target)
    return [path for path, where in removes if not _remove(into, path, where)]


def _remove(chart: Path, pattern: str, where: Position) -> bool:
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
