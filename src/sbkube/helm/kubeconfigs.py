"""Several kubeconfig files as one, for Helm's library, which takes what KUBECONFIG says for the name of one file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

_LISTS = ("clusters", "users", "contexts")
_FILES = ("certificate-authority", "client-certificate", "client-key", "tokenFile")


def merged(kubeconfig: str) -> dict[str, Any]:
    """As client-go merges: the first that says something wins, and a file that is missing says nothing."""
    files = [Path(part) for part in kubeconfig.split(os.pathsep) if part]
    known = [(file.absolute().parent, _read(file)) for file in files if file.exists()]
    found: dict[str, Any] = {"apiVersion": "v1", "kind": "Config"}
    for kind in _LISTS:
        named: dict[str, Any] = {}
        for folder, config in known:
            for entry in config.get(kind) or ():
                named.setdefault(entry["name"], _from_folder(entry, folder))
        found[kind] = [*named.values()]
    current = (config.get("current-context") for _, config in known)
    found["current-context"] = next(filter(None, current), "")
    return found


def _read(file: Path) -> Mapping[str, Any]:
    return yaml.load(file.read_bytes(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)) or {}


def _from_folder(entry: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Paths in a file are meant from its folder."""
    return {
        key: _absolute(value, folder) if isinstance(value, Mapping) else value for key, value in entry.items()
    }


def _absolute(entry: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = {**entry}
    for key in _FILES:
        if entry.get(key):
            found[key] = str(folder / entry[key])
    plugin = entry.get("exec") or {}
    if os.sep in plugin.get("command", ""):
        found["exec"] = {**plugin, "command": str(folder / plugin["command"])}
    return found
