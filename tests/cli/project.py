"""A small project on disk, and `sbkube` run in it: in this process, or in one of its own where the process matters."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import dedent
from typing import Any
from unittest import mock

from sbkube.cli.main import call

SBKUBE = (sys.executable, "-c", "from sbkube.cli.main import main; main()")
TARGET = "target: {directory: rendered}\n"


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        return json.loads(self.out)

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def started(self) -> list[str]:
        """The steps that ran, of `--output ndjson`, in the order in which they started."""
        return [event["step"] for event in self.events if event["type"] == "step_started"]


class _Stream(io.StringIO):
    @property
    def encoding(self) -> str:  # type: ignore[override]
        return "utf-8"


@dataclass(slots=True)
class ProjectFolder:
    root: Path
    env: dict[str, str] = field(default_factory=dict)
    """What the commands see besides PATH and HOME."""
    _seen: int = 0

    @property
    def state(self) -> Path:
        return self.root / ".sbkube"

    def write(self, files: Mapping[str, str]) -> None:
        for name, text in files.items():
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(dedent(text), encoding="utf-8")

    def config(self, apps: str, *, target: str = TARGET, name: str = "config.yaml") -> None:
        self.write({name: f"namespace: shop\n{target}apps:\n" + _indented(apps)})

    def edit(self, name: str, old: str, new: str) -> None:
        text = (self.root / name).read_text(encoding="utf-8")
        assert old in text, f"{old!r} is not in {name}"
        self.write({name: text.replace(old, new)})

    def __call__(self, *args: str, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> Ended:
        """In this process; exactly what the entry point does but for leaving it."""
        out, err = _Stream(), _Stream()
        with (
            mock.patch.dict(os.environ, self._environ(env), clear=True),
            contextlib.chdir(cwd or self.root),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            code = call(args)
        return Ended(code, out.getvalue(), err.getvalue())

    def runs(self, *args: str, code: int = 0, env: Mapping[str, str] | None = None) -> list[str]:
        """The steps that a `sbkube run` with these options ran, sorted."""
        ended = self("run", *args, "--output", "ndjson", env=env)
        assert ended.code == code, ended
        return sorted(ended.started)

    def process(
        self, *args: str, env: Mapping[str, str] | None = None, program: Sequence[str] = SBKUBE, **more: Any
    ) -> Ended:
        ended = subprocess.run(
            [*program, *args],
            cwd=self.root,
            env=self._environ(env),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            **more,
        )
        return Ended(ended.returncode, ended.stdout, ended.stderr)

    def start(self, *args: str, env: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*SBKUBE, *args],
            cwd=self.root,
            env=self._environ(env),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def _environ(self, env: Mapping[str, str] | None) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("PATH", "LANG", "PYTHONPATH") if name in os.environ}
        # Under a limit on the size of files Python would leave half a .pyc behind.
        fixed = {"HOME": str(self.root.parent), "PYTHONDONTWRITEBYTECODE": "1"}
        return {**kept, **fixed, **self.env, **(env or {})}

    # What it left

    def new_effects(self) -> list[str]:
        """The lines that commands have written to `ledger` since this was last asked."""
        ledger = self.root / "ledger"
        lines = ledger.read_text(encoding="utf-8").splitlines() if ledger.exists() else []
        seen, self._seen = self._seen, len(lines)
        return lines[seen:]

    @property
    def view(self) -> Any:
        return json.loads((self.state / "runs" / "latest.json").read_text(encoding="utf-8"))

    def statuses(self, *steps: str) -> list[str]:
        recorded = self("status", "--output", "json").document["steps"]
        return [recorded[step]["status"] for step in steps]

    def bytes_of_state(self) -> bytes:
        return b"".join(path.read_bytes() for path in self.state.rglob("*") if path.is_file())


def _indented(text: str) -> str:
    return "".join(f"  {line}\n" for line in dedent(text).strip("\n").splitlines())


def effect(name: str) -> str:
    """An app that leaves its name in the ledger."""
    return f"{name}: {{type: exec, commands: ['echo {name} >> ledger']}}\n"


def chart(name: str, template: str | None = None) -> dict[str, str]:
    """A chart of its own in `charts/`, with one ConfigMap that holds `.Values.greeting`."""
    return {
        f"charts/{name}/Chart.yaml": f"apiVersion: v2\nname: {name}\nversion: 1.0.0\n",
        f"charts/{name}/values.yaml": "greeting: hello\n",
        f"charts/{name}/templates/config.yaml": template or CONFIG_MAP,
    }


CONFIG_MAP = """\
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ .Release.Name }}
data:
  greeting: {{ .Values.greeting | quote }}
"""


def manifest(name: str, **data: str) -> str:
    lines = "".join(f"  {key}: {value!r}\n" for key, value in (data or {"a": "b"}).items())
    return f"apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\ndata:\n{lines}"
