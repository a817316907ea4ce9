"""What a step's result depends on, as digests (SHA-256 over canonical JSON: sorted keys, no spaces).

The *planned* fingerprint covers what is known before the run. The *full* one adds the outputs of what
the step needs, and what could only be read when it was about to start.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .errors import ResultNotJson

Json = Any
"""None, bool, int, finite float, str, and lists and str-keyed dicts of them."""

RESULT_LIMIT = 64 * 1024
"""Bytes of JSON that one result may take."""

_ENCODE = json.JSONEncoder(separators=(",", ":"), sort_keys=True, allow_nan=False).encode


@dataclass(frozen=True, slots=True)
class Planned:
    """A planned fingerprint and the digests of its components, by which a change is named."""

    fingerprint: str
    components: Mapping[str, str]


def digest(value: Json) -> str:
    return hashlib.sha256(_ENCODE(value).encode()).hexdigest()


def planned(inputs: Json, config: Json = None) -> Planned:
    """The fingerprint of a step's inputs; the keys of a mapping are its components."""
    parts = inputs if isinstance(inputs, Mapping) else {"inputs": inputs}
    components = {name: digest(value) for name, value in parts.items()}
    if config is not None:
        components["config"] = digest(config)
    return Planned(digest(components), components)


def full(planned: str, outputs: Mapping[str, str], late: str | None) -> str:
    """Equal to the planned one where nothing is added to it."""
    if not outputs and late is None:
        return planned
    return digest([planned, dict(outputs), late])


def as_json(value: object) -> Json:
    """The value as a later process will read it back; raises `ResultNotJson`.

    Tuples become lists. At most `RESULT_LIMIT` bytes of JSON.
    """
    if value is None or value is True or value is False:
        return value
    try:
        text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError) as error:
        raise ResultNotJson(str(error)) from None
    if len(text) > RESULT_LIMIT:
        raise ResultNotJson(f"{len(text)} bytes of JSON, at most {RESULT_LIMIT}")
    _refuse_what_changes(value)
    if "\\ud" in text:
        _refuse_lone_surrogates(value)
    return json.loads(text)


def _refuse_what_changes(value: object) -> None:
    # json.dumps turns keys like 1 and None into text without a word.
    if isinstance(value, dict):
        for key, item in value.items():
            if type(key) is not str:
                raise ResultNotJson(f"the key {key!r} is not text")
            _refuse_what_changes(item)
    elif isinstance(value, list | tuple):
        for item in value:
            _refuse_what_changes(item)


def _refuse_lone_surrogates(value: object) -> None:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise ResultNotJson(str(error)) from None
