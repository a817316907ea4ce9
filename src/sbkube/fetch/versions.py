"""Versions and constraints as Helm reads them (the semver library of Masterminds, version 3.5), quirks included.

Each rule here stands where that library has it, since what `helm` would take is what the author of a project tried.
`tests/unit/fetch/test_versions.py` compares the two.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

from sbkube.fetch.errors import FetchError

T = TypeVar("T")

_LONGEST_VERSION, _LONGEST_CONSTRAINT, _MOST_ALTERNATIVES = 256, 512, 32
_MOST = 2**64 - 1


class BadConstraint(FetchError):
    def __init__(self, text: str) -> None:
        super().__init__(
            f"{text!r} is neither a version nor a range of versions",
            hint="write it like 1.2.3, ^1.2.0, ~1.2, 1.x or '>=1.2 <2'",
        )


_NUMBER = r"([0-9]+)"  # with leading zeros, which semver forbids
_PART = r"(?:0|[1-9][0-9]*|[0-9]*[a-zA-Z-][0-9a-zA-Z-]*)"
_VERSION = re.compile(
    rf"v?{_NUMBER}(?:\.{_NUMBER})?(?:\.{_NUMBER})?(?:-({_PART}(?:\.{_PART})*))?"
    r"(?:\+([0-9a-zA-Z-]+(?:\.[0-9a-zA-Z-]+)*))?"
)


@dataclass(frozen=True, slots=True)
class Version:
    """Build metadata are left out: they count for nothing."""

    major: int
    minor: int
    patch: int
    pre: str = ""

    @property
    def numbers(self) -> tuple[int, int, int]:
        return self.major, self.minor, self.patch

    @property
    def rank(self) -> _Rank:
        """Older ones come first."""
        parts = tuple(map(_part_rank, self.pre.split("."))) if self.pre else ()
        return self.major, self.minor, self.patch, not self.pre, parts

    def __lt__(self, other: Version) -> bool:
        return self.rank < other.rank

    def __le__(self, other: Version) -> bool:
        return self.rank <= other.rank


_Rank = tuple[int, int, int, bool, tuple[tuple[bool, int, str], ...]]


def _part_rank(part: str) -> tuple[bool, int, str]:
    """Numbers come before words."""
    is_number = part.isdigit() and int(part) <= _MOST
    return not is_number, int(part) if is_number else 0, part


def parse_version(text: str) -> Version | None:
    """`1`, `v1.2` and `1.2.3-rc.1+build` are versions."""
    found = _VERSION.fullmatch(text) if len(text.encode()) <= _LONGEST_VERSION else None
    if found is None:
        return None
    major, minor, patch = (int(number or 0) for number in found.group(1, 2, 3))
    return Version(major, minor, patch, found[4] or "") if max(major, minor, patch) <= _MOST else None


# Constraints

_LOOSE = (
    r"v?([0-9|xX*]+)(\.[0-9|xX*]+)?(\.[0-9|xX*]+)?"
    r"(-(?:[0-9A-Za-z\-]+(?:\.[0-9A-Za-z\-]+)*))?(?:\+(?:[0-9A-Za-z\-]+(?:\.[0-9A-Za-z\-]+)*))?"
)
_SPACE = r"[\t\n\f\r ]"
_OPERATOR = r"!=|>=|=>|<=|=<|~>|[=<>~^]"
_ONE = rf"(?:(?:{_OPERATOR}){_SPACE}*+)?{_LOOSE}"
_ALL = re.compile(rf"{_SPACE}*{_ONE}(?:(?:{_SPACE}*+,{_SPACE}*+|{_SPACE}++){_ONE})*{_SPACE}*")
_EACH = re.compile(rf"({_OPERATOR})?{_SPACE}*({_LOOSE})")
_HYPHEN = re.compile(rf"{_SPACE}*({_LOOSE}){_SPACE}+-{_SPACE}+({_LOOSE}){_SPACE}*")
_HYPHEN_END = 6
"""The group of the second version: the first has four inside."""


@dataclass(frozen=True, slots=True)
class _Bound:
    """One comparison. What the version leaves open is `open`: all of it, its minor or its patch."""

    operator: str
    version: Version
    open: Literal["all", "minor", "patch"] | None

    def admits(self, version: Version, with_pre: bool) -> bool:
        if version.pre and not with_pre:
            return False
        return _OPERATORS[self.operator](version, self)


@dataclass(frozen=True, slots=True)
class Constraint:
    """Alternatives of bounds that hold together; pre-releases count where a bound has one itself."""

    alternatives: tuple[tuple[_Bound, ...], ...]

    def admits(self, version: Version) -> bool:
        return any(
            all(bound.admits(version, any(it.version.pre for it in bounds)) for bound in bounds)
            for bounds in self.alternatives
        )


def parse_constraint(text: str) -> Constraint:
    """Raises `BadConstraint`."""
    if len(text.encode()) > _LONGEST_CONSTRAINT:
        raise BadConstraint(text)
    alternatives = _without_hyphens(text).split("||")
    if len(alternatives) > _MOST_ALTERNATIVES or not all(map(_ALL.fullmatch, alternatives)):
        raise BadConstraint(text)
    return Constraint(
        tuple(tuple(_bound(found, text) for found in _EACH.finditer(part)) for part in alternatives)
    )


def _without_hyphens(text: str) -> str:
    for found in list(_HYPHEN.finditer(text)):
        text = text.replace(found[0], f">= {found[1]}, <= {found[_HYPHEN_END]} ", 1)
    return text


def _bound(found: re.Match[str], text: str) -> _Bound:
    written, major, minor, patch, pre = found.group(2, 3, 4, 5, 6)
    missing: Literal["all", "minor", "patch"] | None = None
    if _is_any(major):
        written, missing = f"0.0.0{pre or ''}", "all"
    elif _is_any(minor):
        written, missing = f"{major}.0.0{pre or ''}", "minor"
    elif _is_any(patch):
        written, missing = f"{major}{minor}.0{pre or ''}", "patch"
    version = parse_version(written)
    if version is None:
        raise BadConstraint(text)
    return _Bound(found[1] or "", version, missing)


def _is_any(part: str | None) -> bool:
    return part is None or part.removeprefix(".") in ("x", "X", "*")


def _same_or_tilde(version: Version, bound: _Bound) -> bool:
    return _tilde(version, bound) if bound.open else version == bound.version


def _different(version: Version, bound: _Bound) -> bool:
    wanted = bound.version
    if bound.open is None:
        return version != wanted
    if version.major != wanted.major:
        return True
    if bound.open == "minor":
        return False
    if version.minor != wanted.minor:
        return True
    return version.pre != wanted.pre if bound.open == "patch" else version != wanted


def _above(version: Version, bound: _Bound) -> bool:
    wanted = bound.version
    if bound.open is None or (bound.open == "all" and version.major == wanted.major):
        return wanted < version
    if version.major != wanted.major:
        return version.major > wanted.major
    return bound.open == "patch" and version.minor > wanted.minor


def _up_to(version: Version, bound: _Bound) -> bool:
    wanted = bound.version
    if bound.open is None:
        return version <= wanted
    if version.major != wanted.major:
        return version.major < wanted.major
    return bound.open == "minor" or version.minor <= wanted.minor


def _tilde(version: Version, bound: _Bound) -> bool:
    wanted = bound.version
    if version < wanted:
        return False
    if wanted.numbers == (0, 0, 0) and bound.open not in ("minor", "patch"):
        return True
    return version.major == wanted.major and (bound.open == "minor" or version.minor == wanted.minor)


def _caret(version: Version, bound: _Bound) -> bool:
    wanted = bound.version
    if version < wanted:
        return False
    if wanted.major > 0 or bound.open == "minor":
        return version.major == wanted.major
    if version.major > 0:
        return False
    if wanted.minor > 0 or bound.open == "patch":
        return version.minor == wanted.minor
    return version.minor == 0 and version.patch == wanted.patch


_OPERATORS: dict[str, Callable[[Version, _Bound], bool]] = {
    "": _same_or_tilde,
    "=": _same_or_tilde,
    "!=": _different,
    ">": _above,
    "<": lambda version, bound: version < bound.version,
    ">=": lambda version, bound: bound.version <= version,
    "=>": lambda version, bound: bound.version <= version,
    "<=": _up_to,
    "=<": _up_to,
    "~": _tilde,
    "~>": _tilde,
    "^": _caret,
}


# Choosing


def is_exact(text: str) -> bool:
    """Whether it says one version, so that the same is taken tomorrow."""
    return bool(re.fullmatch(r"v?[0-9]+\.[0-9]+\.[0-9]+([-+].*)?", text)) and parse_version(text) is not None


def newest_first(items: Iterable[T], version: Callable[[T], str]) -> list[T]:
    """Without those whose version is none, as Helm loads an index; of equal ones the first stays first."""
    parsed = [(found, item) for item in items if (found := parse_version(version(item))) is not None]
    parsed.sort(key=lambda pair: pair[0].rank, reverse=True)
    return [item for _, item in parsed]


def choose(items: Sequence[T], version: Callable[[T], str], wanted: str | None) -> T | None:
    """Of items with the newest first; what is written just as it is wanted wins. Raises `BadConstraint`."""
    constraint = parse_constraint(wanted or "*")
    for item in items:
        if wanted and version(item) == wanted:
            return item
    for item in items:
        found = parse_version(version(item))
        if found is not None and constraint.admits(found):
            return item
    return None
