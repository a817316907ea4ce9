"""`type: hook`: tasks as an app of their own."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import model_validator

from sbkube.apps.base import App, Stage
from sbkube.apps.hooks import Rollback, Task, TaskDependency, Validation, check_task_names


class HookApp(App):
    """`dependency`, `validation` and `rollback` are around all tasks together."""

    stages: ClassVar[tuple[Stage, ...]] = ("deploy",)

    type: Literal["hook"]
    tasks: tuple[Task, ...] = ()
    dependency: TaskDependency | None = None
    validation: Validation | None = None
    rollback: Rollback | None = None

    @model_validator(mode="after")
    def _tasks_alone(self) -> Self:
        if self.hooks is not None:
            raise ValueError("is a hook itself and cannot have `hooks`: write them as `tasks`")
        check_task_names(self.tasks)
        return self
