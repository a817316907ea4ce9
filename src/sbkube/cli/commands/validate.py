"""`sbkube validate`: everything that can be said about a project without running it."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import asyncclick as click

from sbkube.cli.console import plural
from sbkube.cli.failures import OK, USAGE
from sbkube.cli.help import Command
from sbkube.cli.options import console_for, output_option, target_option, where_of, where_options

if TYPE_CHECKING:
    from sbkube.api import Finding


@click.command(cls=Command, name="validate", help="Check a project without running anything.")
@where_options
@target_option
@output_option("text", "json")
async def command(*, output: Any, target: str | None, **values: Any) -> int:
    from sbkube import api
    from sbkube.api import Request
    from sbkube.cli.running import load_project
    from sbkube.errors import SbkubeError

    where, console, environ = where_of(values), console_for(output), dict(os.environ)
    try:
        project = await load_project(where, goes_on=False, environ=environ)
    except SbkubeError as error:
        found = api.findings_of(error)
        if output == "text" or not found:
            raise
        console.data(_document(found))
        return USAGE
    for notice in project.notices:
        console.say(f"note: {notice}", "dim")
    checked = await api.check(project, Request(target=target, state_dir=where.state_dir), environ=environ)
    if output == "json":
        console.data(_document(checked.findings))
    else:
        for finding in checked.findings:
            console.error(str(finding), finding.hint)
        for step, what in checked.fetches:
            console.say(f"note: {step} fetches {what}, which is not looked at here", "dim")
    if checked.findings:
        return USAGE
    console.say(
        f"{project.config_file.name} is fine: {plural(len(project.apps), 'app')}, {plural(len(checked.graph), 'step')}"
    )
    return OK


def _document(findings: Sequence[Finding]) -> str:
    return json.dumps([_entry(finding) for finding in findings], indent=2)


def _entry(finding: Finding) -> dict[str, Any]:
    """`file`, `line`, `column`: where to mend it; `named_by`: the line of the project that leads there."""
    place = finding.at or finding.where
    return {
        "file": str(place.file.absolute()),
        "line": place.line,
        "column": place.column,
        "message": finding.message,
        "hint": finding.hint,
        "app": finding.app,
        "steps": list(finding.steps),
        "named_by": {"file": str(finding.where.file.absolute()), "line": finding.where.line},
    }
