"""What can be said of an app before it runs, in the words in which its stages would say it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator

from sbkube.apps.fields import Stage
from sbkube.errors import ConfigError, Position, SbkubeError
from sbkube.helm.names import LONGEST_RELEASE

Refusal = tuple[Stage | None, SbkubeError]
"""What a stage would end with; no stage: worth mending, and no step fails for it."""

_LABEL = r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?"
_RELEASE = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_NAMESPACE = re.compile(_LABEL)
LONGEST_NAMESPACE = 63


class InvalidName(ConfigError):
    """A name that Helm or Kubernetes would not take."""


def failures(calls: Iterable[Callable[[], object]]) -> Iterator[SbkubeError]:
    """Of each call that does not succeed, why."""
    for call in calls:
        try:
            call()
        except SbkubeError as error:
            yield error


def check_release_name(name: str, where: Position, *, is_app: bool) -> None:
    """Helm's rule; `is_app`: the name is that of the app."""
    if len(name) > LONGEST_RELEASE:
        hint = "set `release_name` to a shorter one" if is_app else None
        of = "the app name" if is_app else "the release name"
        raise InvalidName(
            f"{of} {name!r} is {len(name)} characters long, and Helm takes {LONGEST_RELEASE} for a release",
            where=where,
            hint=hint,
        )
    if not _RELEASE.fullmatch(name):
        raise InvalidName(
            f"the release name {name!r} must consist of lower-case letters, digits and inner dashes or dots",
            where=where,
        )


def check_namespace(name: str, where: Position) -> None:
    """That of Kubernetes; no name at all leaves it to the manifests."""
    if name and not (_NAMESPACE.fullmatch(name) and len(name) <= LONGEST_NAMESPACE):
        raise InvalidName(
            f"the namespace {name!r} must consist of at most {LONGEST_NAMESPACE} lower-case letters, digits "
            "and inner dashes",
            where=where,
        )
