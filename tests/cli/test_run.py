"""`sbkube run` from a fresh project to what it leaves on disk."""

from __future__ import annotations

import json
import os
import stat
from textwrap import dedent

from .project import ProjectFolder, chart, effect, manifest


def shop(project: ProjectFolder) -> None:
    project.config(
        """
        db: {type: yaml, manifests: [db.yaml]}
        web: {type: helm, chart: ./charts/web, values: [web.yaml], depends_on: [db]}
        report: {type: exec, commands: ['echo report >> ledger'], depends_on: [web]}
        all: {type: noop, depends_on: [report]}
        """
    )
    project.write({**chart("web"), "web.yaml": "greeting: hi\n", "db.yaml": manifest("db")})


def test_a_run_takes_every_app_through_its_stages_and_says_so(project: ProjectFolder) -> None:
    shop(project)
    ended = project("run")
    assert ended.code == 0
    assert ended.out == ""
    assert "run 1: 8 of 8 steps" in ended.err
    assert "completed run 1: 8 steps in" in ended.err
    assert project.new_effects() == ["report"]
    assert 'greeting: "hi"' in (project.root / "rendered/web/manifests.yaml").read_text()
    assert (project.root / "rendered/db/manifests.yaml").exists()


def test_the_state_on_disk_is_private_and_the_view_has_the_promised_keys_in_order(
    project: ProjectFolder,
) -> None:
    shop(project)
    project("run")
    assert stat.S_IMODE(project.state.stat().st_mode) == 0o700
    assert {stat.S_IMODE(p.stat().st_mode) for p in project.state.rglob("*.json*")} == {0o600}
    assert sorted(os.listdir(project.state / "runs")) == ["000001", "000001.json", "latest.json"]
    keys = list(project.view)
    assert keys[:9] == [
        *("run_id", "profile", "namespace", "started_at", "completed_at", "status", "steps"),
        *("config_hash", "metadata"),
    ]
    own = ("format", "journal", "seq", "holder", "counts", "next")
    assert [key for key in keys if key in own] == list(own)
    assert list(project.view["steps"]["web:deploy"])[:8] == [
        *("name", "status", "started_at", "completed_at", "duration", "error", "output", "metadata")
    ]
    assert project.view["namespace"] == "shop"
    assert (project.state / ".gitignore").read_text().strip() == "*"


def test_output_json_is_one_document_on_stdout_and_ndjson_one_object_a_line(project: ProjectFolder) -> None:
    shop(project)
    ended = project("run", "--output", "json")
    assert ended.document["status"] == "completed"
    assert ended.document["exit_code"] == 0
    assert set(ended.document["steps"]) >= {"web:template", "all:done"}
    ended = project("run", "--output", "ndjson")
    assert [ended.events[0]["type"], ended.events[-1]["type"]] == ["run_started", "run_ended"]
    assert len(ended.started) == 8


def test_an_error_is_told_in_the_form_that_was_asked_for(project: ProjectFolder) -> None:
    ended = project("run", "--output", "json")
    assert ended.code == 2
    assert ended.document["type"] == "error"
    assert ended.document["exit_code"] == 2
    assert ended.document["error"]["message"] in ended.err


def test_a_second_run_asks_nothing_and_runs_everything_anew(project: ProjectFolder) -> None:
    shop(project)
    project("run")
    before = (project.root / "rendered/web/manifests.yaml").read_bytes()
    assert len(project.runs()) == 8
    assert (project.root / "rendered/web/manifests.yaml").read_bytes() == before
    assert project.new_effects() == ["report", "report"]


def test_a_run_after_a_failed_one_says_how_that_one_ended(project: ProjectFolder) -> None:
    project.config("a: {type: exec, commands: ['exit 3']}\n" + effect("b"))
    ended = project("run")
    assert ended.code == 1
    ended = project("run")
    assert "the last run (1) is failed: 1 failed; `--resume` would go on with it" in ended.err


def test_a_failing_command_is_reported_with_its_line_its_output_and_how_to_go_on(
    project: ProjectFolder,
) -> None:
    project.config(
        """
        a:
          type: exec
          commands:
            - echo first
            - echo no space; exit 3
        b: {type: exec, commands: ['echo b'], depends_on: [a]}
        """
    )
    ended = project("run")
    assert ended.code == 1
    assert "config.yaml:8: 'echo no space; exit 3' (command 2 of 2) failed: exit code 3" in ended.err
    assert "| no space" in ended.err
    assert "log: .sbkube/runs/000001/logs/a.deploy.1.log" in ended.err
    assert "blocked by a:deploy: b:deploy" in ended.err
    assert "sbkube run --resume" in ended.err
    assert "sbkube logs a:deploy" in ended.err


