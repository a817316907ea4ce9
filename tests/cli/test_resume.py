"""What `--resume`, `--retry-failed` and `--continue-from` run, proven by what the commands left behind."""

from __future__ import annotations

import os
import select
import shlex
import shutil

import pytest

from .project import ProjectFolder, chart, effect, manifest

FAILS_AT_FIRST = "test -e {name}.ok && echo {name} >> ledger"


def fails_at_first(name: str, *needs: str) -> str:
    command = FAILS_AT_FIRST.format(name=name)
    return f"{name}: {{type: exec, depends_on: [{', '.join(needs)}], commands: ['{command}']}}\n"


def follows(name: str, *needs: str) -> str:
    return f"{name}: {{type: exec, depends_on: [{', '.join(needs)}], commands: ['echo {name} >> ledger']}}\n"


BRANCHES = (
    follows("a1")
    + follows("a2", "a1")
    + fails_at_first("b1")
    + follows("b2", "b1")
    + follows("b3", "b2")
    + follows("c1")
    + follows("c2", "c1")
)


@pytest.fixture
def branches(project: ProjectFolder) -> ProjectFolder:
    """Three independent branches, of which the second has failed."""
    project.config(BRANCHES)
    ended = project("run")
    assert ended.code == 1
    assert sorted(project.new_effects()) == ["a1", "a2", "c1", "c2"]
    return project


def mend(project: ProjectFolder, name: str) -> None:
    (project.root / f"{name}.ok").touch()


# A failure in one of three branches


def test_a_failure_blocks_its_branch_by_name_and_no_other(branches: ProjectFolder) -> None:
    steps = branches.view["steps"]
    assert {step["status"] for name, step in steps.items() if name[0] in "ac"} == {"completed"}
    assert steps["b1:deploy"]["status"] == "failed"
    assert [steps[f"b{n}:deploy"]["status"] for n in (2, 3)] == ["blocked", "blocked"]
    assert [steps[f"b{n}:deploy"]["blocked_by"] for n in (2, 3)] == ["b1:deploy", "b1:deploy"]
    assert branches.view["status"] == "failed"
    assert branches.view["next"] == "b1:deploy"
    assert "blocked by b1:deploy" in branches("status").out


@pytest.mark.parametrize("option", ["--resume", "--retry-failed"])
def test_going_on_runs_what_failed_and_what_that_blocked_and_nothing_else(
    branches: ProjectFolder, option: str
) -> None:
    assert branches("run", option).code == 1
    assert branches.new_effects() == []
    mend(branches, "b1")
    ended = branches("run", option)
    assert ended.code == 0
    assert "run 1 goes on: 3 of 7 steps" in ended.err
    assert branches.new_effects() == ["b1", "b2", "b3"]
    assert branches.view["status"] == "completed"
    assert [row["status"] for row in branches("history", "--output", "json").document] == ["completed"]


def test_nothing_left_to_do_is_said_and_is_success(branches: ProjectFolder) -> None:
    mend(branches, "b1")
    branches("run", "--resume")
    branches.new_effects()
    for option in ("--resume", "--retry-failed"):
        ended = branches("run", option)
        assert ended.code == 0
        assert "nothing left to do: all 7 steps of run 1 are completed" in ended.err
    assert branches.new_effects() == []


def test_an_edit_elsewhere_forgets_no_failure(branches: ProjectFolder) -> None:
    branches.config(BRANCHES.replace("echo c2", "echo c2 anew") + follows("d1"))
    ended = branches("run", "--app", "c2", "--resume")
    assert ended.code == 0, ended.err
    assert "run 2 takes over from run 1, whose plan differs" in ended.err
    assert branches.new_effects() == ["c2 anew"]
    statuses = branches.statuses("b1:deploy", "b2:deploy", "d1:deploy")
    assert statuses == ["failed", "blocked", "pending"]
    mend(branches, "b1")
    assert branches("run", "--retry-failed").code == 0
    assert branches.new_effects() == ["b1", "b2", "b3"]
    assert branches("run", "--resume").code == 0
    assert branches.new_effects() == ["d1"]


