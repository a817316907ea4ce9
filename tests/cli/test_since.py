"""What `status` says of releases that were deleted or rolled back after the run; the cluster is a fake one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sbkube import api

from .deployed import Deployed
from .project import ProjectFolder


@pytest.fixture
def deployed(project: ProjectFolder) -> Deployed:
    made = Deployed(project)
    assert made.run()
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
    calls = deployed.cluster.calls
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
