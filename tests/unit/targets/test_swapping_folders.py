from __future__ import annotations

from pathlib import Path

import pytest

from sbkube.targets.swap import exchange, rename_pair, swap_folders


@pytest.fixture
def new(tmp_path: Path) -> Path:
    return folder(tmp_path / "new")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return folder(tmp_path / "place")


def folder(path: Path) -> Path:
    path.mkdir()
    (path / path.name).touch()
    return path


def holds(path: Path) -> list[str]:
    return [child.name for child in path.iterdir()]


def test_two_folders_change_places(new: Path, place: Path) -> None:
    assert exchange(new, place)
    assert (holds(place), holds(new)) == (["new"], ["place"])


def test_swapping_leaves_nothing_aside_where_places_can_be_changed(new: Path, place: Path) -> None:
    swap_folders(new, place, place.with_name("aside"))
    assert (holds(place), place.with_name("aside").exists()) == (["new"], False)


def test_a_folder_that_is_missing_is_an_error_and_not_a_refusal(new: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="absent"):
        exchange(new, tmp_path / "absent")
    assert holds(new) == ["new"]


def test_a_refusal_by_the_system_leaves_all_in_place(place: Path) -> None:
    inner = folder(place / "inner")  # a folder and one inside it: EINVAL, as on file systems without the call
    assert not exchange(place, inner)
    assert sorted(holds(place)) == ["inner", "place"]


def test_the_pair_puts_the_old_folder_aside(new: Path, place: Path) -> None:
    aside = place.with_name("aside")
    rename_pair(new, place, aside)
    assert (holds(place), holds(aside), new.exists()) == (["new"], ["place"], False)


def test_the_pair_puts_the_old_folder_back_if_the_new_one_cannot_take_its_place(place: Path) -> None:
    aside = place.with_name("aside")
    with pytest.raises(FileNotFoundError):
        rename_pair(place.with_name("absent"), place, aside)
    assert (holds(place), aside.exists()) == (["place"], False)
