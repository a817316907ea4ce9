"""`sbkube images`: the container images that a project deploys, for mirrors and scanners."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import asyncclick as click

from sbkube.cli.console import Console, plural
from sbkube.cli.failures import OK, STEP_FAILED
from sbkube.cli.help import HOW, Command
from sbkube.cli.options import (
    app_options,
    console_for,
    helm_option,
    offline_option,
    option,
    output_option,
    where_of,
    where_options,
)

if TYPE_CHECKING:
    from sbkube.api import Images, ImageUse


@click.command(
    cls=Command,
    name="images",
    help="List the container images of the rendered manifests, one a line, hooks included. Changes nothing.\n\n"
    "They are found in the pods and pod templates of any kind, also inside custom resources; not in other fields of "
    "custom resources, of which only their operators know.",
    examples={
        "sbkube images | xargs -n1 trivy image": "scan each of them",
        "sbkube images --target out": "without asking the cluster",
    },
)
@where_options
@app_options
@option(
    "--target", metavar="cluster|DIR", group=HOW, help="Render as for this. [default: as the project says]"
)
@helm_option
@offline_option
@output_option("text", "json")
async def command(*, output: Any, **values: Any) -> int:
    from sbkube import api
    from sbkube.cli.hints import naming_commands
    from sbkube.cli.looking import looked_at

    where, console, environ = where_of(values), console_for(output), dict(os.environ)
    project, request = await looked_at(where, environ, **values)
    with naming_commands(request, where):
        found = await api.images(project, request, environ=environ)
    if output == "json":
        console.data(json.dumps(_document(found), indent=2))
    else:
        _tell(found, console)
    return STEP_FAILED if found.failures else OK


def _tell(found: Images, console: Console) -> None:
    if found.uses:
        console.data("\n".join(found.names))
    for app, why in found.failures.items():
        console.error(f"the images of app {app!r} are not known: {why}")
    apps = len({use.app for use in found.uses})
    told = f"{plural(len(found.names), 'image')} of {plural(apps, 'app')}"
    console.say(told if found.uses else "no images")
    if found.commands:
        console.say(f"note: left out, since they run commands: {', '.join(found.commands)}", "dim")


def _document(found: Images) -> dict[str, Any]:
    uses: dict[str, list[ImageUse]] = {}
    for use in found.uses:
        uses.setdefault(use.image, []).append(use)
    return {
        "images": [
            {
                "image": image,
                "apps": list(dict.fromkeys(use.app for use in of)),
                "used_by": list(map(_use, of)),
            }
            for image, of in uses.items()
        ],
        "failed": dict(found.failures),
        "commands": list(found.commands),
    }


def _use(use: ImageUse) -> dict[str, Any]:
    from sbkube.cli.looking import id_document

    return {"app": use.app, **id_document(use.object), "part": use.name}
