"""`sbkube doctor`: whether all that a run leans on is there and allowed."""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import asyncclick as click

from sbkube.cli.console import Console, Style, painted, plural, speaks_color
from sbkube.cli.failures import OK, STEP_FAILED
from sbkube.cli.help import Command
from sbkube.cli.options import console_for, helm_option, output_option, target_option, where_of, where_options

if TYPE_CHECKING:
    from sbkube.api import Diagnosis


@click.command(
    cls=Command,
    name="doctor",
    help="Check tools, cluster, rights, releases and state, and say how to mend each. Exit code 1 if there is a problem.",
    examples={
        "sbkube doctor --profile prod": "with what a profile lays over",
        "sbkube doctor -o json": "as a document, for other tools",
    },
)
@where_options
@target_option
@helm_option
@output_option("text", "json")
async def command(*, output: Any, target: str | None, helm: str | None, **values: Any) -> int:
    from sbkube import api
    from sbkube.api import Diagnosis, Request
    from sbkube.cli.running import load_project
    from sbkube.errors import SbkubeError

    where, console, environ = where_of(values), console_for(output), dict(os.environ)
    request = Request(target=target, state_dir=where.state_dir, helm=helm)
    project, refused = None, []
    try:
        project = await load_project(where, goes_on=False, environ=environ)
    except SbkubeError as error:
        refused = [Diagnosis("problem", "project", str(error), error.hint)]
    found = [*refused, *await api.doctor(project, request, environ=environ)]
    if output == "json":
        console.data(json.dumps([_entry(one) for one in found], indent=2))
    else:
        _tell(found, console)
    return STEP_FAILED if any(one.verdict == "problem" for one in found) else OK


def _tell(found: Sequence[Diagnosis], console: Console) -> None:
    color = speaks_color(os.environ, sys.stdout.isatty())
    width = max(len(one.about) for one in found)
    for one in found:
        word = f"{one.verdict:<7}"
        shown = painted(word, _STYLES[one.verdict]) if color else word
        console.data(f"{shown}  {one.about:<{width}}  {_indented(one.told, width + 11)}")
        if one.fix:
            console.data(f"{'':{width + 11}}-> {_indented(one.fix, width + 14)}")
    counts = Counter(one.verdict for one in found)
    told = [plural(counts[verdict], verdict) for verdict in ("problem", "warning") if counts[verdict]]
    console.say(", ".join(told) or "all is well", "" if told else "good")


_STYLES: dict[str, Style] = {"ok": "good", "warning": "warn", "problem": "bad"}


def _indented(text: str, width: int) -> str:
    return text.replace("\n", "\n" + " " * width)


def _entry(one: Diagnosis) -> dict[str, Any]:
    return {"verdict": one.verdict, "about": one.about, "told": one.told, "fix": one.fix}
