"""Names of releases that are longer than Helm takes."""

from __future__ import annotations

import pytest

from sbkube.apps.checks import check_release_name
from sbkube.errors import Position
from sbkube.helm.names import LONGEST_RELEASE, crd_release, fitting, is_crd_release


@pytest.mark.parametrize("length", [1, LONGEST_RELEASE - 1, LONGEST_RELEASE])
def test_what_helm_takes_stays_as_it_is(length: int) -> None:
    assert fitting("a" * length) == "a" * length


@pytest.mark.parametrize("name", ["a" * 54, "a" * 63, f"{'a' * 43}-{'b' * 19}", f"{'a' * 44}.{'b' * 9}"])
def test_a_longer_name_becomes_one_that_helm_takes(name: str) -> None:
    made = fitting(name)
    assert made.startswith(name[:43])
    assert len(made) <= LONGEST_RELEASE
    check_release_name(made, Position(__file__), is_app=False)  # type: ignore[arg-type]


def test_names_that_begin_alike_stay_apart_and_each_is_the_same_every_time() -> None:
    assert fitting("a" * 60) != fitting("a" * 61)
    assert fitting("a" * 60) == "a" * 44 + "-11ee3912"


@pytest.mark.parametrize("release", ["web", "a" * 48, "a" * 49, "a" * LONGEST_RELEASE])
@pytest.mark.parametrize("number", [1, 2, 17])
def test_a_release_of_crds_is_known_by_that_of_its_app(release: str, number: int) -> None:
    made = crd_release(release, number)
    assert len(made) <= LONGEST_RELEASE
    assert is_crd_release(made, release)
    assert not is_crd_release(made, f"{release[:-1]}x")
    assert not is_crd_release(release, release)


def test_crds_have_short_names_as_people_expect_them() -> None:
    assert [crd_release("web", number) for number in (1, 2)] == ["web-crds", "web-crds-2"]
    assert crd_release("a" * 48, 1) == "a" * 48 + "-crds"