def test_a_failed_step_runs_again_by_the_edit_that_mends_it(branches: ProjectFolder) -> None:
    branches.config(BRANCHES.replace("test -e b1.ok &&", "true &&"))
    ended = branches("run", "--retry-failed")
    assert ended.code == 0, ended.err
    assert branches.new_effects() == ["b1", "b2", "b3"]
    assert "run 2 takes over from run 1, whose plan differs" in ended.err
    assert "changed for b1:deploy" not in ended.err  # it never completed, so nothing of it changed


def test_retry_failed_names_other_steps_whose_inputs_changed_and_does_not_run_them(
    branches: ProjectFolder,
) -> None:
    mend(branches, "b1")
    branches.config(BRANCHES.replace("echo c2", "echo c2 anew"))
    ended = branches("run", "--retry-failed")
    assert ended.code == 0
    assert branches.new_effects() == ["b1", "b2", "b3"]
    assert "changed and not run now: c2:deploy" in ended.err
    assert branches.view["status"] == "unfinished"
    assert branches("run", "--resume").code == 0
    assert branches.new_effects() == ["c2 anew"]


def test_a_fresh_run_counts_also_when_a_later_resume_starts_its_steps(project: ProjectFolder) -> None:
    project.config(follows("a") + fails_at_first("b") + follows("c", "b"))
    mend(project, "b")
    assert project("run").code == 0
    project.new_effects()
    (project.root / "b.ok").unlink()
    assert project("run").code == 1
    mend(project, "b")
    assert project("run", "--resume").code == 0
    assert project.new_effects() == ["a", "b", "c"]


# Without a run


def test_resume_without_a_run_starts_one_and_says_so(project: ProjectFolder) -> None:
    project.config(effect("a"))
    ended = project("run", "--resume")
    assert ended.code == 0
    assert "there is no earlier run, so this is a new one" in ended.err
    assert project.new_effects() == ["a"]


@pytest.mark.parametrize("option", [["--retry-failed"], ["--continue-from", "deploy"]])
def test_what_needs_a_run_is_refused_without_one(project: ProjectFolder, option: list[str]) -> None:
    project.config(effect("a"))
    ended = project("run", *option, "--app", "a", "--target", "out")
    assert ended.code == 2
    assert "hint: `sbkube run --app a --target out` starts one" in ended.err
    assert project.new_effects() == []


# Stages


def test_a_run_of_one_stage_is_unfinished_and_resume_goes_on_with_the_next(project: ProjectFolder) -> None:
    project.config("web: {type: helm, chart: ./charts/web}\n" + follows("after", "web"))
    project.write(chart("web"))
    ended = project("run", "--only", "prepare")
    assert ended.code == 0
    assert "left for later" in ended.err
    assert project.view["status"] == "unfinished"
    assert project.view["next"] == "web:build"
    assert project.new_effects() == []
    assert project.runs("--resume") == ["after:deploy", "web:build", "web:deploy", "web:template"]
    assert project.view["run"] == 1
    assert project.view["status"] == "completed"


def test_each_stage_has_a_command_and_together_they_make_a_run(project: ProjectFolder) -> None:
    project.config("web: {type: helm, chart: ./charts/web}\n" + follows("after", "web"))
    project.write(chart("web"))
    assert project("prepare").code == 0
    for stage in ("build", "template", "deploy"):
        assert project(stage, "--resume").code == 0, stage
    assert project.view["run"] == 1
    assert project.view["status"] == "completed"
    assert project.new_effects() == ["after"]


def test_a_later_stage_alone_takes_the_earlier_ones_over(project: ProjectFolder) -> None:
    project.config("web: {type: helm, chart: ./charts/web}\n" + follows("after", "web"))
    project.write(chart("web"))
    project("run")
    assert project("build").code == 0
    assert project.statuses("web:prepare", "web:build", "web:template") == [
        *("completed", "completed", "pending"),
    ]
    assert project.runs("--only", "deploy") == ["after:deploy", "web:deploy"]
    project.edit("charts/web/values.yaml", "hello", "changed")
    ended = project("deploy")
    assert ended.code == 2
    assert "web:deploy" in ended.err
    assert "web:template" in ended.err
    assert "`sbkube run --only deploy --with-needs` runs them too" in ended.err
    assert project("deploy", "--with-needs").code == 0
    assert "changed" in (project.root / "rendered/web/manifests.yaml").read_text()


