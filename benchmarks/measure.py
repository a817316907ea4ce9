"""Measuring: every time in a fresh process, all variants in turn, again and again.

A machine is never as quiet as one thinks. What is compared is measured side by side and the ratio taken pair
by pair, so that a slow minute slows both.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median, quantiles
from typing import Any, TypeVar

T = TypeVar("T")

ROOT = Path(__file__).resolve().parent.parent
_LIMIT = 600.0


class MeasurementFailed(Exception):
    """A process that was to be measured did not do its work."""

    def __init__(self, job: object, code: int, said: str) -> None:
        super().__init__(f"{job} ended with {code}\n{said}")


class Bench:
    """A folder on the disk under test, and fresh processes that work in it."""

    def __init__(self, folder: Path, backend: str, tell: Callable[[str], None]) -> None:
        self.folder = folder
        self.backend = backend
        self.tell = tell

    @contextmanager
    def fresh_folder(self) -> Iterator[Path]:
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def child(self, do: str, *, dies: bool = False, **arguments: Any) -> dict[str, Any]:
        """What the process found; nothing if it is to die on the way."""
        done = subprocess.run(
            self.command(do, **arguments),
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=_LIMIT,
            check=False,
        )
        if dies and done.returncode == -9:
            return {}
        if done.returncode or dies:
            raise MeasurementFailed([do, arguments], done.returncode, done.stderr)
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return found

    def command(self, do: str, **arguments: Any) -> list[str]:
        job = {"do": do, "backend": self.backend, **arguments}
        return [sys.executable, "-m", "benchmarks.child", json.dumps(job)]


def in_turn(repeats: int, variants: Mapping[str, Callable[[], T]]) -> dict[str, list[T]]:
    """A B A B …, never A A B B."""
    found: dict[str, list[T]] = {name: [] for name in variants}
    for _ in range(repeats):
        for name, measured in variants.items():
            found[name].append(measured())
    return found


def pair_by_pair(these: Sequence[float], those: Sequence[float]) -> list[float]:
    return [this / that for this, that in zip(these, those, strict=True)]


def until_first_byte(command: Sequence[str], effect: Path, folder: Path) -> float:
    """Seconds from the start of a process to the first byte it writes to the pipe `effect`."""
    os.mkfifo(effect)
    pipe = os.open(effect, os.O_RDONLY | os.O_NONBLOCK)
    try:
        began = time.perf_counter()
        with subprocess.Popen(
            command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        ) as process:
            ready, _, _ = select.select([pipe], [], [], _LIMIT)
            seconds = time.perf_counter() - began
            said = process.communicate(timeout=_LIMIT)[1]
        if not ready or process.returncode:
            raise MeasurementFailed(command, process.returncode, said)
    finally:
        os.close(pipe)
    return seconds


def seconds_of(command: Sequence[str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, cwd=ROOT, check=True)
    return time.perf_counter() - began


def disk_speed(folder: Path, times: int = 200) -> tuple[float, float]:
    """Seconds that an append made durable takes: median, and the slowest of a hundred."""
    took = []
    path = folder / "appended"
    fd = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    sync = getattr(os, "fdatasync", os.fsync)
    for _ in range(times):
        began = time.perf_counter()
        os.write(fd, b"x" * 256)
        sync(fd)
        took.append(time.perf_counter() - began)
    os.close(fd)
    path.unlink()
    return median(took), quantiles(took, n=100)[98]
