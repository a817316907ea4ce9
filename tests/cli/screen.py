"""A terminal as far as the live table uses one: what stands on it after the bytes that were written."""

from __future__ import annotations

import re
from collections.abc import Iterator

_SEQUENCE = re.compile(r"\x1b\[([0-9;?]*)([A-Za-z])|(\r)|(\n)|([^\x1b\r\n])", re.DOTALL)


class Screen:
    """Endless downwards; folds at the right edge, and folds again when it is made narrower."""

    def __init__(self, columns: int) -> None:
        self.columns = columns
        self.rows: list[str] = [""]
        self.row = self.column = 0
        self.cursor_shown = True

    def write(self, text: str) -> None:
        for match in _SEQUENCE.finditer(text):
            number, order, back, feed, letter = match.groups()
            if order is not None:
                self._obey(order, number)
            elif back:
                self.column = 0
            elif feed:
                self.column = 0  # as the line discipline of a terminal adds
                self._down()
            else:
                self._put(letter)

    def narrow(self, columns: int) -> None:
        """As terminals do that fold their rows again."""
        before, self.columns = self.rows, columns
        self.rows = [part for row in before for part in self._folded(row)]
        self.row = len(self.rows) - 1
        self.column = min(self.column, len(self.rows[-1]))

    @property
    def text(self) -> str:
        return "\n".join(row.rstrip() for row in self.rows).rstrip("\n")

    def _folded(self, row: str) -> Iterator[str]:
        row = row.rstrip()
        yield row[: self.columns]
        for start in range(self.columns, len(row), self.columns):
            yield row[start : start + self.columns]

    def _obey(self, order: str, number: str) -> None:
        if order == "A":
            self.row = max(0, self.row - int(number))
        elif order == "K":
            self.rows[self.row] = self.rows[self.row][: self.column]
        elif order == "J":
            self.rows[self.row] = self.rows[self.row][: self.column]
            del self.rows[self.row + 1 :]
        elif number == "?25":
            self.cursor_shown = order == "h"
        else:
            assert order == "m" or number == "?2026", f"unknown: {number}{order}"

    def _put(self, letter: str) -> None:
        if self.column == self.columns:
            self.column = 0
            self._down()
        row = self.rows[self.row].ljust(self.column)
        self.rows[self.row] = row[: self.column] + letter + row[self.column + 1 :]
        self.column += 1

    def _down(self) -> None:
        self.row += 1
        if self.row == len(self.rows):
            self.rows.append("")
