"""What the commands that look at a cluster share: which project, and what of it."""

from __future__ import annotations

from typing import Any

from sbkube.api import Asked, Request
from sbkube.cli.options import Where
from sbkube.cli.running import load_project
from sbkube.config.project import Project


async def looked_at(
    where: Where,
    environ: dict[str, str],
    *,
    target: str | None = None,
    helm: str | None = None,
    apps: tuple[str, ...] = (),
    labels: tuple[str, ...] = (),
    offline: bool = False,
) -> tuple[Project, Request]:
    """The project, and the request that the options of `app_options` and `cluster_options` make."""
    project = await load_project(where, goes_on=False, environ=environ)
    asked = Asked(apps=apps, labels=labels)
    return project, Request(asked, target=target, state_dir=where.state_dir, helm=helm, is_offline=offline)


def id_document(id: Any) -> dict[str, Any]:
    """An `ObjectId` as data."""
    return {
        "apiVersion": id.api_version,
        "kind": id.kind,
        "namespace": id.namespace or None,
        "name": id.name,
    }


def object_document(change: Any) -> dict[str, Any]:
    """An `ObjectChange` as data."""
    return {
        "change": change.kind,
        **id_document(change.object),
        "release": change.release,
        "diff": list(change.lines),
        "refused": change.why,
    }


def release_document(one: Any) -> dict[str, Any]:
    """A `LiveRelease` as data."""
    readiness = one.readiness
    return {
        "app": one.app,
        "release": one.release,
        "namespace": one.namespace,
        "revision": one.revision,
        "status": one.status.value if one.status is not None else None,
        "is_as_recorded": one.is_as_recorded if one.recorded is not None else None,
        "is_ours": one.is_ours,
        "is_ready": readiness.is_ready and not one.missing,
        "workloads": [
            {"kind": w.kind, "namespace": w.namespace, "name": w.name, "ready": w.ready, "desired": w.desired}
            for w in readiness.workloads
        ],
        "failed_jobs": list(readiness.failed_jobs),
        "drift": [object_document(change) for change in one.drift],
    }
