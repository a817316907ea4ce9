"""Manifests as a chart that emits them untouched, so that Helm keeps them as a release.

Each document is a file of the chart, and a template that prints this file: braces in it mean nothing to Helm. What
would not survive the way there is that Helm trims space behind each template's text, which a block scalar at the end
may need: so each ends with a comment.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sbkube.targets.base import ChartName

from .objects import ClusterObject, Unreleasable

END = "# end"
LARGEST_SECRET = 1024 * 1024 - 16 * 1024
"""Bytes of a release's Secret; the API server takes one MiB, of which a little is for the rest of the object."""
LARGEST_FILE = 5 * 1024 * 1024
"""Bytes of one file that Helm loads with a chart."""


@dataclass(frozen=True, slots=True)
class WrappedChart:
    name: str
    """At most 63 characters: it becomes a label."""
    version: str
    documents: tuple[str, ...]
    notes: str = ""
    app_version: str = ""
    crds: tuple[str, ...] = ()
    """What Helm is to install once, if it is not there, and then to leave alone."""

    @property
    def files(self) -> dict[str, str]:
        made = {"Chart.yaml": self._metadata()}
        for number, text in enumerate(self.documents):
            made[f"files/{number:04}.yaml"] = text
            made[f"templates/{number:04}.yaml"] = f'{{{{ .Files.Get "files/{number:04}.yaml" }}}}\n{END}\n'
        for number, text in enumerate(self.crds):
            made[f"crds/{number:04}.yaml"] = text
        if self.notes:
            made["files/NOTES.txt"] = self.notes
            made["templates/NOTES.txt"] = '{{ .Files.Get "files/NOTES.txt" }}'
        return made

    def write(self, folder: Path) -> None:
        """Blocking; `folder` is made anew."""
        shutil.rmtree(folder, ignore_errors=True)
        for name, text in self.files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text.encode())

    def _metadata(self) -> str:
        metadata = {"apiVersion": "v2", "name": self.name, "version": self.version}
        if self.app_version:
            metadata["appVersion"] = self.app_version
        return json.dumps(metadata) + "\n"


def wrap(
    app: str,
    objects: Sequence[ClusterObject],
    notes: str = "",
    *,
    named: ChartName | None = None,
    crds: Sequence[ClusterObject] = (),
) -> WrappedChart:
    """Called after the app, or as the chart that the objects came from. Raises `Unreleasable` for what would not fit."""
    chart = unchecked(app, objects, notes, named=named, crds=crds)
    for found, text in zip((*objects, *crds), (*chart.documents, *chart.crds), strict=True):
        if len(text.encode()) > LARGEST_FILE:
            raise Unreleasable(
                f"{found.id} is larger than {LARGEST_FILE // 1024**2} MiB, the most that Helm takes"
            )
    size = stored_size(chart)
    if size > LARGEST_SECRET:
        raise Unreleasable(
            f"it needs a release of {size / 1024:.0f} KiB, and a Secret holds {LARGEST_SECRET / 1024:.0f} KiB",
            hint="split it into two apps",
        )
    return chart


def unchecked(
    app: str,
    objects: Sequence[ClusterObject],
    notes: str = "",
    *,
    named: ChartName | None = None,
    crds: Sequence[ClusterObject] = (),
) -> WrappedChart:
    documents = tuple(_ready(found.text) for found in objects)
    digest = hashlib.sha256("\0".join(documents).encode()).hexdigest()
    name = named or ChartName(app[:63].rstrip("-."), f"1.0.0-h{digest[:12]}")
    ready = tuple(_ready(crd.text) for crd in crds)
    return WrappedChart(name.name, name.version, documents, notes, name.app_version, ready)


def stored_size(chart: WrappedChart) -> int:
    """About how many bytes Helm will keep: chart files in base64 and the manifest, as JSON, gzip, base64."""
    files = [
        {"name": name, "data": base64.b64encode(text.encode()).decode()} for name, text in chart.files.items()
    ]
    manifest = "".join(f"---\n# Source: {chart.name}/templates/0000.yaml\n{text}" for text in chart.documents)
    record = json.dumps({"chart": files, "manifest": manifest}).encode()
    return len(gzip.compress(record, 9)) * 4 // 3


def _ready(text: str) -> str:
    """Without what belongs to a file and not to its documents, and with lines that end as Helm expects."""
    return text.removeprefix("\ufeff").replace("\r\n", "\n").rstrip(" \t") + (
        "" if text.endswith("\n") else "\n"
    )
