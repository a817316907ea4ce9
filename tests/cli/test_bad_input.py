"""One clear message with file and line where there is one, the right exit code, and nothing half-written."""

from __future__ import annotations

import os
import resource
from pathlib import Path

import pytest

from .project import ProjectFolder, chart, manifest

A = "a: {type: exec, commands: ['echo a >> ledger']}\n"


def refused(project: ProjectFolder, *args: str, code: int = 2) -> str:
    """What a run said that changed nothing."""
    before = _everything(project.root)
    ended = project("run", *args)
    assert ended.code == code, ended
    assert ended.err.count("error: ") + ended.err.count("Error: ") == 1
    assert "Traceback" not in ended.err
    assert _everything(project.root) == before
    return ended.err


def _everything(folder: Path) -> dict[str, bytes | None]:
    return {str(path): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


CONFIGS = {
    "a wrong type": (
        "namespace: [x]\napps: {}\n",
        ["config.yaml:1", "namespace"],
    ),
    "an unknown key": (
        "apps:\n  a:\n    type: exec\n    comands: [x]\n",
        ["config.yaml", "line 4", "`comands`", "did you mean `commands`?"],
    ),
    "an unknown type": (
        "apps:\n  a: {type: hlm, chart: x}\n",
        ["config.yaml:2", "'hlm'", "helm"],
    ),
    "an unknown app in depends_on": (
        "apps:\n  database: {type: noop}\n  web: {type: noop, depends_on: [databse]}\n",
        ["config.yaml:3", "'databse'", "did you mean `database`?"],
    ),
    "a circle": (
        "apps:\n  a: {type: noop, depends_on: [b]}\n  b: {type: noop, depends_on: [a]}\n",
        ["config.yaml:2", "a -> b -> a"],
    ),
    "no YAML": (
        "apps:\n  a: {type: noop\n",
        ["config.yaml:"],
    ),
    "apps as a list": (
        "apps:\n  - {name: a, type: install-helm}\n",
        ["config.yaml:1", "`apps` must be a mapping"],
    ),
    "a command that cannot be followed": (
        "apps:\n  a: {type: exec, commands: ['true'], on_interrupt: verify}\n",
        ["config.yaml:2", "`on_interrupt`", "`rerun` or `ask`"],
    ),
}


@pytest.mark.parametrize("what", CONFIGS)
def test_a_config_that_cannot_be_taken_is_refused_with_its_line(project: ProjectFolder, what: str) -> None:
    text, told = CONFIGS[what]
    project.write({"config.yaml": text})
    said = refused(project)
    for part in told:
        assert part in said


def test_a_missing_config_says_where_it_was_looked_for(project: ProjectFolder) -> None:
    assert "config.yaml" in refused(project)
    assert "no file 'other.yaml'" in refused(project, "--config-file", "other.yaml")
    assert "nowhere" in refused(project, "nowhere")
    project.config(A)
    project.write({"notes.md": ""})
    assert "hint: files there: config.yaml\n" in refused(project, "--config-file", "other.yaml")
    assert "no file 'nope'" in refused(project, "--sources", "nope")
    assert "there is no profile 'prod'" in refused(project, "--profile", "prod")


NOT_YET = {
    "hook": "{type: hook, tasks: []}",
    "manifest from elsewhere": "{type: yaml, manifests: [a.yaml, 'https://example.org/a.yaml']}",
}


@pytest.mark.parametrize("what", NOT_YET)
def test_what_is_not_there_yet_is_refused_with_its_line_unless_disabled(
    project: ProjectFolder, what: str
) -> None:
    project.config(A + f"x: {NOT_YET[what]}\n")
    said = refused(project)
    assert "config.yaml:5: " in said
    assert "is not supported yet" in said
    project.edit("config.yaml", "x: {", "x: {enabled: false, ")
    assert project("run").code == 0


def test_a_missing_values_file_fails_its_step_and_is_named_beforehand(project: ProjectFolder) -> None:
    project.config("web: {type: helm, chart: ./charts/web, values: [vales.yaml]}\n" + A)
    project.write(chart("web"))
    for command in ("validate", "plan"):
        ended = project(command)
        assert ended.code == (2 if command == "validate" else 0)
        assert "config.yaml:4: values file 'vales.yaml' is missing, so web:template would fail" in ended.err
    assert not project.state.exists()
    ended = project("run")
    assert ended.code == 1
    assert "web:template failed" in ended.err
    assert "config.yaml:4: values file 'vales.yaml' is missing" in ended.err
    assert "looked at:" in ended.err
    assert project.statuses("web:build", "web:deploy", "a:deploy") == ["completed", "blocked", "completed"]


@pytest.mark.parametrize(
    ("app", "step", "told"),
    [
        ("{type: helm, chart: ./charts/none}", "web:prepare", "config.yaml:4: chart './charts/none'"),
        ("{type: yaml, manifests: [none.yaml]}", "web:template", "config.yaml:4: manifest 'none.yaml'"),
        ("{type: yaml, manifests: ['none/*.yaml']}", "web:template", "config.yaml:4: manifest 'none/*.yaml'"),
        (
            "{type: helm, chart: ./charts/web, overrides: [none]}",
            "web:build",
            "config.yaml:4: override 'overrides/web/none'",
        ),
    ],
)
def test_a_missing_file_of_any_kind_fails_the_step_that_reads_it(
    project: ProjectFolder, app: str, step: str, told: str
) -> None:
    project.config(f"web: {app}\n")
    project.write(chart("web"))
    assert f"{told} is missing, so {step} would fail" in project("validate").err
    ended = project("run")
    assert ended.code == 1
    assert f"{told} is missing" in ended.err
    assert project.statuses(step) == ["failed"]


def test_a_broken_template_is_told_with_its_file_and_line(project: ProjectFolder) -> None:
    project.config("web: {type: helm, chart: ./charts/web}\n" + A)
    project.write(chart("web", "a: b\nc: {{ .Values.x | nope }}\n"))
    ended = project("run")
    assert ended.code == 1
    assert "config.yaml:4: chart './charts/web'" in ended.err
    assert "web/templates/config.yaml:2" in ended.err
    assert not (project.root / "rendered/web").exists()


@pytest.mark.parametrize(
    ("text", "told"),
    [("a: b\n", "no `apiVersion`"), ("- x\n", "no Kubernetes object"), ("a: [\n", "objects.yaml:")],
)
def test_a_manifest_that_is_none_is_told_with_its_line(project: ProjectFolder, text: str, told: str) -> None:
    project.config("objects: {type: yaml, manifests: [objects.yaml]}\n")
    project.write({"objects.yaml": manifest("fine") + "---\n" + text})
    ended = project("run")
    assert ended.code == 1
    assert told in ended.err
    assert "objects.yaml:" in ended.err


def test_values_that_are_no_mapping_are_told_with_their_file(project: ProjectFolder) -> None:
    project.config("web: {type: helm, chart: ./charts/web, values: [web.yaml]}\n")
    project.write({**chart("web"), "web.yaml": "- a\n"})
    ended = project("run")
    assert ended.code == 1
    assert "web.yaml:1" in ended.err


def test_what_is_there_and_cannot_be_read_is_named_before_anything_runs(project: ProjectFolder) -> None:
    project.config("web: {type: helm, chart: ./charts/web, values: [web.yaml]}\n" + A)
    project.write({**chart("web"), "web.yaml": "a: b\n"})
    unreadable = project.root / "web.yaml"
    if os.geteuid() == 0:  # who may read everything but for this
        unreadable.unlink()
        unreadable.symlink_to("/proc/self/mem")
    else:
        unreadable.chmod(0)
    for command in ("run", "plan"):
        ended = project(command)
        assert ended.code == 2, ended
        assert f"config.yaml:4: cannot read {unreadable}" in ended.err
    ended = project("validate")
    assert ended.code == 2
    assert "config.yaml:4: values file web.yaml: cannot be read: " in ended.err
    assert not project.state.exists()


def test_a_name_that_no_file_can_have_is_refused(project: ProjectFolder) -> None:
    project.config(f"web: {{type: helm, chart: ./charts/web, values: [{'x' * 300}]}}\n" + A)
    project.write(chart("web"))
    assert "file name too long" in refused(project)


def test_a_state_folder_that_cannot_be_one_is_refused(project: ProjectFolder) -> None:
    project.config(A)
    project.write({"file": "x"})
    said = refused(project, "--state-dir", "file", code=5)
    assert "--state-dir" in said
    project.write({".sbkube": "x"})
    refused(project, code=5)


def test_a_target_that_cannot_be_one_is_refused(project: ProjectFolder) -> None:
    project.config("objects: {type: yaml, manifests: [objects.yaml]}\n")
    project.write({"objects.yaml": manifest("a"), "file": "x"})
    ended = project("run", "--target", "file")
    assert ended.code == 2
    assert "cannot be the target: it is a file" in ended.err
    ended = project("run", "--target", ".sbkube/out")
    assert ended.code == 2
    assert "inside the state folder" in ended.err


def test_a_folder_of_somebody_else_is_not_replaced(project: ProjectFolder) -> None:
    project.config("objects: {type: yaml, manifests: [objects.yaml]}\n")
    project.write({"objects.yaml": manifest("a"), "rendered/objects/mine": "x"})
    ended = project("run")
    assert ended.code == 1
    assert "which sbkube did not make" in ended.err
    assert (project.root / "rendered/objects/mine").read_text() == "x"


def _little_space(limit: int) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))


