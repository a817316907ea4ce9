"""Doing what was decided: in order, on past what fails, and no further than is wanted."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from sbkube.engine import RunControl, StepStatus
from sbkube.operations.changes import Change, Changes, carried_out
from sbkube.targets.base import Log

from .given import project

pytestmark = pytest.mark.anyio
APPS = "  db: {type: noop}\n"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def change(app: str, release: str | None = None) -> Change:
    return Change(app, release or app, "shop", 1)


AFTER = {"db": ["gate"], "gate": ["web"], "web": [], "other": []}
"""`gate` has nothing to change, and still stands between the two."""


async def test_what_depends_on_others_comes_first_and_one_release_of_an_app_after_the_other(
    tmp_path: Path,
) -> None:
    done = list[str]()

    async def act(one: Change, log: Log) -> None:
        await anyio.lowlevel.checkpoint()
        done.append(one.release)

    wanted = Changes((change("db"), change("db", "db-crds"), change("web")), AFTER)
    changed = await carried_out(project(tmp_path, APPS), wanted, act)
    assert done == ["web", "db", "db-crds"]
    assert changed.is_complete


async def test_a_failure_holds_up_what_it_depends_on_and_nothing_else(tmp_path: Path) -> None:
    async def act(one: Change, log: Log) -> None:
        if one.app == "web":
            raise RuntimeError("no")

    wanted = Changes((change("db"), change("web"), change("other")), AFTER)
    changed = await carried_out(project(tmp_path, APPS), wanted, act)
    assert changed.state is not None
    ends = {app: step.status for app, step in changed.state.steps.items()}
    assert ends["web"] is StepStatus.FAILED
    assert ends["db"] is StepStatus.BLOCKED
    assert ends["other"] is StepStatus.COMPLETED
    assert not changed.is_complete


async def test_nothing_is_done_that_nobody_agreed_to(tmp_path: Path) -> None:
    async def act(one: Change, log: Log) -> None:
        raise AssertionError("it was done")

    wanted = Changes((change("db"),))
    asked = list[Changes]()

    def refuse(changes: Changes) -> bool:
        asked.append(changes)
        return False

    assert (await carried_out(project(tmp_path, APPS), wanted, act, agree=refuse)).state is None
    assert asked == [wanted]


async def test_nobody_is_asked_where_nothing_is_to_do_and_what_is_missing_is_no_success(
    tmp_path: Path,
) -> None:
    async def act(one: Change, log: Log) -> None:
        raise AssertionError("it was done")

    def agree(changes: Changes) -> bool:
        raise AssertionError("somebody was asked")

    changed = await carried_out(project(tmp_path, APPS), Changes((), missing=("db: gone",)), act, agree=agree)
    assert changed.state is None
    assert not changed.is_complete


async def test_a_drained_command_starts_nothing_more(tmp_path: Path) -> None:
    control, done = RunControl(), list[str]()

    async def act(one: Change, log: Log) -> None:
        control.drain()
        await anyio.lowlevel.checkpoint()
        done.append(one.app)

    wanted = Changes((change("db"), change("web")), AFTER)
    changed = await carried_out(project(tmp_path, APPS), wanted, act, control=control)
    assert done == ["web"]
    assert not changed.is_complete


@pytest.mark.parametrize(
    ("made", "told"),
    [
        (change("web"), "uninstall web in shop (revision 1)"),
        (Change("web", "web", "shop", 5, 3), "roll back web in shop from revision 5 to 3"),
        (
            Change("web", "web-crds", "shop", 1, crds=("a.b", "c.b")),
            "uninstall web-crds in shop (revision 1), and delete a.b, c.b with all resources of these kinds",
        ),
    ],
)
def test_a_change_says_what_it_does(made: Change, told: str) -> None:
    assert str(made) == told
