"""The container images of what a project deploys, found in its rendered manifests.

They are looked for in every object, whatever its kind: in lists called `containers`, `initContainers` and
`ephemeralContainers`, and in `volumes` that are images. So pod templates inside custom resources count, too; an image that
a custom resource names in a field of its own does not, since only its operator knows what it makes of that.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import anyio
from anyio.to_thread import run_sync

from sbkube.config.project import Project
from sbkube.documents import parse, split_manifests
from sbkube.engine import NeedsNotMet
from sbkube.errors import SbkubeError
from sbkube.helm.releases import ClusterUnreachable
from sbkube.operations.rendering import rendered
from sbkube.request import Request, workshop_of
from sbkube.selecting import Asked, chosen_apps
from sbkube.targets.base import Manifests
from sbkube.targets.cluster.objects import ObjectId
from sbkube.wiring import Workshop

_CONTAINERS = ("initContainers", "containers", "ephemeralContainers")


@dataclass(frozen=True, slots=True)
class ImageUse:
    """Where an image stands; `name` is that of the container or the volume."""

    image: str
    app: str
    object: ObjectId
    name: str


@dataclass(frozen=True, slots=True)
class Images:
    """Sorted by image, then in the order of the project."""

    uses: tuple[ImageUse, ...]
    failures: Mapping[str, str]
    """Apps that could not be rendered, and why."""
    commands: tuple[str, ...]
    """Apps that run something, of which nobody knows what it deploys."""

    @property
    def names(self) -> list[str]:
        """Each once."""
        return list(dict.fromkeys(use.image for use in self.uses))


async def images(
    project: Project, request: Request | None = None, *, environ: Mapping[str, str] | None = None
) -> Images:
    """The container images of the enabled apps that are asked for, hooks included.

    What is not rendered as it is now is rendered first, into a folder that is removed again: takes no lock, and changes
    nothing in the target or in the state folder. If the target is a cluster it is asked what charts are rendered for.
    Raises `HelmMissing`, `ClusterUnreachable`, `AnotherCluster` and `ConfigError`.
    """
    request = request or Request()
    workshop = workshop_of(project, request, os.environ if environ is None else environ)
    async with AsyncExitStack() as opened:
        opened.push_async_callback(_close, workshop)
        workshop.choose_helm()
        await _ask_cluster(workshop)
        return await _of_what_can_be_rendered(workshop, request.asked)


async def _of_what_can_be_rendered(workshop: Workshop, asked: Asked) -> Images:
    """Apps that are made from what a command has yet to make are failures, and the others are looked at without them."""
    apart: dict[str, str] = {}
    while True:
        try:
            found = await _found(workshop, asked)
        except NeedsNotMet as error:
            for step, needs in error.missing.items():
                app, _, stage = step.rpartition(":")
                apart.setdefault(app, f"{stage}: {', '.join(needs)} has to run first")
            left = chosen_apps(workshop.project, asked) - apart.keys()
            if not left:
                return Images((), apart, ())
            asked = Asked(apps=tuple(app for app in workshop.project.apps if app in left))
        else:
            return replace(found, failures={**apart, **found.failures})


async def _found(workshop: Workshop, asked: Asked) -> Images:
    async with rendered(workshop, asked) as rendering:
        uses: list[ImageUse] = []
        failures = dict(rendering.failures)
        for app, deployment in rendering.deployments.items():
            try:
                uses += await run_sync(_uses, app, deployment.manifests)
            except SbkubeError as error:
                failures[app] = str(error)
    return Images(tuple(sorted(uses, key=lambda use: use.image)), failures, rendering.commands)


async def _ask_cluster(workshop: Workshop) -> None:
    if workshop.cluster is None:
        return
    try:
        await workshop.cluster.check()
    except ClusterUnreachable as error:
        error.hint = "`--target DIR` asks no cluster, and renders for none in particular"
        raise


async def _close(workshop: Workshop) -> None:
    with anyio.move_on_after(5, shield=True):
        await workshop.helms.close()


def _uses(app: str, manifests: Manifests) -> list[ImageUse]:
    texts = (manifests.crds, manifests.manifests, manifests.hooks)
    return [
        ImageUse(image, app, id, name)
        for text in texts
        for document in split_manifests(text)
        if "image" in document  # most objects have none, and need not be read
        for id, name, image in images_of(parse(document, file=Path("rendered")).data)
    ]


def images_of(document: Any) -> Iterator[tuple[ObjectId, str, str]]:
    """With the object, and the container or volume; the items of a list are objects on their own."""
    if not isinstance(document, Mapping):
        return
    if isinstance(document.get("items"), list) and str(document.get("kind", "")).endswith("List"):
        for item in document["items"]:
            yield from images_of(item)
        return
    id = _id_of(document)
    for name, image in _walk(document):
        yield id, name, image


def _id_of(data: Mapping[str, Any]) -> ObjectId:
    """Also of one that no release could hold, such as a Job whose name is generated."""
    found = data.get("metadata")
    metadata = found if isinstance(found, Mapping) else {}
    name = metadata.get("name") or metadata.get("generateName") or ""
    return ObjectId(
        str(data.get("apiVersion") or ""),
        str(data.get("kind") or ""),
        str(metadata.get("namespace") or ""),
        str(name),
    )


def _walk(value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, list):
        for item in value:
            yield from _walk(item)
    elif isinstance(value, Mapping):
        for key in _CONTAINERS:
            yield from _named(value.get(key), lambda container: container.get("image"))
        yield from _named(value.get("volumes"), _of_volume)
        for inner in value.values():
            yield from _walk(inner)


def _named(items: Any, image_of: Any) -> Iterator[tuple[str, str]]:
    for item in items if isinstance(items, list) else []:
        image = image_of(item) if isinstance(item, Mapping) else None
        if isinstance(image, str) and image.strip():
            yield str(item.get("name") or ""), image.strip()


def _of_volume(volume: Mapping[str, Any]) -> Any:
    image = volume.get("image")
    return image.get("reference") if isinstance(image, Mapping) else None
