"""Which kubeconfig and which context are meant: always said to whoever talks to the cluster, never left to a default."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from sbkube.errors import SbkubeError
from sbkube.helm.releases import Cluster

from .identity import ContextForbidden


class NoCluster(SbkubeError):
    """There is no telling which cluster is meant."""


def resolve(
    kubeconfig: str | None,
    context: str | None,
    folder: Path,
    environ: Mapping[str, str],
    allowed: tuple[str, ...] = (),
) -> Cluster:
    """What the project says, else the environment, else `~/.kube/config`; the context is the current one if none is named.

    Raises `NoCluster`, and `ContextForbidden` for a context that is not `allowed`.
    """
    files = _files(kubeconfig, folder, environ)
    known = [_read(file) for file in files if file.exists()]
    if not known:
        looked = ", ".join(str(file) for file in files)
        raise NoCluster(
            f"there is no kubeconfig: {looked} does not exist",
            hint="name one with `kubeconfig` in sources.yaml or KUBECONFIG, or deploy to a folder with `--target PATH`",
        )
    names = [str(one["name"]) for file in known for one in file.get("contexts") or () if "name" in one]
    chosen = context or environ.get("KUBE_CONTEXT") or _current(known)
    if not chosen:
        raise NoCluster(
            f"{files[0]} has no current context",
            hint=f"name one with `kubeconfig_context`: {', '.join(names)}",
        )
    if chosen not in names:
        raise NoCluster(
            f"there is no context {chosen!r} in {', '.join(map(str, files))}",
            hint=f"there are: {', '.join(names)}",
        )
    if allowed and chosen not in allowed:
        raise ContextForbidden(chosen, allowed)
    return Cluster(os.pathsep.join(map(str, files)), chosen)


DEFAULTING = "sbkube"
"""The context of `with_default_namespace`."""


def with_default_namespace(cluster: Cluster, namespace: str) -> str:
    """A kubeconfig to stand before the cluster's own: another context for the same server and user, whom it only names."""
    files = map(Path, (cluster.kubeconfig or "").split(os.pathsep))
    contexts = (
        one for file in files if file.exists() for one in _read(file).get("contexts") or () if "name" in one
    )
    own = next((one.get("context") or {} for one in contexts if one["name"] == cluster.context), {})
    context = {"name": DEFAULTING, "context": {**own, "namespace": namespace}}
    return json.dumps({"apiVersion": "v1", "kind": "Config", "contexts": [context]})


def pinning(cluster: Cluster) -> str | None:
    """A kubeconfig to stand before the cluster's own where that one's current context is another: kubectl asks for no more."""
    known = [_read(file) for file in map(Path, (cluster.kubeconfig or "").split(os.pathsep)) if file.exists()]
    if not cluster.context or _current(known) == cluster.context:
        return None
    return json.dumps({"apiVersion": "v1", "kind": "Config", "current-context": cluster.context})


def _files(kubeconfig: str | None, folder: Path, environ: Mapping[str, str]) -> Sequence[Path]:
    if kubeconfig:
        return [folder / Path(kubeconfig).expanduser()]
    if named := environ.get("KUBECONFIG"):
        return [Path(part).absolute() for part in named.split(os.pathsep) if part]
    return [Path(environ.get("HOME", "~")).expanduser() / ".kube" / "config"]


def _current(known: Sequence[Mapping[str, Any]]) -> str | None:
    """As kubectl merges several files: the first that says one."""
    return next((str(file["current-context"]) for file in known if file.get("current-context")), None)


def _read(file: Path) -> Mapping[str, Any]:
    try:
        content = yaml.load(file.read_bytes(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except (OSError, yaml.YAMLError) as error:
        raise NoCluster(f"cannot read the kubeconfig {file}: {error}") from error
    if not isinstance(content, Mapping):
        raise NoCluster(f"{file} is no kubeconfig: it holds {type(content).__name__}")
    return content
