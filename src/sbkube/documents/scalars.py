"""Words and numbers as go-yaml v2 takes them, which sigs.k8s.io/yaml wraps for helm and kubectl.

Its booleans are those of YAML 1.1 (`y`, `on`), its octals both `0755` and `0o755`, its dates plain text.
"""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Mapping
from typing import Any


class _Merge(str):
    """The unquoted `<<`: a text everywhere but where a key stands."""


MERGE: str = _Merge("<<")
_WORDS: dict[str, Any] = {
    "<<": MERGE,
    **dict.fromkeys(["y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"], True),
    **dict.fromkeys(["n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"], False),
    **dict.fromkeys(["", "~", "null", "Null", "NULL"]),
    **dict.fromkeys([".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"], math.inf),
    **dict.fromkeys(["-.inf", "-.Inf", "-.INF"], -math.inf),
    **dict.fromkeys([".nan", ".NaN", ".NAN"], math.nan),
}
_NUMERIC = frozenset("+-.0123456789")
_INTEGER = re.compile(
    r"([-+]?)(?:0[xX](?P<x>[0-9a-fA-F]+)|0[oO]?(?P<o>[0-7]+)|0[bB](?P<b>[01]+)|(?P<d>0|[1-9][0-9]*))"
)
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_BASES = {"x": 16, "o": 8, "b": 2, "d": 10}


def scalar(text: str) -> Any:
    """What Go makes of an unquoted word."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in _NUMERIC:
        return text
    plain = text if text[0] == "." else text.replace("_", "")
    number = _integer(plain)
    if number is None and _FLOAT.fullmatch(plain):
        number = float(plain)
    return text if number is None or math.isinf(number) else number


def _integer(plain: str) -> int | float | None:
    found = _INTEGER.fullmatch(plain) if len(plain) <= 80 else None
    if found is None or found.lastgroup is None:
        return None
    value = int(found[1] + found[found.lastgroup], _BASES[found.lastgroup])
    return value if -(2**63) <= value < 2**64 else None


TAG = "tag:yaml.org,2002:"
_KINDS: dict[str, tuple[type, ...]] = {
    "int": (int,),
    "float": (float, int),
    "bool": (bool,),
    "null": (type(None),),
}


def tagged(tag: str, text: str) -> Any:
    kind = tag.removeprefix(TAG)
    if kind in ("!", "str", "timestamp"):
        return text
    if kind == "binary":
        return base64.b64decode("".join(text.split()), validate=True).decode()
    value = scalar(text)
    if type(value) not in _KINDS[kind]:
        raise ValueError(text)
    return float(value) if kind == "float" else value


def key_text(value: object) -> str:
    """How sigs.k8s.io/yaml writes a key on its way to JSON."""
    if value is MERGE:
        return MERGE
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        short = format(value, "g")
        exact = short if float(short) == value or math.isnan(value) else repr(value)
        return {"inf": ".inf", "-inf": "-.inf", "nan": ".nan"}.get(exact, exact)
    return str(value)


def describe(value: object) -> str:
    """A value's kind in the words of people who write YAML."""
    match value:
        case None:
            return "nothing"
        case bool():
            return f"the truth value {str(value).lower()!r}"
        case int() | float():
            return f"the number {value!r}"
        case str():
            return f"the text {value if len(value) <= 60 else value[:57] + '...'!r}"
        case Mapping():
            return "a mapping"
        case list() | tuple():
            return "a list"
    return f"the {type(value).__name__} {str(value)!r}"
