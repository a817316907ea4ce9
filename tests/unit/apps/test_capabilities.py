"""A chart is rendered for the server it goes to, and anew only if that can change what comes of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from bench import Bench

from sbkube.apps.helm import KUBE_VERSION
from sbkube.helm.base import Capabilities
from sbkube.targets.directory import DirectoryTarget
from sbkube.targets.owned import Owner

pytestmark = pytest.mark.anyio

APP = "{type: helm, chart: ./chart}"
SERVER = Capabilities("v1.36.3", ("v1", "apps/v1"))
MORE = Capabilities("v1.36.3", ("v1", "apps/v1", "example.com/v1"))
NEWER = Capabilities("v1.37.0", ("v1", "apps/v1"))


class Server(DirectoryTarget):
    """A folder that says that it is a cluster."""

    def __init__(self, folder: Path, known: Capabilities | None) -> None:
        super().__init__(folder / "rendered", "rendered", Owner(".."), grace=0.0)
        self.known = known

    @property
    def kind(self) -> str:
        return "cluster"

    @property
    def capabilities(self) -> Capabilities | None:  # type: ignore[override]
        return self.known


class Rendering:
    def __init__(self, bench: Bench) -> None:
        self.bench = bench

    async def made(self, known: Capabilities | None, app: str = APP, asks: str = "") -> Capabilities:
        """What Helm was asked to render for."""
        self.bench.write(
            {
                "chart/Chart.yaml": "apiVersion: v2\nname: web\nversion: 1.0.0\n",
                "chart/templates/_helpers.tpl": asks,
            }
        )
        if known is not None:
            self.bench.target = Server(self.bench.folder, known)
        await self.bench.through("prepare", "build", "template", app=app)
        return self.bench.helm.requests[-1].capabilities

    def holds(self, known: Capabilities | None, app: str = APP) -> bool:
        made, target = self.bench.inputs["template"], Server(self.bench.folder, known)
        return self.bench.place(app).app.is_made_for("template", made, target)

    @property
    def holds_for_a_folder(self) -> bool:
        folder = DirectoryTarget(self.bench.folder / "r", "r", Owner(".."))
        return self.bench.place(APP).app.is_made_for("template", self.bench.inputs["template"], folder)


@pytest.fixture
def rendering(bench: Bench) -> Rendering:
    return Rendering(bench)


async def test_a_chart_is_rendered_for_the_server_and_what_the_app_adds(rendering: Rendering) -> None:
    app = "{type: helm, chart: ./chart, api_versions: [x/v1]}"
    assert await rendering.made(SERVER, app) == Capabilities("v1.36.3", ("v1", "apps/v1", "x/v1"))


async def test_an_app_that_names_a_version_is_rendered_for_that_alone(rendering: Rendering) -> None:
    app = "{type: helm, chart: ./chart, kube_version: v1.30.0}"
    assert await rendering.made(SERVER, app) == Capabilities("v1.30.0")
    assert rendering.holds(NEWER, app)


async def test_a_newer_server_is_rendered_for_anew(rendering: Rendering) -> None:
    await rendering.made(SERVER)
    assert rendering.holds(SERVER)
    assert not rendering.holds(NEWER)


async def test_new_kinds_matter_only_to_a_chart_that_asks_for_them(rendering: Rendering) -> None:
    await rendering.made(SERVER)
    assert rendering.holds(MORE)
    await rendering.made(SERVER, asks="# by .Capabilities.APIVersions.Has\n")
    assert not rendering.holds(MORE)
    assert rendering.holds(SERVER)


async def test_while_the_server_was_not_asked_nothing_is_rendered_anew(rendering: Rendering) -> None:
    await rendering.made(SERVER)
    assert rendering.holds(None)


async def test_what_was_rendered_for_a_folder_is_not_for_a_server_and_the_other_way_round(
    rendering: Rendering,
) -> None:
    assert await rendering.made(None) == Capabilities(KUBE_VERSION)
    assert rendering.holds_for_a_folder
    assert not rendering.holds(SERVER)
    await rendering.made(SERVER)
    assert not rendering.holds_for_a_folder
