"""Where a change comes from: from a step up over what it needs, to the steps that began it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Origin:
    """A step that began it, and the steps on the shortest way there, that nearest to the origin first."""

    step: str
    through: tuple[str, ...] = ()


def origins(
    step: str,
    needs: Mapping[str, Sequence[str]],
    *,
    carries: Callable[[str], bool],
    begins: Callable[[str], bool],
) -> Iterator[Origin]:
    """Of all that is upstream of a step and carries the change, what begins it; the nearest first, each once."""
    todo, seen = [Origin(step)], {step}
    for at in todo:
        way = (at.step, *at.through) if at.step != step else ()
        for need in needs[at.step]:
            if need in seen or not carries(need):
                continue
            seen.add(need)
            found = Origin(need, way)
            if begins(need):
                yield found
            else:
                todo.append(found)
