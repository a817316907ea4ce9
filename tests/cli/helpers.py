"""A run told as events, a clock that is moved by hand, and golden files.

`SBKUBE_REWRITE_GOLDEN=1 pytest tests/cli` writes the golden files anew: look at the difference.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from sbkube.cli.console import Console
from sbkube.cli.listener import Renderer
from sbkube.engine.events import (
    Event,
    RunFinished,
    RunStarted,
    StepBlocked,
    StepFinished,
    StepLogged,
    StepRetrying,
    StepStarted,
)
from sbkube.engine.resume import Decision
from sbkube.engine.state import ExecutionState, RunStatus, StepExecution, StepStatus

GOLDEN = Path(__file__).parent / "golden"
ESCAPE = "\x1b"


def check_golden(name: str, text: str) -> None:
    path = GOLDEN / f"{name}.txt"
    told = "".join(f"{line.rstrip()}\n" for line in text.splitlines())
    if os.environ.get("SBKUBE_REWRITE_GOLDEN"):
        path.write_text(told, encoding="utf-8")
    assert told == path.read_text(encoding="utf-8")


class Clock:
    def __init__(self) -> None:
        self.time = 100.0

    def __call__(self) -> float:
        return self.time


class Pipe(io.StringIO):
    """A stream that is no terminal."""


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def plain_console(**options: object) -> Console:
    return Console(Pipe(), Pipe(), **options)  # type: ignore[arg-type]


def written(console: Console) -> str:
    assert isinstance(console.err, io.StringIO)
    return console.err.getvalue()


def data(console: Console) -> str:
    assert isinstance(console.out, io.StringIO)
    return console.out.getvalue()


# A run: postgres fails, web and api wait for it, api's template is tried twice, loki was done before

STAGES = ("prepare", "build", "template", "deploy")
STEPS: Mapping[str, tuple[str, str]] = {
    f"{app}:{stage}": (app, stage)
    for app, stages in {
        "postgres": STAGES,
        "web": STAGES[2:],
        "api": STAGES,
        "loki": STAGES,
        "migrate": STAGES[3:],
        "@p1": ("done",),
    }.items()
    for stage in stages
}
INITIAL = {id: StepStatus.COMPLETED if id.startswith("loki") else StepStatus.PENDING for id in STEPS}
TO_RUN = tuple(id for id in STEPS if not id.startswith("loki"))

DONE, FAILED, CANCELLED = StepStatus.COMPLETED, StepStatus.FAILED, StepStatus.CANCELLED
STORY: list[tuple[float, Event]] = [
    (0.0, RunStarted(12, "a-run", False, None, TO_RUN, len(STEPS))),
    (0.0, StepStarted("postgres:prepare", 1)),
    (0.0, StepStarted("web:template", 1)),
    (0.1, StepLogged("postgres:prepare", 1, "pulled chart \x1b[32mpostgres\x1b[0m 15.2.1\n")),
    (0.2, StepLogged("web:template", 1, "3 manifests")),
    (0.4, StepFinished("postgres:prepare", DONE, 1, 0.4)),
    (0.4, StepStarted("postgres:build", 1)),
    (0.5, StepStarted("api:prepare", 1)),
    (0.6, StepFinished("web:template", DONE, 1, 0.6)),
    (0.7, StepFinished("postgres:build", DONE, reused_from=11)),
    (0.7, StepStarted("postgres:template", 1)),
    (0.9, StepFinished("api:prepare", DONE, 1, 0.4)),
    (0.9, StepStarted("api:build", 1)),
    (1.2, StepFinished("postgres:template", DONE, 1, 0.5)),
    (1.2, StepStarted("postgres:deploy", 1)),
    (1.3, StepFinished("api:build", DONE, 1, 0.4)),
    (1.3, StepStarted("api:template", 1)),
    (1.4, StepLogged("postgres:deploy", 1, "waiting for statefulset/postgres: 0 of 3 pods ready")),
    (1.6, StepLogged("api:template", 1, "fetching the schema of the custom resources from the cluster")),
    (1.8, StepRetrying("api:template", 1, "connection reset by peer", 2.0)),
    (3.8, StepStarted("api:template", 2)),
    (4.0, StepLogged("postgres:deploy", 1, "pod postgres-0: CrashLoopBackOff\t(initdb)")),
    (4.4, StepFinished("postgres:deploy", FAILED, 1, 3.2, "exit code 3: initdb failed\nsee pod postgres-0")),
    (4.4, StepBlocked("web:deploy", "postgres:deploy")),
    (4.4, StepBlocked("api:deploy", "postgres:deploy")),
    (4.4, StepBlocked("migrate:deploy", "postgres:deploy")),
    (4.4, StepBlocked("@p1:done", "postgres:deploy")),
    (5.0, StepFinished("api:template", DONE, 2, 1.2)),
    (5.0, RunFinished(12, RunStatus.FAILED)),
]


def tell(renderer: Renderer, clock: Clock, since: float = -1.0, until: float = 1e9) -> None:
    """Tells the story from after one second of it up to another, and sets the clock to that."""
    begun = 100.0
    for at, event in STORY:
        if since < at <= until:
            clock.time = begun + at
            renderer(event)
    if until < 1e9:
        clock.time = begun + until


def log_path(step: str, attempt: int) -> str | None:
    return f".sbkube/runs/000012/logs/{step.replace(':', '.')}.{attempt}.log"


# How a run may have ended


def step(name: str, status: StepStatus, **values: object) -> StepExecution:
    return StepExecution(name, status, **values)  # type: ignore[arg-type]


def run(*steps: StepExecution, status: RunStatus = RunStatus.FAILED) -> ExecutionState:
    return ExecutionState(
        "a-run", None, None, "", "", status, {step.name: step for step in steps}, config_hash="", run=12
    )


def decision(
    state: ExecutionState,
    *,
    asked: Iterable[str] | None = None,
    to_run: Iterable[str] | None = None,
    undecided: Iterable[str] = (),
    still_running: Iterable[str] = (),
    asks: Iterable[str] | None = None,
) -> Decision:
    """By default all was asked for and was to run, and what is undecided asks."""
    wanted = list(state.steps if asked is None else asked)
    return Decision(
        steps=dict(state.steps),
        to_run=dict.fromkeys(wanted if to_run is None else to_run, "new run"),
        conditional=frozenset(),
        asked=frozenset(wanted),
        undecided=tuple(undecided),
        left={},
        new_run=True,
        resumed_from=None,
        same_plan=True,
        asks=frozenset(undecided if asks is None else asks),
        still_running=frozenset(still_running),
    )
