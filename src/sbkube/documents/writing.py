"""Data merged and written, and streams of documents taken apart."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import yaml

from sbkube.documents.scalars import MERGE, TAG, scalar

_Dumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Mappings merge, everything else replaces, null included: what helm does with `-f` files.

    Neither argument changes; the result shares with them what did not need merging.
    """
    merged = dict(base)
    todo = [(merged, over)]
    while todo:
        into, new = todo.pop()
        for key, value in new.items():
            old = into.get(key)
            if isinstance(old, Mapping) and isinstance(value, Mapping):
                into[key] = fresh = dict(old)
                todo.append((fresh, value))
            else:
                into[key] = value
    return merged


# A line that starts with a marker ends whatever was open, also a block scalar: inside one the dashes are
# indented. So lines are all that must be looked at, and the bytes between them stay as they are.
_MARKER = re.compile(r"^(?:---|\.\.\.)(?:[ \t]*(?:\r?\n|\Z)|[ \t]+|(?=\r))", re.MULTILINE)
_CONTENT = re.compile(r"^[ \t]*[^\s#%]", re.MULTILINE)


def split_manifests(text: str) -> list[str]:
    """The text of each document that holds something."""
    parts, start = [], 0
    for marker in _MARKER.finditer(text):
        parts.append(text[start : marker.start()])
        start = marker.end()
    parts.append(text[start:])
    return [part for part in parts if _CONTENT.search(part)]


class _GoDumper(_Dumper):  # type: ignore[misc]
    """Quotes what Go would take for something else than text."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def _text_node(dumper: Any, text: str) -> Any:
    style = None
    if not isinstance(scalar(str(text)), str) or text == MERGE:
        style = "'"
    elif "\n" in text and not text[0].isspace():
        style = "|"
    return dumper.represent_scalar(TAG + "str", str(text), style=style)


_GoDumper.add_multi_representer(str, _text_node)
_GoDumper.add_representer(str, _text_node)
_GoDumper.add_multi_representer(Mapping, lambda dumper, data: dumper.represent_dict(dict(data)))


def dump(data: Any) -> str:
    """One document in block style, keys in their order, that reads back as the same data."""
    written: str = yaml.dump(
        data, Dumper=_GoDumper, sort_keys=False, allow_unicode=True, default_flow_style=False, width=2**20
    )
    return written
