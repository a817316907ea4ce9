"""One table for people, the same as JSON for tools."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

COLUMNS = ("figure", "median", "min - max", "first house", "reached")


@dataclass(frozen=True, slots=True)
class Goal:
    text: str
    low: float
    high: float

    def is_reached_by(self, value: float) -> bool:
        return self.low <= value <= self.high


def at_least(value: float) -> Goal:
    return Goal(f">= {value:,}", value, float("inf"))


def at_most(value: float) -> Goal:
    return Goal(f"<= {value:,}", float("-inf"), value)


@dataclass(frozen=True, slots=True)
class Row:
    figure: str
    unit: str
    values: Sequence[float]
    """One for each repeat."""
    goal: Goal | None = None

    @property
    def median(self) -> float:
        return median(self.values)

    @property
    def is_reached(self) -> bool | None:
        return None if self.goal is None else self.goal.is_reached_by(self.median)

    def cells(self) -> tuple[str, ...]:
        reached = {None: "", True: "yes", False: "NO"}[self.is_reached]
        return (
            self.figure,
            f"{shown(self.median)} {self.unit}",
            f"{shown(min(self.values))} - {shown(max(self.values))}",
            self.goal.text if self.goal else "",
            reached,
        )

    def to_json(self) -> dict[str, Any]:
        return {
            "figure": self.figure,
            "unit": self.unit,
            "median": self.median,
            "values": list(self.values),
            "first_house": self.goal.text if self.goal else None,
            "reached": self.is_reached,
        }


def shown(value: float) -> str:
    """Three figures that count, or whole numbers."""
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def table(rows: Sequence[Row], conditions: Mapping[str, str]) -> str:
    cells = [COLUMNS, *(row.cells() for row in rows)]
    widths = [max(len(row[n]) for row in cells) for n in range(len(COLUMNS))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in cells]
    lines.insert(1, "  ".join("-" * width for width in widths))
    asked = [row for row in rows if row.goal is not None]
    reached = sum(1 for row in asked if row.is_reached)
    lines += ["", *(f"{name}: {value}" for name, value in conditions.items())]
    lines.append(f"first house: {reached} of {len(asked)} figures reached")
    return "\n".join(line.rstrip() for line in lines)
