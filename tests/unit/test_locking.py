"""Which lock the runs of a project meet at."""

from __future__ import annotations

from pathlib import Path

import pytest

from sbkube.config.loading import load_project
from sbkube.config.without_effect import without_effect
from sbkube.errors import ConfigError
from sbkube.locking import lock_place
from sbkube.targets.cluster.lease import LeasePlace


def place(folder: Path, text: str, profile: str | None = None, name: str = "config") -> LeasePlace | None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.yaml").write_text(text)
    return lock_place(load_project(folder, environ={}, profile=profile))


@pytest.mark.parametrize("text", ["apps: {}", "lock: none\napps: {}", "lock:\napps: {}"])
def test_without_being_asked_for_there_is_none(tmp_path: Path, text: str) -> None:
    assert place(tmp_path, text) is None


def test_two_checkouts_meet_at_one_lock(tmp_path: Path) -> None:
    text = "namespace: shop\nlock: cluster\napps: {}"
    one, two = place(tmp_path / "home/alice/shop", text), place(tmp_path / "builds/17", text)
    assert one == two == LeasePlace("shop", "sbkube", 30)


def test_both_layouts_say_it_at_their_top(tmp_path: Path) -> None:
    text = "apiVersion: sbkube/v1\nmetadata: {name: Web_Shop}\nsettings: {namespace: shop}\nlock: cluster\napps: {}"
    assert place(tmp_path, text, name="sbkube") == LeasePlace("shop", "sbkube.web-shop", 30)


def test_each_profile_has_its_own(tmp_path: Path) -> None:
    (tmp_path / "config-prod.yaml").write_text("namespace: live")
    found = place(tmp_path, "namespace: shop\nlock: cluster\napps: {}", profile="prod")
    assert found == LeasePlace("live", "sbkube.prod", 30)


def test_a_project_may_name_it_and_where_it_is(tmp_path: Path) -> None:
    lock = "{cluster: team-a, namespace: ci, lease_time: 2m}"
    found = place(tmp_path, f"namespace: shop\nlock: {lock}\nmetadata: {{name: shop}}\napps: {{}}")
    assert found == LeasePlace("ci", "sbkube.team-a", 120)


@pytest.mark.parametrize(
    ("lock", "told"),
    [
        ("yes please", "must be `cluster`, `none` or `{cluster: NAME, namespace: NAMESPACE}`"),
        ("true", "must be `cluster`, `none` or `{cluster: NAME, namespace: NAMESPACE}`"),
        ("{namespace: ci}", "`lock.cluster` is missing"),
        ("{cluster: Team_A}", "Team_A"),
        ("{cluster: a, lease_time: 2s}", "must be whole seconds, 3 at least"),
        ("{cluster: a, lease_time: 3.5}", "must be whole seconds, 3 at least"),
    ],
)
def test_what_is_no_lock_is_refused(tmp_path: Path, lock: str, told: str) -> None:
    with pytest.raises(ConfigError) as refused:
        place(tmp_path, f"lock: {lock}\napps: {{}}")
    assert told in str(refused.value)
    assert "config.yaml:1" in str(refused.value)


def test_a_target_that_is_a_folder_needs_none(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("target: {directory: out}\nlock: cluster\napps: {}")
    (told,) = without_effect(load_project(tmp_path, environ={}))
    assert told.endswith(
        "config.yaml:2: `lock` has no effect: it is for a cluster, and the target is a folder"
    )
