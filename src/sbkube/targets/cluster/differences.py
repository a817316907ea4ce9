"""An object as it is and as it would be: without what the server notes by itself, without secrets, as lines. Pure."""

from __future__ import annotations

import base64
import binascii
import difflib
import hashlib
import hmac
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from sbkube.documents import dump

Object = Mapping[str, Any]

_NOTED = frozenset(
    {
        "creationTimestamp",
        "deletionGracePeriodSeconds",
        "deletionTimestamp",
        "generation",
        "managedFields",
        "resourceVersion",
        "selfLink",
        "uid",
    }
)
"""Of `metadata`: what every write changes or the server alone says."""
_NOTES = frozenset({"kubectl.kubernetes.io/last-applied-configuration"})
"""Annotations: a copy of the whole object, with its secrets."""


def without_notes(found: Object) -> dict[str, Any]:
    """What somebody wanted of an object, with the defaults filled in."""
    kept = {key: value for key, value in found.items() if key != "status"}
    metadata = {key: value for key, value in (found.get("metadata") or {}).items() if key not in _NOTED}
    annotations = {k: v for k, v in (metadata.pop("annotations", None) or {}).items() if k not in _NOTES}
    if annotations:
        metadata["annotations"] = annotations
    cleaned: dict[str, Any] = _without_nulls({**kept, "metadata": metadata})
    return cleaned


def _without_nulls(value: Any) -> Any:
    """Two servers, or two paths through one, write an absent value differently."""
    if isinstance(value, Mapping):
        return {key: _without_nulls(each) for key, each in value.items() if each is not None}
    return [_without_nulls(each) for each in value] if isinstance(value, list) else value


@dataclass(frozen=True, slots=True)
class Mask:
    """Hides the values of Secrets, so that a change shows and the value does not.

    The key lives as long as this: what is printed can be compared within one output and with nothing else.
    """

    key: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)

    def __call__(self, found: Object) -> Object:
        if not _is_secret(found):
            return found
        masked = dict(found)
        for name, decoded in (("data", _decoded), ("stringData", _encoded)):
            if isinstance(found.get(name), Mapping):
                masked[name] = {key: self._hidden(decoded(value)) for key, value in found[name].items()}
        return masked

    def scrubbed(self, text: str, found: Object) -> str:
        """What a server says of a Secret, without the values that it may repeat."""
        for value in _values(found) if _is_secret(found) else ():
            text = text.replace(value, "(hidden)")
        return text

    def _hidden(self, value: bytes) -> str:
        return f"(hidden {hmac.new(self.key, value, hashlib.sha256).hexdigest()[:8]})"


def _is_secret(found: Object) -> bool:
    return found.get("kind") == "Secret" and found.get("apiVersion") == "v1"


def _values(found: Object) -> Iterator[str]:
    for name in ("data", "stringData"):
        for value in (found.get(name) or {}).values():
            for text in (str(value), _decoded(value).decode("utf-8", "replace")):
                if text.strip():
                    yield text


def _decoded(value: object) -> bytes:
    try:
        return base64.b64decode(str(value), validate=True)
    except (binascii.Error, ValueError):
        return _encoded(value)


def _encoded(value: object) -> bytes:
    return str(value).encode("utf-8", "surrogateescape")


def lines_between(before: Object | None, after: Object | None, mask: Mask) -> list[str]:
    """A unified diff without its two head lines; empty if nothing differs. None is an object that is not there."""
    if before == after:
        return []
    old, new = _lines(before, mask), _lines(after, mask)
    if before is None or after is None:
        return [*(f"+{line}" for line in new), *(f"-{line}" for line in old)]
    return list(difflib.unified_diff(old, new, lineterm=""))[2:]


def _lines(found: Object | None, mask: Mask) -> list[str]:
    return [] if found is None else dump(mask(in_order(found))).splitlines()


_FIRST = ("apiVersion", "kind", "metadata")


def in_order(value: Any, *, top: bool = True) -> Any:
    """Keys sorted, as both sides of a comparison need them, with what tells the object first."""
    if isinstance(value, Mapping):
        names = sorted(value, key=lambda name: (_FIRST.index(name) if top and name in _FIRST else 9, name))
        return {name: in_order(value[name], top=False) for name in names}
    return [in_order(each, top=False) for each in value] if isinstance(value, list) else value
