"""The same asked of many things at once."""

from __future__ import annotations

import anyio
import pytest
from anyio.lowlevel import checkpoint

from sbkube.targets.cluster.abreast import abreast

pytestmark = pytest.mark.anyio


async def test_answers_stand_in_the_order_of_the_questions() -> None:
    ready = anyio.Event()

    async def ask(number: int) -> int:
        if number == 0:
            await ready.wait()  # the first is the last to be answered
        ready.set()
        return number * 2

    assert await abreast(ask, range(3)) == [0, 2, 4]


async def test_no_more_are_asked_at_once_than_may_be() -> None:
    asking, most = 0, 0

    async def ask(number: int) -> None:
        nonlocal asking, most
        asking += 1
        most = max(most, asking)
        await checkpoint()
        asking -= 1

    await abreast(ask, range(20), at_once=3)
    assert most == 3


async def test_the_first_that_raises_ends_the_rest_and_is_raised_alone() -> None:
    async def ask(number: int) -> None:
        if number == 1:
            raise ValueError(number)
        await anyio.sleep_forever()

    with pytest.raises(ValueError, match="1"):
        await abreast(ask, range(3))
