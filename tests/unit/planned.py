"""A project of a few apps, and its steps."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from sbkube.config.loading import load_project
from sbkube.config.project import Project
from sbkube.engine.stores.base import Plan
from sbkube.planning import StagePlan, plan_stages, readings

APPS = """\
  db: {type: exec, commands: ['true'], labels: {team: data}}
  web: {type: helm, chart: ./web, values: [v.yaml], depends_on: [db], labels: {team: shop}, time_limit: 5s}
  objects: {type: yaml, manifests: [o.yaml], depends_on: [{app: web, stage: template}]}
  gate: {type: noop, depends_on: [objects, web]}
  off: {type: exec, enabled: false, commands: ['true']}
"""


def project(folder: Path, apps: str = APPS) -> Project:
    (folder / "config.yaml").write_text(f"namespace: shop\napps:\n{apps}")
    (folder / "o.yaml").write_text("a: b\n")
    return load_project(folder, environ={})


def planned(
    project: Project,
    digests: Mapping[str, str] | None = None,
    *,
    target: str = "rendered",
    secrets: Mapping[str, str] | None = None,
    earlier: Plan | None = None,
) -> dict[str, StagePlan]:
    read = readings(project)
    paths = {file.path for reading in read.values() for file in reading.files if file.path is not None}
    stages = plan_stages(
        project,
        read,
        {path: (digests or {}).get(path.name, "digest") for path in paths},
        target={"kind": "directory", "path": target},
        secret=lambda name: (secrets or {}).get(name),
        earlier=earlier,
    )
    return {stage.id: stage for stage in stages}
