"""`type: exec`: commands, run in the folder of the config."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import anyio
from pydantic import Field, field_validator

from sbkube.apps.base import App, OnInterrupt, Stage
from sbkube.apps.fields import FromEnv, NotEmpty, Secret
from sbkube.apps.work import Json, Place, Reading, Work
from sbkube.errors import Position, SbkubeError
from sbkube.process import CannotStart, CommandTimedOut, Exit, run_process

Command = NotEmpty | Annotated[tuple[str, ...], Field(min_length=1)]

_FORBIDDEN = ("0", "false", "no", "off")


@dataclass(frozen=True, slots=True)
class Which:
    """One command of an app's list, in the words of an error."""

    command: Command
    place: int
    """From 1."""
    among: int
    where: Position

    def __str__(self) -> str:
        text = self.command if isinstance(self.command, str) else shlex.join(self.command)
        first, *more = text.strip().splitlines() or [""]
        told = f"{first[:_LONGEST]!r}" + (" …" if more or len(first) > _LONGEST else "")
        return told if self.among == 1 else f"{told} (command {self.place} of {self.among})"


_LONGEST = 200


class CommandFailed(SbkubeError):
    """A command of an app ended with an error."""

    def __init__(self, which: Which, ended: Exit) -> None:
        super().__init__(f"{which} failed: {ended}", where=which.where)
        self.which = which
        self.code = ended.code


class CommandNotStarted(SbkubeError):
    def __init__(self, which: Which, error: CannotStart) -> None:
        super().__init__(f"{which} cannot be started: {error}", hint=error.hint, where=which.where)
        self.which = which


class CommandOverdue(SbkubeError, TimeoutError):
    """The time limit, which is that of all commands of the app together, was over."""

    def __init__(self, which: Which, seconds: float) -> None:
        message = f"{which} was stopped: the app's commands took longer than its time limit of {seconds:g} s"
        super().__init__(message, where=which.where)
        self.which = which
        self.seconds = seconds


class CommandsForbidden(SbkubeError):
    def __init__(self, where: Position) -> None:
        super().__init__(
            "commands are forbidden by SBKUBE_ALLOW_EXEC", hint="unset it to allow them", where=where
        )


class SecretMissing(SbkubeError):
    def __init__(self, name: str, variable: str, where: Position) -> None:
        super().__init__(
            f"`env.{name}` comes from the environment variable {variable!r}, which is not set",
            hint=f"`export {variable}=…` before the run",
            where=where,
        )


class ExecApp(App):
    """A command is text for `sh -c`, or a list of arguments that no shell sees."""

    stages: ClassVar[tuple[Stage, ...]] = ("deploy",)
    unless_said: ClassVar[OnInterrupt] = "ask"
    runs_commands: ClassVar[bool] = True
    ends_in_time: ClassVar[bool] = True

    type: Literal["exec"]
    commands: Annotated[tuple[Command, ...], Field(min_length=1)]
    env: dict[str, Secret] = {}

    @field_validator("on_interrupt")
    @classmethod
    def _can_be_followed(cls, value: OnInterrupt | None) -> OnInterrupt | None:
        if value == "verify":
            raise ValueError("must be `rerun` or `ask`: what a command did cannot be verified")
        return value

    def reads(self, stage: Stage, place: Place) -> Reading:
        plain = {name: value for name, value in self.env.items() if isinstance(value, str)}
        named = {name: value.from_env for name, value in self.env.items() if isinstance(value, FromEnv)}
        commands = [command if isinstance(command, str) else list(command) for command in self.commands]
        settings: dict[str, Json] = {"commands": commands, "env": plain, "env_from": named}
        used = tuple(d.app for d in self.depends_on if place.fetched.is_by(d.app))
        return Reading(settings, secrets=tuple(dict.fromkeys(named.values())), uses=used)

    async def perform(self, stage: Stage, work: Work) -> Json:
        """Nothing is returned: what commands do cannot be seen, so each run counts as a new output."""
        if work.env.get("SBKUBE_ALLOW_EXEC", "").lower() in _FORBIDDEN:
            raise CommandsForbidden(work.place.where("commands"))
        env = {**work.env, **self._own_env(work)}
        ends = None if work.time_limit is None else anyio.current_time() + work.time_limit
        for index, command in enumerate(self.commands):
            where = work.place.where("commands", index)
            await self._run(Which(command, index + 1, len(self.commands), where), env, work, ends)
        return None

    def _own_env(self, work: Work) -> dict[str, str]:
        own = {}
        for name, value in self.env.items():
            if isinstance(value, str):
                own[name] = value
            elif value.from_env in work.env:
                own[name] = work.env[value.from_env]
            else:
                raise SecretMissing(name, value.from_env, work.place.where("env", name))
        return own

    def _hidden(self, work: Work) -> list[str]:
        """What must not be logged, longest first: one secret may be part of another, and each line comes alone."""
        secrets = [
            work.env.get(value.from_env, "") for value in self.env.values() if isinstance(value, FromEnv)
        ]
        lines = {line for secret in secrets for line in (secret, *secret.splitlines()) if line.strip()}
        return sorted(lines, key=len, reverse=True)

    async def _run(self, which: Which, env: dict[str, str], work: Work, ends: float | None) -> None:
        hidden = self._hidden(work)

        async def on_line(line: str) -> None:
            for secret in hidden:
                line = line.replace(secret, "***")
            await work.log(line)

        words = which.command if isinstance(which.command, str) else list(which.command)
        left = None if ends is None else max(ends - anyio.current_time(), 0.0)
        try:
            ended = await run_process(
                words,
                cwd=work.place.folder,
                env=env,
                on_line=on_line,
                on_pause=work.flush,
                time_limit=left,
            )
        except CommandTimedOut as error:
            raise CommandOverdue(which, work.time_limit or 0.0) from error
        except CannotStart as error:
            raise CommandNotStarted(which, error) from error
        if not ended.ok:
            raise CommandFailed(which, ended)
