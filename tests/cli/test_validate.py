"""`sbkube validate`: all that would fail, for people and for editors."""

from __future__ import annotations

import pytest

from .project import TARGET, ProjectFolder, chart, manifest


@pytest.fixture
def broken(project: ProjectFolder) -> ProjectFolder:
    project.config(
        "web: {type: helm, chart: ./charts/web, values: [web.yaml, none.yaml]}\n"
        "objects: {type: yaml, manifests: [objects.yaml]}\n"
    )
    project.write({**chart("web"), "web.yaml": "a: [\n", "objects.yaml": manifest("a") + "---\nkind: B\n"})
    return project


TOLD = """\
error: config.yaml:4: values file web.yaml:2:1: is not valid YAML: did not find expected node content, so web:template would fail
error: config.yaml:4: values file 'none.yaml' is missing, so web:template would fail
hint: looked at: {root}/none.yaml, {root}/values/none.yaml, {root}/values/common/none.yaml
error: config.yaml:5: manifest objects.yaml:8: an object has no `apiVersion`, so objects:template would fail
"""


def test_all_that_would_fail_is_told_at_once_with_exit_2(broken: ProjectFolder) -> None:
    ended = broken("validate")
    assert (ended.code, ended.out, ended.err) == (2, "", TOLD.format(root=broken.root))
    assert broken("run").code == 1


def test_findings_as_data_name_where_to_mend_and_what_leads_there(broken: ProjectFolder) -> None:
    ended = broken("validate", "--output", "json")
    assert (ended.code, ended.err) == (2, "")
    config = str(broken.root / "config.yaml")
    first, missing, last = ended.document
    assert first == {
        "file": str(broken.root / "web.yaml"),
        "line": 2,
        "column": 1,
        "message": "values file web.yaml:2:1: is not valid YAML: did not find expected node content",
        "hint": None,
        "app": "web",
        "steps": ["web:template"],
        "named_by": {"file": config, "line": 4},
    }
    assert (missing["file"], missing["line"], missing["column"]) == (config, 4, None)
    assert missing["hint"].startswith("looked at: ")
    assert (last["file"], last["line"]) == (str(broken.root / "objects.yaml"), 8)


def test_without_a_finding_the_data_is_an_empty_list(project: ProjectFolder) -> None:
    project.config("a: {type: noop}\n")
    ended = project("validate", "--output", "json")
    assert (ended.code, ended.out, ended.err) == (0, "[]\n", "")


def test_what_is_wrong_with_the_config_itself_is_data_too(project: ProjectFolder) -> None:
    project.config("a: {type: nop}\nb: {type: exec, comands: [x]}\n")
    ended = project("validate", "--output", "json")
    assert ended.code == 2
    assert [entry["line"] for entry in ended.document] == [4, 5, 5]
    assert ended.document[0]["hint"] == "did you mean `noop`?"
    project.write({"config.yaml": "apps:\n  a: b: c\n"})
    (entry,) = project("validate", "--output", "json").document
    assert (entry["line"], entry["column"]) == (2, 7)
    (project.root / "config.yaml").unlink()
    assert project("validate", "--output", "json").document["error"]["kind"] == "missing_config"


def test_notes_are_told_beside_findings(project: ProjectFolder) -> None:
    project.config(
        "a: {type: yaml, manifests: [none.yaml]}\n", target=TARGET + "settings: {rollback_scope: app}\n"
    )
    told = project("validate").err
    assert "note: config.yaml:3: `rollback_scope` has no effect" in told
    assert "config.yaml:5: manifest 'none.yaml' is missing" in told


@pytest.mark.parametrize("command", [["plan"], ["run", "--dry-run"], ["run"]])
def test_a_helm_that_is_none_ends_a_plan_as_it_ends_a_run(project: ProjectFolder, command: list[str]) -> None:
    project.config("web: {type: helm, chart: ./charts/web}\n")
    project.write(chart("web"))
    for args, env in ((["--helm", "/none"], {}), ([], {"SBKUBE_HELM": "/none"})):
        ended = project(*command, *args, env=env)
        assert ended.code == 2
        assert "'/none' is not an executable file" in ended.err
        assert "hint: `--helm` takes `embedded`, `binary` or the path of a helm" in ended.err
    assert not project.state.exists()
