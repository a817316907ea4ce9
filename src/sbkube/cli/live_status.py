"""`sbkube status --live`: the releases of a project in its cluster, as a table and what is to be said of each."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

from sbkube import api
from sbkube.api import Live, LiveRelease
from sbkube.cli.console import Console, plural
from sbkube.cli.looking import looked_at, release_document
from sbkube.cli.options import Where
from sbkube.cli.tabular import columns


async def show_live(where: Where, console: Console, values: dict[str, Any]) -> int:
    environ = dict(os.environ)
    project, request = await looked_at(where, environ, **values)
    found = await api.live(project, request, environ=environ)
    if console.output == "json":
        document = {"run": found.run, "releases": [release_document(one) for one in found.releases]}
        console.data(json.dumps(document, indent=2))
    else:
        console.data(live_text(found))
    return 0


def live_text(found: Live) -> str:
    content = f"as run {found.run}" if found.run is not None else "recorded"
    head = ("app", "namespace", "release", "revision", "status", content, "ready", "drift")
    table = columns([head, *(_row(one) for one in found.releases)])
    remarks = [line for one in found.releases for line in _remarks(one)]
    return "\n".join([table, *([""] if remarks else []), *remarks])


def _row(one: LiveRelease) -> tuple[str, ...]:
    if one.status is None:
        return (one.app, one.namespace, one.release, "", "not there", "", "", "")
    recorded = {True: "yes", False: "no"}[one.is_as_recorded] if one.recorded is not None else ""
    workloads = len(one.readiness.workloads)
    ready = f"{one.readiness.ready}/{workloads}" if workloads else ""
    drift = plural(len(one.drift), "object") if one.drift else ""
    return (
        one.app,
        one.namespace,
        one.release,
        str(one.revision),
        one.status.value,
        recorded,
        ready,
        drift,
    )


def _remarks(one: LiveRelease) -> Iterator[str]:
    for line in one.readiness.complaints:
        yield f"{one.app}: {line}"
    for change in one.drift[:_TOLD]:
        why = f": {change.why}" if change.why else ""
        yield f"{one.app}: {change.object} {_WORDS[change.kind]}{why}"
    if len(one.drift) > _TOLD:
        yield f"{one.app}: and {len(one.drift) - _TOLD} more"
    if one.status is not None and one.status.is_pending:
        whose = (
            "by a run of this project that was killed or still runs" if one.is_ours else "by somebody else"
        )
        yield f"{one.app}: release {one.release} is {one.status.value}, {whose}"


_TOLD = 3
"""Objects of an app; `diff` shows all."""
_WORDS = {
    "added": "is missing",
    "changed": "was changed by others",
    "removed": "is there",
    "refused": "cannot be compared",
}
