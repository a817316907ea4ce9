"""Rows in columns, as plain text for stdout."""

from __future__ import annotations

from collections.abc import Sequence


def columns(rows: Sequence[Sequence[str]], *, gap: str = "  ") -> str:
    """Left-aligned, as wide as needed; trailing blanks go."""
    if not rows:
        return ""
    widths = [max(len(row[n]) for row in rows if n < len(row)) for n in range(max(map(len, rows)))]
    return "\n".join(
        gap.join(cell.ljust(width) for cell, width in zip(row, widths, strict=False)).rstrip() for row in rows
    )


def local_time(text: str) -> str:
    """RFC 3339 as a person at this machine reads it."""
    from datetime import datetime

    try:
        return datetime.fromisoformat(text).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    except ValueError:
        return text
