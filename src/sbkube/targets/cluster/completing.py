"""An install that failed or was cut off is completed by an upgrade, for which Helm runs no hooks of an install.

Nobody would notice: what a `pre-install` hook was to prepare is never prepared, and the release is `deployed` all the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from sbkube.documents import dump
from sbkube.targets.base import ChartName, Deployment

from .objects import ClusterObject, objects_of

HOOK = "helm.sh/hook"
_AT_INSTALL = {"pre-install": "pre-upgrade", "post-install": "post-upgrade"}


def completing(deployment: Deployment, chart: ChartName) -> Deployment | None:
    """The same as manifests, of which the hooks of an install run at an upgrade, too; None if there are none to change."""
    made = deployment.manifests
    manifests, hooks = _widened(made.manifests), _widened(made.hooks)
    if manifests is None and hooks is None:
        return None
    whole = replace(made, manifests=manifests or made.manifests, hooks=hooks or made.hooks)
    return replace(deployment, manifests=whole, chart=None, chart_name=chart)


def _widened(text: str) -> str | None:
    found = objects_of(text)
    if all(_events(one) == _events_of_both(one) for one in found):
        return None
    return "".join(f"---\n{_with_events(one)}\n" for one in found)


def _with_events(one: ClusterObject) -> str:
    both = _events_of_both(one)
    if both == _events(one):
        return one.text
    metadata: Mapping[str, Any] = one.data["metadata"]
    annotations = {**metadata["annotations"], HOOK: ",".join(both)}
    return dump({**one.data, "metadata": {**metadata, "annotations": annotations}})


def _events(one: ClusterObject) -> list[str]:
    """Of a hook; nothing for any other object."""
    annotations = one.data["metadata"].get("annotations") or {}
    said = str(annotations.get(HOOK, ""))
    return [event.strip() for event in said.split(",") if event.strip()]


def _events_of_both(one: ClusterObject) -> list[str]:
    events = _events(one)
    return list(dict.fromkeys([*events, *(_AT_INSTALL[event] for event in events if event in _AT_INSTALL)]))
