"""The files of a project laid over each other, and which of them says what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sbkube.documents import Document
from sbkube.errors import Position

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Layer:
    """What a file has at its top may stand under `settings` in the whole; of some files only that is taken."""

    document: Document
    settings_only: bool = False

    def routes(self, path: Path) -> list[tuple[int, Path]]:
        """Where in this file the path may lead, each with the number of parts that it lost."""
        if path[:1] == ("settings",):
            return [(0, path), (1, path[1:])]
        return [] if self.settings_only else [(0, path)]


@dataclass(frozen=True, slots=True)
class Layers:
    """From the lowest to the highest."""

    layers: Sequence[Layer]

    def trace(self, path: Path) -> tuple[int, Position]:
        """How many parts of the path some file has, and where the last of them stands."""
        best = 0, self.layers[-1].document.position()
        for layer in reversed(self.layers):
            for lost, route in layer.routes(path):
                depth, line = layer.document.trace(route)
                if depth and depth + lost > best[0]:
                    best = depth + lost, Position(layer.document.file, line)
        return best

    def position(self, path: Path) -> Position:
        return self.trace(path)[1]

    def text(self, path: Path) -> str | None:
        """The text of an unquoted value, from the highest file that has it."""
        for layer in reversed(self.layers):
            for _, route in layer.routes(path):
                if layer.document.trace(route)[0] == len(route) > 0:
                    return layer.document.text(route)
        return None