def test_commands_get_their_environment_and_the_folder_of_the_config(project: ProjectFolder) -> None:
    project.config(
        """
        a:
          type: exec
          namespace: other
          env: {GREETING: hi}
          commands: ['env | grep -e SBKUBE_ -e GREETING > seen; pwd >> seen']
        """
    )
    project("run")
    seen = (project.root / "seen").read_text().splitlines()
    told = dict(line.split("=", 1) for line in seen[:-1])
    assert seen[-1] == str(project.root)
    assert told.pop("SBKUBE_IDEMPOTENCY_KEY")
    assert told.pop("SBKUBE_VERSION")
    assert told == {
        "GREETING": "hi",
        "SBKUBE_RUN": "1",
        "SBKUBE_STEP": "a:deploy",
        "SBKUBE_ATTEMPT": "1",
        "SBKUBE_APP_NAME": "a",
        "SBKUBE_APP_TYPE": "exec",
        "SBKUBE_APP_NAMESPACE": "other",
        "SBKUBE_NAMESPACE": "other",
        "SBKUBE_TARGET": "directory",
        "SBKUBE_TARGET_PATH": str(project.root / "rendered"),
    }


def test_a_list_of_arguments_is_seen_by_no_shell(project: ProjectFolder) -> None:
    project.config("a: {type: exec, commands: [[sh, -c, 'echo \"$1\" > seen', sh, '$HOME; *']]}")
    assert project("run").code == 0
    assert (project.root / "seen").read_text() == "$HOME; *\n"


def test_the_idempotency_key_stays_while_an_attempt_is_repeated_and_is_new_afresh(
    project: ProjectFolder,
) -> None:
    app = """\
        a:
          type: exec
          retry: {retries: 1, base: 0s}
          commands: ['echo $SBKUBE_ATTEMPT $SBKUBE_IDEMPOTENCY_KEY >> ledger; test -e ok']
        """
    project.config(app)
    assert project("run").code == 1
    project.config(dedent(app) + effect("b"))
    assert project("run", "--resume").code == 1
    (project.root / "ok").touch()
    assert project("run", "--resume").code == 0
    lines = [line.split() for line in project.new_effects() if line != "b"]
    assert len({key for _, key in lines}) == 1
    assert [attempt for attempt, _ in lines] == ["1", "2", "3", "4", "5"]
    project("run")
    (afresh,) = (line.split() for line in project.new_effects() if line != "b")
    assert afresh[1] != lines[0][1]


def test_a_chart_that_takes_for_ever_is_stopped_at_its_time_limit(project: ProjectFolder) -> None:
    project.config("web: {type: helm, chart: ./charts/web, time_limit: {template: 700ms}}\n" + effect("b"))
    endless = "{{- range until 100000 }}{{ range until 100000 }}{{ end }}{{ end }}\n"
    project.write(chart("web", endless))
    ended = project("run")
    assert ended.code == 1
    assert "web:template failed" in ended.err
    assert "time limit of 0.7 s" in ended.err
    assert project.new_effects() == ["b"]


def test_the_helm_to_use_may_be_named_in_the_environment(project: ProjectFolder) -> None:
    project.config("web: {type: helm, chart: ./charts/web}\n")
    project.write(chart("web"))
    program = project.root / "my-helm"
    program.write_text("#!/bin/sh\necho 'Error: I am not helm' >&2; exit 1\n")
    program.chmod(0o755)
    for ended in (project("run", "--helm", str(program)), project("run", env={"SBKUBE_HELM": str(program)})):
        assert ended.code == 1
        assert "I am not helm" in ended.err


def test_a_time_limit_ends_the_whole_group_of_a_command(project: ProjectFolder) -> None:
    project.config(
        """
        a: {type: exec, time_limit: 300ms, commands: ['sleep 60 & echo $! > pid; wait']}
        b: {type: exec, commands: ['echo b >> ledger']}
        """
    )
    ended = project("run")
    assert ended.code == 1
    assert "time limit" in ended.err
    assert project.new_effects() == ["b"]
    pid = int((project.root / "pid").read_text())
    assert not _runs(pid)


