"""The chart of a deployment: the app's own, or one made of its manifests for as long as it is deployed."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

import anyio
from anyio.to_thread import run_sync

from sbkube.documents import parse
from sbkube.targets.base import ChartName, Deployment

from .objects import objects_of, refuse_duplicates
from .wrapping import wrap


@asynccontextmanager
async def chart_of(deployment: Deployment, scratch: Path) -> AsyncIterator[Path]:
    """The app's own, or one made of its manifests below `scratch` that lives as long as this."""
    if deployment.chart is not None:
        yield deployment.chart
        return
    folder = scratch / uuid4().hex[:12]
    try:
        await run_sync(_wrapped, deployment, folder)
        yield folder
    finally:
        with anyio.move_on_after(5, shield=True):
            await run_sync(lambda: shutil.rmtree(folder, ignore_errors=True))


def name_of(chart: Path) -> ChartName:
    """Blocking."""
    metadata = parse((chart / "Chart.yaml").read_text(), file=chart / "Chart.yaml").mapping()
    return ChartName(str(metadata["name"]), str(metadata["version"]), str(metadata.get("appVersion") or ""))


def _wrapped(deployment: Deployment, folder: Path) -> None:
    rendered = deployment.manifests
    objects = [*objects_of(rendered.manifests), *objects_of(rendered.hooks)]
    refuse_duplicates(objects)
    # In a release of their own they would be brought up to date, too.
    crds = objects_of(rendered.crds) if deployment.options.crds == "install" else []
    chart = wrap(deployment.release, objects, deployment.notes, named=deployment.chart_name, crds=crds)
    chart.write(folder)
