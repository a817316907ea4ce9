"""A command that changes releases as the command line sees it: show, ask, do, tell."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import asyncclick as click

from sbkube.api import Asked, Change, Changed, Changes, LockHeld, Request
from sbkube.cli.asking import ctrl_c_as_usual, somebody_is_there
from sbkube.cli.console import Console, duration, plural
from sbkube.cli.failures import OK, STEP_FAILED
from sbkube.cli.hints import run_flags, selecting
from sbkube.cli.options import Where, command_line, most_at_once
from sbkube.cli.running import looking_at, time_limit
from sbkube.cli.signals import Caught, signals_to
from sbkube.engine import Event, RunControl, StepBlocked, StepFinished, StepLogged, StepStatus
from sbkube.errors import SbkubeError

_SIGNALLED = 128


class NobodyToAsk(SbkubeError):
    """There is no terminal in which somebody could say yes."""

    def __init__(self, command: str) -> None:
        super().__init__(
            "nothing was changed, since there is no terminal to ask in", hint=f"`{command}` asks nothing"
        )


def request_of(where: Where, values: dict[str, Any], environ: dict[str, str]) -> Request:
    """Takes what `change_options` and `app_options` give out of the values."""
    return Request(
        Asked(apps=tuple(values.pop("apps", ())), labels=tuple(values.pop("labels", ()))),
        target=values.pop("target"),
        state_dir=where.state_dir,
        helm=values.pop("helm"),
        max_parallel=most_at_once(values.pop("max_parallel"), False, environ),
        accept_target_change=values.pop("accept_target_change"),
        wait_lock=time_limit(values.pop("wait_lock"), "--wait-lock") or 0.0,
    )


@dataclass(slots=True)
class ChangeSession:
    """`words` are the command and its own flags, as a hint repeats them."""

    words: Sequence[str]
    request: Request
    where: Where
    console: Console
    yes: bool
    dry_run: bool
    control: RunControl = field(default_factory=RunControl)
    caught: Caught | None = None
    was_declined: bool = False
    _apps: dict[str, list[Change]] = field(default_factory=dict)

    async def run(self, operate: Callable[..., Awaitable[Changed]], after: str = "") -> int:
        """The exit code; `after` is told when something was changed."""
        with signals_to(self.control, self._tell_drain) as caught:
            self.caught = caught
            changed: Changed | None = None
            with caught.scope:
                changed = await operate(
                    dry_run=self.dry_run,
                    agree=self.agree,
                    on_event=self.hear,
                    on_held=self._tell_held,
                    control=self.control,
                )
        if changed is None:
            self.console.error("interrupted before anything was changed")
            return _SIGNALLED + (caught.number or 2)
        return self._told(changed, after)

    def agree(self, changes: Changes) -> bool:
        """Called when something is to do, before it is done."""
        self._show(changes)
        if not self.yes and not somebody_is_there():
            raise NobodyToAsk(self._command("--yes"))
        if not self.yes:
            with ctrl_c_as_usual():
                self.was_declined = not click.confirm("do it?", default=False, err=True)
        if self.caught is not None and not self.was_declined:
            self.caught.has_started = True
        return not self.was_declined

    def hear(self, event: Event) -> None:
        say, marks = self.console.say, self.console.marks
        match event:
            case StepLogged() if event.step in self._apps:
                say(f"{event.step}: {event.line}", "dim")
            case StepFinished(step=app, status=StepStatus.COMPLETED) if app in self._apps:
                for change in self._apps[app]:
                    say(f"{marks.done} {app}: {_done(change)} in {duration(event.seconds or 0)}", "good")
            case StepFinished(step=app) if app in self._apps:
                say(f"{marks.failed} {app}: {event.error or event.status.value}", "bad")
            case StepBlocked(step=app) if app in self._apps:
                say(f"{marks.blocked} {app}: left as it is, since {event.by} was not done", "warn")

    # What is told

    def _show(self, changes: Changes) -> None:
        self._apps = changes.by_app
        for change in changes.changes:
            self.console.say(f"{change.app}: {change}")
        self._show_rest(changes)

    def _show_rest(self, changes: Changes) -> None:
        for note in changes.notes:
            self.console.say(f"note: {note}", "dim")
        for missing in changes.missing:
            self.console.warn(missing)

    def _told(self, changed: Changed, after: str) -> int:
        changes = changed.changes
        code = OK if changed.is_complete and not self.was_declined else STEP_FAILED
        if self.caught is not None and self.caught.number is not None:
            code = _SIGNALLED + self.caught.number
        if self.console.output == "json":
            self.console.data(json.dumps(_document(changed, dry_run=self.dry_run, exit_code=code), indent=2))
        elif self.dry_run and changes.changes:
            self.console.data("\n".join(f"{change.app}: {change}" for change in changes.changes))
        if self.dry_run or not changes.changes:
            self._show_rest(changes)
        self.console.say(self._summary(changed))
        if changed.state is not None and after:
            self.console.say(after)
        return code

    def _summary(self, changed: Changed) -> str:
        amount = plural(len(changed.changes.changes), "release")
        if not changed.changes.changes:
            return "nothing to do"
        if self.dry_run:
            return f"would change {amount}"
        if changed.state is None:
            return "nothing was changed"
        left = [
            change
            for change in changed.changes.changes
            if changed.state.steps[change.app].status is not StepStatus.COMPLETED
        ]
        done = len(changed.changes.changes) - len(left)
        return f"changed {amount}" if not left else f"changed {done} of {amount}"

    def _tell_held(self, held: LockHeld) -> None:
        self.console.say(looking_at(held), "dim")

    def _tell_drain(self) -> None:
        self.console.say("what runs may finish; Ctrl-C again stops it, a third one ends at once", "warn")

    def _command(self, *more: str) -> str:
        flags = [*selecting(self.request.asked), *self.where.flags, *run_flags(self.request)]
        return command_line(*self.words, *flags, *more)


def _done(change: Change) -> str:
    if change.to is None:
        return f"uninstalled {change.release} in {change.namespace}"
    return f"rolled {change.release} in {change.namespace} back to revision {change.to}"


def _document(changed: Changed, *, dry_run: bool, exit_code: int) -> dict[str, Any]:
    steps = changed.state.steps if changed.state is not None else {}
    return {
        "changes": [
            {
                "app": one.app,
                "release": one.release,
                "namespace": one.namespace,
                "revision": one.revision,
                "to": one.to,
                "crds": list(one.crds),
                "remark": one.remark,
                "status": steps[one.app].status.value if one.app in steps else "pending",
                "error": steps[one.app].error if one.app in steps else None,
            }
            for one in changed.changes.changes
        ],
        "missing": list(changed.changes.missing),
        "notes": list(changed.changes.notes),
        "dry_run": dry_run,
        "exit_code": exit_code,
    }
