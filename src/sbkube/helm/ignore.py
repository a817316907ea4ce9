"""`.helmignore`: which files of a chart's folder Helm does not load (its ignore package).

Of a folder that is ignored nothing below is looked at. Rules that Helm refuses ignore nothing here: it is Helm that says so.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

IGNORE_FILE = ".helmignore"
_DEFAULT = "templates/.?*"

Ignored = Callable[[str, bool], bool]
"""Whether a path below the chart, as text with `/`, is left out; True: it is a folder."""


def ignored_by(chart: Path) -> Ignored:
    try:
        text = (
            (chart / IGNORE_FILE).read_bytes().decode(errors="replace")
            if (chart / IGNORE_FILE).is_file()
            else ""
        )
        rules = [_Rule(line) for line in _written(text)]
    except (OSError, ValueError):
        rules = []
    rules.append(_Rule(_DEFAULT))

    def ignored(path: str, is_folder: bool) -> bool:
        # The rules themselves must reach Helm, whatever they say of their own file.
        return path != IGNORE_FILE and _decided(rules, path, is_folder)

    return ignored


def _written(text: str) -> list[str]:
    lines = (line.strip() for line in text.removeprefix("\ufeff").split("\n"))
    return [line for line in lines if line and not line.startswith("#")]


def _decided(rules: list[_Rule], path: str, is_folder: bool) -> bool:
    """The first rule that says yes. One with `!` says so of all that it does not match, as in Helm."""
    for rule in rules:
        if rule.is_negated:
            if (rule.folders_only and not is_folder) or not rule.matches(path):
                return True
        elif (is_folder or not rule.folders_only) and rule.matches(path):
            return True
    return False


class _Rule:
    def __init__(self, text: str) -> None:
        if "**" in text:
            raise ValueError(text)
        self.is_negated = text.startswith("!")
        text = text.removeprefix("!")
        self.folders_only = text.endswith("/")
        text = text.removesuffix("/")
        self._by_name = "/" not in text
        self._pattern = re.compile(_regex(text.removeprefix("/")), re.DOTALL)

    def matches(self, path: str) -> bool:
        return self._pattern.fullmatch(path.rpartition("/")[2] if self._by_name else path) is not None


def _regex(pattern: str) -> str:
    """Go's `filepath.Match`; raises ValueError for what it refuses."""
    found, at = [], 0
    while at < len(pattern):
        character = pattern[at]
        at += 1
        if character == "*":
            found.append("[^/]*")
        elif character == "?":
            found.append("[^/]")
        elif character == "[":
            text, at = _class(pattern, at)
            found.append(text)
        else:
            if character == "\\":
                character, at = _next(pattern, at)
            found.append(re.escape(character))
    return "".join(found)


def _class(pattern: str, at: int) -> tuple[str, int]:
    """From behind the bracket to behind its end."""
    is_negated = pattern.startswith("^", at)
    at += is_negated
    ranges: list[str] = []
    while not (ranges and pattern.startswith("]", at)):
        low, at = _bound(pattern, at)
        high = low
        if pattern.startswith("-", at):
            high, at = _bound(pattern, at + 1)
        ranges.append(f"{re.escape(low)}-{re.escape(high)}" if low <= high else "")
    some = "".join(ranges)
    if not some:
        return ("." if is_negated else "(?!)"), at + 1
    return (f"[^{some}]" if is_negated else f"[{some}]"), at + 1


def _bound(pattern: str, at: int) -> tuple[str, int]:
    character, at = _next(pattern, at)
    if character in "-]":
        raise ValueError(pattern)
    return _next(pattern, at) if character == "\\" else (character, at)


def _next(pattern: str, at: int) -> tuple[str, int]:
    if at >= len(pattern):
        raise ValueError(pattern)
    return pattern[at], at + 1
