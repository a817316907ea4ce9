"""What a YAML file holds, and where."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sbkube.documents.scalars import describe
from sbkube.errors import ConfigError, Position


class InvalidYaml(ConfigError):
    """A text that is not YAML, or YAML we do not take."""


class UnreadableFile(ConfigError):
    """A file that is missing, forbidden or no text."""


@dataclass(frozen=True, slots=True)
class Document:
    """Plain data, and where in the file each value stands. An entry stands where its key stands."""

    file: Path
    data: Any
    line: int | None = 1
    _lines: Mapping[int, Any] = field(default_factory=dict, repr=False)
    _texts: Mapping[int, Any] = field(default_factory=dict, repr=False)

    def position(self, path: Sequence[str | int] = ()) -> Position:
        """The line of that value, or of the nearest one around it that is there."""
        return Position(self.file, self.trace(path)[1])

    def trace(self, path: Sequence[str | int]) -> tuple[int, int | None]:
        """How many parts of the path are there, and the line of the last of them."""
        here, line = self.data, self.line
        for depth, key in enumerate(path):
            try:
                line = self._lines[id(here)][key]
                here = here[key]
            except (KeyError, IndexError, TypeError):
                return depth, line
        return len(path), line

    def text(self, path: Sequence[str | int]) -> str | None:
        """An unquoted value as it was written, where YAML made something else of it: `1.10`, `on`."""
        here = self.data
        try:
            for key in path[:-1]:
                here = here[key]
            return self._texts[id(here)].get(path[-1]) if path else None
        except (KeyError, IndexError, TypeError):
            return None

    def mapping(self) -> dict[str, Any]:
        """The data where only a mapping makes sense; an empty file is an empty one."""
        if self.data is None:
            return {}
        if not isinstance(self.data, dict):
            raise InvalidYaml(
                f"the file must hold keys and values, not {describe(self.data)}", where=self.position()
            )
        return self.data
