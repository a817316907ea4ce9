"""`sbkube cache`: what is kept, without any project."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from sbkube.fetch.cache import Cache
from sbkube.fetch.git import MARK

from .helpers import check_golden
from .project import Ended, ProjectFolder

CHART, VALUES = b"chart" * 400_000, b"a: b\n"


@pytest.fixture
def cache(project: ProjectFolder) -> Cache:
    """With a chart, a file of unknown origin and a clone."""
    cache = Cache(project.root.parent / "cache")
    project.env |= {"SBKUBE_CACHE_DIR": str(cache.folder), "TZ": "UTC", "COLUMNS": "80"}
    for content, came, day in ((CHART, "https://charts.test/web-1.2.0.tgz", 20), (VALUES, None, 3)):
        incoming = cache.incoming()
        incoming.write(content)
        used(cache.keep(incoming, came=came), day)
    folder = cache.folder / "git" / ("c" * 64)
    folder.mkdir(parents=True)
    (folder / MARK).write_text("ssh://git@git.test/shop.git\n")
    lock = folder.with_name(f"{folder.name}.lock")
    lock.touch()
    used(lock, 11)
    return cache


def used(path: Path, day: int) -> None:
    then = datetime(2026, 10, day, 12, tzinfo=UTC).timestamp()
    os.utime(path, (then, then))


def digests(ended: Ended, what: str) -> list[str]:
    assert ended.code == 0
    return [entry["digest"] for entry in ended.document[what]]


def test_what_each_action_tells_a_person(project: ProjectFolder, cache: Cache) -> None:
    told = []
    for args in ("", "path", "prune --older-than 1h --max-size 1kB", "list", "prune --all"):
        ended = project("cache", *args.split())
        assert ended.code == 0
        shown = (ended.out + ended.err).replace(str(cache.folder), "/home/me/.cache/sbkube")
        told.append(f"$ sbkube cache {args}\n{shown}")
    check_golden("cache", "\n".join(told))


def test_it_is_told_as_data_too(project: ProjectFolder, cache: Cache) -> None:
    listed = project("cache", "list", "--output", "json").document
    chart, clone, values = listed["kept"]
    assert listed["folder"] == str(cache.folder)
    assert listed["size"] == len(CHART) + len(VALUES) + clone["size"]
    assert chart["from"] == "https://charts.test/web-1.2.0.tgz"
    assert (chart["kind"], chart["used_at"]) == ("file", "2026-10-20T12:00:00+00:00")
    assert (clone["kind"], clone["from"]) == ("clone", "ssh://git@git.test/shop.git")
    assert values["from"] is None
    assert digests(project("cache", "prune", "--max-size", "2MB", "-o", "json"), "removed") == [
        clone["digest"],
        values["digest"],
    ]
    assert digests(project("cache", "-o", "json"), "kept") == [chart["digest"]]


def test_verify_removes_what_is_damaged_and_says_so_with_exit_code_1(
    project: ProjectFolder, cache: Cache
) -> None:
    assert project("cache", "verify").code == 0
    (damaged,) = (blob.digest for blob in cache.blobs() if blob.size == len(CHART))
    cache.path(damaged).write_bytes(b"")
    ended = project("cache", "verify")
    assert ended.code == 1
    assert "https://charts.test/web-1.2.0.tgz" in ended.out
    assert "2 files in" in ended.err
    assert "1 of them damaged and removed" in ended.err
    assert project("cache", "verify").code == 0
    assert len(cache.blobs()) == 1


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (["prune"], "prune needs --older-than, --max-size or --all"),
        (["list", "--all"], "go with `sbkube cache prune`"),
        (["prune", "--older-than", "soon"], "`--older-than` must be text such as `90s`"),
        (["prune", "--max-size", "big"], "`--max-size` must be text such as `500MB`"),
    ],
)
def test_what_makes_no_sense_is_refused(
    project: ProjectFolder, cache: Cache, args: list[str], told: str
) -> None:
    ended = project("cache", *args)
    assert ended.code == 2
    assert told in ended.err
    assert len(cache.blobs()) == 2


def test_where_nothing_was_fetched_there_is_nothing_to_list(project: ProjectFolder) -> None:
    ended = project("cache")
    assert (ended.code, ended.out) == (0, "")
    assert "0 files, 0 B in" in ended.err
    assert not (project.root.parent / ".cache").exists()
