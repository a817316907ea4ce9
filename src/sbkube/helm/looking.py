"""Reading a cluster through Helm: a chart whose one template looks objects up, rendered and never installed.

Helm's `lookup` is a full read client with the credentials, proxies and retries of the Helm that deploys. One object that
may not be read, or whose kind the server does not know, fails the whole rendering: so ask for few at once.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import yaml

NAME = "sbkube-look"


class Query(NamedTuple):
    """One object, or with an empty name all of a kind; an empty namespace: of all, or none where there is none."""

    api_version: str
    kind: str
    namespace: str
    name: str = ""


@dataclass(frozen=True, slots=True)
class Server:
    """An API server as Helm's templates see it."""

    version: str
    """Such as `v1.36.3`."""
    api_versions: tuple[str, ...]
    uid: str
    """Of the namespace `kube-system`: which cluster this is. Empty if it may not be read."""


def chart_files(template: str) -> dict[str, str]:
    metadata = {"apiVersion": "v2", "name": NAME, "version": "0.0.0"}
    return {"Chart.yaml": json.dumps(metadata), "templates/look.yaml": template}


def template_of(queries: Sequence[Query]) -> str:
    lines = [f"  q{n}: {{{{ lookup {_words(query)} | toJson | quote }}}}" for n, query in enumerate(queries)]
    return _object("\n".join(lines))


def server_template(*, with_uid: bool) -> str:
    uid = f"{{{{ (lookup {_words(Query('v1', 'Namespace', '', 'kube-system'))}).metadata.uid | quote }}}}"
    lines = [
        "  version: {{ .Capabilities.KubeVersion.Version | quote }}",
        "  apis: {{ .Capabilities.APIVersions | toJson | quote }}",
        f"  uid: {uid if with_uid else json.dumps('')}",
    ]
    return _object("\n".join(lines))


def found_in(manifest: str, queries: Sequence[Query]) -> list[Any]:
    """For each query the object, the list, or None."""
    data = _data(manifest)
    return [json.loads(data[f"q{n}"]) or None for n in range(len(queries))]


def server_in(manifest: str) -> Server:
    data = _data(manifest)
    return Server(data["version"], tuple(sorted(json.loads(data["apis"]))), data["uid"])


def _object(lines: str) -> str:
    return f"apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {NAME}\ndata:\n{lines}\n"


def _data(manifest: str) -> dict[str, str]:
    data: dict[str, str] = yaml.load(manifest, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))["data"]
    return data


def _words(query: Query) -> str:
    return " ".join(json.dumps(word) for word in query)
