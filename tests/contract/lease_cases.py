"""What the lock relies on of whoever keeps Leases, and a stand-in for the API server that keeps to it."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from itertools import count

import pytest

from sbkube.targets.cluster.lease import (
    Holder,
    Lease,
    LeasePlace,
    Leases,
    Object,
    OutrunError,
    claimed,
    given_back,
    renewed,
)

ME = Holder("one", "ci-1", 11, "alice")
OTHER = Holder("two", "ci-2", 22, "bob")


@dataclass
class FakeLeases:
    """One Lease, with versions and UIDs as an API server gives them."""

    kept: Object | None = None
    _versions: count[int] = field(default_factory=lambda: count(1))

    async def get(self) -> Object | None:
        return copy.deepcopy(self.kept)

    async def create(self, wanted: Object) -> Object:
        if self.kept is not None:
            raise OutrunError("(AlreadyExists)")
        return self._keep(wanted, f"uid-{next(self._versions)}")

    async def replace(self, wanted: Object) -> Object:
        there = self.kept["metadata"] if self.kept is not None else {}
        named = wanted["metadata"]
        if any(there.get(key) != named[key] for key in ("uid", "resourceVersion")):
            raise OutrunError("(Conflict)")
        return self._keep(wanted, there["uid"])

    def _keep(self, wanted: Object, uid: str) -> Object:
        self.kept = copy.deepcopy(wanted)
        self.kept["metadata"] |= {"uid": uid, "resourceVersion": str(next(self._versions))}
        return copy.deepcopy(self.kept)

    async def remove(self) -> None:
        self.kept = None


class LeaseContract:
    """A subclass has fixtures `place`, `leases`, and `remove`, which removes the Lease."""

    pytestmark = pytest.mark.anyio

    async def test_what_was_never_made_is_not_there(self, leases: Leases) -> None:
        assert await leases.get() is None

    async def test_what_is_made_is_there_as_it_was_written(self, leases: Leases, place: LeasePlace) -> None:
        made = Lease.of(await leases.create(claimed(place, None, ME)))
        found = await leases.get()
        assert found is not None
        assert Lease.of(found) == made
        assert (made.holder, made.seconds, made.transitions) == (ME.identity, place.seconds, 0)
        assert made.told == "process 11 of alice on ci-1"
        assert made.since

    async def test_it_is_made_once(self, leases: Leases, place: LeasePlace) -> None:
        made = await leases.create(claimed(place, None, ME))
        with pytest.raises(OutrunError):
            await leases.create(claimed(place, None, OTHER))
        assert await leases.get() == made

    async def test_each_write_has_a_version_of_its_own(self, leases: Leases, place: LeasePlace) -> None:
        first = Lease.of(await leases.create(claimed(place, None, ME)))
        second = Lease.of(await leases.replace(renewed(place, first, ME)))
        third = Lease.of(await leases.replace(renewed(place, second, ME)))
        assert len({first.version, second.version, third.version}) == 3
        assert first.uid == second.uid == third.uid

    async def test_of_two_that_replace_one_version_the_second_is_refused(
        self, leases: Leases, place: LeasePlace
    ) -> None:
        first = Lease.of(await leases.create(claimed(place, None, ME)))
        taken = await leases.replace(claimed(place, first, OTHER))
        with pytest.raises(OutrunError):
            await leases.replace(renewed(place, first, ME))
        assert await leases.get() == taken
        assert Lease.of(taken).transitions == 1

    async def test_what_was_removed_is_not_made_anew_by_replacing_it(
        self, leases: Leases, place: LeasePlace, remove: object
    ) -> None:
        made = Lease.of(await leases.create(claimed(place, None, ME)))
        await remove()  # type: ignore[operator]
        with pytest.raises(OutrunError):
            await leases.replace(renewed(place, made, ME))
        assert await leases.get() is None

    async def test_what_was_made_anew_is_another(
        self, leases: Leases, place: LeasePlace, remove: object
    ) -> None:
        made = Lease.of(await leases.create(claimed(place, None, ME)))
        await remove()  # type: ignore[operator]
        again = await leases.create(claimed(place, None, OTHER))
        with pytest.raises(OutrunError):
            await leases.replace(renewed(place, made, ME))
        assert await leases.get() == again

    async def test_what_was_given_back_has_no_holder(self, leases: Leases, place: LeasePlace) -> None:
        made = Lease.of(await leases.create(claimed(place, None, ME)))
        freed = Lease.of(await leases.replace(given_back(place, made, ME)))
        assert (freed.holder, freed.transitions) == ("", 0)
        taken = Lease.of(await leases.replace(claimed(place, freed, OTHER)))
        assert (taken.holder, taken.transitions) == (OTHER.identity, 1)