def _runs(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def test_the_deadline_of_a_run_stops_what_runs_and_fails_it(project: ProjectFolder) -> None:
    project.config("a: {type: exec, commands: ['sleep 60'], on_interrupt: rerun}\n" + effect("b"))
    ended = project("run", "--timeout", "300ms")
    assert ended.code == 1
    assert "was stopped at its deadline" in ended.err
    assert project.statuses("a:deploy", "b:deploy") == ["cancelled", "completed"]


def test_fail_fast_starts_nothing_more_and_resume_does_the_rest(project: ProjectFolder) -> None:
    project.config("a: {type: exec, commands: ['test -e ok']}\n" + effect("b") + effect("c"))
    assert project("run", "--fail-fast", "--max-parallel", "1").code == 1
    assert project.new_effects() == []
    assert project.statuses("a:deploy", "b:deploy", "c:deploy") == ["failed", "pending", "pending"]
    (project.root / "ok").touch()
    assert project("run", "--resume").code == 0
    assert sorted(project.new_effects()) == ["b", "c"]


def test_one_at_a_time_keeps_the_order_of_the_file(project: ProjectFolder) -> None:
    project.config("".join(effect(name) for name in "dbacfe"))
    one = ["--max-parallel", "1"]
    for option in (one, ["--max-workers", "1"], ["--no-parallel"], ["--no-parallel", *one]):
        assert project("run", *option).code == 0
        assert project.new_effects() == list("dbacfe")
    assert project("run", "--no-parallel", env={"SBKUBE_MAX_PARALLEL": "8"}).code == 0
    assert project.new_effects() == list("dbacfe")
    assert project("run", env={"SBKUBE_MAX_PARALLEL": "1"}).code == 0
    assert project.new_effects() == list("dbacfe")


def test_settings_limit_how_much_runs_at_once(project: ProjectFolder) -> None:
    for settings in ("parallel: false", "parallel_apps: false", "max_workers: 1"):
        apps = "".join(f"  {effect(name)}" for name in "dbacfe")
        project.write(
            {
                "sbkube.yaml": (
                    "apiVersion: sbkube/v1\ntarget: {directory: out}\n"
                    f"settings: {{{settings}}}\napps:\n{apps}"
                )
            }
        )
        assert project("run").code == 0
        assert project.new_effects() == list("dbacfe"), settings


def test_on_failure_of_the_settings_is_fail_fast(project: ProjectFolder) -> None:
    for policy in ("stop", "rollback"):
        project.write(
            {
                "sbkube.yaml": f"""
                    apiVersion: sbkube/v1
                    target: {{directory: out}}
                    settings: {{on_failure: {policy}, parallel: false}}
                    apps:
                      a: {{type: exec, commands: ['exit 1']}}
                      {effect("b").strip()}
                    """
            }
        )
        ended = project("run")
        assert ended.code == 1
        assert project.new_effects() == []
        assert ("rollback" in ended.err) == (policy == "rollback")


def test_a_secret_is_given_to_the_command_and_stands_nowhere_else(project: ProjectFolder) -> None:
    project.config(
        """
        a:
          type: exec
          env: {TOKEN: {from_env: DEPLOY_TOKEN}}
          commands: ['echo "token $TOKEN"; printenv TOKEN | md5sum > sum; test -e ok']
        b: {type: exec, commands: ['echo b >> ledger']}
        """
    )
    secret = "s3cr3t-of-the-shop"
    env = {"DEPLOY_TOKEN": secret}
    told = [project("run", env=env), project("run", "--output", "ndjson", env=env)]
    (project.root / "ok").touch()
    told += [project("run", "--resume", env=env), project("status"), project("explain", "a:deploy", env=env)]
    told += [project("logs", "a:deploy"), project("plan", "--resume", "--output", "json", env=env)]
    assert [ended.code for ended in told] == [1, 1, 0, 0, 0, 0, 0]
    assert all(secret not in ended.out + ended.err for ended in told)
    assert secret.encode() not in project.bytes_of_state()
    assert "token ***" in project("logs", "a:deploy").out
    assert (project.root / "sum").exists()


def test_a_changed_secret_runs_its_step_again_and_no_other(project: ProjectFolder) -> None:
    project.config("a: {type: exec, env: {T: {from_env: X}}, commands: ['echo a >> ledger']}\n" + effect("b"))
    project("run", env={"X": "one"})
    project.new_effects()
    assert project.runs("--resume", env={"X": "one"}) == []
    assert project.runs("--resume", env={"X": "two"}) == ["a:deploy"]
    explained = project("explain", "a:deploy", env={"X": "three"})
    assert "environment variable X" in explained.out


def test_a_missing_secret_fails_its_step_with_the_line(project: ProjectFolder) -> None:
    project.config("a: {type: exec, env: {T: {from_env: X}}, commands: ['true']}\n" + effect("b"))
    ended = project("run")
    assert ended.code == 1
    assert "config.yaml:4: `env.T` comes from the environment variable 'X', which is not set" in ended.err
    assert "export X=" in ended.err
    assert project.new_effects() == ["b"]


def test_commands_can_be_forbidden(project: ProjectFolder) -> None:
    project.config(effect("a"))
    for word in ("0", "false", "no", "OFF"):
        ended = project("run", env={"SBKUBE_ALLOW_EXEC": word})
        assert ended.code == 1
        assert "config.yaml:4: commands are forbidden by SBKUBE_ALLOW_EXEC" in ended.err
    assert project.new_effects() == []


def test_the_target_is_pruned_only_after_a_completed_run_of_everything(project: ProjectFolder) -> None:
    both = "a: {type: yaml, manifests: [a.yaml]}\nb: {type: yaml, manifests: [b.yaml]}\n"
    project.config(both)
    project.write({"a.yaml": manifest("a"), "b.yaml": manifest("b")})
    project("run")
    mine = project.root / "rendered/by-hand"
    mine.mkdir()
    project.config("a: {type: yaml, manifests: [a.yaml]}\nc: {type: exec, commands: ['test -e ok']}\n")
    gone = project.root / "rendered/b"
    assert project("run", "--app", "a").code == 0
    assert gone.exists()
    assert project("run").code == 1
    assert gone.exists()
    (project.root / "ok").touch()
    ended = project("run", "--resume")
    assert "pruned from the target: b" in ended.err
    assert not gone.exists()
    assert mine.exists()


def test_a_resume_with_nothing_left_prunes_what_the_plan_has_no_more(project: ProjectFolder) -> None:
    project.config("a: {type: yaml, manifests: [a.yaml]}\nb: {type: yaml, manifests: [a.yaml]}\n")
    project.write({"a.yaml": manifest("a")})
    project("run")
    project.config("a: {type: yaml, manifests: [a.yaml]}\n")
    ended = project("run", "--resume")
    assert ended.code == 0
    assert "pruned from the target: b" in ended.err
    assert os.listdir(project.root / "rendered") == ["a", ".sbkube-apps.json"] or sorted(
        os.listdir(project.root / "rendered")
    ) == [".sbkube-apps.json", "a"]


def test_two_runs_of_one_input_leave_the_same_bytes(project: ProjectFolder) -> None:
    shop(project)
    project("run")
    first = {p: p.read_bytes() for p in (project.root / "rendered").rglob("*") if p.is_file()}
    project("run", "--target", "elsewhere")
    second = {p: p.read_bytes() for p in (project.root / "elsewhere").rglob("*") if p.is_file()}
    names = {p.relative_to(project.root / "rendered"): text for p, text in first.items()}
    assert names == {p.relative_to(project.root / "elsewhere"): text for p, text in second.items()}


def test_a_project_is_found_from_a_folder_below_it(project: ProjectFolder) -> None:
    project.config(effect("a"))
    below = project.root / "some" / "folder"
    below.mkdir(parents=True)
    assert project("run", cwd=below).code == 0
    assert project.new_effects() == ["a"]
    assert project("status", cwd=below).code == 0
    assert not (below / ".sbkube").exists()


def test_a_project_can_be_named_in_each_way_that_users_know(project: ProjectFolder) -> None:
    project.config(effect("a"))
    outside, name = project.root.parent, project.root.name
    (outside / "other").mkdir()
    for args, cwd in (
        ([name], outside),
        (["--app-dir", name], outside),
        (["--base-dir", str(outside), "--app-dir", name], outside / "other"),
        (["--config-file", f"{name}/config.yaml"], outside),
        (["-f", str(project.root / "config.yaml")], outside / "other"),
    ):
        ended = project("run", *args, cwd=cwd)
        assert ended.code == 0, (args, ended.err)
        assert project.new_effects() == ["a"]
        assert project("status", *args, cwd=cwd).out.startswith("run ")
    assert project.view["status"] == "completed"
    assert not (outside / ".sbkube").exists()


def test_the_state_may_lie_elsewhere(project: ProjectFolder) -> None:
    project.config(effect("a"))
    assert project("run", "--state-dir", "state").code == 0
    assert (project.root / "state/runs/latest.json").exists()
    assert project("run", env={"SBKUBE_STATE_DIR": "also"}).code == 0
    assert (project.root / "also/runs/latest.json").exists()
    assert not project.state.exists()
    assert project("status", "--state-dir", "state").code == 0
    assert project("status").code == 2


def test_hints_repeat_the_flags_that_they_need(project: ProjectFolder) -> None:
    project.config("a: {type: exec, commands: ['exit 1']}", name="other.yaml")
    flags = ["--config-file", "other.yaml", "--state-dir", "state", "--target", "out"]
    ended = project("run", *flags)
    assert f"sbkube run --resume {' '.join(flags)}" in ended.err


def test_a_run_waits_for_no_state_of_another_folder(project: ProjectFolder) -> None:
    project.config("a: {type: exec, commands: ['sbkube_state=$SBKUBE_STATE_DIR; echo a >> ledger']}")
    project("run")
    assert json.loads((project.state / "runs/000001.json").read_text())["status"] == "completed"
