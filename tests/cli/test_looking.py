"""What the commands that look at a cluster print of what they found."""

from __future__ import annotations

import io
from typing import Any

import pytest

from sbkube.api import AppDiff, Diff, Live, LiveRelease, ObjectChange, ReleaseFact
from sbkube.cli.commands import diff, plan
from sbkube.cli.console import Console
from sbkube.cli.live_status import live_text
from sbkube.helm.releases import ReleaseStatus
from sbkube.operations.comparing import Kind
from sbkube.operations.facts import Would
from sbkube.targets.cluster.objects import ObjectId
from sbkube.targets.cluster.readiness import NOTHING, Readiness, Workload


def change(kind: Kind, name: str, **more: Any) -> ObjectChange:
    return ObjectChange("web", "web", "shop", ObjectId("apps/v1", "Deployment", "shop", name), kind, **more)


def app(*changes: ObjectChange, is_deployed: bool = False, hooks: int = 0) -> AppDiff:
    return AppDiff("web", changes, is_deployed, hooks)


def told(found: Diff, *, color: bool = False) -> tuple[str, str]:
    out, err = io.StringIO(), io.StringIO()
    diff._tell(found, Console(out, err), color=color)
    return out.getvalue(), err.getvalue()


def test_a_change_is_a_line_that_names_its_object_and_what_differs() -> None:
    lines = ("@@ -1,2 +1,2 @@", " spec:", "-  replicas: 3", "+  replicas: 1")
    out, err = told(Diff((app(change("changed", "web", lines=lines)),), {}, ()))
    assert out == "web: Deployment shop/web would change\n" + "\n".join(lines) + "\n"
    assert err == "1 object of 1 app: 1 would change\n"


def test_colours_are_those_of_a_diff_and_the_text_is_the_same() -> None:
    found = Diff((app(change("changed", "web", lines=("@@ @@", " a", "-b", "+c"))),), {}, ())
    out, _ = told(found, color=True)
    assert "\x1b[31m-b\x1b[0m" in out
    assert "\x1b[32m+c\x1b[0m" in out
    assert "\n a\n" in out


def test_every_kind_of_change_is_counted_and_what_was_refused_is_told_in_the_servers_words() -> None:
    changes = (change("added", "a"), change("removed", "b"), change("refused", "c", why="(Forbidden): no"))
    out, err = told(Diff((app(*changes),), {}, ()))
    assert "web: Deployment shop/c cannot be compared\n  (Forbidden): no\n" in out
    assert err.startswith(
        "3 objects of 1 app: 1 would be created, 1 would be deleted, 1 cannot be compared\n"
    )


def test_what_a_deploy_leaves_alone_and_what_is_left_out_is_noted_beside_a_change() -> None:
    found = Diff((app(change("changed", "web", lines=("+a",)), is_deployed=True, hooks=2),), {}, ("seed",))
    _, err = told(found)
    assert "note: web: deployed as the project has it and changed since by others" in err
    assert "note: 2 hooks left out" in err
    assert "note: left out, since they run commands: seed" in err


def test_without_a_change_there_is_nothing_to_note() -> None:
    assert told(Diff((app(is_deployed=True, hooks=2),), {}, ("seed",))) == ("", "")


def test_an_app_that_cannot_be_rendered_is_an_error_also_where_nothing_differs() -> None:
    out, err = told(Diff((), {"web": "template: no such file"}, ()))
    assert (out, err) == ("", "error: app 'web' cannot be compared: template: no such file\n")


STUCK = Readiness((Workload("Deployment", "shop", "web", 1, 2),), ("Job shop/seed: failed: too often",))


def test_releases_are_a_table_and_what_is_wrong_with_them_stands_below() -> None:
    drift = tuple(change("changed", f"d{n}") for n in range(5))
    text = live_text(
        Live(
            7,
            (
                LiveRelease("web", "web", "shop", 3, ReleaseStatus.DEPLOYED, "d", True, True, STUCK, drift),
                LiveRelease("db", "db", "shop", 1, ReleaseStatus.PENDING_UPGRADE, "d", False, False, NOTHING),
                LiveRelease("new", "new", "shop"),
            ),
        )
    )
    assert text == (
        "app  namespace  release  revision  status           as run 7  ready  drift\n"
        "web  shop       web      3         deployed         yes       0/1    5 objects\n"
        "db   shop       db       1         pending-upgrade  no\n"
        "new  shop       new                not there\n"
        "\n"
        "web: Job shop/seed: failed: too often\n"
        "web: Deployment shop/web: 1 of 2 ready\n"
        "web: Deployment shop/d0 was changed by others\n"
        "web: Deployment shop/d1 was changed by others\n"
        "web: Deployment shop/d2 was changed by others\n"
        "web: and 2 more\n"
        "db: release db is pending-upgrade, by somebody else"
    )


@pytest.mark.parametrize(
    ("revision", "status", "is_ours", "would", "words"),
    [
        (None, None, False, "install", "no release shop/web yet"),
        (
            3,
            ReleaseStatus.DEPLOYED,
            True,
            "unchanged",
            "release shop/web revision 3 is deployed, would stay unchanged",
        ),
        (
            3,
            ReleaseStatus.DEPLOYED,
            True,
            None,
            "release shop/web revision 3 is deployed, upgraded if what is rendered differs",
        ),
        (
            3,
            ReleaseStatus.PENDING_INSTALL,
            False,
            "refuse",
            "release shop/web revision 3 is pending-install by somebody else, would fail",
        ),
    ],
)
def test_a_plan_says_of_a_release_what_it_is_and_what_would_be_done(
    revision: int | None, status: ReleaseStatus | None, is_ours: bool, would: Would | None, words: str
) -> None:
    assert plan._told(ReleaseFact("web", "web", "shop", revision, status, is_ours, would)) == words
