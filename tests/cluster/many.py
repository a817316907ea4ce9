"""Twenty small releases, a run of them that can be killed, and what a cluster keeps of each."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import NamedTuple

from sbkube.engine import ExecutionState, FileStore, StepExecution, StepStatus

from . import objects
from .client import Cluster
from .running import Project

LOOK = 0.01
NEVER = Event()
APPS = tuple(f"app-{number:02}" for number in range(20))


class Revision(NamedTuple):
    number: int
    status: str
    is_unlocking: bool
    """Made to unlock the one before: our labels came along and do not mean it."""


def write_many(
    project: Project, namespace: str, names: Sequence[str] = APPS, value: str = "1", ready: str = "1s"
) -> None:
    """Each has pods that take a second to become ready; `value` is what an upgrade changes."""
    files = {f"{name}.yaml": _manifests(name, value, ready) for name in names}
    apps = "".join(f"  {name}: {{type: yaml, manifests: [{name}.yaml]}}\n" for name in names)
    project.write({**files, "config.yaml": f"namespace: {namespace}\napps:\n{apps}"})


def _manifests(app: str, value: str, ready: str) -> str:
    deployed = objects.deployment(app, annotations={"sbkube.test/after": ready, "value": value})
    return "---\n".join(json.dumps(one) + "\n" for one in (objects.config_map(app, a=value), deployed))


def histories(cluster: Cluster, namespace: str) -> dict[str, list[Revision]]:
    """By release, oldest first, as Helm's own records have them."""
    found: dict[str, list[Revision]] = {}
    for secret in cluster.find("secrets", "-l", "owner=helm", namespace=namespace):
        labels = secret["metadata"]["labels"]
        number = int(labels["version"])
        revision = Revision(number, labels["status"], labels.get("sbkube.dev/rev") != str(number))
        found.setdefault(labels["name"], []).append(revision)
    return {name: sorted(revisions) for name, revisions in found.items()}


def pending(cluster: Cluster, namespace: str) -> list[str]:
    newest = {name: history[-1] for name, history in histories(cluster, namespace).items()}
    return [name for name, revision in newest.items() if revision.status.startswith("pending-")]


def recorded(project: Project) -> ExecutionState | None:
    """The newest run by its journal, which is exact also after a kill."""
    return asyncio.run(FileStore.read(project.folder / ".sbkube").latest())


def steps(project: Project, status: StepStatus) -> list[StepExecution]:
    run = recorded(project)
    return [] if run is None else run.with_status(status)


def completed(project: Project) -> dict[str, int]:
    """The revision of each release whose deploy is recorded as completed."""
    outputs = [step.output for step in steps(project, StepStatus.COMPLETED) if step.name.endswith(":deploy")]
    return {out["release"]: out["revision"] for out in outputs if isinstance(out, dict)}


@contextmanager
def running(project: Project, *arguments: str, **environ: str) -> Iterator[subprocess.Popen[str]]:
    """A run to the cluster that is under way, killed in the end if it still is."""
    with project.begin("run", "--target", "cluster", *arguments, **environ) as process:
        try:
            yield process
        finally:
            process.kill()


def helms(mark: str) -> list[int]:
    """The processes of a Helm, library or program, that have this in their environment, as all have that a run starts."""
    return [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if _is_helm(pid, mark)]


def _is_helm(pid: int, mark: str) -> bool:
    try:
        program, _, _ = Path(f"/proc/{pid}/cmdline").read_bytes().partition(b"\0")
        return program.endswith(b"/helm") and mark.encode() in Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:  # gone meanwhile
        return False


def until(holds: Callable[[], bool], what: str, seconds: float = 30) -> None:
    """For what nobody tells us of."""
    limit = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < limit, what
        NEVER.wait(LOOK)
