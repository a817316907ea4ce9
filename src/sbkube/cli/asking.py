"""In a terminal a person decides about commands that were in flight when their process died."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import asyncclick as click

from sbkube import api
from sbkube.api import Request
from sbkube.cli.console import Console
from sbkube.cli.hints import still_runs
from sbkube.config.project import Project
from sbkube.engine import StepStatus


async def with_answers(
    project: Project, request: Request, console: Console, environ: dict[str, str]
) -> Request:
    """The request with what is to run again; unchanged where nobody can be asked or nothing is in doubt."""
    asked = request.asked
    if asked.rerun_interrupted or not somebody_is_there():
        return request
    latest = await api.state_of(project, request.state_dir, environ).latest(project.profile)
    if latest is None or not latest.with_status(StepStatus.INTERRUPTED):
        return request
    preview = await api.plan(project, request, environ=environ)
    again = []
    for id in preview.decision.undecided:
        started = latest.steps[id].started_at
        if id in preview.leftovers:
            console.say(f"{id} {still_runs(preview.leftovers[id])}")
            continue
        console.say(
            f"{id} was in flight when run {latest.run} died (started {started}); what it did is not known"
        )
        with ctrl_c_as_usual():
            if click.confirm("run it again?", default=False, err=True):
                again.append(id)
    return replace(request, asked=replace(asked, rerun_interrupted=tuple(again)))


def somebody_is_there() -> bool:
    return sys.stdin.isatty() and sys.stderr.isatty()


@contextmanager
def ctrl_c_as_usual() -> Iterator[None]:
    # The event loop's own handler would wait for the loop, which waits for the answer.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
