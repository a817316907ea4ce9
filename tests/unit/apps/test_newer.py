"""Which versions and tags are newer than which."""

from __future__ import annotations

import pytest

from sbkube.apps.newer import Offered, newest_tag


@pytest.mark.parametrize(
    ("now", "newest", "is_outdated"),
    [
        ("1.2.3", "1.2.4", True),
        ("1.9.0", "1.10.0", True),
        ("1.2.3", "v1.2.3", False),
        ("2.0.0-rc.1", "1.9.0", False),
        ("2.0.0-rc.1", "2.0.0", True),
        ("v1.2.0", "v1.3.0", True),
        ("web-1.2.0", "web-1.3.0", True),
        ("charts/web/v1.2.0", "charts/web/v1.2.0", False),
        ("1", "2.0.0", True),
        ("1.2.3", None, False),
        (None, "1.2.3", False),
    ],
)
def test_a_version_is_outdated_by_a_newer_stable_one(
    now: str | None, newest: str | None, is_outdated: bool
) -> None:
    assert Offered("shop/web", None, "chart", now, newest).is_outdated is is_outdated


@pytest.mark.parametrize(
    ("like", "newest"),
    [
        ("v1.2.0", "v1.10.0"),
        ("1.2", "v1.10.0"),
        ("web-1.0.0", "web-1.2.0"),
        ("web-2-1.0.0", "web-2-1.1.0"),
        ("charts/web/v0.1.0", "charts/web/v0.3.0"),
        ("other-1.0.0", None),
    ],
)
def test_the_newest_tag_is_the_newest_stable_one_that_is_written_alike(like: str, newest: str | None) -> None:
    tags = [
        "v1.2.0", "v1.10.0", "v1.9.0", "v2.0.0-rc.1", "v3", "latest", "web-1.0.0", "web-1.2.0", "web-9.0.0-beta",
        "web-2-1.1.0", "charts/web/v0.3.0", "charts/web/v0.2.0",
    ]  # fmt: skip
    assert newest_tag(tags, like) == newest


def test_what_is_locked_is_outdated_by_what_is_allowed_also_where_no_stable_version_is_newer() -> None:
    locked = Offered("shop/web", ">=2.0.0-0", "version", "2.0.0-rc.1", "1.9.0", "2.0.0-rc.2", is_locked=True)
    assert locked.is_outdated
    assert locked.may_move
