"""The stand-in for the API server, held to what the real one is held to in `tests/cluster/test_lock.py`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from contract.lease_cases import FakeLeases, LeaseContract
from sbkube.targets.cluster.lease import LeasePlace


class TestAFakeKeepsLeases(LeaseContract):
    @pytest.fixture
    def anyio_backend(self) -> str:
        return "asyncio"

    @pytest.fixture
    def place(self) -> LeasePlace:
        return LeasePlace("shop", "sbkube", 30)

    @pytest.fixture
    def leases(self) -> FakeLeases:
        return FakeLeases()

    @pytest.fixture
    def remove(self, leases: FakeLeases) -> Callable[[], Awaitable[None]]:
        return leases.remove
