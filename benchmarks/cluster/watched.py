"""Commands, how long they took, and the memory that they and all their children held at once."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from ..measure import MeasurementFailed

LOOK = 0.2  # seconds between two looks at the memory
LIMIT = 1800.0


class Took(NamedTuple):
    seconds: float
    peak: int
    """Bytes. What several processes share counts once (the kernel's proportional set size)."""


def watched(commands: Sequence[Sequence[str]], folder: Path, environment: Mapping[str, str]) -> Took:
    began = time.perf_counter()
    peak = max(_one(command, folder, environment) for command in commands)
    return Took(time.perf_counter() - began, peak)


def _one(command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> int:
    with (folder / "said").open("wb") as said:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=said, stderr=said
        )
        with _peak_of(process.pid) as peaks:
            code = process.wait(LIMIT)
    if code:
        raise MeasurementFailed(command, code, (folder / "said").read_text(errors="replace")[-4000:])
    return max(peaks, default=0)


@contextmanager
def _peak_of(pid: int) -> Iterator[list[int]]:
    """What it and its descendants hold, whenever looked."""
    ended, found = threading.Event(), []

    def look() -> None:
        while not ended.wait(LOOK):
            found.append(sum(map(_held, _family(pid))))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield found
    finally:
        ended.set()
        thread.join()


def _family(pid: int) -> list[int]:
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
    family = [pid]
    for member in family:  # grows while it is walked
        family += [child for child, parent in parents.items() if parent == member]
    return family


def _held(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
