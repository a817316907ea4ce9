"""The labels of releases as `kubectl` sees them, on Helm's Secrets: as a table, so that no Secret leaves the server."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from ..process import run_process
from .refusals import refusal
from .releases import LOOK_LIMIT, Cluster, own_labels

Labels = Mapping[tuple[str, str, int], Mapping[str, str]]
"""By namespace, release and revision."""


async def secret_labels(
    kubectl: str, cluster: Cluster, environ: Mapping[str, str], namespace: str | None, name: str | None
) -> Labels:
    """Of all namespaces or of all releases where None is said."""
    where = ["--all-namespaces"] if namespace is None else [f"--namespace={namespace}"]
    context = [f"--context={cluster.context}"] if cluster.context else []
    selector = "owner=helm" if name is None else f"owner=helm,name={name}"
    output: list[str] = []
    ended = await run_process(
        [kubectl, *context, "get", "secrets", *where, f"--selector={selector}", *_AS_TABLE],
        cwd=Path(os.sep),
        env=environ,
        on_line=output.append,
        time_limit=LOOK_LIMIT,
        grace=0.0,
    )
    if not ended.ok:
        raise refusal("\n".join(output), name or "", namespace or "")
    return dict(_rows(output, namespace))


_AS_TABLE = ("--show-labels", "--no-headers", "--ignore-not-found", "--chunk-size=0")


def _rows(output: list[str], namespace: str | None) -> Iterator[tuple[tuple[str, str, int], dict[str, str]]]:
    for line in output:
        columns = line.split()
        labels = dict(label.partition("=")[::2] for label in columns[-1].split(",")) if columns else {}
        # A line without is a warning of kubectl's, or a Secret that is no release's.
        if labels.get("name") and labels.get("version", "").isdigit():
            key = (namespace or columns[0], labels["name"], int(labels["version"]))
            yield key, own_labels(labels)
