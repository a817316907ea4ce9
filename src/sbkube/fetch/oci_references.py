"""`oci://host/path/chart:tag@digest`: how charts in registries are named, and versions written as tags."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from sbkube.fetch.oci_errors import BadReference, WrongPin
from sbkube.fetch.versions import newest_first, parse_version

SCHEME = "oci://"

_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_HOST = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")
_PATH = re.compile(rf"{_PART}(?:/{_PART})*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_STRICT = re.compile(r"(?:(?:0|[1-9][0-9]*)\.){2}(?:0|[1-9][0-9]*)(?:[-+].*)?")
_ELSEWHERE = {"docker.io": "registry-1.docker.io", "index.docker.io": "registry-1.docker.io"}
"""Docker Hub is called by another name than its server has."""


@dataclass(frozen=True, slots=True)
class Reference:
    """`host` has its port if one was written; a digest is written with its `sha256:`."""

    host: str
    path: str
    tag: str | None = None
    digest: str | None = None

    @classmethod
    def of(cls, text: str) -> Self:
        """Raises `BadReference`, which holds nothing that stands before an `@`."""
        rest, at, digest = text.removeprefix(SCHEME).rpartition("@")
        if at and not _DIGEST.fullmatch(digest):
            raise BadReference(SCHEME + digest, "has an `@` that no digest follows, such as sha256:0a1b…")
        rest = rest if at else digest
        host, _, path = rest.partition("/")
        path, colon, tag = path.partition(":")
        made = cls(host, path, tag_of(tag) if colon else None, digest if at else None)
        made._check(text)
        return made

    def _check(self, text: str) -> None:
        if not _HOST.fullmatch(self.host):
            raise BadReference(text, f"has no host, or {self.host!r} is none")
        if self.path != self.path.lower():
            raise BadReference(text, "has capital letters, which registries do not take")
        if not _PATH.fullmatch(self.path):
            why = f"has a path that is none in a registry: {self.path!r}" if self.path else "names no chart"
            raise BadReference(text, why)
        if self.tag is not None and not _TAG.fullmatch(self.tag):
            raise BadReference(text, f"has a tag that cannot be one: {self.tag!r}")

    @property
    def repository(self) -> str:
        """All versions of the chart."""
        return f"{SCHEME}{self.host}/{self.path}"

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]

    def agreed(self, wanted: str | None) -> str | None:
        """The version, from the tag or from what is wanted beside it. Raises `WrongPin`."""
        if self.tag is None:
            return wanted
        if wanted is not None and tag_of(wanted) != self.tag:
            raise WrongPin(str(self), f"tag {self.tag!r}", wanted)
        return wanted or self.tag.replace("_", "+")

    def url(self, *, plain: bool) -> str:
        """Of the interface to the repository."""
        host = _ELSEWHERE.get(self.host, self.host)
        return f"{'http' if plain else 'https'}://{host}/v2/{self.path}"

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        return f"{self.repository}{tag}{f'@{self.digest}' if self.digest else ''}"


def nearest(reference: Reference, places: Iterable[str]) -> str | None:
    """Of places, each a host with perhaps the begin of a path, the longest that it is at or below."""
    whole = f"{reference.host}/{reference.path}/"
    return max((place for place in places if whole.startswith(f"{place}/")), key=len, default=None)


def tag_of(version: str) -> str:
    """A tag may have no `+`, so Helm writes `_` for it."""
    return version.replace("+", "_")


def version_of(tag: str) -> str | None:
    """As Helm takes tags for versions: whole ones, without a `v`."""
    version = tag.replace("_", "+")
    return version if _STRICT.fullmatch(version) and parse_version(version) is not None else None


def versions_among(tags: Iterable[str]) -> list[str]:
    """The newest first."""
    found = (version for tag in tags if (version := version_of(tag)) is not None)
    return newest_first(found, lambda version: version)
