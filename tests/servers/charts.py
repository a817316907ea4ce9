"""Chart repositories: archives, always of the same bytes, and the index that Helm would make of them."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

TEMPLATE = """\
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ .Release.Name }}
data:
  chart: {{ .Chart.Name }}-{{ .Chart.Version }}
"""


def archive(files: Mapping[str, str | bytes]) -> bytes:
    made = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=made, mode="wb", mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w") as tar,
    ):
        for name, text in files.items():
            content = text.encode() if isinstance(text, str) else text
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return made.getvalue()


@dataclass(frozen=True, slots=True)
class Chart:
    name: str
    version: str = "1.0.0"
    more: Mapping[str, str] | None = None
    """Files besides the usual."""

    @property
    def file(self) -> str:
        return f"{self.name}-{self.version}.tgz"

    @property
    def packed(self) -> bytes:
        files = {
            "Chart.yaml": f"apiVersion: v2\nname: {self.name}\nversion: {self.version}\n",
            "templates/config.yaml": TEMPLATE,
            **(self.more or {}),
        }
        return archive({f"{self.name}/{path}": text for path, text in files.items()})

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.packed).hexdigest()

    def entry(self, urls: Iterable[str] | None = None, digest: str | None = None) -> str:
        """As Go writes it."""
        digest = self.digest if digest is None else digest
        listed = "".join(f"\n    - {url}" for url in ([self.file] if urls is None else urls))
        return (
            f'  - apiVersion: v2\n    created: "2026-01-02T03:04:05Z"\n    description: A chart called {self.name}\n'
            + (f"    digest: {digest}\n" if digest else "")
            + f"    name: {self.name}\n    type: application\n    urls:{listed}\n    version: {self.version}\n"
        )


def index(entries: Mapping[str, Iterable[str]]) -> str:
    """Of entries by chart."""
    text = "".join(f"  {name}:\n{''.join(entries[name])}" for name in sorted(entries))
    return f'apiVersion: v1\nentries:\n{text}generated: "2026-01-02T03:04:05Z"\n'


def repository(*charts: Chart) -> dict[str, bytes]:
    """The files of a repository, by path."""
    entries: dict[str, list[str]] = {}
    for chart in charts:
        entries.setdefault(chart.name, []).append(chart.entry())
    files = {f"/{chart.file}": chart.packed for chart in charts}
    return {"/index.yaml": index(entries).encode(), **files}