def test_a_disk_that_is_full_ends_with_what_was_and_was_not_saved(project: ProjectFolder) -> None:
    again = "retry: {retries: 99, base: 0s}, commands: ['test -e ok']"
    project.config("".join(f"app-{n}: {{type: exec, {again}}}\n" for n in range(8)))
    ended = project.process("run", preexec_fn=lambda: _little_space(20_000))
    assert ended.code == 5, ended
    assert "Traceback" not in ended.err
    assert "then `sbkube run --resume`: what was saved is not run again" in ended.err
    (project.root / "ok").touch()
    assert project("run", "--resume", "--rerun-interrupted").code == 0
    assert project.view["status"] == "completed"


def test_an_output_that_does_not_fit_fails_its_step(project: ProjectFolder) -> None:
    project.config("big: {type: yaml, manifests: [big.yaml]}\n" + A)
    project.write({"big.yaml": manifest("big", text="x" * 60_000)})
    ended = project.process("run", preexec_fn=lambda: _little_space(40_000))
    assert ended.code == 1, ended
    assert "File too large" in ended.err or "file too large" in ended.err
    assert project.new_effects() == ["a"]
    assert not (project.root / "rendered/big").exists()
    assert project("run", "--resume").code == 0


USAGE = {
    "--timeout soon": "`--timeout` must be text such as `90s` or `1h30m`",
    "--timeout -1s": "--timeout",
    "--max-parallel 0": "--max-parallel",
    "--no-parallel --max-parallel 3": "--no-parallel and --max-parallel 3 exclude each other",
    "--only templat": "did you mean 'template'?",
    "--from-step all": "stages are prepare, build, template, deploy",
    "--continue-from wbe": "did you mean",
    "--app wbe": "there is no app 'wbe'",
    "-l team=sop": "no app has the label 'team=sop'",
    "--resume --retry-failed": "--resume and --retry-failed exclude each other",
    "--resume --continue-from web": "--resume and --continue-from exclude each other",
    "--only build --to-step deploy": "--only is one stage",
    "--rerun-interrupted": "--rerun-interrupted goes with",
    "--output yaml": "'yaml'",
    "--resum": "--resume",
    "--helm nowhere": "'nowhere' is not an executable file",
}


