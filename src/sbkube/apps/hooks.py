"""Hooks as users write them: commands, manifests and tasks around a stage or a command."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from sbkube.apps.fields import Duration, Model, NotEmpty

Commands = tuple[NotEmpty, ...]
OnTaskFailure = Literal["fail", "warn", "ignore"]


class WaitFor(Model):
    kind: NotEmpty
    name: str | None = None
    label_selector: str | None = None
    all: bool = False
    namespace: str | None = None
    condition: str = "Ready"
    timeout: Duration = 60.0


class TaskDependency(Model):
    """What must be there before a task starts."""

    depends_on: tuple[NotEmpty, ...] = ()
    wait_for: tuple[WaitFor, ...] = ()


class Condition(Model):
    type: NotEmpty
    status: str = "True"


class Validation(Model):
    """What must hold after a task."""

    kind: str | None = None
    name: str | None = None
    all: bool = False
    namespace: str | None = None
    wait_for_ready: bool = False
    timeout: Duration = 60.0
    conditions: tuple[Condition, ...] = ()


class Rollback(Model):
    enabled: bool = False
    on_failure: Literal["always", "manual", "never"] = "always"
    manifests: tuple[NotEmpty, ...] = ()
    commands: Commands = ()


class TaskRetry(Model):
    max_attempts: Annotated[int, Field(ge=1)] = 1
    delay: Duration = 0.0


class _Task(Model):
    name: NotEmpty
    on_failure: OnTaskFailure = "fail"
    dependency: TaskDependency | None = None
    validation: Validation | None = None
    rollback: Rollback | None = None


class ManifestsTask(_Task):
    type: Literal["manifests"]
    files: Annotated[tuple[NotEmpty, ...], Field(min_length=1)]


class InlineTask(_Task):
    type: Literal["inline"]
    content: dict[str, Any]


class CommandTask(_Task):
    type: Literal["command"]
    command: NotEmpty
    retry: TaskRetry | None = None


Task = Annotated[ManifestsTask | InlineTask | CommandTask, Field(discriminator="type")]


class AppHooks(Model):
    """Around the stages of one app."""

    pre_prepare: Commands = ()
    post_prepare: Commands = ()
    pre_build: Commands = ()
    post_build: Commands = ()
    pre_template: Commands = ()
    post_template: Commands = ()
    pre_deploy: Commands = ()
    post_deploy: Commands = ()
    on_deploy_failure: Commands = ()
    pre_deploy_manifests: tuple[NotEmpty, ...] = ()
    post_deploy_manifests: tuple[NotEmpty, ...] = ()
    pre_deploy_tasks: tuple[Task, ...] = ()
    post_deploy_tasks: tuple[Task, ...] = ()

    @model_validator(mode="after")
    def _tasks_have_names_of_their_own(self) -> Self:
        check_task_names(self.pre_deploy_tasks)
        check_task_names(self.post_deploy_tasks)
        return self


class CommandHooks(Model):
    """Around a command, once for all apps."""

    pre: Commands = ()
    post: Commands = ()
    on_failure: Commands = ()


def check_task_names(tasks: tuple[Task, ...]) -> None:
    names: set[str] = set()
    for task in tasks:
        if task.name in names:
            raise ValueError(f"has two tasks named {task.name!r}")
        names.add(task.name)
