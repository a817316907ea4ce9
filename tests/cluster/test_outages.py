"""The way to the API server fails in the middle of deploys; the run waits, and mends what was cut off."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from . import many, objects
from .client import Cluster
from .control_plane import ControlPlane
from .faults import Faults
from .many import running
from .running import Done, Project, ended

pytestmark = pytest.mark.helms("helm-v4")
APPS = many.APPS[:8]
MOST_REVISIONS = 3
"""Of a deploy that was cut off once: the pending one, the one that unlocks it, and that of the next attempt."""


@pytest.fixture
def faults(control_plane: ControlPlane) -> Iterator[Faults]:
    with Faults(control_plane) as faults:
        yield faults


@pytest.fixture
def project(faults: Faults, tmp_path: Path, namespace: str) -> Project:
    project = Project(tmp_path, faults.admin)
    many.write_many(project, namespace, APPS)
    return project


def with_an_outage(
    project: Project,
    cluster: Cluster,
    namespace: str,
    begin: Callable[[], object],
    end: Callable[[], object],
    attempts: int,
) -> Done:
    """A run, cut off when a release is pending until some deploy has failed so often."""
    with running(project) as process:
        many.until(lambda: bool(many.pending(cluster, namespace)), "no release is pending")
        begin()
        assert process.stderr is not None
        lines = iter(process.stderr.readline, "")
        told = [next(lines)]
        while f"attempt {attempts} failed, again in " not in told[-1]:
            told.append(next(lines))
        end()
        done = ended(process)
    return Done(done.code, done.output, "".join(told) + done.said)


def check(project: Project, cluster: Cluster, namespace: str, done: Done) -> None:
    assert done.code == 0, done.everything
    histories = many.histories(cluster, namespace)
    assert {name: history[-1].status for name, history in histories.items()} == dict.fromkeys(
        APPS, "deployed"
    )
    assert many.completed(project) == {name: history[-1].number for name, history in histories.items()}
    assert max(history[-1].number for history in histories.values()) <= MOST_REVISIONS


def test_connections_that_are_cut_for_a_while_fail_no_run(
    project: Project, faults: Faults, cluster: Cluster, namespace: str
) -> None:
    done = with_an_outage(project, cluster, namespace, faults.cut, faults.let_through, attempts=2)
    check(project, cluster, namespace, done)
    assert "it was cut off; unlocking it" in done.said


def test_a_port_at_which_nobody_is_for_a_while_fails_no_run_and_is_told_as_such(
    project: Project, faults: Faults, cluster: Cluster, namespace: str
) -> None:
    done = with_an_outage(project, cluster, namespace, faults.refuse, faults.listen, attempts=3)
    check(project, cluster, namespace, done)
    assert f"the API server {faults.server} of context 'sbkube-test' cannot be reached: dial tcp" in done.said


def test_an_api_server_that_is_restarted_fails_no_run(
    another_control_plane: ControlPlane, tmp_path: Path
) -> None:
    plane, cluster, namespace = another_control_plane, another_control_plane.admin, "apps"
    cluster.kubectl("create", "namespace", namespace)
    project = Project(tmp_path, cluster)
    many.write_many(project, namespace, APPS)

    def restart() -> None:
        plane.api_server.start()
        plane.api_server.wait_ready()
        plane.start_controllers()  # which would take up to a minute to find it

    done = with_an_outage(project, cluster, namespace, plane.api_server.kill, restart, attempts=3)
    check(project, cluster, namespace, done)


def test_an_api_server_that_is_too_busy_is_asked_again_when_it_says(
    project: Project, faults: Faults, cluster: Cluster, namespace: str
) -> None:
    with running(project) as process:
        many.until(lambda: bool(many.pending(cluster, namespace)), "no release is pending")
        faults.mode = "busy"
        many.until(lambda: faults.refused >= len(APPS), "nothing was asked")
        faults.let_through()
        done = ended(process)
    check(project, cluster, namespace, done)
    assert "attempt 1 failed" not in done.said


def test_a_slow_api_server_only_takes_longer(
    project: Project, faults: Faults, cluster: Cluster, namespace: str
) -> None:
    faults.latency = 0.3
    done = project.run("--app", "app-00", "--app", "app-01")
    assert "failed" not in done.said
    assert many.completed(project) == {"app-00": 1, "app-01": 1}


def test_an_action_that_finds_nobody_at_the_port_is_tried_again(
    project: Project, faults: Faults, cluster: Cluster, namespace: str
) -> None:
    config = (
        f"namespace: {namespace}\napps:\n  first: {{type: exec, commands: [touch here; until test -e go; do sleep 0.1; done]}}\n"
        "  do:\n    type: action\n    depends_on: [first]\n"
        "    actions: [{path: a.yaml}, {type: create, path: b.yaml}]\n"
    )
    files = {f"{name}.yaml": json.dumps(objects.config_map(name, a="1")) for name in "ab"}
    project.write({**files, "config.yaml": config})
    with running(project) as process:
        many.until(lambda: (project.folder / "here").exists(), "the first step did not start")
        faults.refuse()
        project.write({"go": ""})
        assert process.stderr is not None
        told = next(
            line for line in iter(process.stderr.readline, "") if "attempt 2 failed, again in " in line
        )
        faults.listen()
        done = ended(process)
    assert done.code == 0, done.everything
    assert "do:deploy" in told
    for name in "ab":
        cluster.get("configmap", name, namespace=namespace)


def test_one_that_does_not_come_back_is_told_by_name_and_resumed(
    project: Project, faults: Faults, cluster: Cluster, namespace: str
) -> None:
    project.write(
        {"config.yaml": (project.folder / "config.yaml").read_text() + "defaults: {retry: {retries: 1}}\n"}
    )
    with running(project) as process:
        many.until(lambda: bool(many.pending(cluster, namespace)), "no release is pending")
        faults.refuse()
        done = ended(process)
    assert done.code == 1
    assert f"the API server {faults.server} of context 'sbkube-test' cannot be reached: " in done.said
    again = project.sbkube("run", "--resume", "--target", "cluster")
    assert again.code != 0
    assert f"error: the API server {faults.server} of context 'sbkube-test' cannot be reached: " in again.said
    faults.listen()
    check(project, cluster, namespace, project.run("--resume"))
