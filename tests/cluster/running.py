"""A project in a folder of its own, run against a cluster as people run it: by the command, in a process."""

from __future__ import annotations

import base64
import gzip
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .client import Cluster

SECONDS = 240.0
_MAIN = "import sys; from sbkube.cli.main import main; sys.exit(main())"


@dataclass(frozen=True, slots=True)
class Done:
    code: int
    output: str
    said: str
    """On standard error."""

    @property
    def everything(self) -> str:
        return self.output + self.said


def ended(process: subprocess.Popen[str], seconds: float = SECONDS) -> Done:
    output, said = process.communicate(timeout=seconds)
    return Done(process.returncode, output, said)


@dataclass(frozen=True, slots=True)
class Project:
    folder: Path
    cluster: Cluster

    def write(self, files: Mapping[str, str]) -> None:
        for name, text in files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    def sbkube(self, *arguments: str, seconds: float = SECONDS, **environ: str) -> Done:
        with self.begin(*arguments, **environ) as process:
            try:
                return ended(process, seconds)
            except BaseException:
                process.kill()
                raise

    def begin(self, *arguments: str, **environ: str) -> subprocess.Popen[str]:
        """For who looks at it while it runs; `ended` waits for its end."""
        return subprocess.Popen(
            [sys.executable, "-c", _MAIN, *arguments],
            cwd=self.folder,
            env={**os.environ, **self.cluster.environment, **environ},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def start(self, *arguments: str, **streams: Any) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-c", _MAIN, *arguments],
            cwd=self.folder,
            env={**os.environ, **self.cluster.environment},
            **streams,
        )

    def run(self, *arguments: str, **environ: str) -> Done:
        """To the cluster, and to a good end."""
        done = self.sbkube("run", "--target", "cluster", *arguments, seconds=SECONDS, **environ)
        assert done.code == 0, done.everything
        return done

    def fails(self, *arguments: str, **environ: str) -> Done:
        done = self.sbkube("run", "--target", "cluster", *arguments, seconds=SECONDS, **environ)
        assert done.code == 1, done.everything
        return done

    @property
    def outputs(self) -> dict[str, Any]:
        """What each step of the newest run recorded."""
        view = json.loads((self.folder / ".sbkube/runs/latest.json").read_text())
        return {name: step["output"] for name, step in view["steps"].items()}

    @property
    def revisions(self) -> dict[str, int]:
        outputs = self.outputs
        return {name: out["revision"] for name, out in outputs.items() if out and "revision" in out}


def release(cluster: Cluster, name: str, namespace: str, revision: int = 1) -> dict[str, Any]:
    """As Helm keeps it."""
    secret = cluster.get("secret", f"sh.helm.release.v1.{name}.v{revision}", namespace=namespace)
    packed = base64.b64decode(base64.b64decode(secret["data"]["release"]))
    found: dict[str, Any] = json.loads(gzip.decompress(packed))
    return found
