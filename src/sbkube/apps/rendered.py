"""What a template stage leaves and a deploy stage takes: up to three files of documents."""

from __future__ import annotations

from pathlib import Path

from anyio.to_thread import run_sync

from sbkube.apps.work import Json, Work
from sbkube.targets.base import Manifests

_PARTS = ("crds", "manifests", "hooks")


async def write_rendered(folder: Path, rendered: Manifests, notes: str = "") -> None:
    await run_sync(_write, folder, rendered, notes)


async def read_rendered(folder: Path) -> Manifests:
    return await run_sync(_read, folder)


async def deploy_rendered(work: Work) -> Json:
    """Gives what the template stage made to the target."""
    rendered = await read_rendered(work.inputs["template"])
    deployed = await work.target.deploy(work.place.name, rendered)
    return {"digest": deployed.digest, "path": deployed.path}


def _write(folder: Path, rendered: Manifests, notes: str) -> None:
    for part in _PARTS:
        text = getattr(rendered, part)
        if text.strip():
            (folder / f"{part}.yaml").write_text(text, encoding="utf-8", newline="")
    if notes.strip():
        (folder / "NOTES.txt").write_text(notes, encoding="utf-8", newline="")


def _read(folder: Path) -> Manifests:
    texts = {}
    for part in _PARTS:
        path = folder / f"{part}.yaml"
        if path.exists():
            texts[part] = path.read_bytes().decode()
    return Manifests(**texts)
