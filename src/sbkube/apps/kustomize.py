"""`type: kustomize`: a folder with a kustomization, rendered by whichever Kustomize is there."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar, Literal

from anyio.to_thread import run_sync

from sbkube.apps.base import Stage
from sbkube.apps.checks import Refusal, check_namespace, failures
from sbkube.apps.fields import NotEmpty
from sbkube.apps.fields import Path as FieldPath
from sbkube.apps.files import FileInput
from sbkube.apps.kustomization import FILES, file_in, follow
from sbkube.apps.manifests import Manifest, read_manifests
from sbkube.apps.released import ReleasedApp
from sbkube.apps.rendered import deploy_rendered, rendered, write_rendered
from sbkube.apps.work import Json, Place, Reading, Work
from sbkube.documents import read_text
from sbkube.errors import Position, SbkubeError
from sbkube.fetch.errors import NotKept
from sbkube.fetch.git_remote import without_credentials
from sbkube.process import Exit, OnLine, run_process

_INSTEAD = "`path: ${repos.X}/…` renders a kustomization of a clone, and a `yaml` app what else is fetched"
_TOLD = 20
"""Lines of what Kustomize said that are told with a failure; all of them are in the log."""


class KustomizeMissing(SbkubeError):
    def __init__(self, app: str, where: Position) -> None:
        super().__init__(
            f"neither `kustomize` nor `kubectl` is on PATH, and app {app!r} needs one of them to be rendered",
            hint="install kubectl, which brings `kubectl kustomize`, or kustomize",
            where=where,
        )


class KustomizeFailed(SbkubeError):
    def __init__(self, path: str, said: str, where: Position) -> None:
        super().__init__(f"kustomization {path!r} cannot be rendered: {said}", where=where)


class KustomizeApp(ReleasedApp):
    """`path` is a folder. Which Kustomize renders it is no input: the log says it, and what comes out is compared."""

    stages: ClassVar[tuple[Stage, ...]] = ("template", "deploy")

    type: Literal["kustomize"]
    path: NotEmpty
    adopt: bool = True

    def reads(self, stage: Stage, place: Place) -> Reading:
        if stage == "deploy":
            return Reading({"namespace": place.namespace})
        settings: dict[str, Json] = {
            "path": self.path,
            "labels": dict(place.object_labels),
            "annotations": dict(place.object_annotations),
        }
        return Reading(settings, tuple(self._inputs(place)))

    async def perform(self, stage: Stage, work: Work) -> Json:
        if stage == "deploy":
            _check_namespace(work.place)
            return await deploy_rendered(work, work.place.name, self.deploy_options())
        kustomization = self._input(work.place)
        for file in await run_sync(lambda: list(self._inputs(work.place))):
            file.present()
        if work.fetch.is_offline:
            await run_sync(_refuse_remote, kustomization)
        built = await self._built(kustomization.present(), work)
        found = await run_sync(_manifests, built, kustomization)
        await write_rendered(work.out, await run_sync(rendered, found, work.place))
        return None

    def check(self, place: Place) -> Iterator[Refusal]:
        yield from (("deploy", error) for error in failures([partial(_check_namespace, place)]))

    def unpinned(self, folder: Path) -> Iterator[tuple[FieldPath, str]]:
        for text in follow(self._folder(folder)).unpinned:
            yield ("path",), text

    def _folder(self, folder: Path) -> Path:
        return folder / Path(self.path).expanduser()

    def _input(self, place: Place) -> FileInput:
        where = place.where("path")
        if (sought := place.seek(self.path)) is not None:
            is_there = sought.path is None or file_in(sought.path) is not None
            ask = sought.input if is_there else sought.missing
            return ask("kustomization", self.path, where, *(("a folder",) if is_there else ()))
        folder = self._folder(place.folder)
        found = folder if file_in(folder) is not None else None
        return FileInput("kustomization", self.path, found, where, tuple(folder / name for name in FILES))

    def _inputs(self, place: Place) -> Iterator[FileInput]:
        own, sought = self._input(place), place.seek(self.path)
        yield own
        if own.path is None:
            return
        found = follow(own.path)
        for folder in found.folders[1:]:
            name = os.path.relpath(folder, place.folder) if sought is None else sought.shown(folder)
            yield FileInput("kustomization", name, folder, own.where, by=own.by)
        for path in found.local if sought is None else ():
            if (elsewhere := place.seek(str(path))) is not None:
                why = f"app {elsewhere.by!r} fetches it, and Kustomize finds it in no folder of the project; {_INSTEAD}"
                yield FileInput("resource", os.path.relpath(path, place.folder), None, own.where, (), why)

    async def _built(self, folder: Path, work: Work) -> str:
        where = work.place.where("path")
        kustomize = find_kustomize(work.env)
        if kustomize is None:
            raise KustomizeMissing(work.place.name, where)
        await work.log(f"rendering with {await kustomize.version(work)} ({kustomize.program})")
        into = work.out / ".kustomize.yaml"
        said: list[str] = []

        async def on_line(line: str) -> None:
            said.append(line)
            await work.log(line)

        # Into a file of its own: its warnings come by the other way.
        ended = await _run([*kustomize.build, str(folder), "-o", str(into)], work, on_line)
        if not ended.ok:
            raise KustomizeFailed(self.path, "\n".join(said[-_TOLD:]) or str(ended), where)
        text = await run_sync(read_text, into)
        into.unlink()
        return text


@dataclass(frozen=True, slots=True)
class Kustomize:
    """`kustomize`, or the one in kubectl."""

    program: str
    is_kubectl: bool

    @property
    def build(self) -> tuple[str, str]:
        return self.program, "kustomize" if self.is_kubectl else "build"

    async def version(self, work: Work) -> str:
        ask = ["version", "--client"] if self.is_kubectl else ["version"]
        said: list[str] = []
        await _run([self.program, *ask], work, said.append)
        words = next((line for line in said if "kustomize" in line.lower()), said[0] if said else "")
        return f"kustomize {words.rpartition(' ')[2]}".rstrip()


def find_kustomize(env: Mapping[str, str]) -> Kustomize | None:
    """Its own program first: who installed it wants its version."""
    for name in ("kustomize", "kubectl"):
        if program := shutil.which(name, path=env.get("PATH", "")):
            return Kustomize(program, name == "kubectl")
    return None


async def _run(arguments: list[str], work: Work, on_line: OnLine) -> Exit:
    return await run_process(
        arguments,
        cwd=work.place.folder,
        env=work.env,
        on_line=on_line,
        on_pause=work.flush,
        grace=1.0,
    )


def _manifests(text: str, kustomization: FileInput) -> list[Manifest]:
    with kustomization.named():
        return read_manifests(text, kustomization.present(), kustomization.name)


def _refuse_remote(kustomization: FileInput) -> None:
    """Kustomize keeps nothing of what it fetches. Raises `NotKept`."""
    for text in follow(kustomization.present()).remote[:1]:
        error = NotKept(
            f"{without_credentials(text)!r}, to which kustomization {kustomization.name!r} refers,"
        )
        error.hint = "Kustomize fetches it by itself, and keeps nothing: copy it into the project"
        error.set_place(kustomization.where)
        raise error


def _check_namespace(place: Place) -> None:
    check_namespace(place.namespace, place.where("namespace"))
