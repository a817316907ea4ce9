"""Helm as the program on PATH, 3 or 4.

`helm template` prints no notes, and `helm install --dry-run` knows no capabilities. So a chart with notes is rendered
through a folder of links to it with one template more, which includes `NOTES.txt` and is taken out again.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from anyio import to_thread

from ..errors import is_disk_full
from .base import (
    TIME_LIMIT,
    ChartError,
    HelmError,
    LintMessage,
    Rendered,
    RenderError,
    RenderRequest,
    Severity,
    ValuesError,
    absolute,
)
from .program import run_helm, scratch, values_file
from .releases import Cluster, Releases
from .split import HOOK, NOTES, Document, by_kind, joined


class BinaryHelm:
    def __init__(
        self,
        program: str | Path = "helm",
        environ: Mapping[str, str] | None = None,
        *,
        time_limit: float = TIME_LIMIT,
    ) -> None:
        self._program = str(program)
        self._environ = dict(os.environ if environ is None else environ)
        self._time_limit = time_limit

    async def render(self, request: RenderRequest) -> Rendered:
        with scratch() as folder:
            chart = await to_thread.run_sync(_with_notes, request.chart, folder)
            arguments = ["template", "--namespace", request.namespace, *_options(request)]
            output = await self._run(
                [*arguments, "--values", values_file(folder, request.values, request.chart)],
                [request.release, str(chart)],
                folder,
                request.chart,
                time_limit=request.time_limit,
            )
        return await to_thread.run_sync(_rendered, output)

    async def template(self, request: RenderRequest) -> str:
        return (await self.render(request)).text

    async def lint(self, chart: Path, values: Mapping[str, Any]) -> list[LintMessage]:
        with scratch() as folder:
            arguments = ["lint", "--namespace", "default", "--values", values_file(folder, values, chart)]
            output = await self._run(arguments, [absolute(chart)], folder, chart, may_fail=True)
        messages = _lint_messages(output)
        if not messages and (refusal := _LINT_REFUSED.search(output)):
            raise ChartError(refusal[1], chart=chart)
        return messages

    async def version(self) -> str:
        with scratch() as folder:
            return (await self._run(["version", "--template", "{{.Version}}"], [], folder, None)).strip()

    def releases(self, cluster: Cluster) -> Releases:
        from .binary_releases import BinaryReleases

        return BinaryReleases(self._program, cluster, self._environ)

    async def aclose(self) -> None:
        """Nothing lives longer than its call."""

    async def _run(
        self,
        options: Sequence[str],
        names: Sequence[str],
        folder: Path,
        chart: Path | None,
        *,
        may_fail: bool = False,
        time_limit: float | None = None,
    ) -> str:
        return await run_helm(
            self._program,
            [*options, "--", *names],
            folder,
            self._environ,
            time_limit=time_limit or self._time_limit,
            refuse=None if may_fail else partial(_error, chart=chart),
            chart=chart,
        )


def _options(request: RenderRequest) -> Iterator[str]:
    if request.include_crds:
        yield "--include-crds"
    if request.is_upgrade:
        yield "--is-upgrade"
    if request.capabilities.kube_version:
        yield f"--kube-version={request.capabilities.kube_version}"
    yield from (f"--api-versions={version}" for version in request.capabilities.api_versions)


# --- errors ---------------------------------------------------------------

_VALUES = ("values don't meet the specifications", "failed to parse", "error unmarshaling")
_RENDER = (
    "template: ",
    "parse error at ",
    "execution error at ",
    "YAML parse error on ",
    "error calling ",
    "/templates/",
)


def _error(text: str, chart: Path | None) -> HelmError:
    if "missing in charts/ directory" in text:
        found = text[text.index("found in Chart.yaml") :]
        return ChartError(found, chart=chart, hint=f"run `helm dependency build {chart}`")
    if any(words in text for words in _RENDER):
        return RenderError(text, chart=chart)
    if any(words in text for words in _VALUES):
        return ValuesError(text, chart=chart)
    return ChartError(text, chart=chart)


# --- notes ----------------------------------------------------------------

# Helm executes templates in descending order of their names: errors in the notes come under their own name first.
_EXTRA = "00-sbkube-notes.yaml"
_EXTRA_TEXT = (
    '{"apiVersion":"sbkube.dev/v1","kind":"Notes",'
    '"notes":{{ include (print $.Template.BasePath "/' + NOTES + '") $ | toJson }}}\n'
)


def _with_notes(chart: Path, folder: Path) -> Path:
    chart = chart.absolute()
    try:
        if chart.is_file():
            return _archive_with_notes(chart, folder / "chart.tgz")
        if (chart / "templates" / NOTES).is_file():
            return _links_with_notes(chart, folder / "chart")
    except OSError as error:
        if is_disk_full(error):
            raise
    except (tarfile.TarError, EOFError, ValueError):
        pass  # what is wrong with a chart is Helm's to say
    return chart


def _links_with_notes(chart: Path, copy: Path) -> Path:
    (copy / "templates").mkdir(parents=True)
    for entry in chart.iterdir():
        if entry.name != "templates":
            (copy / entry.name).symlink_to(entry)
    for entry in (chart / "templates").iterdir():
        (copy / "templates" / entry.name).symlink_to(entry)
    (copy / "templates" / _EXTRA).write_text(_EXTRA_TEXT)
    return copy


def _archive_with_notes(chart: Path, copy: Path) -> Path:
    with tarfile.open(chart, "r:*") as old:
        notes = next(
            (
                name
                for name in old.getnames()
                if name.count("/") == 2 and name.endswith(f"/templates/{NOTES}")
            ),
            "",
        )
        if not notes:
            return chart
        folder = copy.with_suffix("")
        with tarfile.open(copy, "w:gz", compresslevel=1) as new:
            for member in old:
                new.addfile(member, old.extractfile(member) if member.isreg() else None)
            extra = folder.with_name(_EXTRA)
            extra.write_text(_EXTRA_TEXT)
            new.add(extra, notes.removesuffix(NOTES) + _EXTRA)
    return copy


# --- output ---------------------------------------------------------------

_SOURCE = re.compile(r"^---\n# Source: (.*)\n", re.MULTILINE)
_IN_CRDS = re.compile(r"[^/]+(/charts/[^/]+)*/crds/")
_KIND = re.compile(r"""^kind:[ \t]*["']?([A-Za-z0-9.-]+)""", re.MULTILINE)


