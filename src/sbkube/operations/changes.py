"""What a command would do to releases, and doing it: in order, what is independent at once, on past what fails."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial

from sbkube.config.project import Project
from sbkube.engine import (
    Event,
    ExecutionState,
    MemoryStore,
    RunControl,
    Step,
    StepContext,
    StepGraph,
    run_graph,
)
from sbkube.planning import TRANSIENT_ONLY
from sbkube.targets.base import Log
from sbkube.wiring import limits_of


@dataclass(frozen=True, slots=True)
class Change:
    """One release that is uninstalled, or rolled back if there is a revision to go back `to`."""

    app: str
    release: str
    namespace: str
    revision: int
    """The newest one when this was decided."""
    to: int | None = None
    crds: tuple[str, ...] = ()
    """Custom resource definitions that are deleted with it, and so all resources of their kinds."""
    remark: str = ""

    def __str__(self) -> str:
        what = f"{self.release} in {self.namespace}"
        done = (
            f"uninstall {what} (revision {self.revision})"
            if self.to is None
            else f"roll back {what} from revision {self.revision} to {self.to}"
        )
        crds = [f"and delete {', '.join(self.crds)} with all resources of these kinds"] if self.crds else []
        return ", ".join([done, *crds, *([self.remark] if self.remark else [])])


@dataclass(frozen=True, slots=True)
class Changes:
    """All that a command would do."""

    changes: tuple[Change, ...]
    """Those of one app stand together and are done one after the other."""
    after: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """By app, the apps whose changes come first; also over apps that have none."""
    missing: tuple[str, ...] = ()
    """What was asked for and cannot be done, since it is not there."""
    notes: tuple[str, ...] = ()
    """What is left as it is, and why."""

    @property
    def by_app(self) -> dict[str, list[Change]]:
        found: dict[str, list[Change]] = {}
        for change in self.changes:
            found.setdefault(change.app, []).append(change)
        return found


@dataclass(frozen=True, slots=True)
class Changed:
    """How it went."""

    changes: Changes
    state: ExecutionState | None
    """A step for each app, by its name; None: nothing was done, since nothing was to do or nobody wanted it."""

    @property
    def is_complete(self) -> bool:
        """All that was asked for is done."""
        return not self.changes.missing and (self.state is None or self.state.is_complete)


Act = Callable[[Change, Log], Awaitable[None]]
Agree = Callable[[Changes], bool]


async def carried_out(
    project: Project,
    changes: Changes,
    act: Act,
    *,
    agree: Agree | None = None,
    max_parallel: int | None = None,
    on_event: Callable[[Event], None] | None = None,
    control: RunControl | None = None,
    under: AbstractAsyncContextManager[None] | None = None,
) -> Changed:
    """With `agree`, only if it says so; then `under` a lock."""
    if not changes.changes or (agree is not None and not agree(changes)):
        return Changed(changes, None)
    async with under or nullcontext():
        state = await run_graph(
            _graph(changes, act),
            store=MemoryStore(),  # what became of releases, the cluster knows best
            limits=limits_of(project, max_parallel),
            on_event=on_event,
            control=control,
        )
    return Changed(changes, state)


def _graph(changes: Changes, act: Act) -> StepGraph:
    by_app = changes.by_app
    names = dict.fromkeys([*by_app, *changes.after])
    known = set(names)
    return StepGraph(
        Step(
            app,
            partial(_done, by_app[app], act) if app in by_app else None,
            after=[other for other in changes.after.get(app, ()) if other in known],
            pools=("deploy",),
            retry=TRANSIENT_ONLY,
        )
        for app in names
    )


async def _done(changes: Iterable[Change], act: Act, context: StepContext) -> None:
    async def log(line: str) -> None:
        context.log(line)

    for change in changes:
        await act(change, log)
