"""What a template stage leaves and a deploy stage takes: up to three files of documents."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from anyio.to_thread import run_sync

from sbkube.apps.manifests import Manifest, stream, with_metadata
from sbkube.apps.work import Json, Place, Work
from sbkube.errors import SbkubeError
from sbkube.helm.base import as_json
from sbkube.targets.base import ChartName, Deployment, DeployOptions, Manifests

_PARTS = ("crds", "manifests", "hooks")
_VALUES = "values.json"
_NOTES = "NOTES.txt"


def rendered(found: Iterable[Manifest], place: Place) -> Manifests:
    """Manifests as they are, but for the labels and annotations of the app; definitions of kinds stand on their own."""
    found = list(found)
    parts = (stream(m for m in found if m.is_crd), stream(m for m in found if not m.is_crd))
    return Manifests(*(with_metadata(part, place.object_labels, place.object_annotations) for part in parts))


async def write_rendered(folder: Path, rendered: Manifests, notes: str = "") -> None:
    await run_sync(_write, folder, rendered, notes)


async def read_rendered(folder: Path) -> Manifests:
    return await run_sync(_read, folder)


async def deploy_rendered(
    work: Work,
    release: str,
    options: DeployOptions,
    chart: Path | None = None,
    chart_name: ChartName | None = None,
) -> Json:
    """Gives what the template stage made to the target; with a chart, a cluster gets that and the same values."""
    made = work.inputs["template"]
    rendered = await read_rendered(made)
    deployment = Deployment(
        app=work.place.name,
        release=release,
        namespace=work.place.namespace or "default",
        manifests=rendered,
        chart=chart,
        chart_name=chart_name,
        values=await run_sync(_values, made),
        notes=await run_sync(_notes, made),
        options=options,
        run=str(work.context.run),
    )
    try:
        deployed = await work.target.deploy(deployment, work.log)
    except SbkubeError as error:
        error.set_place(work.place.where())
        raise
    return {"digest": deployed.digest, "path": deployed.path, **deployed.record}


async def write_values(folder: Path, values: Mapping[str, Any]) -> None:
    """What a chart was rendered with, for whoever installs it."""
    await run_sync(write_private, folder / _VALUES, as_json(values))


def write_private(path: Path, text: str) -> None:
    """Blocking."""
    path.touch(mode=0o600)
    path.write_text(text)


def _values(folder: Path) -> dict[str, Any]:
    path = folder / _VALUES
    values: dict[str, Any] = json.loads(path.read_bytes()) if path.exists() else {}
    return values


def _notes(folder: Path) -> str:
    path = folder / _NOTES
    return path.read_bytes().decode() if path.exists() else ""


def _write(folder: Path, rendered: Manifests, notes: str) -> None:
    for part in _PARTS:
        text = getattr(rendered, part)
        if text.strip():
            (folder / f"{part}.yaml").write_text(text, encoding="utf-8", newline="")
    if notes.strip():
        (folder / _NOTES).write_text(notes, encoding="utf-8", newline="")


def _read(folder: Path) -> Manifests:
    texts = {}
    for part in _PARTS:
        path = folder / f"{part}.yaml"
        if path.exists():
            texts[part] = path.read_bytes().decode()
    return Manifests(**texts)
