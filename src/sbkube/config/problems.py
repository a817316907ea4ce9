"""What is wrong with a project, or worth saying about it, for those who wrote it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from sbkube.errors import ConfigError, Position

MOST_SHOWN = 10


@dataclass(frozen=True, slots=True)
class Problem:
    where: Position
    message: str
    hint: str | None = None


@dataclass(frozen=True, slots=True)
class Notice:
    """Worth saying, and no reason to stop."""

    where: Position
    text: str


def told(notices: Iterable[Notice]) -> list[str]:
    """One line for what is the case in many lines of a file."""
    places: dict[tuple[object, str], list[Position]] = {}
    for notice in dict.fromkeys(notices):
        places.setdefault((notice.where.file, notice.text), []).append(notice.where)
    return [f"{where[0]}: {text}{_also(len(where) - 1)}" for (_, text), where in places.items()]


def _also(more: int) -> str:
    return f" (and in {more} more place{'s' if more > 1 else ''})" if more else ""


class InvalidConfig(ConfigError):
    """All that is wrong with a project's files, as far as it is worth showing."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        first = problems[0]
        if len(problems) == 1:
            super().__init__(first.message, hint=first.hint, where=first.where)
            return
        lines = [_line(problem, first.where) for problem in problems[:MOST_SHOWN]]
        if len(problems) > MOST_SHOWN:
            lines.append(f"  and {len(problems) - MOST_SHOWN} more")
        super().__init__("\n".join([f"{len(problems)} problems", *lines]), where=Position(first.where.file))


def _line(problem: Problem, first: Position) -> str:
    where = problem.where
    place = f"line {where.line}" if where.file == first.file and where.line else str(where)
    return f"  {place}: {problem.message}" + (f" ({problem.hint})" if problem.hint else "")


def nearest(word: str, words: Iterable[str]) -> str | None:
    """A hint that names what may have been meant, or else all there is."""
    known = sorted(words)
    every = f"there are: {', '.join(known)}" if 0 < len(known) <= 40 else None
    return close(word, known) or every


def close(word: str, words: Iterable[str], *, cutoff: float = 0.6) -> str | None:
    found = get_close_matches(word, list(words), n=1, cutoff=cutoff)
    return f"did you mean `{found[0]}`?" if found else None
