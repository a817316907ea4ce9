"""What `status` says of releases that were deleted or rolled back after the run; the cluster is a fake one."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import anyio
import pytest

from sbkube import api
from sbkube.api import Asked, Request
from sbkube.helm.fake import FakeHelm

from .project import ProjectFolder

KUBECONFIG: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Config",
    "current-context": "fake",
    "contexts": [{"name": "fake", "context": {"cluster": "fake", "user": "fake"}}],
    "clusters": [{"name": "fake", "cluster": {"server": "https://127.0.0.1:1"}}],
    "users": [{"name": "fake", "user": {}}],
}
APPS = """\
web: {type: yaml, manifests: [a.yaml]}
db: {type: yaml, manifests: [b.yaml]}
"""


@dataclass
class Deployed:
    """The apps in a fake cluster, as a program deploys them."""

    folder: ProjectFolder
    helm: FakeHelm = field(default_factory=FakeHelm)
    profile: str | None = None

    def run(self, *apps: str, resume: bool = False) -> bool:
        """Whether the run is complete."""
        request = Request(Asked(resume=resume, apps=apps), helm=self.helm)
        outcome = self._call(partial(api.run, request=request))
        outcome.state.raise_for_failures()
        return bool(outcome.state.is_complete)

    def change(self, operation: Callable[..., Any], *apps: str, **options: Any) -> None:
        request = Request(Asked(apps=apps), helm=self.helm)
        done = self._call(partial(operation, request=request, **options))
        assert done.is_complete

    def make_namespace(self, name: str) -> None:
        self.helm.cluster("fake").put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})

    def _call(self, operation: Callable[..., Any]) -> Any:
        environ = {"PATH": os.environ["PATH"], "KUBECONFIG": str(self.folder.root / "kubeconfig")}
        project = api.load(self.folder.root, profile=self.profile, environ=environ)
        return anyio.run(partial(operation, project, environ=environ))


@pytest.fixture
def deployed(project: ProjectFolder) -> Deployed:
    config_map = "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {}}}\n"
    project.config(APPS, target="target: cluster\n")
    project.write(
        {
            "kubeconfig": json.dumps(KUBECONFIG),
            "a.yaml": config_map.format("a"),
            "b.yaml": config_map.format("b"),
            "config-prod.yaml": "{}",
        }
    )
    made = Deployed(project)
    made.make_namespace("shop")
    made.run()
    return made


def rows(project: ProjectFolder, *args: str) -> dict[str, str]:
    """What stands behind the stages of each app."""
    table = project("status", *args).out.splitlines()[3:]
    return {line.split()[0]: line.rpartition("done")[2].strip() for line in table}


def test_what_was_deleted_is_said_until_it_is_deployed_again(
    project: ProjectFolder, deployed: Deployed
) -> None:
    assert rows(project) == {"web": "", "db": ""}
    assert "since" not in project("status", "-o", "json").document
    deployed.change(api.delete, "web")
    told = project("status")
    assert rows(project)["web"].startswith("deleted since (20")
    assert rows(project)["db"] == ""
    assert "`sbkube run --resume` deploys again what was deleted or rolled back since" in told.err
    (one,) = project("status", "-o", "json").document["since"]
    assert (one["app"], one["release"], one["namespace"], one["to"]) == ("web", "web", "shop", None)
    calls = deployed.helm.cluster("fake").calls
    calls.clear()
    assert deployed.run(resume=True)
    assert [call.what for call in calls] == ["install"]
    assert rows(project) == {"web": "", "db": ""}
    assert project("status").err == ""


def test_a_new_run_of_another_app_does_not_hide_it(project: ProjectFolder, deployed: Deployed) -> None:
    deployed.change(api.delete, "web")
    assert not deployed.run("db")
    table = project("status").out
    assert "deleted since" in next(line for line in table.splitlines() if line.startswith("web"))


def test_of_what_was_rolled_back_the_revision_is_said(project: ProjectFolder, deployed: Deployed) -> None:
    project.edit("a.yaml", "name: a", "name: other")
    deployed.run()
    deployed.change(api.rollback, app="web", to=1)
    assert rows(project)["web"].startswith("rolled back to revision 1 since (20")


def test_what_was_done_to_another_profile_is_not_said(project: ProjectFolder, deployed: Deployed) -> None:
    other = replace(deployed, profile="prod")
    project.write({"config-prod.yaml": "namespace: prod\n"})
    other.make_namespace("prod")
    other.run()
    deployed.change(api.delete, "web")
    assert "deleted" not in project("status", "--profile", "prod").out
    other.change(api.delete, "db")
    said = project("status", "--profile", "prod").out
    assert "deleted since" in next(line for line in said.splitlines() if line.startswith("db"))


@pytest.mark.parametrize("broken", ["", "[", "[1]", '[{"app": "web"}]', "{}"])
def test_a_record_that_cannot_be_read_says_nothing(
    project: ProjectFolder, deployed: Deployed, broken: str
) -> None:
    deployed.change(api.delete, "web")
    (project.state / "since.json").write_text(broken)
    assert rows(project) == {"web": "", "db": ""}
    deployed.change(api.delete, "db")
    assert rows(project)["db"].startswith("deleted since")
