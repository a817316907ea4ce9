"""The cache: whole blobs only, whoever writes, dies or spoils them."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path

import pytest

from sbkube.fetch.cache import Cache, CacheUnusable, cache_folder


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "home" / "cache")


def keep(cache: Cache, content: bytes) -> str:
    incoming = cache.incoming()
    incoming.write(content)
    cache.keep(incoming)
    return incoming.digest


def files(cache: Cache) -> list[str]:
    found = (path for path in cache.folder.rglob("*") if path.is_file())
    return sorted(path.relative_to(cache.folder).as_posix() for path in found)


@pytest.mark.parametrize(
    ("environ", "folder"),
    [
        ({"SBKUBE_CACHE_DIR": "/c", "XDG_CACHE_HOME": "/x", "HOME": "/h"}, "/c"),
        ({"XDG_CACHE_HOME": "/x", "HOME": "/h"}, "/x/sbkube"),
        ({"XDG_CACHE_HOME": "relative", "HOME": "/h"}, "/h/.cache/sbkube"),
        ({"HOME": "/h"}, "/h/.cache/sbkube"),
    ],
)
def test_the_folder_is_the_users(environ: dict[str, str], folder: str) -> None:
    assert cache_folder(environ) == Path(folder)


def test_what_was_kept_is_found_by_the_digest_of_its_bytes(cache: Cache) -> None:
    digest = keep(cache, b"hello")
    assert digest == hashlib.sha256(b"hello").hexdigest()
    path = cache.find(digest)
    assert path is not None
    assert path.read_bytes() == b"hello"
    assert cache.find("0" * 64) is None


def test_nobody_else_may_look(cache: Cache) -> None:
    path = cache.path(keep(cache, b"hello"))
    assert cache.folder.stat().st_mode & 0o777 == 0o700
    assert path.stat().st_mode & 0o777 == 0o600


def test_what_comes_in_is_no_blob_before_it_is_kept(cache: Cache) -> None:
    incoming = cache.incoming()
    incoming.write(b"hel")
    assert cache.blobs() == []
    incoming.discard()
    assert files(cache) == []


def test_what_starts_again_holds_nothing_of_before(cache: Cache) -> None:
    incoming = cache.incoming()
    incoming.write(b"a long first try")
    incoming.restart()
    incoming.write(b"hello")
    assert cache.keep(incoming).read_bytes() == b"hello"
    assert incoming.digest == hashlib.sha256(b"hello").hexdigest()


def test_a_damaged_blob_is_not_found_and_is_gone(cache: Cache) -> None:
    digest = keep(cache, b"hello")
    cache.path(digest).write_bytes(b"hellO")
    assert cache.find(digest) is None
    assert files(cache) == []
    assert keep(cache, b"hello") == digest
    assert cache.find(digest) is not None


def test_verify_names_and_removes_what_is_damaged(cache: Cache) -> None:
    good, bad = keep(cache, b"good"), keep(cache, b"bad")
    cache.path(bad).write_bytes(b"")
    assert [blob.digest for blob in cache.verify()] == [bad]
    assert [blob.digest for blob in cache.blobs()] == [good]


def test_a_note_is_kept_by_its_name(cache: Cache) -> None:
    cache.note("index", "https://a.test", {"digest": "x", "etag": '"1"'})
    cache.note("index", "https://a.test", {"digest": "y"})
    assert cache.noted("index", "https://a.test") == {"name": "https://a.test", "digest": "y"}
    assert cache.noted("index", "https://b.test") is None
    assert cache.noted("tag", "https://a.test") is None
    assert len(files(cache)) == 1


@pytest.mark.parametrize("text", ["", "{", "[]", '{"name": "other"}', "\xff"])
def test_a_note_that_cannot_be_read_is_none(cache: Cache, text: str) -> None:
    cache.note("index", "a", {"digest": "x"})
    (path,) = cache.folder.glob("notes/index/*")
    path.write_bytes(text.encode("latin-1"))
    assert cache.noted("index", "a") is None


def test_what_a_dead_process_left_is_swept_after_a_day(cache: Cache) -> None:
    dead, alive = cache.incoming(), cache.incoming()
    os.utime(dead.path, (time.time() - 90_000,) * 2)
    keep(Cache(cache.folder), b"hello")
    assert [path.exists() for path in (dead.path, alive.path)] == [False, True]
    alive.discard()
    dead.discard()


def test_a_place_where_no_folder_can_be_made_is_told_with_what_helps(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(
        CacheUnusable, match=r"cannot write in the cache `.*/file/cache/incoming`: File exists"
    ) as caught:
        Cache(tmp_path / "file" / "cache").incoming()
    assert caught.value.hint == "set SBKUBE_CACHE_DIR to another folder"
    assert not caught.value.transient