# A chart that is mended


def test_a_missing_override_that_is_mended_goes_on_with_the_build(project: ProjectFolder) -> None:
    project.config(
        "web: {type: helm, chart: ./charts/web, overrides: [values.yaml]}\n"
        "other: {type: helm, chart: ./charts/web}\n" + follows("after", "web")
    )
    project.write(chart("web"))
    ended = project("run")
    assert ended.code == 1
    assert "config.yaml:4: override 'overrides/web/values.yaml' is missing" in ended.err
    assert project.statuses("other:deploy", "web:prepare", "web:build") == [
        *("completed", "completed", "failed"),
    ]
    project.write({"overrides/web/values.yaml": "greeting: overridden\n"})
    assert project.runs("--retry-failed") == ["after:deploy", "web:build", "web:deploy", "web:template"]
    assert "overridden" in (project.root / "rendered/web/manifests.yaml").read_text()


def test_a_template_mended_in_the_chart_runs_the_charts_own_stages_again(project: ProjectFolder) -> None:
    project.config(
        "web: {type: helm, chart: ./charts/web}\nother: {type: helm, chart: ./charts/other}\n"
        + follows("after", "web")
    )
    project.write({**chart("web", "a: {{ .Values.greeting | nothing }}\n"), **chart("other")})
    ended = project("run")
    assert ended.code == 1
    assert "web/templates/config.yaml:1" in ended.err
    project.write(chart("web"))
    assert project.runs("--retry-failed") == [
        *("after:deploy", "web:build", "web:deploy", "web:prepare", "web:template"),
    ]
    assert project.view["status"] == "completed"


# Inputs that changed


@pytest.fixture
def values(project: ProjectFolder) -> ProjectFolder:
    project.config(
        """
        db: {type: helm, chart: ./charts/web, values: [db.yaml]}
        web: {type: helm, chart: ./charts/web, values: [web.yaml], depends_on: [db]}
        all: {type: noop, depends_on: [web]}
        """
    )
    project.write({**chart("web"), "db.yaml": "greeting: db\n", "web.yaml": "greeting: web\n"})
    assert project("run").code == 0
    return project


def test_an_edited_values_file_runs_what_reads_it_and_not_its_neighbours(values: ProjectFolder) -> None:
    values.edit("db.yaml", "greeting: db", "greeting: changed")
    assert "changed: values file db.yaml" in values("explain", "db:template").out
    told = values("run", "--resume", "--dry-run").out
    assert "run                         db:template   changed: values file db.yaml" in told
    assert "run if db:template changes  db:deploy" in told
    assert "keep" in told
    assert values.runs("--resume") == ["db:deploy", "db:template"]
    assert "changed" in (values.root / "rendered/db/manifests.yaml").read_text()
    assert "changed since run 1: values file db.yaml" in values("explain", "db:template").out


def test_a_comment_runs_what_reads_the_file_and_nothing_that_reads_only_its_output(
    values: ProjectFolder,
) -> None:
    values.edit("db.yaml", "greeting: db", "greeting: db  # a comment")
    ended = values("run", "--resume")
    assert ended.code == 0
    assert "= db:deploy unchanged" in ended.err
    assert "changed for db:template: values file db.yaml" in ended.err
    steps = values.view["steps"]
    assert steps["db:deploy"]["metadata"]["reused_from"] == 1
    assert "reused_from" not in steps["db:template"]["metadata"]
    assert values.runs("--resume") == []


def test_an_edit_that_is_taken_back_runs_nothing(values: ProjectFolder) -> None:
    values.edit("db.yaml", "greeting: db", "greeting: other")
    values.edit("db.yaml", "greeting: other", "greeting: db")
    assert values.runs("--resume") == []


