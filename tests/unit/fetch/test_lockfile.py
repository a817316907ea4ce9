"""The lock file: the same text for the same answers, read back as they were."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sbkube.errors import ConfigError
from sbkube.fetch.lockfile import BadLock, Entry, Lock, Pin, lock_name, lock_text, read_lock

WEB = Entry({"chart": "web", "version": "^1"}, Pin("https://a.test/web.tgz", "1.2.0", "a" * 64))
BASE = Entry({"repo": "https://a.test/shop", "branch": "trunk"}, Pin("https://a.test/shop", commit="1" * 40))

TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=12)
NAMES = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=12)
KEYS = st.sampled_from(["chart", "repository", "version", "repo", "ref", "branch", "url"])
ENTRIES = st.dictionaries(
    NAMES,
    st.builds(
        Entry,
        st.dictionaries(KEYS, TEXTS, min_size=1),
        st.builds(Pin, TEXTS, st.none() | TEXTS, TEXTS, st.none() | TEXTS),
    ),
)


@given(ENTRIES)
def test_what_is_written_is_read_back_whatever_the_order(
    tmp_path_factory: pytest.TempPathFactory, entries: dict[str, Entry]
) -> None:
    text = lock_text(entries)
    assert lock_text(dict(reversed(entries.items()))) == text
    folder = tmp_path_factory.mktemp("lock")
    (folder / "sbkube.lock").write_bytes(text.encode())
    assert read_lock(folder / "config.yaml", None).own == entries


def test_the_text_has_a_block_for_each_app_and_nothing_that_reads_as_a_number() -> None:
    odd = Entry({"chart": "db", "version": "1.2"}, Pin("u", "1.20", "1" * 64))
    assert lock_text({"web": WEB, "db": odd}) == (
        "# What apps take from elsewhere. Written by `sbkube lock`, followed by runs; commit it.\n"
        "version: 1\n"
        "sources:\n"
        "\n"
        "  db:\n"
        "    asks:\n"
        "      chart: db\n"
        '      version: "1.2"\n'
        '    version: "1.20"\n'
        "    url: u\n"
        f'    sha256: "{"1" * 64}"\n'
        "\n"
        "  web:\n"
        "    asks:\n"
        "      chart: web\n"
        '      version: "^1"\n'
        "    version: 1.2.0\n"
        "    url: https://a.test/web.tgz\n"
        f"    sha256: {'a' * 64}\n"
    )


def test_an_answer_counts_for_the_same_question_only() -> None:
    lock = Lock(Path("sbkube.lock"), {"web": WEB, "old": BASE}, is_there=True)
    assert lock.pin("web", dict(WEB.asks)) == WEB.pin
    assert lock.pin("web", {"chart": "web", "version": "^2"}) is None
    assert lock.pin("api", WEB.asks) is None
    assert lock.pin("web", None) is None
    found = lock.difference({"web": {"chart": "web", "version": "^2"}, "api": WEB.asks})
    assert (found.missing, found.changed, found.gone) == (("api",), ("web",), ("old",))
    assert not Lock(Path("sbkube.lock"), {"web": WEB}).difference({"web": WEB.asks})


def test_a_profile_has_only_what_is_not_the_same_without_it() -> None:
    newer = Pin("https://a.test/web-2.tgz", "2.0.0", "b" * 64)
    lock = Lock(Path("sbkube-prod.lock"), {}, {"web": WEB, "base": BASE, "dev": BASE}, is_there=True)
    asks = {"web": {"chart": "web", "version": "^2"}, "base": BASE.asks}
    assert lock.pin("base", BASE.asks) == BASE.pin
    assert lock.difference(asks).changed == ("web",)
    assert not lock.difference(asks).gone
    assert lock.answered(asks, {"web": newer}) == {"web": Entry(asks["web"], newer)}
    assert lock.answered({"web": WEB.asks}, {"web": WEB.pin}) == {}


def test_each_config_file_and_profile_has_a_lock_of_its_own() -> None:
    names = [("config.yaml", None), ("sbkube.yaml", "prod"), ("other.yaml", None), ("other.yaml", "prod")]
    assert [lock_name(Path(config), profile) for config, profile in names] == [
        "sbkube.lock",
        "sbkube-prod.lock",
        "other.lock",
        "other-prod.lock",
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("version: 2\nsources: {}\n", "has the version 2"),
        ("version: 1\n", "`sources` must be a mapping"),
        ("version: 1\nsources:\n  web: {url: u}\n", "the entry of 'web'"),
        ("version: 1\nsources:\n  web: {asks: {chart: web}, url: u}\n", "the entry of 'web'"),
        ("version: 1\nsources:\n  web: {asks: {chart: web}, url: u, sha256: 12}\n", "the entry of 'web'"),
        ("version: 1\nsources:\n  web: {asks: {a: b}, url: u, sha256: x, more: y}\n", "the entry of 'web'"),
    ],
)
def test_what_nobody_has_written_so_is_refused_with_a_way_out(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "sbkube.lock").write_text(text)
    with pytest.raises(BadLock, match=told) as caught:
        read_lock(tmp_path / "config.yaml", None)
    assert caught.value.hint is not None
    assert "sbkube lock" in caught.value.hint


def test_a_merge_that_was_not_finished_is_told_with_its_place(tmp_path: Path) -> None:
    (tmp_path / "sbkube.lock").write_text("version: 1\n<<<<<<< ours\nsources: {}\n")
    with pytest.raises(ConfigError) as caught:
        read_lock(tmp_path / "config.yaml", None)
    assert "sbkube.lock" in str(caught.value)
