"""`python -m benchmarks.cluster`: deploys hundreds of releases to a control plane of its own, beside other tools."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.cluster import binaries
from tests.cluster.control_plane import ControlPlane

from ..report import Goal, Row, at_least, at_most, table
from .projects import Helmfile, HelmLoop, Sbkube, Tool, independent, layered
from .watched import Took, watched

READY_AFTER = "5s"
MEGABYTE = 1_000_000


class Bench:
    def __init__(self, plane: ControlPlane, folder: Path, asked: argparse.Namespace) -> None:
        self.plane, self.folder, self.asked = plane, folder, asked
        self.count: int = asked.releases
        self._made = 0

    def sbkubes(self) -> list[Tool]:
        return [Sbkube(self.fresh_folder(), helm) for helm in ("embedded", *self.asked.helm)]

    def tools(self) -> list[Tool]:
        tools, asked = self.sbkubes(), self.asked
        if asked.helmfile and asked.helm:
            helm = asked.helmfile_helm or asked.helm[0]
            tools.append(Helmfile(self.fresh_folder(), asked.helmfile, helm))
        return [*tools, *(HelmLoop(self.fresh_folder(), helm) for helm in asked.helm[:1])]

    def fresh_folder(self) -> Path:
        return Path(tempfile.mkdtemp(dir=self.folder))

    @contextmanager
    def namespaces(self, count: int) -> Iterator[list[str]]:
        self._made += 1
        names = [f"bench-{self._made}-{n}" for n in range(count)]
        self.plane.admin.apply(
            *({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}} for name in names)
        )
        try:
            yield names
        finally:
            self.plane.admin.kubectl("delete", "namespace", *names, seconds=600)

    def run(self, tool: Tool) -> Took:
        took = self.watched(tool, tool.commands())
        tell(f"{tool.name}: {took.seconds:.1f} s, {took.peak / MEGABYTE:.0f} MB")
        return took

    def watched(self, tool: Tool, commands: Sequence[Sequence[str]]) -> Took:
        return watched(commands, tool.folder, {**self.plane.admin.environment, **tool.environment})

    def revisions(self, namespaces: Sequence[str]) -> int:
        """Kept by Helm for what was deployed."""
        found = (
            self.plane.admin.kubectl("get", "secrets", "-l", "owner=helm", "-n", name, "-o", "name")
            for name in namespaces
        )
        return sum(len(names.split()) for names in found)


def waiting(bench: Bench) -> Iterator[Row]:
    """All at once, and all wait for pods that take five seconds."""
    for spread in (1, 10):
        for tool in bench.sbkubes():
            tell(f"{bench.count} releases whose pods are ready after {READY_AFTER}, in {spread} namespaces")
            with bench.namespaces(spread) as namespaces:
                tool.write(independent(bench.count, namespaces), value="1", ready_after=READY_AFTER)
                took = bench.run(tool)
                expect(bench.revisions(namespaces), bench.count)
            goals = (at_most(30), at_most(1000)) if tool.name == "sbkube" else (None, None)
            yield Row(
                f"{bench.count} waiting, {spread} namespaces: {tool.name}", "s", [took.seconds], goals[0]
            )
            yield Row(
                f"{bench.count} waiting, {spread} namespaces: {tool.name}",
                "MB",
                [took.peak / MEGABYTE],
                goals[1],
            )


def graph(bench: Bench) -> Iterator[Row]:
    """Ten deep: first, again with nothing changed, again with every release changed."""
    found: dict[str, dict[str, float]] = {}
    tools = bench.tools()
    for tool in tools:
        with bench.namespaces(1) as (namespace,):
            releases = layered(bench.count, namespace)
            took = found[tool.name] = {}
            for what, value, revisions in (("first", "1", 1), ("unchanged", "1", 1), ("changed", "2", 2)):
                tool.write(releases, value=value)
                tell(f"{len(releases)} releases ten deep, {what}")
                took[what] = bench.run(tool).seconds
                made = bench.revisions([namespace])
                if not isinstance(tool, HelmLoop):  # it makes a revision each time
                    expect(made, revisions * len(releases))
            if isinstance(tool, Sbkube):
                yield from diff(bench, tool, len(releases))
    for name, took in found.items():
        for what, seconds in took.items():
            yield Row(f"{what}: {name}", "s", [seconds])
    ours = found["sbkube"]
    for name in [tool.name for tool in tools if not isinstance(tool, Sbkube)]:
        for what, goal in GOALS.items():
            yield Row(f"{what}: {name} / sbkube", "x", [found[name][what] / ours[what]], goal)


def diff(bench: Bench, tool: Sbkube, releases: int) -> Iterator[Row]:
    """Of what is in the cluster as it is in the project: four objects a release, and nothing to show."""
    took = bench.watched(tool, [tool.command("diff", "--detailed-exitcode")])
    yield Row(f"diff of {4 * releases} objects: {tool.name}", "s", [took.seconds], at_most(8))


GOALS: Mapping[str, Goal | None] = {"first": None, "unchanged": at_least(10), "changed": at_least(2)}
FIGURES: Mapping[str, Callable[[Bench], Iterator[Row]]] = {"waiting": waiting, "graph": graph}


def expect(found: int, expected: int) -> None:
    if found != expected:
        sys.exit(
            f"{found} revisions are in the cluster, not {expected}: what was measured did not do its work"
        )


def tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main() -> None:
    asked = _arguments()
    binaries.build(tell)
    began = os.getloadavg()[0]
    with (
        tempfile.TemporaryDirectory(prefix="benchmarks-") as name,
        ControlPlane(Path(name, "plane")) as plane,
    ):
        bench = Bench(plane, Path(name), asked)
        rows = [row for figure in asked.figures or FIGURES for row in FIGURES[figure](bench)]
    conditions = {
        "cores": str(os.cpu_count()),
        "control plane": "on the same cores",
        "load": f"{began:.1f} at the start, {os.getloadavg()[0]:.1f} at the end",
        "date": time.strftime("%Y-%m-%d"),
    }
    print(table(rows, conditions))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks.cluster", description=__doc__)
    parser.add_argument(
        "figures", nargs="*", metavar="FIGURES", help=f"of {', '.join(FIGURES)}; default: all"
    )
    parser.add_argument("--releases", type=int, default=200, metavar="N", help="default: %(default)s")
    parser.add_argument(
        "--helm", action="append", default=[], metavar="PATH", help="a helm program to measure too"
    )
    parser.add_argument(
        "--helmfile", metavar="PATH", default=shutil.which("helmfile"), help="default: that on PATH"
    )
    parser.add_argument(
        "--helmfile-helm", metavar="PATH", help="the helm for it, whose plugin diff works; default: the first"
    )
    asked = parser.parse_args()
    if unknown := set(asked.figures) - set(FIGURES):
        parser.error(f"no figures {', '.join(sorted(unknown))}; there are {', '.join(FIGURES)}")
    return asked


if __name__ == "__main__":
    main()
