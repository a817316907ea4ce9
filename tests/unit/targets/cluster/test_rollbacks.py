"""What is noted of rollbacks that are under way."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from sbkube.helm.releases import Cluster, Release, ReleaseStatus
from sbkube.targets.cluster.rollbacks import Rollback, Rollbacks

HERE, THERE = Cluster(context="here"), Cluster(context="there")
WEB = Release("web", "shop", 3, ReleaseStatus.DEPLOYED)


@pytest.fixture
def rollbacks(tmp_path: Path) -> Rollbacks:
    return Rollbacks(tmp_path / "rollbacks.json")


def test_what_is_noted_is_known_to_whoever_comes_later_until_it_is_forgotten(rollbacks: Rollbacks) -> None:
    rollbacks.note(HERE, WEB, 1)
    assert stat.S_IMODE(rollbacks.file.stat().st_mode) == 0o600
    later = Rollbacks(rollbacks.file)
    assert later.noted(HERE, "shop", "web") == Rollback(4, 1)
    assert later.noted(THERE, "shop", "web") is None
    assert later.noted(HERE, "other", "web") is None
    later.forget(HERE, "shop", "web")
    assert rollbacks.noted(HERE, "shop", "web") is None


def test_only_the_revision_that_it_was_to_make_and_only_while_that_is_pending_is_meant() -> None:
    left = replace(WEB, revision=4, status=ReleaseStatus.PENDING_ROLLBACK)
    assert Rollback(4, 1).is_(left)
    assert not Rollback(3, 1).is_(left)
    for status in (ReleaseStatus.DEPLOYED, ReleaseStatus.FAILED, ReleaseStatus.PENDING_UPGRADE):
        assert not Rollback(4, 1).is_(replace(left, status=status))


def test_many_at_once_forget_nothing_of_each_other(rollbacks: Rollbacks) -> None:
    names = [f"app-{number}" for number in range(50)]
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda name: rollbacks.note(HERE, replace(WEB, name=name), 1), names))
        list(threads.map(lambda name: rollbacks.forget(HERE, "shop", name), names[::2]))
    noted = [name for name in names if rollbacks.noted(HERE, "shop", name)]
    assert noted == names[1::2]


@pytest.mark.parametrize("text", ["", "[]", '{"here/shop/web": 4}', '{"here/shop/web": {"other": 4}}'])
def test_what_cannot_be_understood_is_nobodys(rollbacks: Rollbacks, text: str) -> None:
    rollbacks.file.write_text(text)
    assert rollbacks.noted(HERE, "shop", "web") is None


def test_what_was_never_noted_is_forgotten_without_a_file(rollbacks: Rollbacks) -> None:
    rollbacks.forget(HERE, "shop", "web")
    assert not rollbacks.file.exists()
