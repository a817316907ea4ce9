"""What would surprise: secrets cut into lines, links, odd patterns, an emptied project, an empty variable."""

from __future__ import annotations

import pytest

from .project import ProjectFolder, manifest


def test_no_line_of_a_secret_and_no_rest_of_a_longer_one_is_logged(project: ProjectFolder) -> None:
    project.config(
        "a:\n    type: exec\n"
        "    env: {A: {from_env: SHORT}, B: {from_env: LONG}, KEY: {from_env: PEM}, SHORT: plain}\n"
        '    commands: [\'echo "$B"; echo "$A"; printf "%s\\n" "$KEY"\']\n'
    )
    secrets = {"SHORT": "hunter2", "LONG": "hunter2-suffix", "PEM": "begin\nmiddlesecretline\nend"}
    ended = project("run", env=secrets)
    assert ended.code == 0, ended
    logged = ended.err + project("logs", "a").out
    for part in ("hunter2", "suffix", "middlesecretline"):
        assert part not in logged


def test_a_file_behind_a_link_in_a_folder_of_manifests_is_an_input(project: ProjectFolder) -> None:
    project.config("a: {type: yaml, manifests: [all]}\n")
    project.write({"lib/one.yaml": manifest("one"), "all/two.yaml": manifest("two")})
    (project.root / "all/one.yaml").symlink_to("../lib/one.yaml")
    assert project("run").code == 0
    project.write({"lib/one.yaml": manifest("other")})
    assert project("run", "--resume").code == 0
    assert "other" in (project.root / "rendered/a/manifests.yaml").read_text()


@pytest.mark.parametrize("pattern", ["k8s/**.yaml", "/elsewhere/*.yaml", "../*.yaml"])
def test_a_pattern_that_cannot_be_used_is_told_with_its_line(project: ProjectFolder, pattern: str) -> None:
    project.config(f"a: {{type: yaml, manifests: ['{pattern}']}}\n")
    ended = project("validate")
    assert ended.code == 2
    assert "Traceback" not in ended.err


def test_an_emptied_project_does_not_empty_the_target(project: ProjectFolder) -> None:
    project.config("a: {type: yaml, manifests: [a.yaml]}\n")
    project.write({"a.yaml": manifest("a")})
    assert project("run").code == 0
    project.config("only: {type: noop}\n")
    assert project("run").code == 0
    assert (project.root / "rendered/a/manifests.yaml").exists()


@pytest.mark.parametrize("option", ["--only", "--from-step", "--to-step", "--continue-from", "--target"])
def test_an_empty_variable_is_not_everything(project: ProjectFolder, option: str) -> None:
    project.config("a: {type: exec, commands: ['echo a >> ledger']}\n")
    assert project("run", option, "").code == 2
    assert project.new_effects() == []


def test_stages_that_exclude_each_other_are_refused(project: ProjectFolder) -> None:
    project.config("a: {type: exec, commands: ['echo a >> ledger']}\n")
    ended = project("run", "--from-step", "build", "--to-step", "prepare")
    assert ended.code == 2
    assert "nothing is selected" in ended.err
