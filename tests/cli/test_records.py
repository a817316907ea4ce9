"""The commands that only look at what is recorded: what they say of runs, and of state that cannot be read."""

from __future__ import annotations

import fcntl
import json
import re
import zlib
from pathlib import Path

import pytest

from sbkube.engine.stores.files.journal import Encoder

from .project import ProjectFolder, effect

LOOKING = ("status", "history", "logs a:deploy", "explain a:deploy", "plan", "plan --resume", "run --dry-run")
AS_DATA = ("status -o json", "history -o json", "history -o ndjson", "plan --resume -o json")
TWICE = "a: {type: exec, retry: {retries: 1, base: 0s}, commands: ['echo attempt $SBKUBE_ATTEMPT; exit 1']}\n"


@pytest.fixture
def done(project: ProjectFolder) -> ProjectFolder:
    project.config(effect("a"))
    assert project("run").code == 0
    return project


def left_behind(folder: Path) -> dict[Path, tuple[int, bytes]]:
    return {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in folder.rglob("*") if p.is_file()}


# What each leaves alone


@pytest.mark.parametrize("args", [*LOOKING, "validate", "logs a:deploy --run 3", *AS_DATA])
def test_looking_creates_nothing(project: ProjectFolder, args: str) -> None:
    project.config(effect("a"))
    ended = project(*args.split())
    assert not project.state.exists()
    if args.split()[0] in ("plan", "validate", "run"):
        assert ended.code == 0
    else:
        assert ended.code == 2
        assert "no run is recorded in .sbkube\nhint: `sbkube run` starts one" in ended.err


