"""Several processes that fetch the same at once into one cache, and one that is killed in the middle."""

from __future__ import annotations

import hashlib
import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from sbkube.engine import StepStatus
from sbkube.fetch.cache import Cache
from servers.charts import Chart, repository
from servers.http import Server
from servers.messages import Request, Response

from .cli_project import CliProject

CHARTS = [Chart(f"c{n}", more={"values.yaml": f"a: {'x' * 40_000}{n}\n"}) for n in range(40)]


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        for path, content in repository(*CHARTS).items():
            server.files[path] = content
        yield server


@pytest.fixture
def projects(tmp_path: Path, server: Server) -> Iterator[list[CliProject]]:
    """Two that share nothing but their user's cache."""
    with ExitStack() as closing:
        made = []
        for name in ("one", "two"):
            project = CliProject(tmp_path / name, {"SBKUBE_CACHE_DIR": str(tmp_path / "cache")})
            closing.callback(project.close)
            project.config({c.name: {"type": "helm", "chart": f"shop/{c.name}"} for c in CHARTS})
            (project.root / "sources.yaml").write_text(f"helm_repos: {{shop: '{server.url}'}}\n")
            made.append(project)
        yield made


def all_are_whole(cache: Path) -> bool:
    blobs = Cache(cache).blobs()
    return bool(blobs) and all(
        hashlib.sha256(Cache(cache).path(it.digest).read_bytes()).hexdigest() == it.digest for it in blobs
    )


def charts_in(cache: Path) -> int:
    return sum(Cache(cache).find(chart.digest) is not None for chart in CHARTS)


def test_runs_of_two_projects_fetch_the_same_at_once_and_both_have_it(
    projects: list[CliProject], server: Server, tmp_path: Path
) -> None:
    runs = [project.start("run", "--only", "prepare") for project in projects]
    assert [run.wait(100) for run in runs] == [0, 0]
    assert charts_in(tmp_path / "cache") == len(CHARTS)
    assert all_are_whole(tmp_path / "cache")
    assert all(1 <= server.count(f"/{chart.file}") <= 2 for chart in CHARTS)
    assert list((tmp_path / "cache/incoming").iterdir()) == []


def test_a_run_that_is_killed_while_it_fetches_harms_no_other(
    projects: list[CliProject], server: Server, tmp_path: Path
) -> None:
    stalled, held = threading.Semaphore(0), threading.Event()

    def stall(request: Request) -> Response | None:
        """The first who asks gets half of three charts."""
        if held.is_set() or request.path not in [f"/{chart.file}" for chart in CHARTS[:3]]:
            return None
        content = server.files[request.path]

        def half() -> Iterator[bytes]:
            yield content[: len(content) // 2]
            stalled.release()
            server.closing.wait()

        return Response(200, half(), length=len(content))

    server.before.append(stall)
    killed = projects[0].start("run", "--only", "prepare")
    for _ in range(3):
        assert stalled.acquire(timeout=60)
    held.set()
    other = projects[1].start("run", "--only", "prepare")
    killed.send_signal(signal.SIGKILL)
    killed.wait(60)
    assert other.wait(100) == 0
    assert all_are_whole(tmp_path / "cache")
    assert charts_in(tmp_path / "cache") == len(CHARTS)
    server.forget()
    assert projects[0].run("run", "--resume").code == 0
    assert set(projects[0].statuses().values()) == {StepStatus.COMPLETED}
    assert {request.path for request in server.requests} <= {"/index.yaml"}
