"""The programs of the control plane: built with Go once per version, kept in the cache folder of the tests.

`modules/` has a Go module for each group of programs that share their dependencies; its go.mod says the version.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

MODULES = Path(__file__).with_name("modules")
LONGEST_BUILD = 30 * 60.0  # seconds for one program; the longest takes five minutes on two cores

Say = Callable[[str], None]


class CannotBuild(Exception):
    """The programs of the control plane are not there, and this is why they cannot be."""


@dataclass(frozen=True, slots=True)
class Program:
    name: str
    module: str
    package: str

    @property
    def version(self) -> str:
        module = (MODULES / self.module / "go.mod").read_text()
        (version,) = re.findall(
            rf"^\s*(?:require )?{re.escape(VERSIONED[self.module])} (v\S+)", module, re.MULTILINE
        )
        return str(version)

    @property
    def path(self) -> Path:
        return cache() / f"{self.module}-{self.version}" / self.name

    @property
    def linker_flags(self) -> str:
        if self.module != "kubernetes":
            return "-s -w"
        # a chart's `kubeVersion` is compared with what the API server says, which is v0.0.0 unless it is told
        major, minor, _ = self.version.removeprefix("v").split(".")
        said = {"gitVersion": self.version, "gitMajor": major, "gitMinor": minor}
        return "-s -w " + " ".join(
            f"-X k8s.io/component-base/version.{name}={value}" for name, value in said.items()
        )


# Whose version each module is about.
VERSIONED = {
    "etcd": "go.etcd.io/etcd/server/v3",
    "kubernetes": "k8s.io/kubernetes",
    "kwok": "sigs.k8s.io/kwok",
}
PROGRAMS = [
    Program("etcd", "etcd", "go.etcd.io/etcd/server/v3"),
    *(
        Program(name, "kubernetes", f"k8s.io/kubernetes/cmd/{name}")
        for name in ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl")
    ),
    Program("kwok", "kwok", "sigs.k8s.io/kwok/cmd/kwok"),
]


def cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("SBKUBE_TEST_CACHE") or Path(base) / "sbkube-test")


def missing() -> list[Program]:
    return [program for program in PROGRAMS if not program.path.is_file()]


def found() -> dict[str, Path]:
    """The path of each program; all are there, or the error says how to get them."""
    if lacking := missing():
        names = ", ".join(program.name for program in lacking)
        raise CannotBuild(
            f"not built yet: {names}; run `python -m tests.cluster build` (needs Go, and minutes)"
        )
    return {program.name: program.path for program in PROGRAMS}


def left_out() -> str | None:
    """Why there can be no control plane here, if so."""
    if missing() and not shutil.which("go"):
        return "no Go here to build a Kubernetes control plane with"
    return None


def build(say: Say) -> None:
    """Build what is missing, one program after another; a second builder waits for the first."""
    if not missing():
        return
    if reason := left_out():
        raise CannotBuild(
            f"{reason}: install Go 1.26 or newer (or name a throw-away cluster by SBKUBE_TEST_KUBECONFIG)"
        )
    with _alone(say):
        lacking = missing()  # fewer than before, if another has built them meanwhile
        for number, program in enumerate(lacking, start=1):
            say(f"building {program.name} {program.version} ({number} of {len(lacking)}, kept in {cache()})")
            _build(program)


@contextmanager
def _alone(say: Say) -> Iterator[None]:
    cache().mkdir(parents=True, exist_ok=True)
    with (cache() / "building.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting for another build of the control plane")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _build(program: Program) -> None:
    program.path.parent.mkdir(parents=True, exist_ok=True)
    # in a folder of its own, then renamed: a build that was broken off is never taken for a program
    with TemporaryDirectory(prefix="building.", dir=program.path.parent) as fresh:
        _go_build(program, Path(fresh) / program.name)
        (Path(fresh) / program.name).replace(program.path)


def _go_build(program: Program, path: Path) -> None:
    options = ["-mod=readonly", "-trimpath", "-buildvcs=false", "-ldflags", program.linker_flags]
    try:
        done = subprocess.run(
            ["go", "build", *options, "-o", str(path), program.package],
            cwd=MODULES / program.module,
            env={**os.environ, "CGO_ENABLED": "0", "GOWORK": "off"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=LONGEST_BUILD,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise CannotBuild(f"{program.name} was not built in {LONGEST_BUILD / 60:.0f} minutes") from None
    if done.returncode:
        last = "\n".join(done.stdout.splitlines()[-20:])
        raise CannotBuild(f"{program.name} {program.version} cannot be built:\n{last}")
