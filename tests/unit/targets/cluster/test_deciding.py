from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from sbkube.helm.releases import Release, ReleaseStatus
from sbkube.targets.cluster.decide import (
    FinishUninstall,
    Install,
    Locked,
    Unchanged,
    Unlock,
    Upgrade,
    WaitForOther,
    Wanted,
    decide,
)
from sbkube.targets.cluster.rollbacks import Rollback

WANTED = Wanted("d1", "run-7", "our-folder")


def release(status: ReleaseStatus, revision: int = 3, **labels: str) -> Release:
    ours = {**WANTED.labels(revision), **{f"sbkube.dev/{key}": value for key, value in labels.items()}}
    return Release("web", "shop", revision, status, labels=ours)


def test_what_is_not_there_is_installed() -> None:
    assert decide(None, WANTED) == Install()
    assert decide(release(ReleaseStatus.UNINSTALLED), WANTED) == Install(replace=True)


def test_what_is_deployed_as_wanted_stays_unless_forced() -> None:
    assert decide(release(ReleaseStatus.DEPLOYED), WANTED) == Unchanged(3)
    assert decide(release(ReleaseStatus.DEPLOYED), WANTED, force=True) == Upgrade(4)


def test_labels_that_helm_carried_over_an_upgrade_by_hand_do_not_count() -> None:
    by_hand = replace(release(ReleaseStatus.DEPLOYED), revision=4)
    assert decide(by_hand, WANTED, earlier=[release(ReleaseStatus.SUPERSEDED)]) == Upgrade(5)


def test_a_failed_revision_of_the_same_content_is_deployed_again() -> None:
    failed, earlier = release(ReleaseStatus.FAILED), [release(ReleaseStatus.SUPERSEDED, 2)]
    assert decide(failed, WANTED, earlier=earlier) == Upgrade(4)


def test_an_install_that_failed_or_was_cut_off_is_to_be_completed() -> None:
    failed = release(ReleaseStatus.FAILED, 1)
    assert decide(failed, WANTED) == Upgrade(2, completes_install=True)
    again = release(ReleaseStatus.FAILED, 2)
    assert decide(again, WANTED, earlier=[failed]) == Upgrade(3, completes_install=True)
    cut_off = release(ReleaseStatus.PENDING_INSTALL, 1)
    unlocked = replace(cut_off, revision=2, status=ReleaseStatus.DEPLOYED)
    assert decide(unlocked, WANTED, earlier=[cut_off]) == Upgrade(3, completes_install=True)


def test_what_was_installed_by_hand_is_complete() -> None:
    by_hand = replace(release(ReleaseStatus.DEPLOYED), labels={})
    assert decide(by_hand, WANTED) == Upgrade(4)


def test_our_own_pending_release_is_unlocked_at_its_revision_and_our_uninstall_is_finished() -> None:
    assert decide(release(ReleaseStatus.PENDING_UPGRADE), WANTED) == Unlock(3)
    assert decide(release(ReleaseStatus.UNINSTALLING), WANTED) == FinishUninstall()


@given(
    st.sampled_from([s for s in ReleaseStatus if s.is_pending or s is ReleaseStatus.UNINSTALLING]),
    st.sampled_from([{"owner": "another"}, {"rev": "2"}]),
)
def test_what_somebody_else_left_pending_is_touched_by_order_only(
    status: ReleaseStatus, labels: dict[str, str]
) -> None:
    theirs = release(status, **labels)
    assert decide(theirs, WANTED) == Locked()
    assert decide(theirs, WANTED, pending="fail") == Locked()
    assert decide(theirs, WANTED, pending="wait") == WaitForOther()
    assert decide(theirs, WANTED, pending="rollback") in (Unlock(3), FinishUninstall())


