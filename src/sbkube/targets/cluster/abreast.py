"""The same asked of many things at once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

import anyio

T = TypeVar("T")
R = TypeVar("R")


async def abreast(ask: Callable[[T], Awaitable[R]], items: Iterable[T], at_once: int = 16) -> list[R]:
    """The answers in the order of the items. The first that raises ends the rest, and what it raised is raised."""
    items = list(items)
    answers: dict[int, R] = {}
    errors: list[Exception] = []
    turns = anyio.CapacityLimiter(at_once)

    async with anyio.create_task_group() as tasks:

        async def one(place: int, item: T) -> None:
            try:
                async with turns:
                    answers[place] = await ask(item)
            except Exception as error:  # noqa: BLE001 - raised again below, alone
                errors.append(error)
                tasks.cancel_scope.cancel()

        for place, item in enumerate(items):
            tasks.start_soon(one, place, item)
    if errors:
        raise errors[0]
    return [answers[place] for place in range(len(items))]
