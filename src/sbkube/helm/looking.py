"""Reading a cluster through Helm: a chart that looks objects up in its notes, rendered and never installed.

It has no manifests: what it would install Helm would look up itself, in a namespace where the user may have no right. Helm's `lookup` is a full read client with the credentials, proxies and retries of the Helm that deploys. One object that
may not be read, or whose kind the server does not know, fails the whole rendering: so ask for few at once.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from .split import NOTES

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


def chart_files(notes: str) -> dict[str, str]:
    metadata = {"apiVersion": "v2", "name": NAME, "version": "0.0.0"}
    return {"Chart.yaml": json.dumps(metadata), f"templates/{NOTES}": notes}


def notes_of(queries: Sequence[Query]) -> str:
    return _json(f"{{{{ lookup {_words(query)} | toJson }}}}" for query in queries)


def server_notes(*, with_uid: bool) -> str:
    uid = f"{{{{ (lookup {_words(Query('v1', 'Namespace', '', 'kube-system'))}).metadata.uid | toJson }}}}"
    return _json(
        [
            "{{ .Capabilities.KubeVersion.Version | toJson }}",
            "{{ .Capabilities.APIVersions | toJson }}",
            uid if with_uid else '""',
        ]
    )


def found_in(notes: str) -> list[Any]:
    """For each query the object, the list, or None."""
    return [found or None for found in json.loads(notes)]


def server_in(notes: str) -> Server:
    version, api_versions, uid = json.loads(notes)
    return Server(version, tuple(sorted(api_versions)), uid)


def _json(actions: Iterable[str]) -> str:
    return f"[{', '.join(actions)}]"


def _words(query: Query) -> str:
    return " ".join(json.dumps(word) for word in query)