def test_what_an_earlier_holder_of_our_lock_left_pending_is_ours_to_unlock() -> None:
    ours = replace(WANTED, lock="shop.lock")
    left = release(ReleaseStatus.PENDING_UPGRADE, owner="another-checkout", lock="shop.lock")
    assert decide(left, ours) == Unlock(3)
    assert decide(replace(left, revision=4), ours) == Locked()
    assert decide(left, replace(WANTED, lock="another.lock")) == Locked()
    assert decide(left, WANTED) == Locked()
    assert decide(release(ReleaseStatus.PENDING_UPGRADE, owner="another-checkout"), ours) == Locked()


def rollback_to(then: Release, revision: int) -> Release:
    """As Helm records it while it is under way: with the labels of what it goes to."""
    return replace(then, revision=revision, status=ReleaseStatus.PENDING_ROLLBACK)


def test_an_unlocking_that_was_cut_off_itself_is_ours_however_often() -> None:
    before, cut_off = release(ReleaseStatus.DEPLOYED, 1), release(ReleaseStatus.PENDING_UPGRADE, 2)
    once, twice = rollback_to(cut_off, 3), rollback_to(cut_off, 4)
    assert decide(once, WANTED, earlier=[before, cut_off]) == Unlock(3)
    assert decide(twice, WANTED, earlier=[before, cut_off, once]) == Unlock(4)
    theirs = release(ReleaseStatus.PENDING_UPGRADE, 2, owner="another")
    assert decide(rollback_to(theirs, 3), WANTED, earlier=[before, theirs]) == Locked()
    assert decide(once, WANTED, earlier=[]) == Locked()


def test_a_rollback_by_hand_to_what_we_deployed_is_not_ours() -> None:
    history = [release(ReleaseStatus.SUPERSEDED, 1), release(ReleaseStatus.DEPLOYED, 2)]
    assert decide(rollback_to(history[0], 3), WANTED, earlier=history) == Locked()


def test_a_rollback_after_a_failure_is_ours_if_helm_was_told_to_make_it() -> None:
    history = [release(ReleaseStatus.DEPLOYED, 1), release(ReleaseStatus.FAILED, 2)]
    under_way = rollback_to(history[0], 3)
    assert decide(under_way, WANTED, earlier=history) == Locked()
    assert decide(under_way, replace(WANTED, is_undone_by_helm=True), earlier=history) == Unlock(3)


def test_a_rollback_that_we_noted_and_left_pending_is_ours_at_that_revision_only() -> None:
    history = [release(ReleaseStatus.SUPERSEDED, 1), release(ReleaseStatus.DEPLOYED, 2)]
    left, noted = rollback_to(history[0], 3), replace(WANTED, rollback=Rollback(3, 1))
    assert decide(left, noted, earlier=history) == Unlock(3)
    assert decide(left, noted, earlier=history, pending="fail") == Locked()
    assert decide(replace(left, revision=4), noted, earlier=history) == Locked()
    unlocking = rollback_to(left, 4)
    assert decide(unlocking, noted, earlier=[*history, left]) == Unlock(4)
    theirs = release(ReleaseStatus.PENDING_UPGRADE, owner="another")
    assert decide(theirs, noted, earlier=history) == Locked()


def test_nobody_waits_for_the_end_of_what_a_killed_run_of_ours_did() -> None:
    assert decide(release(ReleaseStatus.PENDING_INSTALL), WANTED, pending="wait") == Unlock(3)


def test_even_our_own_is_left_alone_where_the_user_says_so() -> None:
    assert decide(release(ReleaseStatus.PENDING_INSTALL), WANTED, pending="fail") == Locked()


@given(st.sampled_from(ReleaseStatus), st.booleans(), st.sampled_from(["d1", "d2"]))
def test_only_what_is_deployed_with_this_digest_is_unchanged(
    status: ReleaseStatus, force: bool, digest: str
) -> None:
    decided = decide(release(status, digest=digest), WANTED, force=force)
    unchanged = status is ReleaseStatus.DEPLOYED and digest == "d1" and not force
    assert isinstance(decided, Unchanged) == unchanged


def test_labels_fit_what_helm_takes() -> None:
    assert all(len(value) <= 63 for value in Wanted("f" * 63, "r" * 36, "o" * 16).labels(10_000).values())
