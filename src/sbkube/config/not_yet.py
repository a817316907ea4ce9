"""What is valid and refused all the same, because nothing here does it yet."""

from __future__ import annotations

from sbkube.apps.base import App
from sbkube.apps.yaml import YamlApp
from sbkube.config.files import groups_in
from sbkube.config.project import Project
from sbkube.errors import NotYet

TYPES = ("hook",)


def refuse_not_yet(project: Project) -> None:
    """Raises NotYet for the first such thing of an enabled app, or of the project."""
    if project.phases:
        raise NotYet("a project with phases", where=project.where("phases"))
    if project.app_dirs:
        raise NotYet("a project of several app groups (`app_dirs`)", where=project.where("app_dirs"))
    if not project.apps and (groups := groups_in(project.folder)):
        raise NotYet(f"a project of several app groups ({', '.join(groups)})", where=project.where())
    if project.hooks:
        raise NotYet("a hook around a command", where=project.where("hooks"))
    for name, app in project.apps.items():
        if app.enabled:
            _refuse_app(project, name, app)


def _refuse_app(project: Project, name: str, app: App) -> None:
    if app.type in TYPES:
        raise NotYet(f"an app of type {app.type} ({name!r})", where=project.position(name, "type"))
    if app.hooks is not None:
        raise NotYet(f"a hook of an app ({name!r})", where=project.position(name, "hooks"))
    if isinstance(app, YamlApp) and app.is_remote:
        index = next(n for n, item in enumerate(app.manifests) if app.is_elsewhere(item))
        what = f"a manifest from elsewhere ({app.manifests[index]!r} of app {name!r})"
        raise NotYet(what, where=project.position(name, "manifests", index))
