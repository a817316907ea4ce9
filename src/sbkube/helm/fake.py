"""A Helm for tests: no process, no template language worth the name, the same answers every time.

It replaces `{{ .Release.Name }}`, `{{ .Release.Namespace }}`, `{{ .Chart.Name }}`, `{{ .Values.a.b }}` and
`{{ .Files.Get "path" }}`, and refuses any other action. Splitting, hooks, tests and order are those of the real ones. Its clusters are in `fake_cluster.py`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import yaml
from anyio.lowlevel import checkpoint

from ..documents import merge
from .base import ChartError, Helm, LintMessage, Rendered, RenderError, RenderRequest, as_json
from .fake_cluster import FakeCluster
from .fake_releases import FakeReleases
from .releases import Cluster, Releases
from .split import NOTES, NotADocument, arrange, joined


@dataclass(slots=True)
class FakeHelm:
    requests: list[RenderRequest] = field(default_factory=list)
    clusters: dict[str | None, FakeCluster] = field(default_factory=dict)
    """By context; one that nobody has put here is made when it is first asked for."""

    async def render(self, request: RenderRequest) -> Rendered:
        await checkpoint()
        self.requests.append(request)
        return _rendered(request)

    async def template(self, request: RenderRequest) -> str:
        return (await self.render(request)).text

    async def lint(self, chart: Path, values: Mapping[str, Any]) -> list[LintMessage]:
        await checkpoint()
        _metadata(chart)
        try:
            _rendered(RenderRequest(chart, "test-release", "default", values))
        except RenderError as error:
            return [LintMessage("error", "templates/", error.text)]
        return []

    def releases(self, cluster: Cluster) -> Releases:
        return FakeReleases(self.cluster(cluster.context), _rendered)

    def cluster(self, context: str | None = None) -> FakeCluster:
        return self.clusters.setdefault(context, FakeCluster())

    async def version(self) -> str:
        await checkpoint()
        return "v0.0.0-fake"

    async def aclose(self) -> None:
        await checkpoint()


def _rendered(request: RenderRequest) -> Rendered:
    as_json(request.values, request.chart)
    name = _metadata(request.chart)["name"]
    facts = {
        "Release": {"Name": request.release, "Namespace": request.namespace},
        "Chart": {"Name": name},
        "Values": merge(_mapping(request.chart / "values.yaml"), request.values),
    }
    files = {
        f"{name}/{file}": _filled(text, f"{name}/{file}", facts, request.chart)
        for file, text in _texts(request.chart, "templates").items()
    }
    notes = files.pop(f"{name}/templates/{NOTES}", "")
    try:
        arranged = arrange(files, _head)
    except NotADocument as error:
        raise RenderError(str(error), chart=request.chart) from error
    crds = _texts(request.chart, "crds") if request.include_crds else {}
    return Rendered(
        "".join(f"---\n# Source: {name}/{file}\n{text}\n" for file, text in crds.items()),
        joined(arranged.manifests),
        joined(arranged.hooks),
        notes,
    ).trimmed()


def _texts(chart: Path, folder: str) -> dict[str, str]:
    files = sorted(path for path in (chart / folder).rglob("*") if path.is_file())
    return {path.relative_to(chart).as_posix(): path.read_text() for path in files}


def _filled(text: str, source: str, facts: Mapping[str, Any], chart: Path) -> str:
    def value(found: re.Match[str]) -> str:
        if file := _FILE.fullmatch(found[1]):
            return (chart / file[1]).read_text()
        if not _FACT.fullmatch(found[1]):
            line = text[: found.start()].count("\n") + 1
            raise RenderError(f"template: {source}:{line}: the fake Helm knows no such action", chart=chart)
        at: Any = facts
        for part in found[1].split(".")[1:]:
            at = at.get(part) if isinstance(at, Mapping) else None
        return "" if at is None else _as_go_prints(at)

    return _ACTION.sub(value, text)


_ACTION = re.compile(r"\{\{-?\s*(.*?)\s*(?:-?\}\}|$)", re.MULTILINE)
_FACT = re.compile(r"\.[\w.]+")
_FILE = re.compile(r'\.Files\.Get "([^"]+)"')


def _as_go_prints(value: Any) -> str:
    """Values are JSON to Helm, so every number is a float to a template: a million prints as `1e+06`."""
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, int | float):
        return str(value)
    number = Decimal(repr(float(value))).normalize()
    if -4 <= number.adjusted() < 6:
        return f"{number:f}"
    digits, _, exponent = f"{number:e}".partition("e")
    return f"{digits}e{int(exponent):+03}"


def _metadata(chart: Path) -> dict[str, Any]:
    metadata = _mapping(chart / "Chart.yaml")
    if not metadata.get("name"):
        raise ChartError("Chart.yaml file is missing", chart=chart)
    return metadata


def _mapping(path: Path) -> dict[str, Any]:
    found = yaml.safe_load(path.read_text()) if path.is_file() else None
    return found if isinstance(found, dict) else {}


def _head(document: str) -> Mapping[str, Any]:
    try:
        head = yaml.load(document, Loader=yaml.BaseLoader)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error
    if head is not None and not isinstance(head, Mapping):
        raise ValueError("not a mapping")
    return head or {}


_: type[Helm] = FakeHelm
