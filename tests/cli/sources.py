"""What tests of remote sources look at: what is served to a project, and what became of it."""

from __future__ import annotations

from typing import Any

from servers.charts import Chart, repository
from servers.http import Server

from .project import ProjectFolder


def serve(server: Server, *charts: Chart) -> None:
    for path, content in repository(*charts).items():
        server.files[path] = content


def rendered(project: ProjectFolder, app: str) -> str:
    return (project.root / "rendered" / app / "manifests.yaml").read_text()


def metadata(project: ProjectFolder, step: str) -> dict[str, Any]:
    found: dict[str, Any] = project("status", "--output", "json").document["steps"][step]["metadata"]
    return found
