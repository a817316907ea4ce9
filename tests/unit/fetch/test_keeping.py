"""What is kept, and what of it goes."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sbkube.fetch.cache import Cache
from sbkube.fetch.git import MARK
from sbkube.fetch.keeping import IN_USE, Kept, kept, prune, superfluous
from sbkube.fetch.locks import held_if_free


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


def keep(cache: Cache, content: bytes, age: float = 0.0, came: str | None = None) -> str:
    incoming = cache.incoming()
    incoming.write(content)
    then = time.time() - age
    os.utime(cache.keep(incoming, came=came), (then, then))
    return incoming.digest


def clone(cache: Cache, url: str, age: float) -> Path:
    folder = cache.folder / "git" / hashlib.sha256(url.encode()).hexdigest()
    folder.mkdir(parents=True)
    (folder / MARK).write_text(f"{url}\n")
    (folder / "pack").write_bytes(b"x" * 100)
    lock = folder.with_name(f"{folder.name}.lock")
    lock.touch()
    then = time.time() - age
    os.utime(lock, (then, then))
    return folder


def digests(found: list[Kept]) -> list[str]:
    return [one.digest for one in found]


def test_files_and_clones_are_told_with_whence_they_came(cache: Cache) -> None:
    folder = clone(cache, "https://git.test/a.git", age=50)
    file = keep(cache, b"hello", 100, "https://a.test/hello")
    other = keep(cache, b"hi", 200)
    found = kept(cache)
    assert digests(found) == [folder.name, file, other]
    assert [one.kind for one in found] == ["clone", "file", "file"]
    assert [one.came for one in found] == ["https://git.test/a.git", "https://a.test/hello", None]
    assert found[0].size >= 100
    assert [one.size for one in found[1:]] == [5, 2]


def test_prune_by_age_spares_what_was_used_since(cache: Cache) -> None:
    old, used, new = keep(cache, b"old", 5000), keep(cache, b"used", 5000), keep(cache, b"new")
    folder = clone(cache, "https://git.test/a.git", age=6000)
    cache.find(used)
    assert digests(prune(cache, oldest=4000)) == [old, folder.name]
    assert set(digests(kept(cache))) == {used, new}
    assert not folder.exists()


def test_prune_by_size_removes_the_least_used_first(cache: Cache) -> None:
    files = [keep(cache, bytes([n]) * 100, 10_000 - n) for n in range(4)]
    assert digests(prune(cache, largest=250)) == files[1::-1]
    assert sum(one.size for one in kept(cache)) == 200


def test_a_clone_that_somebody_works_with_stays(cache: Cache) -> None:
    folder = clone(cache, "https://git.test/a.git", age=5000)
    with held_if_free(folder.with_name(f"{folder.name}.lock")) as is_ours:
        assert is_ours
        assert prune(cache, oldest=100) == []
    assert folder.exists()
    assert digests(prune(cache, oldest=100)) == [folder.name]


def test_notes_of_what_is_gone_go_too(cache: Cache) -> None:
    old, new = keep(cache, b"old", 5000, "there"), keep(cache, b"new", came="here")
    cache.note("url", "there", {"digest": old})
    cache.note("oci", "here", {"digest": f"sha256:{new}"})
    prune(cache, oldest=100)
    assert (cache.noted("url", "there"), cache.came(old)) == (None, None)
    assert cache.noted("oci", "here") is not None
    assert cache.came(new) == "here"


ANY = st.builds(
    Kept,
    st.just("file"),
    st.text("abcdef", min_size=4, max_size=4),
    st.integers(0, 1000),
    st.floats(0, 100_000),
    st.none(),
)


@given(st.lists(ANY, unique_by=lambda one: one.digest), st.none() | st.integers(0, 5000))
def test_what_a_run_may_be_about_to_read_is_never_removed_and_else_the_size_is_kept(
    found: list[Kept], largest: int | None
) -> None:
    now = 100_000.0
    gone = superfluous(found, now, largest=largest, oldest=50_000)
    assert all(now - one.used > IN_USE for one in gone)
    assert all(one in gone for one in found if now - one.used > 50_000)
    left = [one for one in found if one not in gone]
    if largest is not None and all(now - one.used > IN_USE for one in left):
        assert sum(one.size for one in left) <= largest
