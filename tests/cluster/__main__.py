"""`python -m tests.cluster up | down | kubeconfig | build`: the control plane by hand, and for the Makefile."""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from .binaries import CannotBuild, build
from .control_plane import ControlPlane
from .processes import AlreadyRunning, DidNotStart, end

FOLDER = Path(__file__).parents[2] / ".cluster"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.cluster", description=__doc__)
    parser.add_argument("command", choices=["up", "down", "kubeconfig", "build"])
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where it keeps everything (%(default)s)")
    arguments = parser.parse_args()
    try:
        COMMANDS[arguments.command](arguments.folder.resolve())
    except (AlreadyRunning, CannotBuild, DidNotStart) as problem:
        sys.exit(f"{problem}")


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def up(folder: Path) -> None:
    build(say)
    plane = ControlPlane(folder)
    plane.start()
    plane.leave()
    say("a Kubernetes control plane runs; `python -m tests.cluster down` ends it")
    print(f"export KUBECONFIG={plane.kubeconfig}")


def down(folder: Path) -> None:
    say("the control plane has ended" if end(folder) else "no control plane runs")
    shutil.rmtree(folder / "etcd", ignore_errors=True)


COMMANDS: dict[str, Callable[[Path], None]] = {
    "up": up,
    "down": down,
    "kubeconfig": lambda folder: print(ControlPlane(folder).kubeconfig),
    "build": lambda folder: build(say),
}

if __name__ == "__main__":
    main()
