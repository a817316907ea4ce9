"""The helm programs to compare with: those in SBKUBE_TEST_HELM (joined by `:`), else the one on PATH, else none."""

from __future__ import annotations

import os
import shutil
import subprocess


def found() -> list[str]:
    named = [path for path in os.environ.get("SBKUBE_TEST_HELM", "").split(":") if path]
    on_path = shutil.which("helm")
    return named or ([on_path] if on_path else [])


def major(program: str) -> str:
    return subprocess.run([program, "version", "--short"], capture_output=True, text=True, check=True).stdout[
        :2
    ]


BINARIES = {f"helm-{major(program)}": program for program in found()}
