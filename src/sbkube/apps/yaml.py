"""`type: yaml`: manifests as they are."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from anyio.to_thread import run_sync
from pydantic import BeforeValidator, Field

from sbkube.apps.base import Stage
from sbkube.apps.checks import Refusal, check_namespace, failures
from sbkube.apps.fields import NotEmpty, one_or_many
from sbkube.apps.files import FileInput, files_below, is_readable_as, matches
from sbkube.apps.manifests import Manifest, each_manifest, read_manifests
from sbkube.apps.released import ReleasedApp
from sbkube.apps.rendered import deploy_rendered, rendered, write_rendered
from sbkube.apps.sought import Sought
from sbkube.apps.work import Json, Place, Reading, Work
from sbkube.errors import Position, SbkubeError, as_text
from sbkube.targets.base import Manifests

_SUFFIXES = (".yaml", ".yml", ".json")
_NO_FILE = "the folder has no file that ends in `.yaml`, `.yml` or `.json`"


class YamlApp(ReleasedApp):
    """`manifests` are files, globs, or folders, whose files are taken in the order of their names."""

    stages: ClassVar[tuple[Stage, ...]] = ("template", "deploy")
    older: ClassVar = {"files": "manifests", "path": "manifests"}
    type: Literal["yaml"]
    manifests: Annotated[tuple[NotEmpty, ...], BeforeValidator(one_or_many), Field(min_length=1)]
    adopt: bool = True

    @property
    def is_remote(self) -> bool:
        return any(map(self.is_elsewhere, self.manifests))

    @staticmethod
    def is_elsewhere(item: str) -> bool:
        return item.startswith(("http://", "https://"))

    def reads(self, stage: Stage, place: Place) -> Reading:
        if stage == "deploy":
            return Reading({"namespace": place.namespace})
        settings: dict[str, Json] = {
            "manifests": list(self.manifests),
            "labels": dict(place.object_labels),
            "annotations": dict(place.object_annotations),
        }
        return Reading(settings, tuple(self._files(place)))

    async def perform(self, stage: Stage, work: Work) -> Json:
        if stage == "deploy":
            _check_namespace(work.place)
            return await deploy_rendered(work, self.release(work.place), self.deploy_options())
        await write_rendered(work.out, await run_sync(self._rendered, work.place))
        return None

    def check(self, place: Place) -> Iterator[Refusal]:
        for file in dict.fromkeys(self._files(place)):
            if file.path is not None:
                yield from (("template", error) for error in _errors_in(file))
        yield from (("deploy", error) for error in failures([partial(_check_namespace, place)]))

    def _files(self, place: Place) -> Iterator[FileInput]:
        for index, item in enumerate(self.manifests):
            where = place.where("manifests", index)
            sought = place.seek(item)
            yield from _own(item, place, where) if sought is None else _fetched(item, sought, where)

    def _rendered(self, place: Place) -> Manifests:
        found: list[Manifest] = []
        for file in dict.fromkeys(self._files(place)):
            found += _manifests(file)
        return rendered(found, place)


def _own(item: str, place: Place, where: Position) -> Iterator[FileInput]:
    """Of the project, and single files that are fetched to where the item looks."""
    found = {_name(path, place.folder): path for path in _matches(place.folder, item, where)}
    fetched = _fetched_to(item, place)
    for name in sorted(found.keys() | fetched.keys()) if fetched else found:
        if name in fetched:
            yield fetched[name].input("manifest", name, where, "a file")
        else:
            yield FileInput("manifest", name, found[name], where)
    if not found and not fetched:
        looked_at = place.folder / Path(item).expanduser()
        why = _NO_FILE if looked_at.is_dir() else None
        yield FileInput("manifest", item, None, where, (looked_at,), why)


def _fetched_to(item: str, place: Place) -> dict[str, Sought]:
    below = (f for f in place.fetched.below(os.path.normpath(item)) if f.endswith(_SUFFIXES))
    names = [*below, *place.fetched.matching(os.path.normpath(item))]
    return {name: sought for name in names if (sought := place.seek(name)) is not None}


def _fetched(item: str, sought: Sought, where: Position) -> Iterator[FileInput]:
    if sought.root is None or sought.why:
        yield sought.missing("manifest", item, where)
        return
    found = _matches(sought.root, sought.rest, where) if sought.rest else _matches(sought.root, ".", where)
    for path in found:
        yield FileInput("manifest", sought.shown(path), path, where, by=sought.by)
    if not found and (folder := sought.path) is not None and folder.is_dir():
        yield FileInput("manifest", item, None, where, (), _NO_FILE, by=sought.by)
    elif not found:
        yield sought.missing("manifest", item, where)


def _manifests(file: FileInput) -> list[Manifest]:
    text = file.text()
    with file.named():
        return read_manifests(text, file.present(), file.name)


def _errors_in(file: FileInput) -> Iterator[SbkubeError]:
    """Those of all its documents."""
    try:
        text = file.text()
    except SbkubeError as error:
        yield error
        return
    for manifest in each_manifest(text, file.present(), file.name):
        yield from failures([file.named()(manifest)])


def _check_namespace(place: Place) -> None:
    check_namespace(place.namespace, place.where("namespace"))


def _matches(folder: Path, item: str, where: Position) -> list[Path]:
    path = folder / Path(item).expanduser()
    if path.is_dir():
        return sorted(
            child for _, child in files_below(path) if child.suffix in _SUFFIXES and child.is_file()
        )
    if is_readable_as(path, "a file"):
        return [path]
    if any(sign in item for sign in "*?["):
        return matches(folder, item, where)
    return []


def _name(path: Path, folder: Path) -> str:
    return as_text(path.relative_to(folder).as_posix() if path.is_relative_to(folder) else str(path))
