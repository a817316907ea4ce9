"""`python -m benchmarks`: measures, prints one table and how far the first house is reached."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

from .figures import ALL, FULL, QUICK, TINY, Scale
from .measure import Bench, disk_speed
from .report import Row, table


def main(arguments: Sequence[str] | None = None) -> None:
    asked = _arguments(arguments)
    if asked.peers and find_spec("doit") is None:
        sys.exit("--peers compares with doit, which is not installed: `pip install doit`")
    scale = _scale(asked)
    with _folder_on(Path(asked.disk)) as folder:
        conditions = _conditions(folder, asked.backend)
        rows = _measured(Bench(folder, asked.backend, _tell), scale, asked.figures or list(ALL))
    conditions["load at the end"] = _load()
    print(table(rows, conditions))
    if asked.json:
        found = {"conditions": conditions, "figures": [row.to_json() for row in rows]}
        Path(asked.json).write_text(json.dumps(found, indent=1) + "\n")


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("figures", nargs="*", metavar="FIGURES", help=f"of {', '.join(ALL)}; default: all")
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help="fewer repeats of smaller runs, about a minute")
    size.add_argument("--tiny", action="store_true", help="once, a few steps: whether everything works")
    parser.add_argument("--repeats", type=int, metavar="N", help="measure each figure N times")
    parser.add_argument("--backend", choices=("asyncio", "trio"), default="asyncio")
    parser.add_argument("--peers", action="store_true", help="compare with doit and its SQLite backend too")
    parser.add_argument("--disk", default=".", metavar="FOLDER", help="where state is kept; default: here")
    parser.add_argument("--json", metavar="FILE", help="also write every value there")
    asked = parser.parse_args(arguments)
    for figure in asked.figures:
        if figure not in ALL:
            parser.error(f"no figures {figure!r}; there are {', '.join(ALL)}")
    return asked


def _scale(asked: argparse.Namespace) -> Scale:
    scale = TINY if asked.tiny else QUICK if asked.quick else FULL
    return replace(scale, peers=asked.peers, repeats=asked.repeats or scale.repeats)


@contextmanager
def _folder_on(disk: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix=".benchmarks-", dir=disk.resolve()) as name:
        folder = Path(name)
        (folder / ".gitignore").write_text("*\n")
        yield folder


def _measured(bench: Bench, scale: Scale, names: Sequence[str]) -> list[Row]:
    rows: list[Row] = []
    for name in names:
        began = time.monotonic()
        rows += ALL[name](bench, scale)
        bench.tell(f"measured {name} in {time.monotonic() - began:.0f} s")
    return rows


def _conditions(folder: Path, backend: str) -> dict[str, str]:
    median, slow = disk_speed(folder)
    return {
        "python": f"{platform.python_version()} on {platform.system()}, {os.cpu_count()} cores, {backend}",
        "disk": f"append made durable: {median * 1000:.2f} ms median, {slow * 1000:.2f} ms p99",
        "load at the start": _load(),
    }


def _load() -> str:
    load = os.getloadavg()[0]
    busy = " (busy: trust the ratios, not the rates)" if load > (os.cpu_count() or 1) else ""
    return f"{load:.1f}{busy}"


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


main()
