"""sbkube is killed in the middle of twenty deploys; what a resumed run makes of it stands in Helm's own records.

Five kills; SBKUBE_TEST_KILLS=30 makes it thirty.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from random import Random

import pytest

from sbkube.engine import StepStatus

from . import many
from .client import Cluster
from .many import APPS, Revision, running
from .running import Project, ended

pytestmark = pytest.mark.helms("helm-v4")

KILLS = int(os.environ.get("SBKUBE_TEST_KILLS", "5"))
LONGEST = 3.0  # seconds that twenty deploys take; a kill that comes too late is one after a completed run
STOPPING = 30.0  # seconds after which a run that was told to stop would be waiting still


class Twenty:
    """Twenty releases, or some of them, deployed again and again."""

    def __init__(
        self, project: Project, cluster: Cluster, namespace: str, names: Sequence[str] = APPS
    ) -> None:
        self.names = names
        self.project, self.cluster, self.namespace = project, cluster, namespace
        self.version = 0
        self.done_before: dict[str, int] = {}
        """The last revision of each release before this version was to be deployed."""

    @property
    def histories(self) -> dict[str, list[Revision]]:
        return many.histories(self.cluster, self.namespace)

    @property
    def values(self) -> dict[str, str]:
        """What runs, by release."""
        found = self.cluster.find("configmaps", namespace=self.namespace)
        return {one["metadata"]["name"]: one["data"]["a"] for one in found if "a" in one.get("data", {})}

    def next_version(self, ready: str = "1s") -> None:
        self.done_before = {name: history[-1].number for name, history in self.histories.items()}
        self.version += 1
        many.write_many(self.project, self.namespace, self.names, str(self.version), ready)

    @property
    def deployed(self) -> dict[str, int]:
        """Of each release that has this version, the revision."""
        newest = {name: history[-1] for name, history in self.histories.items()}
        return {name: one.number for name, one in newest.items() if self._is_this_version(name, one)}

    def _is_this_version(self, name: str, newest: Revision) -> bool:
        is_newer = newest.number > self.done_before.get(name, 0)
        return newest.status == "deployed" and is_newer and not newest.is_unlocking

    def wait_pending(self, most: int = 1) -> None:
        many.until(
            lambda: len(many.pending(self.cluster, self.namespace)) >= most, "too few releases are pending"
        )

    def killed_while_pending(self, chance: Random) -> None:
        with running(self.project):
            self.wait_pending(chance.randint(1, 10))

    def killed(self, chance: Random, *arguments: str) -> None:
        """And all that it has started with it."""
        marked = running(self.project, *arguments, SBKUBE_TEST_MARK=self.namespace)
        with marked as process, suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=chance.uniform(0.3, LONGEST))
        self.wait_nobody_lives()

    def wait_nobody_lives(self) -> None:
        many.until(lambda: not many.helms(self.namespace), "a Helm outlives its sbkube")

    def killed_over_a_rollback(self) -> None:
        """Of the last run."""
        words = ["rollback", "--run", str(self.version), "--target", "cluster", "--yes"]
        with self.project.begin(*words, SBKUBE_TEST_MARK=self.namespace) as process:
            self.wait_pending()
            process.kill()
        self.wait_nobody_lives()

    def resume(self) -> None:
        """What is done is not done again, what is not is, and nothing stays locked."""
        known = {
            name: revision
            for name, revision in many.completed(self.project).items()
            if revision > self.done_before.get(name, 0)  # else the newest run is one before: killed too soon
        }
        deployed = self.deployed
        told = self.project.run("--resume").everything
        newest = {name: history[-1] for name, history in self.histories.items()}
        assert {name: one.status for name, one in newest.items()} == dict.fromkeys(self.names, "deployed"), (
            told
        )
        assert known.items() <= deployed.items(), told
        assert deployed.items() <= self.deployed.items(), told
        assert many.completed(self.project) == self.deployed, told


@pytest.fixture
def twenty(project: Project, cluster: Cluster, namespace: str) -> Twenty:
    return Twenty(project, cluster, namespace)


@pytest.mark.parametrize("kill", range(KILLS))
def test_a_run_that_is_killed_is_resumed_to_twenty_deployed_releases(twenty: Twenty, kill: int) -> None:
    chance = Random(kill)
    twenty.next_version()
    if kill % 2:
        twenty.project.run()
        twenty.next_version()
    twenty.killed(chance)
    if kill % 3 == 2:
        twenty.killed(chance, "--resume")
    twenty.resume()


@pytest.mark.helms("helm-v4", "helm-v3")
def test_what_two_killed_runs_left_pending_is_mended_by_one_resume(twenty: Twenty) -> None:
    chance = Random(1)
    for _ in range(2):
        twenty.next_version()
        twenty.killed_while_pending(chance)
    twenty.resume()


@pytest.fixture
def cut_off(project: Project, cluster: Cluster, namespace: str) -> Twenty:
    """In the middle of a rollback to the first of two versions."""
    twenty = Twenty(project, cluster, namespace, APPS[:6])
    for _ in range(2):
        twenty.next_version()
        twenty.project.run()
    twenty.killed_over_a_rollback()
    assert many.pending(twenty.cluster, twenty.namespace)
    return twenty


@pytest.mark.helms("helm-v4", "helm-v3")
def test_what_a_killed_rollback_left_pending_is_mended_by_the_next_run(cut_off: Twenty) -> None:
    told = cut_off.project.run("--resume").everything
    newest = {name: history[-1] for name, history in cut_off.histories.items()}
    assert {name: one.status for name, one in newest.items()} == dict.fromkeys(cut_off.names, "deployed"), (
        told
    )
    assert cut_off.values == dict.fromkeys(cut_off.names, "2")


def test_a_killed_rollback_is_ended_by_the_next_one(cut_off: Twenty) -> None:
    app = many.pending(cut_off.cluster, cut_off.namespace)[0]
    one = cut_off.project.sbkube("rollback", app, "--target", "cluster", "--yes")
    assert one.code == 0, one.everything
    assert cut_off.values[app] == "1"
    done = cut_off.project.sbkube("rollback", "--run", "2", "--target", "cluster", "--yes")
    assert done.code == 0, done.everything
    assert many.pending(cut_off.cluster, cut_off.namespace) == []
    assert cut_off.values == dict.fromkeys(cut_off.names, "1")


def test_helms_that_are_killed_are_replaced_within_the_run(twenty: Twenty) -> None:
    twenty.next_version()
    with running(twenty.project, SBKUBE_TEST_MARK=twenty.namespace) as process:
        twenty.wait_pending()
        for pid in many.helms(twenty.namespace):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        done = ended(process)
    assert done.code == 0, done.everything
    newest = {name: history[-1] for name, history in twenty.histories.items()}
    assert {name: one.status for name, one in newest.items()} == dict.fromkeys(APPS, "deployed")
    assert many.completed(twenty.project) == {name: one.number for name, one in newest.items()}


@pytest.mark.helms("helm-v4", "helm-v3")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_run_that_is_told_to_stop_is_gone_soon_with_its_helm(
    twenty: Twenty, number: signal.Signals
) -> None:
    twenty.next_version(ready="90s")
    with running(twenty.project, SBKUBE_TEST_MARK=twenty.namespace) as process:
        twenty.wait_pending()
        assert many.helms(twenty.namespace)
        process.send_signal(number)
        if number is signal.SIGINT:
            assert process.stderr is not None
            said = iter(process.stderr.readline, "")
            assert any("Ctrl-C again stops it" in line for line in said)
            process.send_signal(number)
        done = ended(process, STOPPING)
    assert done.code == 128 + number, done.everything
    assert many.helms(twenty.namespace) == []
    assert many.steps(twenty.project, StepStatus.CANCELLED)
    twenty.next_version()
    twenty.resume()
