"""Deploying from Python."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import anyio
import pytest

from sbkube import api
from sbkube.api import Asked, Request, Start
from sbkube.config.project import Project
from sbkube.engine import Event, FileStore, NeedsNotMet, RunControl, RunLocked, StepsFailed, StepStatus
from sbkube.errors import ConfigError, NotYet
from sbkube.helm.base import HelmMissing
from sbkube.helm.fake import FakeHelm
from sbkube.wiring import limits_of

pytestmark = pytest.mark.anyio
ENV = {"PATH": "/usr/bin:/bin"}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path) -> Iterator[Path]:
    with contextlib.chdir(tmp_path):
        yield tmp_path


def load(folder: Path, apps: str, top: str = "target: {directory: out}\n") -> Project:
    (folder / "config.yaml").write_text(f"{top}apps:\n{apps}")
    return api.load(folder, environ=ENV)


def effect(name: str, *needs: str) -> str:
    return (
        f"  {name}: {{type: exec, depends_on: [{', '.join(needs)}], commands: ['echo {name} >> ledger']}}\n"
    )


def ledger(folder: Path) -> list[str]:
    path = folder / "ledger"
    return path.read_text().splitlines() if path.exists() else []


async def test_a_project_is_loaded_planned_and_run(folder: Path) -> None:
    project = load(folder, effect("a") + effect("b", "a"))
    preview = await api.plan(project, environ=ENV)
    assert list(preview.decision.to_run) == ["a:deploy", "b:deploy"]
    assert preview.previous is None
    assert not (folder / ".sbkube").exists()
    starts: list[Start] = []
    events: list[Event] = []
    outcome = await api.run(project, environ=ENV, on_start=starts.append, on_event=events.append)
    outcome.state.raise_for_failures()
    assert ledger(folder) == ["a", "b"]
    assert [start.opened.run for start in starts] == [1]
    assert [type(event).__name__ for event in events][:2] == ["RunStarted", "StepStarted"]
    latest = await api.state_of(project, environ=ENV).latest()
    assert latest is not None
    assert latest.steps == outcome.state.steps


async def test_a_failed_step_is_in_the_state_and_a_resume_goes_on(folder: Path) -> None:
    project = load(folder, "  a: {type: exec, commands: ['test -e ok']}\n" + effect("b", "a"))
    outcome = await api.run(project, environ=ENV)
    with pytest.raises(StepsFailed):
        outcome.state.raise_for_failures()
    assert [step.status for step in outcome.state.steps.values()] == [StepStatus.FAILED, StepStatus.BLOCKED]
    (folder / "ok").touch()
    outcome = await api.run(project, Request(Asked(resume=True)), environ=ENV)
    assert outcome.state.is_complete
    assert outcome.state.run == 1
    assert ledger(folder) == ["b"]


async def test_what_changed_is_named_in_plan_and_start(folder: Path) -> None:
    await api.run(load(folder, effect("a") + effect("b")), environ=ENV)
    project = load(folder, effect("a") + effect("b").replace("echo b", "echo c"))
    resume = Request(Asked(resume=True))
    assert (await api.plan(project, resume, environ=ENV)).changes == {"b:deploy": ["commands"]}
    starts: list[Start] = []
    outcome = await api.run(project, resume, environ=ENV, on_start=starts.append)
    assert starts[0].changes == {"b:deploy": ["commands"]}
    assert (outcome.state.run, outcome.state.resumed_from) == (2, 1)


async def test_nothing_changes_if_a_run_is_refused(folder: Path) -> None:
    project = load(folder, effect("a") + effect("b", "a"))
    with pytest.raises(NeedsNotMet):
        await api.run(project, Request(Asked(apps=("b",))), environ=ENV)
    with pytest.raises(ConfigError):
        await api.run(project, Request(Asked(apps=("c",))), environ=ENV)
    assert await api.state_of(project, environ=ENV).latest() is None
    with pytest.raises(NotYet):
        load(folder, "  a: {type: hook, tasks: []}\n")


async def test_two_runs_at_once_are_refused_and_the_first_goes_on(folder: Path) -> None:
    project = load(folder, "  a: {type: exec, commands: ['test -e ok || sleep 60']}\n")
    begun = anyio.Event()
    control = RunControl()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(
            lambda: api.run(project, environ=ENV, control=control, on_start=lambda start: begun.set())
        )
        await begun.wait()
        with pytest.raises(RunLocked):
            await api.run(project, environ=ENV)
        control.stop()
    latest = await api.state_of(project, environ=ENV).latest()
    assert latest is not None
    assert latest.steps["a:deploy"].status in (StepStatus.CANCELLED, StepStatus.PENDING)


def just_before_the_lock(monkeypatch: pytest.MonkeyPatch, act: Callable[[], Awaitable[object]]) -> None:
    """Lets something happen once between the planning of a run and its lock."""
    really, once = FileStore.open, [act]

    @contextlib.asynccontextmanager
    async def opened(path: Path) -> AsyncIterator[FileStore]:
        if once:
            await once.pop()()
        async with really(path) as store:
            yield store

    monkeypatch.setattr(FileStore, "open", opened)


GEN_AND_WEB = """\
  gen: {type: exec, commands: ['echo number $SBKUBE_ATTEMPT', 'echo gen >> ledger', 'cp o.yaml made.yaml']}
  web: {type: yaml, manifests: [made.yaml], depends_on: [gen]}
