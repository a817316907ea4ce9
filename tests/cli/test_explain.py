"""Why a step ran and would run: what changed, up to the step that reads it."""

from __future__ import annotations

import pytest

from .project import ProjectFolder, chart


@pytest.fixture
def chain(project: ProjectFolder) -> ProjectFolder:
    """web is rendered by three stages from a chart and values, and again from a file that gen makes."""
    project.config(
        """
        gen: {type: exec, commands: ['cp in.yaml made.yaml']}
        web: {type: helm, chart: ./charts/web, values: [web.yaml, made.yaml], depends_on: [gen]}
        """
    )
    project.write({**chart("web"), "web.yaml": "greeting: hi\n", "in.yaml": "a: b\n"})
    assert project("run").code == 0
    return project


def told_of(project: ProjectFolder, step: str) -> list[str]:
    ended = project("explain", step)
    assert ended.code == 0
    return [line.strip() for line in ended.out.splitlines()]


def test_explain_of_an_app_explains_each_of_its_steps_in_order(chain: ProjectFolder) -> None:
    parts = chain("explain", "web").out.split("\n\n")
    assert [part.splitlines()[0] for part in parts] == [
        "web:prepare",
        "web:build",
        "web:template",
        "web:deploy",
    ]
    assert chain("explain", "gen").out == chain("explain", "gen:deploy").out


def test_explain_names_the_nearest_when_asked_for_something_else(chain: ProjectFolder) -> None:
    for word, hint in {
        "wbe": "did you mean 'web'?",
        "wbe:deploy": "did you mean 'web:deploy'?",
        "web:dploy": "steps of 'web' are: web:prepare, web:build, web:template, web:deploy",
    }.items():
        ended = chain("explain", word)
        assert ended.code == 2
        assert ended.err == f"error: there is no step or app {word!r} in this project\nhint: {hint}\n"


def test_explain_follows_what_changed_up_to_the_step_that_reads_it(chain: ProjectFolder) -> None:
    chain.write({"charts/web/values.yaml": "greeting: other\n"})
    assert told_of(chain, "web:deploy")[-2:] == [
        "`run --resume` would run if web:template changes",
        "changed: chart ./charts/web, which web:prepare reads (through web:build, web:template)",
    ]
    assert told_of(chain, "web:build")[-1] == "changed: chart ./charts/web, which web:prepare reads"
    chain.write({"web.yaml": "greeting: other\n"})
    told = told_of(chain, "web:deploy")
    assert told[-1] == "changed: values file web.yaml, which web:template reads"
    assert told_of(chain, "web:template")[-1] == "`run --resume` would run: changed: values file web.yaml"


def test_explain_names_what_a_command_reads_when_only_its_result_will_tell(chain: ProjectFolder) -> None:
    chain.edit("config.yaml", "cp in", "cp -f in")
    assert told_of(chain, "web:deploy")[-1] == (
        "changed: commands, which gen:deploy reads (through web:template)"
    )


def test_explain_says_what_had_changed_also_after_the_run(chain: ProjectFolder) -> None:
    chain.write({"web.yaml": "greeting: other\n"})
    assert chain("run", "--resume").code == 0
    told = told_of(chain, "web:deploy")
    assert "why: web:template changed" in told
    assert "changed since run 1: values file web.yaml, which web:template reads" in told
    assert "changed since run 1: values file web.yaml" in told_of(chain, "web:template")
    kept = told_of(chain, "web:build")
    assert kept[1].endswith(", kept from run 1")
    assert not any("changed" in line or "why" in line for line in kept)


def test_explain_names_a_cause_that_is_no_change(chain: ProjectFolder) -> None:
    chain.edit("config.yaml", "cp in.yaml made.yaml", "exit 1")
    assert chain("run", "--resume").code == 1
    told = told_of(chain, "web:deploy")
    assert "blocked by gen:deploy" in told
    assert "`run --resume` would run: was blocked by gen:deploy" in told


def test_explain_knows_a_step_that_left_the_project(chain: ProjectFolder) -> None:
    chain.config("web: {type: helm, chart: ./charts/web, values: [web.yaml]}\n")
    assert told_of(chain, "gen")[-1] == "it is no longer in the project"
