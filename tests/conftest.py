"""What every test may use: both backends, and one on which hours pass in milliseconds."""

from __future__ import annotations

from typing import Any

import pytest
from trio.testing import MockClock

Backend = str | tuple[str, dict[str, Any]]


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> Backend:
    """`virtual-time` (see `in_virtual_time`) jumps to the next deadline whenever nothing else can go on."""
    if request.param == "virtual-time":
        return "trio", {"clock": MockClock(autojump_threshold=0)}
    return str(request.param)
