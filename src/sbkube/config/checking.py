"""From what files say to models, and from pydantic's errors to sentences with lines."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import ValidationError

from sbkube.apps.fields import Model, Spellings, dotted
from sbkube.config.layers import Layers, Path
from sbkube.config.problems import InvalidConfig, Notice, Problem, close, nearest
from sbkube.documents import describe, merge
from sbkube.errors import Position

M = TypeVar("M", bound=Model)


class Problems:
    """Filled while the files of one project are checked."""

    def __init__(self, layers: Layers) -> None:
        self._layers = layers
        self._found: dict[tuple[Position, str], Problem] = {}
        self.notices: list[Notice] = []

    def add(self, message: str, path: Path, hint: str | None = None) -> None:
        where = self._layers.position(path)
        self._found.setdefault((where, message), Problem(where, message, hint))

    def notice(self, message: str, path: Path) -> None:
        self.notices.append(Notice(self._layers.position(path), message))

    def raise_any(self) -> None:
        if self._found:
            files = list(dict.fromkeys(layer.document.file for layer in reversed(self._layers.layers)))
            found = sorted(
                self._found.values(), key=lambda it: (files.index(it.where.file), it.where.line or 0)
            )
            raise InvalidConfig(found)

    def validate(
        self,
        model: type[M],
        raw: Mapping[str, Any],
        *,
        at: Path,
        of: str,
        under: Mapping[str, Any] | None = None,
        spellings: Spellings | None = None,
    ) -> M | None:
        """The model of what stands at a path, over `under`, which stands in `defaults`."""
        spellings = Spellings() if spellings is None else spellings
        data = merge(under or {}, model.as_today(raw, spellings))
        place = _Place(self._layers, data, at, of, spellings)
        try:
            return self._validated(model, place)
        except ValidationError as error:
            for problem in place.problems(error):
                self._found.setdefault((problem.where, problem.message), problem)
            return None
        finally:
            for path, text in spellings.hints:
                self.notice(text, at + spellings.written(path))

    def _validated(self, model: type[M], place: _Place) -> M:
        try:
            return model.model_validate(place.data, context=place.spellings)
        except ValidationError as error:
            if not place.take_as_written(error):
                raise
        return model.model_validate(place.data, context=place.spellings)


_NOUNS = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "dict_type": "a mapping",
    "mapping_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "list_type": "a list",
    "tuple_type": "a list",
}


@dataclass(slots=True)
class _Place:
    """The data of one model, and the way from pydantic's `loc` in it to a line of a file."""

    layers: Layers
    data: dict[str, Any]
    at: Path
    of: str
    spellings: Spellings

    def take_as_written(self, error: ValidationError) -> bool:
        """Text that YAML made a number or a truth value of (`version: 1.10`, an app called `on`) is text again."""
        taken = False
        for item in error.errors(include_url=False):
            if item["type"] != "string_type" or not isinstance(item["input"], bool | int | float):
                continue
            path = self._path(item)
            text = self.layers.text(self.at + self.spellings.written(path))
            if text is not None:
                self.data = copy.deepcopy(self.data) if not taken else self.data
                taken = _replace(self.data, path, text) or taken
        return taken

    def problems(self, error: ValidationError) -> list[Problem]:
        by_path: dict[Path, list[Any]] = {}
        for item in error.errors(include_url=False):
            by_path.setdefault(self._path(item), []).append(item)
        return [
            self._problem(path, items)
            for path, items in by_path.items()
            if not any(len(other) > len(path) > 0 and other[: len(path)] == path for other in by_path)
        ]

    def _path(self, item: Any) -> Path:
        """`loc` without the branches of unions, which no file has."""
        here: Any = self.data
        path: list[str | int] = []
        for part in item["loc"]:
            if (isinstance(here, Mapping) and part in here) or (
                isinstance(here, list | tuple) and isinstance(part, int) and part < len(here)
            ):
                here = here[part]
            else:
                continue
            path.append(part)
        if item["type"] == "missing":
            path.append(item["loc"][-1])
        return tuple(path)

    def _problem(self, path: Path, items: list[Any]) -> Problem:
        written, of = self.spellings.written(path), self.of
        depth, where = self.layers.trace(self.at + written)
        if depth <= len(self.at) and (default := self.layers.trace(("defaults", *path)))[0] > 1:
            where, of = default[1], "the defaults"
        message, hint = self._sentence(written, items, of)
        return Problem(where, message, hint)

    def _sentence(self, path: Path, items: list[Any], of: str) -> tuple[str, str | None]:
        item = next((item for item in items if item["type"] not in _NOUNS), items[0])
        kind, context = item["type"], item.get("ctx", {})
        name = f"`{dotted(path)}`" + (f" of {of}" if of else "") if path else of or "the file"
        if kind == "extra_forbidden":
            return self._unknown(path, of)
        if kind == "missing":
            return f"{name} is missing", None
        if kind in _NOUNS:
            nouns = list(dict.fromkeys(_NOUNS[item["type"]] for item in items if item["type"] in _NOUNS))
            return f"{name} must be {' or '.join(nouns)}, not {self._described(item, path)}", None
        if kind == "value_error":
            return f"{name} {context['error']}", None
        if kind in ("literal_error", "union_tag_invalid", "union_tag_not_found"):
            return self._not_among(name, item, path)
        return f"{name} {_other(kind, context, item)}", None

    def _described(self, item: Any, path: Path) -> str:
        text = self.layers.text(self.at + path)
        return repr(text) if text else describe(item["input"])

    def _unknown(self, path: Path, of: str) -> tuple[str, str | None]:
        key, inside = str(path[-1]), dotted(path[:-1])
        whole = " of ".join(filter(None, [f"`{inside}`" if inside else "", of])) or "the file"
        if new := self.spellings.doubled.get(key):
            return (
                f"{whole} has both `{key}` and `{new}`",
                f"`{key}` is an older spelling of `{new}`: keep one",
            )
        return f"there is no field `{key}` in {whole}", nearest(key, self.spellings.known.get(key, ()))

    def _not_among(self, name: str, item: Any, path: Path) -> tuple[str, str | None]:
        context, value = item.get("ctx", {}), item["input"]
        if item["type"] == "union_tag_not_found":
            return f"{name} needs a `type`", None
        expected = context.get("expected") or context["expected_tags"]
        words = expected.replace(" or ", ", ").replace("'", "").split(", ")
        given = context.get("tag", value)
        name = f"the `type` of {name}" if "tag" in context else name
        if item["loc"][-1] == "[key]":
            return f"{name} is none of {', '.join(words)}", close(str(given), words)
        quoted = repr(given) if "tag" in context else self._described(item, path)
        return f"{name} must be one of {', '.join(words)}, not {quoted}", close(str(given), words)


def _other(kind: str, context: Mapping[str, Any], item: Any) -> str:
    match kind:
        case "too_short" | "string_too_short":
            return "must not be empty"
        case "greater_than_equal":
            return f"must be at least {context['ge']}, not {item['input']!r}"
        case "less_than_equal":
            return f"must be at most {context['le']}, not {item['input']!r}"
    return f"cannot be {describe(item['input'])}"


def _replace(data: Any, path: Path, value: str) -> bool:
    for part in path[:-1]:
        data = data[part]
    if not path:
        return False
    data[path[-1]] = value
    return True