"""
"""web reads what gen makes, so it needs gen."""


def gen_and_web(folder: Path) -> Project:
    (folder / "o.yaml").write_text("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: made}\n")
    return load(folder, GEN_AND_WEB)


async def test_a_run_that_ended_between_planning_and_the_lock_is_the_one_that_a_resume_goes_on_with(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project, starts = gen_and_web(folder), list[Start]()
    just_before_the_lock(monkeypatch, lambda: api.run(project, environ=ENV))
    outcome = await api.run(project, Request(Asked(resume=True)), environ=ENV, on_start=starts.append)

    assert starts[0].previous is not None
    assert (starts[0].previous.run, outcome.state.run) == (1, 1)
    assert list(outcome.decision.to_run) == []
    assert ledger(folder) == ["gen"]


async def test_what_changed_is_told_against_a_run_that_ended_between_planning_and_the_lock(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await api.run(load(folder, effect("a")), environ=ENV)
    meanwhile = load(folder, effect("a").replace("echo a", "echo c"))
    project, starts = load(folder, effect("a")), list[Start]()
    just_before_the_lock(monkeypatch, lambda: api.run(meanwhile, environ=ENV))
    await api.run(project, Request(Asked(resume=True)), environ=ENV, on_start=starts.append)

    assert starts[0].changes == {"a:deploy": ["commands"]}
    assert ledger(folder) == ["a", "c", "a"]


async def test_the_journal_says_what_was_asked_for(folder: Path) -> None:
    project = load(folder, effect("a") + effect("b"))
    await api.run(project, Request(Asked(apps=("a", "b"), with_needs=True), max_parallel=3), environ=ENV)
    await api.run(project, environ=ENV)
    journals = sorted((folder / ".sbkube/journal").iterdir())
    heads = [json.loads(journal.read_text().splitlines()[0]) for journal in journals]

    asked = {"apps": ["a", "b"], "with_needs": True, "max_parallel": 3}
    assert [head["command"] for head in heads] == [asked, {}]


async def test_the_first_run_already_compares_secrets_by_the_key_that_stays(folder: Path) -> None:
    secret = "  a: {type: exec, env: {T: {from_env: TOKEN}}, commands: ['echo a >> ledger']}\n"
    project, resume = load(folder, secret), Request(Asked(resume=True))
    await api.run(project, environ={**ENV, "TOKEN": "one"})
    again = await api.run(project, resume, environ={**ENV, "TOKEN": "one"})
    assert list(again.decision.to_run) == []
    changed = await api.run(project, resume, environ={**ENV, "TOKEN": "two"})
    assert list(changed.decision.to_run) == ["a:deploy"]


async def test_attempts_of_a_step_that_was_taken_over_in_between_have_logs_of_their_own(folder: Path) -> None:
    project, stopped = gen_and_web(folder), RunControl()
    stopped.stop()
    again = Request(Asked(continue_from="gen:"))
    await api.run(project, environ=ENV)
    left = await api.run(project, again, environ=ENV, control=stopped)
    assert left.state.steps["gen:deploy"].status is StepStatus.PENDING
    kept = await api.run(project, Request(Asked(resume=True, apps=("web",))), environ=ENV)
    assert kept.state.steps["gen:deploy"].metadata["reused_from"] == 1
    outcome = await api.run(project, again, environ=ENV)

    assert (outcome.state.run, outcome.state.steps["gen:deploy"].attempt) == (1, 2)
    logs = folder / ".sbkube/runs/000001/logs"
    assert {log.name: log.read_text() for log in logs.glob("gen.*")} == {
        "gen.deploy.1.log": "number 1\n",
        "gen.deploy.2.log": "number 2\n",
    }


async def test_check_says_what_would_fail_and_creates_nothing(folder: Path) -> None:
    project = load(folder, effect("a") + "  b: {type: yaml, manifests: [none.yaml]}\n")
    checked = await api.check(project)
    assert list(checked.graph.steps) == ["a:deploy", "b:template", "b:deploy"]
    assert [str(finding) for finding in checked.findings] == [
        "config.yaml:4: manifest 'none.yaml' is missing, so b:template would fail"
    ]
    assert not (folder / "out").exists()
    assert not (folder / ".sbkube").exists()


async def test_a_plan_asks_for_a_helm_as_a_run_does_and_starts_none(folder: Path) -> None:
    (folder / "chart").mkdir()
    project = load(folder, "  a: {type: helm, chart: ./chart}\n")
    for environ in (ENV | {"SBKUBE_HELM": "/none"}, ENV):
        request = Request(helm=None if environ is not ENV else "/none")
        for call in (api.plan, api.run):
            with pytest.raises(HelmMissing, match="'/none' is not an executable file"):
                await call(project, request, environ=environ)
    await api.plan(project, Request(helm=str(Path("/bin/false"))), environ=ENV)
    assert not (folder / ".sbkube").exists()


@pytest.mark.parametrize(
    ("top", "request_", "total", "work"),
    [
        ("", Request(), None, 8),
        ("", Request(max_parallel=3), 3, 3),
        ("limits: {max_parallel: 5}\n", Request(), 5, 5),
        ("limits: {max_parallel: 5}\n", Request(max_parallel=3), 3, 3),
        ("limits: {pools: {work: 2}}\n", Request(), None, 2),
    ],
)
async def test_flags_limit_more_than_files(
    folder: Path, top: str, request_: Request, total: int | None, work: int
) -> None:
    limits = limits_of(
        load(folder, effect("a"), top=f"target: {{directory: out}}\n{top}"), request_.max_parallel
    )
    assert (limits.total, limits.pools["work"], limits.pools["deploy"]) == (total, work, 256)


async def test_a_helm_of_ones_own_is_used_closed_and_named_in_the_journal_by_no_more_than_that(
    folder: Path,
) -> None:
    (folder / "c/templates").mkdir(parents=True)
    (folder / "c/Chart.yaml").write_text("apiVersion: v2\nname: c\nversion: 1.0.0\n")
    (folder / "c/templates/a.yaml").write_text(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: {{ .Release.Name }}}\n"
    )
    project, own = load(folder, "  a: {type: helm, chart: ./c}\n"), FakeHelm()
    outcome = await api.run(project, Request(helm=own), environ=ENV)
    assert outcome.state.is_complete
    assert [request.release for request in own.requests] == ["a"]
    (journal,) = (folder / ".sbkube/journal").iterdir()
    assert json.loads(journal.read_text().splitlines()[0])["command"] == {"helm": "handed over"}


def test_what_only_a_cluster_needs_is_loaded_when_it_is_first_asked_for() -> None:
    program = (
        "import sys; from sbkube import api; api.run;"
        "early = [name for name in sys.modules if name.startswith(('sbkube.operations', 'sbkube.targets.cluster.'))];"
        "assert not early, early;"
        "api.delete; assert 'sbkube.operations.deleting' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_what_fetches_is_loaded_only_by_a_run_that_fetches() -> None:
    program = (
        "import sys; from sbkube import api; api.run; import sbkube.wiring;"
        "loaded = {'httpx2', 'sbkube.fetch.git', 'sbkube.fetch.downloads', 'sbkube.fetch.cache'};"
        "assert not loaded & sys.modules.keys(), loaded & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_every_name_at_the_door_is_there_and_no_other() -> None:
    assert all(getattr(api, name) is not None for name in api.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'destroy'"):
        api.destroy  # noqa: B018
