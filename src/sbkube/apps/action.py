"""`type: action`: objects applied, created and deleted through kubectl, in the order written.

They are recorded and belong to no release: so nothing rolls them back, prunes them, or waits for them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import anyio
from pydantic import Field, field_validator

from sbkube.apps.base import App, OnInterrupt, Stage
from sbkube.apps.checks import Refusal, check_namespace, failures
from sbkube.apps.fields import Model, NotEmpty
from sbkube.apps.fields import Path as FieldPath
from sbkube.apps.files import FileInput
from sbkube.apps.sought import file_input
from sbkube.apps.work import Json, Place, Reading, Work
from sbkube.errors import Position, SbkubeError
from sbkube.targets.base import ObjectAction, Verb


class Action(Model):
    """`path` is a file, a folder or a URL."""

    type: Verb = "apply"
    path: NotEmpty
    namespace: str | None = None

    @property
    def is_url(self) -> bool:
        return self.path.startswith(("http://", "https://"))


@dataclass(frozen=True, slots=True)
class Which:
    """One action of an app's list, in the words of an error."""

    action: Action
    place: int
    """From 1."""
    among: int
    where: Position

    def __str__(self) -> str:
        told = f"`{self.action.type}` of {self.action.path!r}"
        return told if self.among == 1 else f"{told} (action {self.place} of {self.among})"


class ActionFailed(SbkubeError):
    def __init__(self, which: Which, error: SbkubeError, *, may_be_repeated: bool = True) -> None:
        exists = which.action.type == "create" and "already exists" in error.message.lower()
        hint = "`type: apply` takes what is there as it is, and changes it" if exists else error.hint
        super().__init__(f"{which} failed: {error.message}", hint=hint, where=which.where)
        self.which = which
        self.transient = error.transient and may_be_repeated
        self.after = error.after


class ActionOverdue(SbkubeError, TimeoutError):
    """The time limit, which is that of all actions of the app together, was over."""

    def __init__(self, which: Which, seconds: float) -> None:
        message = f"{which} was stopped: the app's actions took longer than its time limit of {seconds:g} s"
        super().__init__(message, where=which.where)
        self.which = which
        self.seconds = seconds


class ActionApp(App):
    """After an interruption `apply` and `delete` come to the same again; `create` refuses what it made before."""

    stages: ClassVar[tuple[Stage, ...]] = ("deploy",)
    runs_commands: ClassVar[bool] = True
    needs_cluster: ClassVar[bool] = True
    ends_in_time: ClassVar[bool] = True

    type: Literal["action"]
    actions: Annotated[tuple[Action, ...], Field(min_length=1)]

    @field_validator("on_interrupt")
    @classmethod
    def _can_be_followed(cls, value: OnInterrupt | None) -> OnInterrupt | None:
        if value == "verify":
            raise ValueError("must be `rerun` or `ask`: what an action did cannot be verified")
        return value

    def after_interruption(self, stage: Stage) -> OnInterrupt:
        creates = any(action.type == "create" for action in self.actions)
        return self.on_interrupt or ("ask" if creates else "rerun")

    def reads(self, stage: Stage, place: Place) -> Reading:
        actions: list[Json] = [
            {"type": action.type, "path": action.path, "namespace": action.namespace}
            for action in self.actions
        ]
        files = [self._file(index, place) for index, action in enumerate(self.actions) if not action.is_url]
        return Reading({"actions": actions, "namespace": place.namespace}, tuple(files))

    async def perform(self, stage: Stage, work: Work) -> Json:
        """Nothing is returned: what is there after it is not only its doing."""
        limit = work.time_limit
        ends = None if limit is None else anyio.current_time() + limit
        for check in self._checks(work.place):
            check()
        for index, action in enumerate(self.actions):
            which = Which(action, index + 1, len(self.actions), work.place.where("actions", index))
            left = None if ends is None else max(ends - anyio.current_time(), 0.0)
            with anyio.move_on_after(left) as scope:
                await self._do(which, work)
            if scope.cancelled_caught:
                raise ActionOverdue(which, limit or 0.0)
        return None

    def check(self, place: Place) -> Iterator[Refusal]:
        yield from (("deploy", error) for error in failures(self._checks(place)))

    def unpinned(self, folder: Path) -> Iterator[tuple[FieldPath, str]]:
        for index, action in enumerate(self.actions):
            if action.is_url and action.type != "delete":
                yield ("actions", index, "path"), action.path

    async def _do(self, which: Which, work: Work) -> None:
        action, index = which.action, which.place - 1
        source = action.path if action.is_url else str(self._file(index, work.place).present())
        own = action.namespace
        await work.log(str(which))
        try:
            await work.target.act(
                ObjectAction(
                    action.type,
                    source,
                    work.place.namespace if own is None else own,
                    is_only_namespace=bool(own),
                    key=work.context.key,
                ),
                work.log,
            )
        except SbkubeError as error:
            # What an action before it has created under a generated name would be created once more.
            has_created = any(before.type == "create" for before in self.actions[:index])
            raise ActionFailed(which, error, may_be_repeated=not has_created) from error
        finally:
            with anyio.move_on_after(5, shield=True):
                await work.flush()

    def _file(self, index: int, place: Place) -> FileInput:
        name, where = self.actions[index].path, place.where("actions", index, "path")
        return file_input(place, "manifest", name, where, "a file", "a folder")

    def _checks(self, place: Place) -> Iterator[Callable[[], object]]:
        yield partial(check_namespace, place.namespace, place.where("namespace"))
        for index, action in enumerate(self.actions):
            where = place.where("actions", index, "namespace")
            yield partial(check_namespace, action.namespace or "", where)
