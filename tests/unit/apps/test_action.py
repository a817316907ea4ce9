"""Actions, one after the other, as a target is asked for them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import anyio
import pytest
from bench import Bench
from pydantic import ValidationError

from sbkube.apps.action import ActionApp, ActionFailed, ActionOverdue
from sbkube.apps.checks import InvalidName
from sbkube.apps.files import FileMissing
from sbkube.errors import SbkubeError
from sbkube.targets.base import Log, NeedsCluster, ObjectAction
from sbkube.targets.directory import DirectoryTarget
from sbkube.targets.owned import Owner

pytestmark = pytest.mark.anyio


class Recording(DirectoryTarget):
    """What a target is asked for, until it refuses or hangs."""

    refuses: str | None = None
    passes: bool = False
    """What it refuses it may take in a moment."""
    hangs: bool = False

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / "rendered", "rendered", Owner(".."), grace=0.0)
        self.asked: list[ObjectAction] = []

    async def act(self, action: ObjectAction, log: Log) -> None:
        self.asked.append(action)
        await log(f"{action.verb} done")
        if self.hangs:
            await anyio.sleep_forever()
        if self.refuses and (action.verb == "apply" or not self.passes):
            error = SbkubeError(self.refuses)
            error.transient = self.passes
            raise error


@pytest.fixture
def recording(bench: Bench) -> Recording:
    bench.write({"a.yaml": "", "b/c.yaml": ""})
    bench.target = made = Recording(bench.folder)
    return made


def app(*actions: str, more: str = "") -> str:
    return f"{{type: action, actions: [{', '.join(actions)}]{more}}}"


async def test_actions_are_done_in_the_order_written(bench: Bench, recording: Recording) -> None:
    url = "https://example.com/x.yaml"
    written = (
        "{path: a.yaml}",
        "{type: delete, path: b}",
        f"{{type: create, path: '{url}', namespace: other}}",
    )
    assert await bench.perform("deploy", app(*written)) is None
    assert recording.asked == [
        ObjectAction("apply", str(bench.folder / "a.yaml"), "shop", key="key"),
        ObjectAction("delete", str(bench.folder / "b"), "shop", key="key"),
        ObjectAction("create", url, "other", is_only_namespace=True, key="key"),
    ]
    assert bench.log[:2] == ["`apply` of 'a.yaml' (action 1 of 3)", "apply done"]


async def test_no_namespace_leaves_it_to_the_manifests(bench: Bench, recording: Recording) -> None:
    await bench.perform("deploy", app("{path: a.yaml}", more=", namespace: ''"))
    assert recording.asked == [ObjectAction("apply", str(bench.folder / "a.yaml"), "", key="key")]


async def test_the_first_action_that_fails_ends_the_step(bench: Bench, recording: Recording) -> None:
    recording.refuses = "nobody may"
    told = r"config\.yaml:3: `apply` of 'a\.yaml' \(action 1 of 2\) failed: nobody may"
    with pytest.raises(ActionFailed, match=told):
        await bench.perform("deploy", app("{path: a.yaml}", "{path: b}"))
    assert len(recording.asked) == 1


@pytest.mark.parametrize(("first", "may_pass"), [("apply", True), ("delete", True), ("create", False)])
async def test_what_may_pass_is_repeated_unless_something_was_created_before(
    bench: Bench, recording: Recording, first: str, may_pass: bool
) -> None:
    recording.refuses, recording.passes = "connection refused", True
    with pytest.raises(ActionFailed) as caught:
        await bench.perform("deploy", app(f"{{type: {first}, path: a.yaml}}", "{path: b}"))
    assert caught.value.transient is may_pass


async def test_of_what_exists_the_other_verb_is_named(bench: Bench, recording: Recording) -> None:
    recording.refuses = 'configmaps "a" already exists'
    with pytest.raises(ActionFailed) as caught:
        await bench.perform("deploy", app("{type: create, path: a.yaml}"))
    assert caught.value.hint == "`type: apply` takes what is there as it is, and changes it"


async def test_the_time_limit_names_the_action_that_it_stopped(bench: Bench, recording: Recording) -> None:
    recording.hangs, bench.time_limit = True, 0.01
    with pytest.raises(ActionOverdue, match=r"`apply` of 'a\.yaml' was stopped: .* time limit of 0\.01 s"):
        await bench.perform("deploy", app("{path: a.yaml}"))


async def test_a_file_that_is_missing_is_told_with_its_line(bench: Bench, recording: Recording) -> None:
    with pytest.raises(FileMissing, match=r"config\.yaml:3: manifest 'x\.yaml' is missing"):
        await bench.perform("deploy", app("{path: x.yaml}"))
    assert recording.asked == []


@pytest.mark.parametrize("where", [", namespace: Shop", ""])
async def test_a_namespace_that_is_none_is_refused_before_anything(
    bench: Bench, recording: Recording, where: str
) -> None:
    own = "" if where else ", namespace: Shop"
    with pytest.raises(InvalidName, match="the namespace 'Shop'"):
        await bench.perform("deploy", app("{path: a.yaml}", f"{{path: b{own}}}", more=where))
    assert recording.asked == []


async def test_a_folder_as_a_target_takes_no_action(bench: Bench) -> None:
    bench.write({"a.yaml": ""})
    with pytest.raises(ActionFailed, match="needs a cluster, and the target is a folder") as caught:
        await bench.perform("deploy", app("{path: a.yaml}"))
    assert isinstance(caught.value.__cause__, NeedsCluster)


def test_files_are_inputs_and_urls_are_not(bench: Bench) -> None:
    bench.write({"a.yaml": "", "b/c.yaml": ""})
    place = bench.place(app("{path: a.yaml}", "{path: 'https://example.com/x.yaml'}", "{path: b}"))
    read = place.app.reads("deploy", place)
    assert [file.component for file in read.files] == ["manifest a.yaml", "manifest b"]
    assert [action["path"] for action in read.settings["actions"]] == [
        "a.yaml",
        "https://example.com/x.yaml",
        "b",
    ]


def action_app(*types: str, **more: str) -> ActionApp:
    actions = [{"type": kind, "path": "x"} for kind in types]
    return ActionApp.model_validate({"type": "action", "actions": actions, **more})


@pytest.mark.parametrize(
    ("made", "then"),
    [
        (lambda: action_app("apply", "delete"), "rerun"),
        (lambda: action_app("apply", "create"), "ask"),
        (lambda: action_app("create", on_interrupt="rerun"), "rerun"),
        (lambda: action_app("apply", on_interrupt="ask"), "ask"),
    ],
)
def test_what_was_interrupted_is_asked_about_only_if_it_creates(
    made: Callable[[], ActionApp], then: str
) -> None:
    assert made().after_interruption("deploy") == then


def test_an_action_cannot_be_verified() -> None:
    with pytest.raises(ValidationError, match="what an action did cannot be verified"):
        action_app("apply", on_interrupt="verify")