@pytest.mark.parametrize("options", USAGE)
def test_a_command_line_that_makes_no_sense_is_refused(project: ProjectFolder, options: str) -> None:
    project.config("web: {type: helm, chart: ./charts/web, labels: {team: shop}}\n" + A)
    project.write(chart("web"))
    project("run")
    assert USAGE[options] in refused(project, *options.split())


def test_an_unknown_command_names_the_nearest(project: ProjectFolder) -> None:
    ended = project("statsu")
    assert ended.code == 2
    assert "there is no command 'statsu'; did you mean 'status'?" in ended.err


def test_variables_that_make_no_sense_are_refused(project: ProjectFolder) -> None:
    project.config("web: {type: helm, chart: ./charts/web}\n")
    project.write(chart("web"))
    for value in ("many", "0", "-1", "1.5"):
        ended = project("run", env={"SBKUBE_MAX_PARALLEL": value})
        assert ended.code == 2
        assert f"variable SBKUBE_MAX_PARALLEL must be a number from 1 up, not {value!r}" in ended.err
        assert "--max-parallel" not in ended.err
    assert project("run", env={"SBKUBE_HELM": "/nowhere"}).code == 2
    assert project("run", env={"SBKUBE_PROFILE": "none"}).code == 2
    assert not project.state.exists()
