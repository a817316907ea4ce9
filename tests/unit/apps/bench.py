"""One app, its stages called one after the other, with the fake Helm and the target that a test gives."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from anyio.lowlevel import checkpoint

from sbkube.apps.base import Stage
from sbkube.apps.work import Outputs, Work
from sbkube.config.loading import load_project
from sbkube.engine import StepContext
from sbkube.fetch.fetching import Fetching
from sbkube.helm.base import Helm
from sbkube.helm.fake import FakeHelm
from sbkube.planning import AppPlace
from sbkube.targets.base import Target
from sbkube.targets.directory import DirectoryTarget
from sbkube.targets.owned import Owner


class Bench:
    """One app `web`, whose stages are called one after the other."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.helm = FakeHelm()
        self.target: Target = DirectoryTarget(folder / "rendered", "rendered", Owner(".."), grace=0.0)
        self.outputs = Outputs(folder / "out")
        self.inputs: dict[Stage, Path] = {}
        self.log: list[str] = []
        self.time_limit = 7.0

    def write(self, files: Mapping[str, str]) -> None:
        for name, text in files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    def place(self, app: str) -> AppPlace:
        self.write({"config.yaml": f"namespace: shop\napps:\n  web: {app}\n"})
        return AppPlace(load_project(self.folder, environ={}), "web")

    async def perform(self, stage: Stage, app: str, env: Mapping[str, str] | None = None) -> Any:
        place = self.place(app)
        if stage == "deploy":
            await self.target.start()
            return await place.app.perform(stage, self._work(place, self.outputs.folder, env))
        out = await self.outputs.fresh("web", stage)
        returned = await place.app.perform(stage, self._work(place, out, env))
        self.inputs[stage] = self.outputs.path(await self.outputs.keep(out))
        return returned

    async def through(self, *stages: Stage, app: str) -> Path:
        for stage in stages:
            await self.perform(stage, app)
        return self.inputs[stages[-1]] if stages[-1] != "deploy" else self.folder / "rendered/web"

    def _work(self, place: AppPlace, out: Path, env: Mapping[str, str] | None) -> Work:
        async def log(line: str) -> None:
            self.log.append(line)

        return Work(
            place=place,
            context=StepContext("web:x", 1, 1, "key", {}, lambda line: None),
            inputs=self.inputs,
            out=out,
            helm=self._helm,
            fetch=Fetching({**os.environ, "SBKUBE_CACHE_DIR": str(self.folder / "cache")}),
            target=self.target,
            env={"PATH": os.environ["PATH"], **(env or {})},
            log=log,
            flush=checkpoint,
            time_limit=self.time_limit,
        )

    async def _helm(self) -> Helm:
        return self.helm
