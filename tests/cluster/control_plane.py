"""A real Kubernetes control plane for tests: etcd, the API server, the controllers and the scheduler as plain processes.

Everything listens on loopback, and kwok plays the nodes and their pods (see `stages`). `with ControlPlane(folder) as plane`
starts one in a few seconds; several may run at once, each in a folder of its own.
"""

from __future__ import annotations

import json
import shutil
import ssl
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from . import binaries
from .client import Cluster
from .commands import USERS, commands, kubeconfig, kubeconfig_text, node, storage, token, tokens
from .processes import Group, Process
from .stages import stages

NODES = 4


@dataclass(frozen=True, slots=True)
class Write:
    """A request to change something, and what the API server answered."""

    user: str
    verb: str
    uri: str
    code: int

    @property
    def dry(self) -> bool:
        return "dryRun=All" in self.uri


class ControlPlane:
    etcd: Process
    api_server: Process
    controller_manager: Process
    scheduler: Process
    kwok: Process

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self.processes: list[Process] = []
        self._group: Group | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start a new, empty cluster and wait until pods can be placed."""
        programs = binaries.found()
        self.folder.mkdir(parents=True, exist_ok=True)
        self._group = Group(self.folder)
        try:
            self._prepare(self._group, programs)
            self.etcd.start()
            self.api_server.start()
            self.api_server.wait_ready()
            self.start_controllers()
            self.as_user("controllers").apply(*storage())
        except BaseException:
            self.stop()
            raise

    def start_controllers(self) -> None:
        """Start them, or start them again: left alone they take up to a minute to find a restarted API server."""
        for process in (self.controller_manager, self.scheduler, self.kwok):
            process.restart()
        self.as_user("controllers").apply(*(node(f"node-{number}") for number in range(1, NODES + 1)))
        self.kwok.wait_ready()

    def stop(self) -> None:
        """End everything; the logs stay."""
        for process in self.processes:
            process.kill()
        if self._group:
            self._group.end()
        self.processes, self._group = [], None
        shutil.rmtree(self.folder / "etcd", ignore_errors=True)

    def leave(self) -> None:
        """Let it run on after this process; `processes.end(folder)` ends it."""
        assert self._group
        self._group.release()

    @property
    def kubeconfig(self) -> Path:
        return kubeconfig(self.folder, "admin")

    @property
    def admin(self) -> Cluster:
        return self.as_user("admin")

    def as_user(self, user: str) -> Cluster:
        """The cluster as one of `commands.USERS` sees it."""
        return Cluster(kubeconfig(self.folder, user), binaries.found()["kubectl"].parent)

    def writes(self, user: str = "admin") -> list[Write]:
        """What a user sent to change something, in order, from the audit log (written before each answer)."""
        whole, _, _ = (
            (self.folder / "audit.log").read_text().rpartition("\n")
        )  # the last line may be under way
        events = map(json.loads, whole.splitlines())
        return [_write(event) for event in events if event["user"]["username"] == user]

    def _prepare(self, group: Group, programs: dict[str, Path]) -> None:
        for old in ("etcd", "certs", "logs"):
            shutil.rmtree(self.folder / old, ignore_errors=True)
        (self.folder / "logs").mkdir()
        lines, self.server = commands(self.folder, programs)
        for name, text in {"audit.log": "", "stages.yaml": stages(), "tokens.csv": tokens()}.items():
            (self.folder / name).write_text(text)
        for user in USERS:
            kubeconfig(self.folder, user).write_text(kubeconfig_text(self.folder, self.server, user))
        ready = {"kube-apiserver": self._answers, "kwok": self._has_nodes}
        self.processes = [
            Process(group, line, self.folder / "logs" / f"{name}.log", ready.get(name))
            for name, line in lines.items()
        ]
        self.etcd, self.api_server, self.controller_manager, self.scheduler, self.kwok = self.processes

    def _answers(self) -> bool:
        # not verified: the certificate is as new as the server
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        request = urllib.request.Request(
            f"{self.server}/readyz", headers={"Authorization": f"Bearer {token('admin')}"}
        )
        try:
            with urllib.request.urlopen(request, context=context, timeout=5) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def _has_nodes(self) -> bool:
        """All ready, and without the taint that the node controller takes off afterwards."""
        found = self.as_user("controllers").find("nodes")
        return all(map(_is_ready, found)) and not any(item["spec"].get("taints") for item in found)


def _is_ready(item: dict[str, Any]) -> bool:
    conditions = item["status"].get("conditions", [])
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def _write(event: dict[str, Any]) -> Write:
    return Write(
        event["user"]["username"], event["verb"], event["requestURI"], event["responseStatus"]["code"]
    )
