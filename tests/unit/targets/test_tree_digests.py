from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sbkube.targets.trees import digest_file, digest_files, digest_tree


@dataclass(frozen=True)
class File:
    content: bytes
    executable: bool = False


@dataclass(frozen=True)
class Link:
    to: str


Tree = dict[str, "File | Link | Tree"]

# Few names and few contents, so that two trees are often equal or nearly so.
names = st.sampled_from(["a", "b", "ab", "a.b", "a\n", "é", "-", "f"])
nodes = st.one_of(
    st.builds(File, st.sampled_from([b"", b"a", b"ab", b"a\x00b"]), st.booleans()),
    st.builds(Link, st.sampled_from(["a", "b", "../a", "ab"])),
)
trees = st.recursive(
    st.dictionaries(names, nodes, max_size=3),
    lambda below: st.dictionaries(names, st.one_of(nodes, below), max_size=3),
    max_leaves=6,
)


def build(folder: Path, tree: Tree) -> Path:
    folder.mkdir()
    for name, node in tree.items():
        path = folder / name
        match node:
            case File(content, executable):
                path.write_bytes(content)
                path.chmod(0o755 if executable else 0o644)
            case Link(to):
                path.symlink_to(to)
            case _:
                build(path, node)
    return folder


@settings(max_examples=150, deadline=None)
@given(one=trees, other=trees)
def test_digests_are_the_same_exactly_if_the_trees_are(one: Tree, other: Tree) -> None:
    with tempfile.TemporaryDirectory() as base:
        first = build(Path(base, "one"), one)
        second = build(Path(base, "other"), dict(reversed(other.items())))
        assert (digest_tree(first) == digest_tree(second)) == (one == other)


def edit(folder: Path) -> None:
    (folder / "sub/a").write_bytes(b"2")


def rename(folder: Path) -> None:
    (folder / "sub/a").rename(folder / "sub/b")


def move_up(folder: Path) -> None:
    (folder / "sub/a").rename(folder / "a")


def make_executable(folder: Path) -> None:
    (folder / "sub/a").chmod(0o744)


def replace_by_link(folder: Path) -> None:
    (folder / "sub/b").write_bytes(b"1")
    (folder / "sub/a").unlink()
    (folder / "sub/a").symlink_to("b")


def add_empty_folder(folder: Path) -> None:
    (folder / "empty").mkdir()


def add_empty_file(folder: Path) -> None:
    (folder / "empty").touch()


def add_pipe(folder: Path) -> None:
    os.mkfifo(folder / "pipe")


@pytest.mark.parametrize(
    "change",
    [edit, rename, move_up, make_executable, replace_by_link, add_empty_folder, add_empty_file, add_pipe],
)
def test_a_change_of_the_tree_changes_its_digest(tmp_path: Path, change: Callable[[Path], None]) -> None:
    tree = build(tmp_path / "tree", {"sub": {"a": File(b"1")}})
    before = digest_tree(tree)
    change(tree)
    assert digest_tree(tree) != before


def test_times_and_other_mode_bits_are_no_part_of_the_digest(tmp_path: Path) -> None:
    tree = build(tmp_path / "tree", {"sub": {"a": File(b"1")}})
    before = digest_tree(tree)
    (tree / "sub/a").chmod(0o600)
    (tree / "sub").chmod(0o700)
    os.utime(tree / "sub/a", (1, 1))
    assert digest_tree(tree) == before


def test_a_folder_that_is_not_there_has_no_digest(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        digest_tree(tmp_path / "absent")


@given(st.dictionaries(st.sampled_from(["a", "b", "c"]), st.binary(max_size=8)))
@settings(max_examples=50, deadline=None)
def test_files_in_memory_have_the_digest_they_would_have_on_disk(files: dict[str, bytes]) -> None:
    with tempfile.TemporaryDirectory() as base:
        folder = build(Path(base, "it"), {name: File(content) for name, content in files.items()})
        assert digest_files(files) == digest_tree(folder)


def test_the_digest_of_a_file_is_that_of_its_content(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc")
    assert digest_file(tmp_path / "file").startswith("ba7816bf8f01cfea")
