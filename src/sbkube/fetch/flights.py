"""What several want at once is done once, for all of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

import anyio

from sbkube.fetch.errors import FetchError

T = TypeVar("T")


class _Flight(Generic[T]):
    def __init__(self) -> None:
        self.landed = anyio.Event()
        self.results: list[T] = []
        self.error: FetchError | None = None


class Flights(Generic[T]):
    """Whoever comes first does it, the others wait. If it fails, all of them fail; whoever comes later tries again."""

    def __init__(self, *, keeps: bool = False) -> None:
        """`keeps`: what succeeded is not done again."""
        self._keeps = keeps
        self._flights: dict[Hashable, _Flight[T]] = {}

    async def do(self, key: Hashable, work: Callable[[], Awaitable[T]]) -> T:
        while (flight := self._flights.get(key)) is not None:
            await flight.landed.wait()
            if flight.results:
                return flight.results[0]
            if flight.error is not None:
                raise flight.error.copy() from flight.error
            # whoever did it was cancelled, so one of those who wait goes on
        return await self._do(key, work)

    async def _do(self, key: Hashable, work: Callable[[], Awaitable[T]]) -> T:
        flight = self._flights[key] = _Flight[T]()
        try:
            result = await work()
        except FetchError as error:
            flight.error = error
            raise
        else:
            flight.results.append(result)
            return result
        finally:
            if not (self._keeps and flight.results):
                del self._flights[key]
            flight.landed.set()