def test_a_limit_or_the_order_of_a_mapping_is_no_input(values: ProjectFolder) -> None:
    values.config(
        """
        all: {type: noop, depends_on: [web]}
        web: {depends_on: [db], values: [web.yaml], chart: ./charts/web, type: helm, time_limit: 10m}
        db: {type: helm, chart: ./charts/web, values: [db.yaml], retry: {retries: 5}}
        """
    )
    assert values.runs("--resume") == []


def test_output_that_is_gone_is_made_again_and_why_is_told(values: ProjectFolder) -> None:
    shutil.rmtree(values.state / "out/web")
    plan = values("plan", "--resume").out
    assert "its output is missing or not what it should be" in plan
    assert "keep" in plan
    assert values.runs("--resume") == ["web:build", "web:prepare", "web:template"]
    assert values.runs("--resume") == []


def test_a_folder_of_the_target_that_was_edited_by_hand_is_deployed_again(values: ProjectFolder) -> None:
    deployed = values.root / "rendered/web/manifests.yaml"
    right = deployed.read_text()
    for damage in (lambda: deployed.write_text("edited: by hand\n"), lambda: shutil.rmtree(deployed.parent)):
        damage()
        assert "its output is missing or not what it should be" in values("explain", "web:deploy").out
        assert values.runs("--resume") == ["web:deploy"]
        assert deployed.read_text() == right


def test_a_new_target_runs_the_deploys_alone(values: ProjectFolder) -> None:
    assert values.runs("--resume", "--target", "other") == ["db:deploy", "web:deploy"]
    assert (values.root / "other/web/manifests.yaml").exists()
    assert "target" in values("explain", "web:deploy").out
    same = os.path.join("..", values.root.name, "other")
    assert values.runs("--resume", "--target", same) == []


def test_a_file_changed_between_planning_and_start_fails_its_step(project: ProjectFolder) -> None:
    project.config(
        """
        slow: {type: exec, commands: ['echo "a: 2" >> values.yaml']}
        web:
          type: helm
          chart: ./charts/web
          values: [values.yaml]
          depends_on: [{app: slow}]
        """
    )
    project.write({**chart("web"), "values.yaml": "greeting: a\n"})
    # It is there when the run is planned, so the command has no business with it; only one thing at a time runs.
    ended = project("run", "--max-parallel", "1")
    assert ended.code == 1
    assert "inputs changed during the run" in ended.err
    assert "values file values.yaml" in ended.err
    assert project("run", "--app", "web", "--resume").code == 0


# Files that other apps make


def made(project: ProjectFolder) -> None:
    project.config(
        """
        make: {type: exec, commands: ['echo make >> ledger; echo "greeting: made" > made.yaml']}
        web: {type: helm, chart: ./charts/web, values: [made.yaml], depends_on: [make]}
        """
    )
    project.write(chart("web"))


def test_a_file_that_a_command_makes_is_waited_for_by_the_stage_that_reads_it(project: ProjectFolder) -> None:
    made(project)
    assert project("validate").code == 0
    ended = project("run")
    assert ended.code == 0, ended.err
    assert "made" in (project.root / "rendered/web/manifests.yaml").read_text()
    plan = project("plan", "--output", "json").document
    assert plan["steps"]
    assert "needs: web:build, make:deploy" in project("explain", "web:template").out


def test_a_file_that_a_command_made_is_no_reason_for_a_new_run(project: ProjectFolder) -> None:
    made(project)
    project("run")
    project.new_effects()
    ended = project("run", "--resume")
    assert ended.code == 0
    assert "run 1 goes on: 0 of 5 steps" in ended.err
    assert project.new_effects() == []


def test_another_file_that_a_command_makes_is_another_input(project: ProjectFolder) -> None:
    project.config(
        """
        make: {type: exec, commands: ['cp -r charts/one made-1; cp -r charts/two made-2']}
        web: {type: helm, chart: ./made-1, depends_on: [make]}
        """
    )
    project.write({**chart("one"), **chart("two", "# two\n")})
    assert project("run").code == 0
    project.edit("config.yaml", "chart: ./made-1", "chart: ./made-2")
    assert project.runs("--resume") == ["web:build", "web:deploy", "web:prepare", "web:template"]


