"""Which releases belong to no app any more."""

from __future__ import annotations

from pathlib import Path

import pytest

from sbkube.engine import FileStore
from sbkube.helm.releases import Release, ReleaseStatus
from sbkube.operations.pruning import left_behind, strangers

from .given import OWNER, by_hand, project, release

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


WEB = "  web: {type: yaml, manifests: [a.yaml]}\n"


@pytest.mark.parametrize(
    "other",
    [
        by_hand("old"),
        release("old", owner="another"),
        release("old", profile="prod"),
        release("old", status=ReleaseStatus.UNINSTALLED),
        release("web"),
        release("web-crds", app="web"),
    ],
)
def test_what_is_not_ours_or_still_an_app_s_is_no_stranger(tmp_path: Path, other: Release) -> None:
    assert strangers([other], project(tmp_path, WEB), OWNER) == []


@pytest.mark.parametrize(
    "left",
    [
        release("old"),
        release("old-crds", app="old"),
        release("web", namespace="before"),
        release("before", app="web"),
        release("old", status=ReleaseStatus.FAILED),
    ],
)
def test_what_we_made_and_no_app_has_is_a_stranger_also_if_the_app_has_moved(
    tmp_path: Path, left: Release
) -> None:
    assert strangers([left], project(tmp_path, WEB), OWNER) == [left]


def test_without_a_key_nothing_is_ours(tmp_path: Path) -> None:
    assert strangers([release("old", owner="")], project(tmp_path, WEB), "") == []


def test_a_disabled_app_keeps_its_release_unless_disabled_ones_are_meant(tmp_path: Path) -> None:
    own = project(tmp_path, "  web: {type: yaml, manifests: [a.yaml], enabled: false}\n")
    assert strangers([release("web")], own, OWNER) == []
    assert strangers([release("web")], own, OWNER, disabled=True) == [release("web")]


async def test_an_app_that_said_so_keeps_its_release_and_that_is_told(tmp_path: Path) -> None:
    listed = [release("old"), release("kept", prune=False)]
    found = await left_behind(listed, project(tmp_path, WEB), FileStore.read(tmp_path / ".sbkube"), OWNER)
    assert found.releases == (release("old"),)
    assert found.notes == ("release 'kept' in namespace 'shop' stays: its app has `prune: false`",)
