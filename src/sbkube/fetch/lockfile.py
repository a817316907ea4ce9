"""`sbkube.lock`: what each app asks others for, and the one answer that runs take. Pure but for `read_lock`.

A profile has a file of its own, `sbkube-P.lock`, with what it asks or was answered otherwise than the project without one:
so it lies over `sbkube.lock` as `config-P.yaml` over `config.yaml`. The text is a function of the entries alone, with one block
for each app in the order of their names, so that two machines write the same and branches merge.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sbkube.documents import parse, read_text, scalar
from sbkube.documents.document import Document
from sbkube.errors import ConfigError, Position

Asks = Mapping[str, str]
"""A question: which repository, chart, version, branch. The same question has the same answer."""

_FORMAT = 1
_HEAD = "# What apps take from elsewhere. Written by `sbkube lock`, followed by runs; commit it.\n"
_PLAIN = re.compile(r"[A-Za-z0-9/][A-Za-z0-9_./:@+~-]*[A-Za-z0-9_./+~-]|[A-Za-z]")
_USUAL = ("config", "sbkube", "workspace")


class BadLock(ConfigError):
    def __init__(self, why: str, where: Position) -> None:
        super().__init__(why, where=where, hint="remove the file and run `sbkube lock`, which writes it anew")


@dataclass(frozen=True, slots=True)
class Pin:
    """An answer: bytes by their SHA-256, or a commit. `url` is fit to be told."""

    url: str
    version: str | None = None
    sha256: str | None = None
    commit: str | None = None

    @property
    def fields(self) -> dict[str, str]:
        told = {"version": self.version, "url": self.url, "sha256": self.sha256, "commit": self.commit}
        return {name: value for name, value in told.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Entry:
    asks: Asks
    pin: Pin


Entries = Mapping[str, Entry]


@dataclass(frozen=True, slots=True)
class Difference:
    """Apps, by what is wrong with their entries."""

    missing: tuple[str, ...]
    changed: tuple[str, ...]
    """They ask for something else now."""
    gone: tuple[str, ...]
    """No app of this name asks for anything."""

    def __bool__(self) -> bool:
        return bool(self.missing or self.changed or self.gone)


@dataclass(frozen=True, slots=True)
class Lock:
    """`own` are the entries of the file; `beneath` those of the project without its profile."""

    file: Path
    own: Entries = field(default_factory=dict)
    beneath: Entries = field(default_factory=dict)
    is_there: bool = False
    """Whether there is any file at all."""

    def entry(self, app: str, asks: Asks | None) -> Entry | None:
        for entries in (self.own, self.beneath):
            entry = entries.get(app)
            if entry is not None and asks is not None and entry.asks == dict(asks):
                return entry
        return None

    def pin(self, app: str, asks: Asks | None) -> Pin | None:
        entry = self.entry(app, asks)
        return None if entry is None else entry.pin

    def difference(self, questions: Mapping[str, Asks]) -> Difference:
        known = {**self.beneath, **self.own}
        open_ = [app for app in sorted(questions) if self.entry(app, questions[app]) is None]
        return Difference(
            tuple(app for app in open_ if app not in known),
            tuple(app for app in open_ if app in known),
            tuple(sorted(self.own.keys() - questions.keys())),
        )

    def answered(self, questions: Mapping[str, Asks], fresh: Mapping[str, Pin]) -> Entries:
        """The entries of the file once all is answered: what the project without its profile has is not repeated."""
        entries = {}
        for app in sorted(questions):
            entry = (
                Entry(dict(questions[app]), fresh[app]) if app in fresh else self.entry(app, questions[app])
            )
            if entry is not None and entry != self.beneath.get(app):
                entries[app] = entry
        return entries


def lock_name(config: Path, profile: str | None = None) -> str:
    stem = "sbkube" if config.stem in _USUAL else config.stem
    return f"{stem}-{profile}.lock" if profile else f"{stem}.lock"


def read_lock(config: Path, profile: str | None) -> Lock:
    """Of the config file and its profile. Raises `ConfigError`."""
    base, own = (config.parent / lock_name(config, name) for name in (None, profile))
    found = {path: _read(path) for path in {base, own}}
    is_there = any(entries is not None for entries in found.values())
    beneath = found[base] if own != base else None
    return Lock(own, found[own] or {}, beneath or {}, is_there)


def lock_text(entries: Entries) -> str:
    lines = [_HEAD, f"version: {_FORMAT}\n", "sources:\n" if entries else "sources: {}\n"]
    for app in sorted(entries):
        entry = entries[app]
        lines.append(f"\n  {_written(app)}:\n    asks:\n")
        lines += [f"      {name}: {_written(entry.asks[name])}\n" for name in sorted(entry.asks)]
        lines += [f"    {name}: {_written(value)}\n" for name, value in entry.pin.fields.items()]
    return "".join(lines)


def _written(text: str) -> str:
    is_plain = _PLAIN.fullmatch(text) and isinstance(scalar(text), str)
    return text if is_plain else json.dumps(text, ensure_ascii=False)


def _read(path: Path) -> dict[str, Entry] | None:
    if not path.is_file():
        return None
    document = parse(read_text(path), file=path)
    data = document.mapping()
    if data.get("version") != _FORMAT:
        told = f"has the version {data.get('version')!r}, and this sbkube reads {_FORMAT}"
        raise BadLock(told, document.position(["version"]))
    sources = data.get("sources")
    if not isinstance(sources, dict):
        raise BadLock("`sources` must be a mapping", document.position(["sources"]))
    return {str(app): _entry(value, str(app), document) for app, value in sources.items()}


def _entry(value: Any, app: str, document: Document) -> Entry:
    if isinstance(value, dict) and isinstance(value.get("asks"), dict):
        asks = value["asks"]
        answer = {name: text for name, text in value.items() if name != "asks"}
        known = {"version", "url", "sha256", "commit"}
        texts = (*asks.values(), *answer.values())
        is_pin = "url" in answer and ("sha256" in answer or "commit" in answer)
        if is_pin and answer.keys() <= known and all(isinstance(text, str) for text in texts):
            return Entry(asks, Pin(**answer))
    raise BadLock(
        f"the entry of {app!r} is none that `sbkube lock` writes", document.position(["sources", app])
    )