def test_a_file_made_by_a_command_that_was_edited_is_seen(project: ProjectFolder) -> None:
    made(project)
    project("run")
    project.write({"made.yaml": "greeting: by hand\n"})
    # The command owns the file: only when it runs again is what it makes looked at again.
    project.edit("config.yaml", "greeting: made", "greeting: anew")
    assert project.runs("--resume") == ["make:deploy", "web:deploy", "web:template"]
    assert "anew" in (project.root / "rendered/web/manifests.yaml").read_text()


# Continue from


@pytest.fixture
def done(project: ProjectFolder) -> ProjectFolder:
    project.config(
        "web: {type: helm, chart: ./charts/web}\n"
        + follows("after", "web")
        + follows("apart")
        + "objects: {type: yaml, manifests: [objects.yaml]}\n"
        + "deploy: {type: exec, commands: ['echo deploy >> ledger']}\n"
    )
    project.write({**chart("web"), "objects.yaml": manifest("objects")})
    project("run")
    project.new_effects()
    return project


@pytest.mark.parametrize(
    ("word", "steps"),
    [
        (
            "template",
            "after:deploy apart:deploy deploy:deploy objects:deploy objects:template web:deploy web:template",
        ),
        ("deploy", "after:deploy apart:deploy deploy:deploy objects:deploy web:deploy"),
        ("deploy:", "deploy:deploy"),
        ("web:template", "after:deploy web:deploy web:template"),
        ("web", "after:deploy web:build web:deploy web:prepare web:template"),
        ("after", "after:deploy"),
    ],
)
def test_continue_from_runs_a_step_and_all_behind_it(done: ProjectFolder, word: str, steps: str) -> None:
    assert done.runs("--continue-from", word) == steps.split()
    assert done.view["run"] == 1
    assert done.view["status"] == "completed"


# In doubt


def die_in_a_command(project: ProjectFolder) -> None:
    """A run killed while its command waits at `hold`; the command ends unseen."""
    for name in ("begun", "hold"):
        os.mkfifo(project.root / name)
    begun = os.open(project.root / "begun", os.O_RDONLY | os.O_NONBLOCK)
    running = project.start("run")
    try:
        assert select.select([begun], [], [], 30)[0], "the command never began"
        assert os.read(begun, 100) == b"begun\n"
    finally:
        running.kill()
        running.communicate()
    (project.root / "hold").write_text("go on\n")
    # It has it open until it ends.
    assert select.select([begun], [], [], 30)[0], "the command never ended"
    assert os.read(begun, 100) == b""
    os.close(begun)


def in_doubt(project: ProjectFolder, **fields: str) -> None:
    told = "".join(f", {key}: {value}" for key, value in fields.items())
    waits = "test -e died || { exec 3> begun; echo begun >&3; read line < hold; }"
    project.config(
        f"a: {{type: exec{told}, commands: ['echo a >> ledger', '{waits}']}}\n"
        + follows("b", "a")
        + follows("c", "b")
    )
    die_in_a_command(project)
    (project.root / "died").touch()
    project.new_effects()


def test_a_command_in_flight_is_asked_about_and_the_printed_flag_answers(project: ProjectFolder) -> None:
    in_doubt(project)
    assert project.statuses("a:deploy") == ["interrupted"]
    ended = project("run", "--resume")
    assert ended.code == 6
    assert "a:deploy was running when its process died" in ended.err
    assert "a" not in project.new_effects()
    assert "ask" in project("plan", "--resume").out
    command = next(line for line in ended.err.splitlines() if "--rerun-interrupted" in line)
    ended = project(*shlex.split(command, comments=True)[1:])
    assert ended.code == 0, ended.err
    assert project.new_effects() == ["a", "b", "c"]


def test_a_command_that_may_run_twice_is_not_asked_about(project: ProjectFolder) -> None:
    in_doubt(project, on_interrupt="rerun")
    ended = project("run", "--resume")
    assert ended.code == 0, ended.err
    assert project.new_effects() == ["a", "b", "c"]