@pytest.mark.parametrize("args", [*LOOKING, "validate", *AS_DATA])
def test_looking_waits_for_no_lock_and_changes_nothing(done: ProjectFolder, args: str) -> None:
    with (done.state / "lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        before = left_behind(done.state)
        assert done(*args.split()).code == 0
        assert left_behind(done.state) == before


# State that cannot be read


def damage(state: Path) -> str:
    journal = state / "journal/000001.jsonl"
    data = bytearray(journal.read_bytes())
    data[data.rfind(b'"s":"a:deploy"') + 6] = ord("X")
    journal.write_bytes(data)
    return r"000001\.jsonl: record 2 at byte \d+ is damaged"


def renew(state: Path) -> str:
    """As a later version might have written it."""
    journal = state / "journal/000001.jsonl"
    own = ("t", "seq", "prev", "d", "at", "m", "crc")
    head = {k: v for k, v in json.loads(journal.read_bytes().splitlines()[0]).items() if k not in own}
    journal.write_bytes(
        Encoder().line("head", -1, "", {**head, "format": 7, "writer": "sbkube 9.1", "steps": []})
    )
    for view in (state / "runs").glob("*.json"):
        shown = {**json.loads(view.read_bytes()), "format": 7, "steps": []}
        shown.pop("sum")
        body = json.dumps(shown, separators=(",", ":")).encode()[:-1]
        view.write_bytes(b'%b,"sum":"%08x"}\n' % (body, zlib.crc32(body)))
    return r"has format 7, written by"


@pytest.mark.parametrize("spoil", [damage, renew])
@pytest.mark.parametrize("args", [*LOOKING, *AS_DATA, "logs a --run 1", "run --dry-run -o ndjson"])
def test_state_that_cannot_be_read_is_refused_by_name_and_as_data(
    done: ProjectFolder, args: str, spoil: object
) -> None:
    assert callable(spoil)
    why = spoil(done.state)
    before = left_behind(done.state)
    ended = done(*args.split())
    assert "Traceback" not in ended.err
    assert left_behind(done.state) == before
    if spoil is damage and (args.startswith("history") or "--run 1" in args):
        assert ended.code == 0, "the view of the run is exact, and tells all of it"
        return
    assert ended.code == 4
    assert re.search(why, ended.err)
    if "-o" in args:
        told = ended.events[-1]
        assert told["exit_code"] == 4
        assert re.search(why, told["error"]["message"])
    else:
        assert ended.out == ""


@pytest.mark.parametrize("output", ["json", "ndjson"])
def test_whatever_ends_a_command_is_told_as_data(project: ProjectFolder, output: str) -> None:
    project.config("a: {type: nothing}\n")
    kinds = {
        "plan": "invalid_config",
        "run": "invalid_config",
        "run --resume --retry-failed": "usage_error",
        "history": "no_run_yet",
    }
    for args, kind in kinds.items():
        ended = project(*args.split(), "--output", output)
        assert ended.code == 2
        assert [event["error"]["kind"] for event in ended.events] == [kind]


def test_no_run_of_a_profile_is_not_no_run(done: ProjectFolder) -> None:
    done.write({"config-prod.yaml": "namespace: prod\n"})
    for profile in ({"args": ["--profile", "prod"]}, {"env": {"SBKUBE_PROFILE": "prod"}}):
        ended = done("status", *profile.get("args", []), env=profile.get("env"))  # type: ignore[arg-type]
        assert ended.code == 2
        assert "no run of profile 'prod' is recorded" in ended.err


# History


def test_history_as_data_has_numbers_counts_and_nothing_where_nothing_is(project: ProjectFolder) -> None:
    project.config(effect("a") + "b: {type: exec, commands: ['exit 1']}\n")
    project("run")
    project.edit("config.yaml", "exit 1", "exit 2")
    project("run", "--resume")
    project("run", "--resume")
    newest, oldest = project("history", "--output", "json").document
    view = project.view
    assert newest == {
        **{key: view[key] for key in ("run_id", "started_at", "completed_at", "status")},
        "run": 2,
        "journal": 3,
        "profile": None,
        "seconds": newest["seconds"],
        "counts": {"completed": 1, "failed": 1},
        "resumed_from": 1,
    }
    assert isinstance(newest["seconds"], float)
    assert (oldest["run"], oldest["journal"], oldest["resumed_from"]) == (1, 1, None)
    assert project("history", "--output", "ndjson").events == [newest, oldest]
    assert project("history", "-n", "1", "--output", "json").document == [newest]
    assert project("history").out.splitlines()[1].split()[0] == "2"


def test_history_lists_runs_of_older_versions_with_what_they_say(done: ProjectFolder) -> None:
    old = {
        "run_id": "6a0c9ed2-63c8-4ae3-a1dc-2b1c4e3b8b32",
        "profile": "prod",
        "started_at": "2025-01-02T03:04:05",
        "status": "completed",
        "steps": {"prepare": {"status": "completed"}},
    }
    done.write({f".sbkube/runs/{old['run_id']}.json": json.dumps(old)})
    row = done("history", "--output", "json").document[1]
    assert row == {
        **{key: old[key] for key in ("run_id", "profile", "started_at", "status")},
        "run": None,
        "journal": None,
        "completed_at": None,
        "seconds": None,
        "counts": {"completed": 1},
        "resumed_from": None,
    }
    assert str(old["run_id"]) in done("history").out


# Logs


def test_logs_are_those_of_all_attempts_of_all_stages(project: ProjectFolder) -> None:
    project.config(TWICE)
    project("run")
    ended = project("logs", "a")
    assert ended.out.splitlines()[::2] == ["attempt 1", "attempt 2"]
    assert ended.err == "a:deploy attempt 1\na:deploy attempt 2\n"
    assert project("logs", "a:deploy", "--attempt", "2").out.startswith("attempt 2\n")


def test_logs_of_what_there_is_not_say_what_there_is(project: ProjectFolder) -> None:
    project.config(TWICE + "quiet: {type: exec, commands: ['true']}\n")
    project("run")
    project("run")
    for args, told in {
        "a --run 7": "there is no run 7\nhint: runs are: 2, 1\n",
        "a --attempt 3": "there is no attempt 3 of 'a' in run 2\nhint: attempts are: 1, 2\n",
        "quiet --attempt 2 --run 1": "there is no attempt 2 of 'quiet' in run 1\nhint: attempts are: 1\n",
        "quite": "there is no step or app 'quite' in run 2\nhint: did you mean 'quiet'?\n",
        "a:template": "there is no step or app 'a:template' in run 2\nhint: steps of 'a' are: a:deploy\n",
    }.items():
        ended = project("logs", *args.split())
        assert (ended.code, ended.out, ended.err) == (2, "", f"error: {told}")


def test_a_step_that_logged_nothing_says_so_and_why(project: ProjectFolder) -> None:
    project.config(
        "quiet: {type: exec, commands: ['true']}\n"
        "loud: {type: exec, commands: ['echo hello'], depends_on: [quiet]}\n"
        "failed: {type: exec, commands: ['exit 1']}\n"
        "after: {type: exec, commands: ['true'], depends_on: [failed]}\n"
    )
    project("run")
    project.edit("config.yaml", "exit 1", "exit 2")
    project("run", "--resume")
    for step, told in {
        "quiet": "quiet:deploy logged nothing in run 2: it was taken over from run 1, "
        "see `sbkube logs quiet:deploy --run 1`",
        "loud": "loud:deploy logged nothing in run 2: it was taken over from run 1, "
        "see `sbkube logs loud:deploy --run 1`",
        "after": "after:deploy logged nothing in run 2: it was blocked by failed:deploy",
    }.items():
        ended = project("logs", step)
        assert (ended.code, ended.out, ended.err) == (0, "", f"{told}\n")
    assert project("logs", "quiet", "--run", "1").err == "quiet:deploy logged nothing in run 1\n"
    assert project("logs", "loud", "--run", "1").out == "hello\n"


def test_a_log_is_printed_piece_by_piece_and_its_last_line_ended(done: ProjectFolder) -> None:
    log = done.state / "runs/000001/logs/a.deploy.1.log"
    log.parent.mkdir(exist_ok=True)
    text = "a line with \r and 日本語\n" * 10_000 + "cut off"
    log.write_bytes(text.encode() + b"\xff")
    assert done("logs", "a").out == text + "\ufffd\n"
    log.write_bytes(b"")
    assert done("logs", "a").out == ""
