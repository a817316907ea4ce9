"""Fields that are taken, since users have them, and do not do what their names promise: each is said."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from sbkube.apps.helm import HelmApp
from sbkube.config.problems import Notice, told
from sbkube.config.project import Project

NOT_DONE: Mapping[str, str] = {
    "timeout": "`--timeout` ends a run, `time_limit` an app",
    "execution_order": "every step starts as soon as what it waits for is done",
    "rollback_scope": "nothing is rolled back; `atomic: true` undoes the upgrade of its own app",
    "cleanup_metadata": "manifests are written as they were rendered",
}
_NO_ROLLBACK = (
    "`on_failure: rollback` stops the run as `stop` does; what was deployed stays. "
    "`atomic: true` undoes the upgrade of its own app"
)


def without_effect(project: Project) -> list[str]:
    return told(_notices(project))


def _notices(project: Project) -> Iterator[Notice]:
    settings = project.settings
    if settings.on_failure == "rollback":
        yield Notice(project.where("settings", "on_failure"), _NO_ROLLBACK)
    for name, instead in NOT_DONE.items():
        if name in settings.model_fields_set:
            yield Notice(project.where("settings", name), f"`{name}` has no effect; {instead}")
    if project.lock != "none" and project.target != "cluster":
        text = "`lock` has no effect: it is for a cluster, and the target is a folder"
        yield Notice(project.where("lock"), text)
    for name, app in project.apps.items():
        if isinstance(app, HelmApp) and app.enabled and app.version is not None and not app.is_remote:
            text = "`version` has no effect for a chart of the project; its `Chart.yaml` says which it is"
            yield Notice(project.position(name, "version"), text)