def test_an_edit_elsewhere_answers_no_open_question(project: ProjectFolder) -> None:
    in_doubt(project)
    project.edit("config.yaml", "echo c ", "echo c anew ")
    assert project("run", "--resume").code == 6
    assert "a" not in project.new_effects()
    assert project.statuses("a:deploy") == ["interrupted"]


def test_a_fresh_run_says_what_was_in_flight(project: ProjectFolder) -> None:
    in_doubt(project)
    ended = project("run")
    assert ended.code == 0
    assert "the last run (1) is interrupted" in ended.err
    assert "in flight when it ended: a:deploy" in ended.err


# Profiles


def profiled(project: ProjectFolder) -> None:
    project.config(effect("base") + "a: {type: exec, commands: ['echo plain >> ledger; test -e ok']}\n")
    for name in ("dev", "prod"):
        command = f"a: {{type: exec, commands: ['echo {name} >> ledger; test -e {name}.ok']}}\n"
        project.write({f"config-{name}.yaml": "apps:\n  " + command})


def test_resume_takes_the_profile_of_the_newest_run(project: ProjectFolder) -> None:
    profiled(project)
    for profile in ("prod", "dev"):
        assert project("run", "--profile", profile).code == 1
    project.new_effects()
    assert project("run", "--resume").code == 1
    assert project.new_effects() == ["dev"]
    (project.root / "prod.ok").touch()
    ended = project("run", "--resume", "--profile", "prod")
    assert ended.code == 0
    assert "run 1 (prod) goes on: 1 of 2 steps" in ended.err
    assert project.new_effects() == ["prod"]
    # The newest is the one that was gone on with last, not the one with the highest number.
    assert "nothing left to do" in project("run", "--resume").err
    assert project("status").out.startswith("run 1 (prod) completed")
    assert project("status", "--profile", "dev").out.startswith("run 2 (dev) failed")


def test_nothing_is_taken_over_from_another_profile(project: ProjectFolder) -> None:
    profiled(project)
    (project.root / "dev.ok").touch()
    assert project("run", "--profile", "dev").code == 0
    project.new_effects()
    ended = project("run", "--profile", "prod", "--resume")
    assert "there is no earlier run" in ended.err
    assert sorted(project.new_effects()) == ["base", "prod"]
    ended = project("run", "--app", "base", "--profile", "dev")
    assert ended.code == 0
    assert project.statuses("a:deploy") == ["completed"]


def test_a_profile_may_stand_before_the_command_or_in_the_environment(project: ProjectFolder) -> None:
    profiled(project)
    (project.root / "dev.ok").touch()
    assert project("--profile", "dev", "run").code == 0
    assert project("run", env={"SBKUBE_PROFILE": "dev"}).code == 0
    assert [line for line in project.new_effects() if line != "base"] == ["dev", "dev"]
    assert project("run", "--profile", "prod", env={"SBKUBE_PROFILE": "dev"}).code == 1
    assert "prod" in project.new_effects()


def test_hints_name_the_profile(project: ProjectFolder) -> None:
    profiled(project)
    assert "sbkube run --resume --profile dev" in project("run", "--profile", "dev").err


def test_resume_of_a_profile_remembers_the_config_file_of_that_profile(project: ProjectFolder) -> None:
    project.config(effect("usual"))
    project.config("other: {type: noop}\n", name="other.yaml")
    project.write({"other-dev.yaml": "apps:\n  " + fails_at_first("mine"), "config-dev.yaml": "{}\n"})
    assert project("run", "--config-file", "other.yaml", "--profile", "dev").code == 1
    project("run")
    project.new_effects()
    mend(project, "mine")
    assert project("run", "--resume", "--profile", "dev").code == 0
    assert project.new_effects() == ["mine"]


def test_resume_remembers_the_config_file(project: ProjectFolder) -> None:
    project.config(effect("usual"))
    project.config(fails_at_first("other"), name="other.yaml")
    assert project("run", "--config-file", "other.yaml").code == 1
    mend(project, "other")
    assert project("run", "--resume").code == 0
    assert project.new_effects() == ["other"]
    assert project("run").code == 0
    assert project.new_effects() == ["usual"]
