"""`Chart.lock`, and `requirements.lock` of old: the versions that were taken once, and whether that still fits. Blocking."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sbkube.apps.dependencies import UPDATE, Dependency, Origin, text_of
from sbkube.documents import parse, read_text
from sbkube.errors import ConfigError, Position, SbkubeError

LOCKS = ("requirements.lock", "Chart.lock")
"""The last one that is there counts for Helm too, which reads them in the order of their names' bytes, backwards here."""


class StaleLock(SbkubeError):
    def __init__(self, lock: str, origin: Origin) -> None:
        where = Position(origin.folder / lock) if origin.is_own else origin.where
        hint = f"run `{UPDATE} {origin.folder}`" if origin.is_own else f"its maker has to run `{UPDATE}`"
        super().__init__(
            f"`{lock}` of chart {origin.chart!r} does not fit its dependencies any more",
            where=where,
            hint=hint,
        )


def lock_of(chart: Path) -> str | None:
    return next((name for name in LOCKS if (chart / name).is_file()), None)


def locked(chart: Path, needed: Sequence[Dependency], origin: Origin) -> list[Dependency]:
    """With the versions of the lock, if there is one. Raises `StaleLock`."""
    name = lock_of(chart)
    if name is None:
        return list(needed)
    try:
        lock = parse(read_text(chart / name), file=origin.folder / name).mapping()
    except ConfigError as error:
        raise StaleLock(name, origin) from error
    listed = lock.get("dependencies")
    entries = [it for it in listed if isinstance(it, Mapping)] if isinstance(listed, list) else []
    same = [text_of(it.get("name")) for it in entries] == [it.name for it in needed]
    if not same or text_of(lock.get("digest")) not in _digests(needed, entries):
        raise StaleLock(name, origin)
    return [
        replace(it, version=text_of(entry.get("version"))) for it, entry in zip(needed, entries, strict=True)
    ]


def _digests(needed: Sequence[Dependency], entries: Sequence[Mapping[str, Any]]) -> set[str]:
    """Helm counts the URL for an `@name`, as the one who locked it knew it; Helm 2 counted no lock."""
    written = [_counted(it.entry) for it in needed]
    resolved = [
        {**it, "repository": entry.get("repository", "")} if _is_named(it["repository"]) else it
        for it, entry in zip(written, entries, strict=True)
    ]
    locked = [_counted(entry) for entry in entries]
    return {digest([resolved, locked]), digest([written, locked]), digest({"dependencies": written})}


def _is_named(repository: str) -> bool:
    return repository.startswith(("@", "alias:"))


def _counted(entry: Mapping[str, Any]) -> dict[str, Any]:
    """The fields in the order in which Go writes them; what is empty is left out, but for name and repository."""
    tags, imported = entry.get("tags") or [], entry.get("import-values") or []
    fields = {
        "name": text_of(entry.get("name")),
        "version": text_of(entry.get("version")),
        "repository": text_of(entry.get("repository")),
        "condition": text_of(entry.get("condition")),
        "tags": [text_of(tag) for tag in tags] if isinstance(tags, list) else [],
        "enabled": entry.get("enabled") is True,
        "import-values": [_sorted(it) for it in imported] if isinstance(imported, list) else [],
        "alias": text_of(entry.get("alias")),
    }
    return {key: value for key, value in fields.items() if value or key in ("name", "repository")}


def _sorted(value: Any) -> Any:
    return {key: value[key] for key in sorted(value)} if isinstance(value, Mapping) else value


def digest(value: object) -> str:
    """Of JSON as Go writes it."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
