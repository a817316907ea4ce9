"""What a step's result depends on, as digests (SHA-256).

The *planned* fingerprint covers what is known before the run, as canonical JSON: sorted keys, no spaces. The
*full* one adds the outputs of what the step needs, and what could only be read when it was about to start.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .errors import InputsNotJson, ResultNotJson

Json = Any
"""None, bool, int, finite float, str, and lists and str-keyed dicts of them."""

RESULT_LIMIT = 64 * 1024
"""Bytes of JSON that one result may take."""

DEPTH_LIMIT = 100
"""Levels of lists and dicts in one result; what writes the journal gives up at 255."""

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
        # An input may bear that name too, and then both count.
        components["config"] = digest([components["config"], config] if "config" in components else config)
    return Planned(digest(components), components)


def planned_of(step: str, inputs: Json, config: Json) -> Planned:
    """As `planned`; raises `InputsNotJson` naming the step."""
    try:
        return planned(inputs, config)
    except (TypeError, ValueError, RecursionError) as error:
        raise InputsNotJson(f"an input of step {step!r}, or the config,", str(error)) from None


def full(planned: str, outputs: Mapping[str, str], late: str | None) -> str:
    """Equal to the planned one where nothing is added to it."""
    if not outputs and late is None:
        return planned
    # Lengths in front, so that no two sets of names run together into the same text; JSON would cost three times as much.
    parts = [f"{len(need)}:{need}={digest}\n" for need, digest in sorted(outputs.items())]
    return hashlib.sha256(f"{planned}\n{late}\n{''.join(parts)}".encode()).hexdigest()


def as_json(value: object, what: str = "result") -> Json:
    """The value as a later process will read it back; raises `ResultNotJson`.

    Tuples become lists. At most `RESULT_LIMIT` bytes of JSON, `DEPTH_LIMIT` levels deep.
    """
    if value is None or value is True or value is False:
        return value
    try:
        # Encoded here because a lone surrogate, as in a broken file name, is not UTF-8 and so no JSON.
        text = json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":")).encode()
        _refuse_what_changes(value, DEPTH_LIMIT)
    except (TypeError, ValueError, RecursionError) as error:
        raise ResultNotJson(str(error), what) from None
    if len(text) > RESULT_LIMIT:
        raise ResultNotJson(f"{len(text)} bytes of JSON, at most {RESULT_LIMIT}", what)
    return json.loads(text)


def _refuse_what_changes(value: object, levels: int) -> None:
    if isinstance(value, dict):
        for key in value:
            # json.dumps turns keys like 1 and None into text without a word.
            if type(key) is not str:
                raise TypeError(f"the key {key!r} is not text")
        items = list(value.values())
    elif isinstance(value, list | tuple):
        items = list(value)
    else:
        return
    if levels == 0:
        raise ValueError(f"it is nested more than {DEPTH_LIMIT} levels deep")
    for item in items:
        _refuse_what_changes(item, levels - 1)
