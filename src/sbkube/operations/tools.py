"""The programs that a project works with: which there are, which are taken, and which are missing."""

from __future__ import annotations

import platform
import shutil
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from sbkube import __version__
from sbkube.apps.git import GitApp
from sbkube.apps.git_charts import GIT
from sbkube.apps.helm import HelmApp
from sbkube.apps.kustomize import KustomizeApp, find_kustomize
from sbkube.config.project import Project
from sbkube.helm.base import Helm, HelmError, HelmMissing
from sbkube.helm.select import choose_helm
from sbkube.process import CannotStart, CommandTimedOut, run_process

from .diagnosis import Diagnosis, of_error, ok, problem, warning

PATIENCE = 15.0  # seconds for a program to say its version


async def tools(
    project: Project | None, target: str | None, environ: Mapping[str, str], helm: str | Helm | None
) -> list[Diagnosis]:
    """`target` is `cluster`, a folder, or None where nobody knows."""
    apps = [app for app in project.apps.values() if app.enabled] if project is not None else []
    deploys = target == "cluster" and any(app.is_deployed for app in apps)
    return [
        ok("python", f"sbkube {__version__} on Python {platform.python_version()} ({sys.executable})"),
        await _helm(helm, environ, is_needed=deploys or _has(apps, HelmApp)),
        await _kubectl(environ, is_needed=deploys),
        *([await _kustomize(environ)] if project is None or _has(apps, KustomizeApp) else []),
        *(
            [await _git(environ, is_needed=project is not None)]
            if project is None or any(map(_is_in_git, apps))
            else []
        ),
    ]


def _has(apps: Iterable[object], kind: type) -> bool:
    return any(isinstance(app, kind) for app in apps)


def _is_in_git(app: object) -> bool:
    return isinstance(app, GitApp) or (isinstance(app, HelmApp) and app.chart.startswith(GIT))


async def _helm(preference: str | Helm | None, environ: Mapping[str, str], *, is_needed: bool) -> Diagnosis:
    try:
        choice = choose_helm(preference or environ.get("SBKUBE_HELM") or None, environ)
    except HelmMissing as error:
        return of_error("helm", error) if is_needed else warning("helm", error.message, error.hint)
    try:
        return ok(
            "helm",
            f"Helm {await choice.helm.version()}, {choice.reason}{_other_helm(choice.reason, environ)}",
        )
    except HelmError as error:
        return of_error("helm", error)
    finally:
        await choice.helm.aclose()


def _other_helm(reason: str, environ: Mapping[str, str]) -> str:
    other = shutil.which("helm", path=environ.get("PATH"))
    return f"; {other} would be taken with `--helm binary`" if other and reason.startswith("embedded") else ""


async def _kubectl(environ: Mapping[str, str], *, is_needed: bool) -> Diagnosis:
    program = shutil.which("kubectl", path=environ.get("PATH"))
    if program is None:
        told = "no `kubectl` on PATH: nothing is taken over, no namespace created, and there is no `diff`"
        return (problem if is_needed else warning)("kubectl", told, "install kubectl")
    return await _version("kubectl", [program, "version", "--client"], environ)


async def _kustomize(environ: Mapping[str, str]) -> Diagnosis:
    found = find_kustomize(environ)
    if found is None:
        return problem(
            "kustomize", "neither `kustomize` nor `kubectl` is on PATH", "install kubectl, which has both"
        )
    if found.is_kubectl:
        return ok("kustomize", f"that of kubectl ({found.program} kustomize)")
    return await _version("kustomize", [found.program, "version"], environ)


async def _git(environ: Mapping[str, str], *, is_needed: bool) -> Diagnosis:
    program = shutil.which("git", path=environ.get("PATH"))
    if program is None:
        return (problem if is_needed else warning)("git", "no `git` on PATH", "install git")
    return await _version("git", [program, "--version"], environ)


async def _version(name: str, command: list[str], environ: Mapping[str, str]) -> Diagnosis:
    said: list[str] = []
    try:
        ended = await run_process(
            command, cwd=Path("/"), env=environ, on_line=said.append, time_limit=PATIENCE, grace=1.0
        )
    except (CannotStart, CommandTimedOut) as error:
        return _broken(name, command, error.message)
    if not ended.ok:
        return _broken(name, command, " ".join(said) or str(ended))
    line = next((line for line in said if "ersion" in line), said[0] if said else "")
    version = line.rpartition("version")[2].rpartition("Version:")[2].strip(" :") or line
    return ok(name, f"{name} {version} ({command[0]})")


def _broken(name: str, command: list[str], why: str) -> Diagnosis:
    return problem(name, f"`{' '.join(command)}` failed: {why}", f"install {name} anew")
