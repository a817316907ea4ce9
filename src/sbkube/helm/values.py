"""One final mapping of values, by Helm's rules, for whichever Helm renders.

Values files are merged left to right: mappings merge, everything else replaces, null stays (it deletes the chart's
default). Then `--set` expressions are parsed *into* the result, as the program does it: parsed on their own and merged
afterwards, list indexes would come out wrong.

One thing cannot be had: a number given with `--set` on the command line is an integer to a template, while both Helms
get these values as JSON, where a template sees a float. `{{ .Values.n }}` of a million prints `1e+06`, as it does with a
values file; `{{ int .Values.n }}` is what charts write, and who cannot change the chart gives the number as text. The
library takes JSON and nothing else, and a program that is given `--set` would render another chart than the library.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ..documents import merge
from .base import ValuesError

DEEPEST_NAME = 30
LARGEST_INDEX = 65536
_INTEGER = re.compile(r"[+-]?[0-9]+", re.ASCII)


def final_values(
    files: Iterable[Mapping[str, Any]], set_values: Mapping[str, Any] | Sequence[str] = ()
) -> dict[str, Any]:
    """`set_values`: `path: value` with the value's own type, or `--set` expressions."""
    values: dict[str, Any] = {}
    for file in files:
        values = merge(values, file)
    values = copy.deepcopy(values)
    if isinstance(set_values, Mapping):
        for path, value in set_values.items():
            set_path(values, path, value)
    else:
        for expression in set_values:
            set_into(values, expression)
    return values


def set_into(values: dict[str, Any], expression: str) -> None:
    """What `--set expression` does to values: `a.b[0].c=x,d={1,2},e\\.f=null`."""
    _Parser(expression, _typed).into(values)


def set_path(values: dict[str, Any], path: str, value: Any) -> None:
    """Set one value by a path of `--set`'s grammar; a mapping replaces what was there."""
    _Parser(path + "=", lambda _: copy.deepcopy(value), given=True).into(values)


def _typed(text: str) -> Any:
    """The types that `--set` knows; a leading zero makes text, so that account numbers survive."""
    folded = text.casefold()
    if folded in ("true", "false"):
        return folded == "true"
    if folded == "null":
        return None
    if text == "0":
        return 0
    if _INTEGER.fullmatch(text) and not text.startswith("0") and -(2**63) <= int(text) < 2**63:
        return int(text)
    return text


class _Stopped(Exception):
    """The end of the expression, where the grammar allows it."""


class _Parser:
    """A recursive descent over one expression that writes as it reads, like Helm's own (its strvals package)."""

    def __init__(self, expression: str, value_of: Callable[[str], Any], *, given: bool = False) -> None:
        self._text = expression
        self._at = 0
        self._value_of = value_of
        self._given = given

    def into(self, values: dict[str, Any]) -> None:
        try:
            while True:
                self._key(values, 0)
                if self._given and self._at < len(self._text):
                    raise self._wrong("a path names one value; write `\\=` and `\\,` for these characters")
        except _Stopped:
            pass

    def _key(self, target: dict[str, Any], depth: int) -> None:
        name, stop = self._until("=[,.")
        if stop == "=":
            at_end = self._at == len(self._text) and not self._given
            _set(target, name, self._value())
            if at_end:  # Helm stops here for good: in a new list item (`a[0].b=`) what was set is lost
                raise _Stopped
        elif stop == "[":
            self._list(target, name, depth)
        elif stop == ".":
            self._map(target, name, depth + 1)
        elif stop == ",":
            raise self._wrong(f"key {name!r} has no value (cannot end with ,)")
        elif name:
            raise self._wrong(f"key {name!r} has no value")
        else:
            raise _Stopped

    def _map(self, target: dict[str, Any], name: str, depth: int) -> None:
        if depth > DEEPEST_NAME:
            raise self._wrong(f"names nest deeper than {DEEPEST_NAME} levels")
        inner = target.get(name, {})
        if not isinstance(inner, dict):
            raise self._wrong(f"{name!r} is {_kind(inner)}, not a mapping")
        try:
            self._key(inner, depth)
        finally:
            if inner:
                _set(target, name, inner)
        if not inner:
            raise self._wrong(f"key map {name!r} has no value")

    def _list(self, target: dict[str, Any], name: str, depth: int) -> None:
        index = self._index()
        items = target.get(name, [])
        if not isinstance(items, list):
            raise self._wrong(f"{name!r} is {_kind(items)}, not a list")
        try:
            self._item(items, index, depth)
        finally:
            _set(target, name, items)

    def _item(self, items: list[Any], index: int, depth: int) -> None:
        rest, stop = self._until("[.=")
        if rest:
            raise self._wrong(f"unexpected data at end of array index: {rest!r}")
        present = items[index] if index < len(items) else None
        if stop == "=":
            self._put(items, index, self._value())
        elif stop == "[":
            self._nested_list(items, index, present, depth)
        elif stop == ".":
            inner = present if isinstance(present, dict) else {}
            if index < len(items):
                items[index] = inner
            self._key(inner, depth)
            self._put(items, index, inner)
        else:
            raise _Stopped

    def _nested_list(self, items: list[Any], index: int, present: Any, depth: int) -> None:
        inner_index = self._index()
        if present is not None and not isinstance(present, list):
            raise self._wrong(f"item {index} is {_kind(present)}, not a list")
        inner: list[Any] = present if present is not None else []
        self._item(inner, inner_index, depth)
        self._put(items, index, inner)

    def _put(self, items: list[Any], index: int, value: Any) -> None:
        if index > LARGEST_INDEX:
            raise self._wrong(f"index {index} is greater than {LARGEST_INDEX}")
        items.extend([None] * (index + 1 - len(items)))
        items[index] = value

    def _index(self) -> int:
        text, stop = self._until("]")
        if not stop:
            raise self._wrong("'[' is not closed")  # Helm 4 takes it for the end, and sets nothing
        if not _INTEGER.fullmatch(text):
            raise self._wrong(f"{text!r} is not an index")
        if (index := int(text)) < 0:
            raise self._wrong(f"negative index {index} not allowed")
        return index

    def _value(self) -> Any:
        if self._given:
            return self._value_of("")
        if self._text.startswith("{", self._at):
            self._at += 1
            return self._braces()
        return self._value_of(self._until(",")[0]) if self._at < len(self._text) else ""

    def _braces(self) -> list[Any]:
        items = []
        while True:
            text, stop = self._until(",}")
            if not stop:
                raise self._wrong("list must terminate with '}'")
            items.append(self._value_of(text))
            if stop == "}":
                self._at += self._text.startswith(",", self._at)
                return items

    def _until(self, stops: str) -> tuple[str, str]:
        """The text up to one of the characters, and that character; none at the end. A backslash takes the next one."""
        found: list[str] = []
        while self._at < len(self._text):
            character = self._text[self._at]
            self._at += 1
            if character in stops:
                return "".join(found), character
            if character == "\\":
                character = self._text[self._at : self._at + 1]
                self._at += 1
            found.append(character)
        return "".join(found), ""

    def _wrong(self, what: str) -> ValuesError:
        shown = self._text.removesuffix("=") if self._given else self._text
        return ValuesError(f"cannot set {shown!r}: {what}", hint="the grammar is that of `helm --set`")


def _set(target: dict[str, Any], name: str, value: Any) -> None:
    if name:  # Helm ignores a value without a name
        target[name] = value


def _kind(value: Any) -> str:
    names = {dict: "a mapping", list: "a list", str: "text", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")
