"""What is measured, and what "the first house" asks of each figure."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from .measure import ROOT, Bench, in_turn, pair_by_pair, seconds_of, until_first_byte
from .report import Goal, Row, at_least, at_most
from .workloads import bound_of_naps

NONE = at_most(0)


@dataclass(frozen=True, slots=True)
class Scale:
    small: int
    large: int
    growth: int
    naps: int
    repeats: int
    peers: bool = False


FULL = Scale(small=1_000, large=10_000, growth=100_000, naps=1_000, repeats=5)
QUICK = Scale(small=1_000, large=4_000, growth=20_000, naps=400, repeats=3)
TINY = Scale(small=8, large=16, growth=32, naps=8, repeats=1)

Figures = Callable[[Bench, Scale], Iterator[Row]]


def speed(bench: Bench, scale: Scale) -> Iterator[Row]:
    """W1, W2, WY: steps that cost nothing, so what is left is the engine."""
    for workload in ("W1", "W2", "WY"):
        for steps in (scale.small, scale.large):
            yield from _speed(bench, scale, workload, steps)


def _speed(bench: Bench, scale: Scale, workload: str, steps: int) -> Iterator[Row]:
    engines = ["sbkube", "bare", "memory"]
    if scale.peers and workload != "WY" and find_spec("doit"):
        engines.append("doit")
    found = in_turn(scale.repeats, {engine: _a_run(bench, engine, workload, steps) for engine in engines})
    rates = {engine: [one["steps"] / one["seconds"] for one in runs] for engine, runs in found.items()}
    is_asked = steps == scale.large and workload != "WY"
    where = f"{workload}, {steps:,} steps: "
    yield Row(where + "sbkube, durable", "steps/s", rates["sbkube"], at_least(7_000) if is_asked else None)
    yield Row(where + "sbkube, in memory", "steps/s", rates["memory"])
    yield Row(where + "bare anyio, no state", "steps/s", rates["bare"])
    ratio = pair_by_pair(rates["sbkube"], rates["bare"])
    yield Row(where + "durable / bare", "x", ratio, at_least(0.5) if is_asked else None)
    if "doit" in rates:
        yield Row(where + "doit (SQLite)", "steps/s", rates["doit"])
        ratio = pair_by_pair(rates["sbkube"], rates["doit"])
        yield Row(where + "durable / doit", "x", ratio, at_least(2) if is_asked else None)


def _a_run(bench: Bench, engine: str, workload: str, steps: int) -> Callable[[], dict[str, Any]]:
    def run() -> dict[str, Any]:
        with bench.fresh_folder() as folder:
            return bench.child("run", engine=engine, workload=workload, steps=steps, folder=str(folder))

    return run


def naps(bench: Bench, scale: Scale) -> Iterator[Row]:
    """W3: how far from full the slots are while steps wait for something else."""
    engines = ("sbkube", "bare")
    found = in_turn(scale.repeats, {engine: _a_run(bench, engine, "W3", scale.naps) for engine in engines})
    seconds = {engine: [one["seconds"] for one in runs] for engine, runs in found.items()}
    bound = bound_of_naps(scale.naps)
    where = f"W3, {scale.naps:,} steps of 50 ms: "
    yield Row(where + "sbkube, durable", "s", seconds["sbkube"])
    yield Row(where + "bare anyio, no state", "s", seconds["bare"])
    ratio = [one / bound for one in seconds["sbkube"]]
    yield Row(where + f"durable / bound of {bound:.2f} s", "x", ratio, at_most(1.08))


def growth(bench: Bench, scale: Scale) -> Iterator[Row]:
    """Whether a step costs the same in a large run."""
    sizes = {"few": scale.small, "many": scale.growth, "four": 4}
    found = in_turn(
        scale.repeats, {name: _a_run(bench, "sbkube", "W2", steps) for name, steps in sizes.items()}
    )
    few, many = ([one["seconds"] / one["steps"] for one in found[name]] for name in ("few", "many"))
    memory = [
        (one["peak"] - empty["peak"]) / one["steps"]
        for one, empty in zip(found["many"], found["four"], strict=True)
    ]
    journal = [one["journal"] / one["steps"] for one in found["many"]]
    where = f"W2, {scale.growth:,} steps: "
    yield Row(where + "time per step", "us", [one * 1e6 for one in many])
    yield Row(where + f"the same / that of {scale.small:,}", "x", pair_by_pair(many, few), at_most(1.5))
    yield Row(where + "memory per step at the peak", "bytes", memory)
    yield Row(where + "journal per step", "bytes", journal)


def resume(bench: Bench, scale: Scale) -> Iterator[Row]:
    """Reading back a large run in which one step failed, and deciding what is left."""
    with bench.fresh_folder() as folder:
        made = folder / "made"
        what: dict[str, Any] = {"workload": "W2", "steps": scale.growth}
        bench.child("logged", **what, folder=str(made), log=str(folder / "log"), mishap="fail", resume="no")
        found = in_turn(scale.repeats, {"decide": lambda: _decide(bench, made, what)})["decide"]
    where = f"resume of {scale.growth:,} steps: "
    yield Row(where + "read the state and decide", "s", [one["seconds"] for one in found], at_most(4))
    yield Row(where + "the same, and the head durable", "s", [one["opened"] for one in found])
    yield Row(where + "build the graph", "s", [one["graph"] for one in found])


def _decide(bench: Bench, made: Path, what: dict[str, Any]) -> dict[str, Any]:
    with bench.fresh_folder() as folder:
        copy = shutil.copytree(made, folder / "copy")
        return bench.child("decide", **what, folder=str(copy))


def mishaps(bench: Bench, scale: Scale) -> Iterator[Row]:
    """W4, WK: what runs again after a failure and after a kill -9."""
    for name, mishap in (("W4: one step failed, ", "fail"), ("WK: killed at 40 %, ", "kill")):
        found = in_turn(scale.repeats, {mishap: partial(_mishap, bench, mishap, scale.small)})[mishap]
        yield Row(name + "completed steps run again", "steps", [one["again"] for one in found], NONE)
        yield Row(name + "completed steps forgotten", "steps", [one["forgotten"] for one in found], NONE)
        if mishap == "kill":
            yield Row(name + "in flight and run again", "steps", [one["in_flight"] for one in found])


def _mishap(bench: Bench, mishap: str, steps: int) -> dict[str, float]:
    with bench.fresh_folder() as folder:
        what: dict[str, Any] = {"workload": "W2", "steps": steps, "folder": str(folder / "state")}
        logs = [folder / "before", folder / "after"]
        bench.child("logged", **what, log=str(logs[0]), mishap=mishap, resume="no", dies=mishap == "kill")
        completed = set(bench.child("completed", folder=what["folder"])["completed"])
        bench.child("logged", **what, log=str(logs[1]), mishap="none", resume="always")
        at_the_end = bench.child("completed", folder=what["folder"])["completed"]
        before, after = _ran_and_told(logs[0]), _ran_and_told(logs[1])
    return {
        "again": len(completed & after["ran"]),
        "forgotten": len(before["told"] - completed) + steps - len(at_the_end),
        "in_flight": len(before["ran"] & after["ran"] - completed),
    }


def _ran_and_told(log: Path) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {"ran": set(), "told": set()}
    for line in log.read_text().splitlines():
        what, id = line.split(" ", 1)
        found[what].add(id)
    return found


def starting(bench: Bench, scale: Scale) -> Iterator[Row]:
    """W5 and imports: what a command costs before it does anything."""
    python = [sys.executable, "-c"]
    imports = in_turn(
        scale.repeats * 2,
        {
            "engine": lambda: seconds_of([*python, "import sbkube.engine"]),
            "empty": lambda: seconds_of([*python, ""]),
        },
    )
    over = [(one - empty) * 1000 for one, empty in zip(imports["engine"], imports["empty"], strict=True)]
    yield Row("import sbkube.engine, over an empty interpreter", "ms", over, at_most(100))
    starts = {"cli": lambda: _cli_start(bench), **{e: _engine_start(bench, e) for e in ("sbkube", "bare")}}
    found = in_turn(scale.repeats * 2, starts)
    where = "W5, 4 steps, process start to first step: "
    for name, label, goal in _STARTS:
        yield Row(where + label, "ms", [one * 1000 for one in found[name]], goal)


_STARTS: tuple[tuple[str, str, Goal | None], ...] = (
    ("cli", "`sbkube run`", at_most(400)),
    ("sbkube", "sbkube, durable", None),
    ("bare", "bare anyio, no state", None),
)


def _engine_start(bench: Bench, engine: str) -> Callable[[], float]:
    def started() -> float:
        with bench.fresh_folder() as folder:
            effect = folder / "effect"
            command = bench.command("start", engine=engine, folder=str(folder / "state"), effect=str(effect))
            return until_first_byte(command, effect, ROOT)

    return started


def _cli_start(bench: Bench) -> float:
    """A command is a process more than a body, so this figure has a shell's start in it."""
    with bench.fresh_folder() as folder:
        apps = [f"  app{n}: {{type: exec, commands: ['printf . > effect']}}" for n in range(4)]
        (folder / "config.yaml").write_text("\n".join(["namespace: default", "apps:", *apps, ""]))
        command = [str(Path(sys.executable).with_name("sbkube")), "run", "--target", "./out"]
        return until_first_byte(command, folder / "effect", folder)


ALL: dict[str, Figures] = {
    "speed": speed,
    "naps": naps,
    "growth": growth,
    "resume": resume,
    "mishaps": mishaps,
    "starting": starting,
}