class _Chunk(NamedTuple):
    source: str
    text: str


def _rendered(output: str) -> Rendered:
    crds: list[Document] = []
    manifests: list[Document] = []
    hooks: list[Document] = []
    notes = ""
    for chunk in _chunks(output):
        if chunk.source.endswith(f"/templates/{_EXTRA}"):
            notes = json.loads(chunk.text)["notes"]
        elif _IN_CRDS.match(chunk.source):
            crds.append(Document(chunk.source, "", chunk.text))
        else:
            document = _document(chunk)
            (hooks if document.is_hook else manifests).append(document)
    # Helm 3 and 4 sort some kinds differently; what stays the same is the order within a kind
    return Rendered(joined(crds), joined(by_kind(manifests)), joined(by_kind(hooks)), notes).trimmed()


def _chunks(output: str) -> Iterator[_Chunk]:
    _, *pieces = _SOURCE.split(output)
    for source, text in zip(pieces[::2], pieces[1::2], strict=True):
        yield _Chunk(source, text.removesuffix("\n"))


def _document(chunk: _Chunk) -> Document:
    kind = _KIND.search(chunk.text)
    if kind and HOOK not in chunk.text:
        return Document(chunk.source, kind[1], chunk.text)
    # rare enough to be read in full; all scalars as text, so that nothing can be refused
    head = yaml.load(chunk.text, Loader=getattr(yaml, "CBaseLoader", yaml.BaseLoader))
    annotations = ((head or {}).get("metadata") or {}).get("annotations") or {}
    return Document(chunk.source, (head or {}).get("kind", ""), chunk.text, HOOK in annotations)


_LINT = re.compile(r"^\[(INFO|WARNING|ERROR)\] ([^:\n]*): ", re.MULTILINE)
_LINT_REFUSED = re.compile(r"^Error (.+)", re.MULTILINE)
_LINT_END = re.compile(r"\n+(==> |Error: |\d+ chart\(s\) linted).*\Z", re.DOTALL)


def _lint_messages(output: str) -> list[LintMessage]:
    _, *pieces = _LINT.split(_LINT_END.sub("\n", output))
    severities: dict[str, Severity] = {"INFO": "info", "WARNING": "warning", "ERROR": "error"}
    return [
        LintMessage(severities[severity], path, text.strip())
        for severity, path, text in zip(pieces[::3], pieces[1::3], pieces[2::3], strict=True)
    ]


def find_helm(environ: Mapping[str, str]) -> str | None:
    return shutil.which("helm", path=environ.get("PATH"))
