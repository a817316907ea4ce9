"""The commands that change releases, as far as no cluster is needed: what they refuse and what to write."""

from __future__ import annotations

import pytest

from .project import ProjectFolder


@pytest.mark.parametrize("args", [["delete"], ["prune"], ["rollback", "a"], ["upgrade", "--no-install"]])
def test_a_folder_has_no_releases_to_change(project: ProjectFolder, args: list[str]) -> None:
    project.config("a: {type: helm, chart: ./chart}\n")
    ended = project(*args)
    assert (ended.code, ended.out) == (2, "")
    assert "and a folder has no releases\nhint: `--target cluster` means those in the cluster" in ended.err
    assert not project.state.exists()


@pytest.mark.parametrize(
    "old",
    [
        ["17", "--target", "16"],
        ["--list"],
        ["17", "--scope", "phase"],
        ["17", "--phase", "p1"],
        ["17", "--force"],
        ["--cluster", "c", "-n", "5"],
    ],
)
def test_a_rollback_as_older_versions_spelled_it_is_told_what_to_write(
    project: ProjectFolder, old: list[str]
) -> None:
    project.config("a: {type: noop}\n")
    ended = project("rollback", *old)
    assert ended.code == 2
    assert "write `sbkube rollback APP --to REVISION` for one app, or `sbkube rollback --run N`" in ended.err


def test_a_rollback_needs_an_app_or_a_run_and_a_run_takes_no_revision(project: ProjectFolder) -> None:
    project.config("a: {type: noop}\n")
    assert "what to roll back?" in project("rollback").err
    assert "--to is one revision of one app" in project("rollback", "a", "--run", "1", "--to", "2").err


def test_upgrade_refuses_apps_of_other_types_with_their_line(project: ProjectFolder) -> None:
    project.config("a: {type: exec, commands: ['true']}\n")
    ended = project("upgrade", "--app", "a")
    assert ended.code == 2
    assert "config.yaml:4: app 'a' is of type exec, and `upgrade` is for helm apps" in ended.err
    assert "hint: `sbkube deploy --app a`" in ended.err
    assert "no app of the project is of type helm" in project("upgrade").err
