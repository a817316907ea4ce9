"""A project of `exec` apps, and `sbkube` as a process of its own in it, with no guess about time.

Commands tell the test what they do through one pipe and wait at another until the test lets them go on.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import Any

from sbkube.engine import ExecutionState, StepStatus

from .helpers import recovered

SBKUBE = (sys.executable, "-c", "from sbkube.cli.main import main; main()")
PATIENCE = 40.0
"""Seconds after which something that must happen never will; no measure of anything."""

App = dict[str, Any]


def until(holds: Callable[[], bool], what: str = "") -> None:
    """For what the kernel sends no event for."""
    never, end = Event(), time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end, what
        never.wait(0.005)


@dataclass(frozen=True, slots=True)
class Ended:
    code: int
    out: str
    err: str

    @property
    def commands(self) -> list[str]:
        """To go on, as they were printed."""
        lines = [line.strip() for line in self.err.splitlines()]
        return [line.partition("  # ")[0].rstrip() for line in lines if line.startswith("sbkube ")]


@dataclass(slots=True)
class CliProject:
    root: Path
    env: dict[str, str] = field(default_factory=dict)
    _told: int = -1
    _gate: int = -1
    _heard: bytes = b""
    _children: list[subprocess.Popen[str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.root.mkdir(parents=True)
        for name in ("told", "gate"):
            os.mkfifo(self.root / name)
        # Open for both, so that no command waits for the other end and none finds the end of it.
        self._told = os.open(self.root / "told", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        self._gate = os.open(self.root / "gate", os.O_RDWR | os.O_CLOEXEC)

    def close(self) -> None:
        for child in self._children:
            if child.poll() is None:
                child.kill()
            child.communicate()
        # Commands that outlived their `sbkube` find the end of the gate, and end.
        os.close(self._gate)
        os.close(self._told)

    # What it is

    def config(self, apps: Mapping[str, App], **more: Any) -> None:
        config = {"namespace": "test", "target": {"directory": "rendered"}, "apps": dict(apps), **more}
        (self.root / "config.yaml").write_text(json.dumps(config), encoding="utf-8")

    @property
    def state(self) -> Path:
        return self.root / ".sbkube"

    @property
    def latest(self) -> Path:
        return self.state / "runs" / "latest.json"

    @property
    def recorded(self) -> ExecutionState:
        """What the journal holds, its process being gone."""
        state = recovered(self.state)
        assert state is not None
        return state

    def statuses(self) -> dict[str, StepStatus]:
        return {id: step.status for id, step in self.recorded.steps.items()}

    def ledger(self) -> list[str]:
        path = self.root / "ledger"
        return path.read_text(encoding="utf-8").splitlines() if path.exists() else []

    # Commands and the test

    def wait_for(self, *lines: str) -> None:
        """Until commands have told all of these, in any order."""
        missing = list(lines)
        while missing:
            line = self.next_told()
            if line in missing:
                missing.remove(line)

    def next_told(self, patience: float = PATIENCE) -> str:
        while b"\n" not in self._heard:
            ready, _, _ = select.select([self._told], [], [], patience)
            assert ready, "nothing is told any more"
            self._heard += os.read(self._told, 65536)
        line, _, self._heard = self._heard.partition(b"\n")
        return line.decode()

    def let_go(self, commands: int = 1) -> None:
        os.write(self._gate, b"\n" * commands)

    def left_running(self) -> list[int]:
        """What runs in its folder, where every command does."""
        return [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if self._is_ours(pid)]

    def _is_ours(self, pid: int) -> bool:
        try:
            return os.readlink(f"/proc/{pid}/cwd") == str(self.root.resolve()) and runs(pid)
        except OSError:
            return False

    def until_nothing_runs(self) -> None:
        """As an operator waits who was told that a command still runs."""
        until(lambda: not self.left_running(), "a command never ends")

    # `sbkube`

    @property
    def environ(self) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("LANG", "PYTHONPATH") if name in os.environ}
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        return {**kept, "PATH": path, "HOME": str(self.root.parent), **self.env}

    def start(self, *words: str, program: Iterable[str] = SBKUBE, **more: Any) -> subprocess.Popen[str]:
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        child: subprocess.Popen[str] = subprocess.Popen(
            [*program, *words], cwd=self.root, env=self.environ, text=True, **{**pipes, **more}
        )
        self._children.append(child)
        return child

    def run(self, *words: str, program: Iterable[str] = SBKUBE) -> Ended:
        return ended(self.start(*words, program=program))

    def shell(self, line: str) -> Ended:
        """As an operator would type it."""
        return self.run("-c", line, program=("/bin/sh",))


def ended(child: subprocess.Popen[str]) -> Ended:
    out, err = child.communicate(timeout=PATIENCE)
    return Ended(child.returncode, out or "", err or "")


def says(child: subprocess.Popen[str], words: str) -> str:
    """Reads narration until a line with these words."""
    assert child.stderr is not None
    for line in child.stderr:
        if words in line:
            return line
    raise AssertionError(f"it never said {words!r}")


def seen_on(master: int, words: str | None) -> bytes:
    """What the terminal is sent until these words are in it, or until its process is gone."""
    shown = b""
    while words is None or words.encode() not in shown:
        try:
            data = os.read(master, 65536)
        except OSError:  # Linux: nobody has the other end any more
            assert words is None, shown
            return shown
        shown += data
    return shown


def command(*parts: str) -> App:
    return {"type": "exec", "commands": ["; ".join(parts)]}


def tells(word: str) -> str:
    """Into the ledger, which stays, and then to the test."""
    return f'echo "{word} $SBKUBE_APP_NAME" >> ledger; echo "{word} $SBKUBE_APP_NAME" > told'


WAITS = "read go < gate"


def gated() -> App:
    """Begins, waits to be let go, ends."""
    return command(tells("begin"), WAITS, tells("end"))


def quick(*needs: str) -> App:
    return {**command(tells("begin"), tells("end")), "depends_on": list(needs)}


# Processes


def runs(pid: int) -> bool:
    """Zombies do not."""
    return _stat(pid)[:1] not in ([], ["Z"], ["X"])


def _stat(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def children_of(pid: int) -> list[int]:
    found = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    return [child for child in found if runs(child) and _stat(child)[1:2] == [str(pid)]]


def marked(variable: str) -> list[int]:
    """Every process that has this (`NAME=value`) in its environment, whoever its parent is by now."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            environ = Path(f"/proc/{name}/environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if variable.encode() in environ and runs(int(name)):
            found.append(int(name))
    return found


def processor_time(pid: int) -> int:
    return int((_stat(pid) or ["0"] * 13)[11])


def interrupt(child: subprocess.Popen[str]) -> None:
    child.send_signal(signal.SIGINT)
