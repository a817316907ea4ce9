"""One cluster as the tests use it: by kubectl, with a kubeconfig of its own."""

from __future__ import annotations

import json
import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Object = dict[str, Any]


class Refused(Exception):
    """kubectl did not do it; its own words say why."""


@dataclass(frozen=True, slots=True)
class Cluster:
    kubeconfig: Path
    programs: Path | None = None  # the folder whose kubectl is used rather than the one on PATH

    @property
    def environment(self) -> dict[str, str]:
        """For child processes that shall reach this cluster and no other."""
        path = [str(self.programs)] if self.programs else []
        return {
            **os.environ,
            "KUBECONFIG": str(self.kubeconfig),
            "PATH": ":".join([*path, os.environ["PATH"]]),
        }

    def kubectl(self, *arguments: str, stdin: str = "", seconds: float = 60) -> str:
        program = self.programs / "kubectl" if self.programs else "kubectl"
        done = subprocess.run(
            [program, *arguments],
            env=self.environment,
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=seconds,
        )
        if done.returncode:
            raise Refused(f"kubectl {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout

    def apply(self, *objects: Object, namespace: str | None = None) -> None:
        everything = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
        self.kubectl("apply", *_within(namespace), "-f", "-", stdin=json.dumps(everything))

    def get(self, kind: str, name: str, *, namespace: str | None = None) -> Object:
        found: Object = json.loads(self.kubectl("get", kind, name, *_within(namespace), "-o", "json"))
        return found

    def find(self, kind: str, *options: str, namespace: str | None = None) -> list[Object]:
        found = json.loads(self.kubectl("get", kind, *options, *_within(namespace), "-o", "json"))
        return list(found["items"])

    def find_soon(
        self, kind: str, *options: str, namespace: str | None = None, seconds: float = 30
    ) -> list[Object]:
        """As soon as there is one: what `wait` cannot say of objects whose names are not known."""
        limit = time.monotonic() + seconds
        while not (found := self.find(kind, *options, namespace=namespace)):
            if time.monotonic() > limit:
                raise TimeoutError(f"no {kind} {' '.join(options)} in {seconds:g} s")
        return found

    def wait(self, condition: str, what: str, *, namespace: str | None = None, seconds: float = 60) -> None:
        """As `kubectl wait --for=CONDITION WHAT` does; it also waits for the object to be there."""
        limit = f"--timeout={seconds:g}s"
        self.kubectl("wait", f"--for={condition}", what, *_within(namespace), limit, seconds=seconds + 30)


def _within(namespace: str | None) -> list[str]:
    return ["--namespace", namespace] if namespace else []
