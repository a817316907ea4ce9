"""Which releases are an app's, and which we may touch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from sbkube.helm.releases import ReleaseStatus
from sbkube.operations.owning import (
    NotOurs,
    Recorded,
    ReleaseName,
    crd_releases_of,
    dependents_first,
    is_ours,
    refuse_busy,
    refuse_others,
    release_of,
)
from sbkube.targets.cluster.others import PendingElsewhere

from .given import OWNER, by_hand, project, release

WEB = ReleaseName("shop", "web")
RECORDED = Recorded("web", 7, WEB, 3, 2, "upgraded")


def test_a_release_that_carries_our_label_is_ours_also_after_what_was_done_by_hand() -> None:
    assert is_ours(release("web"), OWNER, None)
    assert is_ours(replace(release("web"), revision=4), OWNER, None)
    assert not is_ours(release("web", owner="another"), OWNER, None)


def test_without_our_label_it_is_ours_only_as_the_very_revision_that_a_run_recorded() -> None:
    recorded = release("web", owner="of a key that was lost", revision=3, run=7)
    assert is_ours(recorded, OWNER, RECORDED)
    assert not is_ours(replace(recorded, revision=4), OWNER, RECORDED)
    assert not is_ours(by_hand("web", revision=3), OWNER, RECORDED)


def test_what_somebody_made_by_hand_is_refused_whatever_was_accepted() -> None:
    with pytest.raises(NotOurs, match="release 'db' in namespace 'shop' was not made by sbkube"):
        refuse_others([release("web"), by_hand("db")], OWNER, {}, accept=True)


def test_what_was_made_from_another_state_folder_is_refused_until_that_is_accepted() -> None:
    theirs = release("web", owner="another")
    with pytest.raises(NotOurs, match="was made from another state folder") as refused:
        refuse_others([theirs], OWNER, {}, accept=False)
    assert refused.value.hint == "`--accept-target-change` takes it for this project's"
    refuse_others([theirs], OWNER, {}, accept=True)


@pytest.mark.parametrize("status", [ReleaseStatus.PENDING_UPGRADE, ReleaseStatus.UNINSTALLING])
def test_what_somebody_else_works_on_is_left_alone_and_what_we_left_is_not(status: ReleaseStatus) -> None:
    ours = release("web", status=status)
    refuse_busy(ours, OWNER)
    with pytest.raises(PendingElsewhere):
        refuse_busy(replace(ours, revision=2), OWNER)


def test_a_rollback_that_was_killed_is_ours_to_mend_though_its_labels_are_of_another_revision() -> None:
    refuse_busy(replace(release("web", status=ReleaseStatus.PENDING_ROLLBACK), revision=2), OWNER)


def test_a_release_is_named_as_the_project_says_and_an_app_of_commands_has_none(tmp_path: Path) -> None:
    own = project(
        tmp_path,
        "  web: {type: helm, chart: ./web, release_name: site}\n"
        "  all: {type: yaml, manifests: [a.yaml], namespace: ''}\n"
        "  mark: {type: exec, commands: ['true']}\n",
    )
    assert release_of(own, "web") == ReleaseName("shop", "site")
    assert release_of(own, "all") == ReleaseName("default", "all")
    assert release_of(own, "mark") is None


def test_releases_of_crds_are_those_that_say_so_of_the_same_app() -> None:
    listed = [
        release("web-crds-2", app="web"),
        release("web-crds", app="web"),
        release("web-crds-backup", app="web"),
        release("web-crds", app="web", namespace="elsewhere"),
        release("db-crds", app="db"),
    ]
    assert [name.name for name in crd_releases_of("web", WEB, listed)] == ["web-crds", "web-crds-2"]
    assert crd_releases_of("web", WEB, [release("web-crds")]) == []  # an app of that name


def test_dependents_come_before_what_they_depend_on(tmp_path: Path) -> None:
    apps = "  db: {type: noop}\n  web: {type: noop, depends_on: [db, {app: gone, optional: true}]}\n"
    assert dependents_first(project(tmp_path, apps)) == {"db": ["web"], "web": []}
