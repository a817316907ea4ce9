"""Rows at the bottom of a terminal that are drawn anew in place, with what is permanent scrolling away above.

The cursor rests at the end of the last row and is never left hidden, so a process killed at any moment leaves a
usable terminal. A terminal that becomes narrower folds rows that were drawn wider: they are counted as folded.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

_BEGIN, _END = "\x1b[?2026h\x1b[?25l", "\x1b[?25h\x1b[?2026l"  # one frame at once, where a terminal can


@dataclass(slots=True)
class Row:
    text: str
    """With colours, without a line break."""
    width: int
    """In cells."""


@dataclass(slots=True)
class Painter:
    write: Callable[[str], None]
    _drawn: list[int] = field(default_factory=list)
    """The width of each row that stands on the screen."""

    def paint(self, above: Sequence[str], rows: Sequence[Row], columns: int) -> None:
        told = "".join(f"{line}\x1b[K\r\n" for text in above for line in text.split("\n"))
        body = "\r\n".join(f"{row.text}\x1b[K" for row in rows)
        self.write(f"{_BEGIN}{self._to_the_top(columns)}{told}{body}\x1b[J{_END}")
        self._drawn = [row.width for row in rows]

    def finish(self) -> None:
        """What stands now stays; what follows begins on a new line."""
        if self._drawn:
            self.write("\r\n")
        self._drawn = []

    def _to_the_top(self, columns: int) -> str:
        up = sum(max(1, -(-width // columns)) for width in self._drawn) - 1
        return f"\x1b[{up}A\r" if up > 0 else "\r"
