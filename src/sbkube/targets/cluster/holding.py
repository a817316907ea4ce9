"""Holds a Lease while the work under it lives, and ends that work before anybody else may have taken over.

Counted from the moment before the last renewal that succeeded was sent, in parts of the lease time: after a third it
is renewed; after two thirds without success the work is told to stop; after five sixths whatever still runs of it is
killed (by `guard.py`, since this process may be suspended by then); and only after the whole may another take over,
which counts later, from when it saw that renewal.
"""

from __future__ import annotations

import math
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio

from sbkube.errors import SbkubeError
from sbkube.process import kill_all_groups

from .lease import (
    Holder,
    Lease,
    LeasePlace,
    Leases,
    LockHeld,
    LockLost,
    OutrunError,
    Seen,
    claimed,
    decide,
    given_back,
    renewed,
    with_run,
)

RENEW, STOP, KILL = 1 / 3, 2 / 3, 5 / 6
"""Parts of the lease time since the last renewal."""
LOOK = 2.0
"""Seconds between two looks at a Lease that somebody else holds, at most."""
TICK = 1.0
"""Seconds of one sleep, at most: the loop's own clock stands still while the machine is suspended."""
GIVE_BACK = 5.0
PATIENCE = 15.0
"""Seconds for which who takes it asks again after what may pass by itself."""

Clock = Callable[[], float]
Extend = Callable[[float], None]
"""Told until when, by the clock, what runs may live."""


def since_boot() -> float:
    """Also counts while the machine is suspended, in which time others may take over."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


@dataclass(slots=True)
class Held:
    """A Lease that is ours, unless `lost` says why not."""

    leases: Leases
    place: LeasePlace
    holder: Holder
    lease: Lease
    at: float
    """Before the last renewal was sent."""
    waited: bool
    extend: Extend
    clock: Clock
    lost: LockLost | None = field(default=None, init=False)

    @property
    def is_over(self) -> bool:
        """Another may have it already, or soon: too late for what runs to end in its own time."""
        return self.at + KILL * self.place.seconds <= self.clock()

    def tell_run(self, run: int) -> None:
        """For who finds it held; written with the next renewal."""
        self.holder = with_run(self.holder, run)

    async def keep(self) -> None:
        """Renews it, for ever. Raises `LockLost`."""
        while True:
            await self._until(self.at + RENEW * self.place.seconds)
            await self._renew()

    async def _until(self, moment: float) -> None:
        while (left := moment - self.clock()) > 0:  # noqa: ASYNC110 - it waits for a clock
            await anyio.sleep(min(TICK, left))

    async def _renew(self) -> None:
        why, end = "the API server did not answer", self.at + STOP * self.place.seconds
        while (left := end - self.clock()) > 0:
            try:
                with anyio.move_on_after(left):
                    return await self._replace()
            except LockLost:
                raise
            except SbkubeError as error:
                why = str(error)
            await self._until(min(end, self.clock() + self.place.seconds / 10))
        silent = self.clock() - self.at
        raise LockLost(self.place, f"it was not renewed for {silent:.0f} s ({why})")

    async def _replace(self) -> None:
        sent = self.clock()
        try:
            wanted = renewed(self.place, self.lease, self.holder)
            self.lease = Lease.of(await self.leases.replace(wanted))
        except OutrunError:
            # An answer of ours may have been lost, or somebody put a label on it.
            await self._look_whose()
            return
        self.at = sent
        self.extend(sent + KILL * self.place.seconds)

    async def _look_whose(self) -> None:
        """Takes the version that is there if it is ours still; the next turn renews it."""
        found = await self.leases.get()
        lease = None if found is None else Lease.of(found)
        if lease is None or lease.holder != self.holder.identity:
            self.at = -math.inf  # from now on
            raise LockLost(self.place, f"it was {_fate(lease)}")
        self.lease = lease

    async def give_back(self) -> None:
        """If that fails it runs out."""
        for _ in range(2):
            try:
                await self.leases.replace(given_back(self.place, self.lease, self.holder))
            except OutrunError:
                await self._look_whose()
            else:
                return


async def take(
    leases: Leases,
    place: LeasePlace,
    holder: Holder,
    *,
    wait: float = 0.0,
    on_held: Callable[[LockHeld], None] | None = None,
    extend: Extend = lambda until: None,
    clock: Clock = since_boot,
) -> Held:
    """Raises `LockHeld` once the holder is known to live, after `wait` seconds.

    Who finds it held looks until it is renewed, a third of the lease time at most, or the lease time is over.
    """
    seen: Seen | None = None
    told, waited, ends, patient_until = "", False, clock() + wait, clock() + PATIENCE
    while True:
        asked = clock()
        try:
            found = await leases.get()
            lease = None if found is None else Lease.of(found)
            is_ours = lease is not None and lease.holder == holder.identity  # only the answer was lost
            decision = "take" if is_ours else decide(lease, seen, asked)
            sent = clock()
            mine = await _claim(leases, place, lease, holder) if decision == "take" else None
        except SbkubeError as error:
            # Who waits for long need not be told of each moment without an answer.
            is_waiting = seen is not None and clock() < ends
            if not is_waiting and not (error.transient and clock() < patient_until):
                raise
            await anyio.sleep(LOOK)
            continue
        if mine is not None:
            extend(sent + KILL * place.seconds)
            return Held(leases, place, holder, mine, sent, waited, extend, clock)
        if decision == "take":
            # Whoever was first lives: that is known from the version that is there now.
            seen = Seen(lease.version if lease else "", asked)
            continue
        assert lease is not None
        held = LockHeld(place, lease)
        if decision == "held" and clock() >= ends:
            raise held
        if on_held is not None and lease.holder != told:
            on_held(held)
        if seen is None or seen.version != lease.version:
            seen = Seen(lease.version, clock())
        told, waited = lease.holder, True
        await anyio.sleep(min(LOOK, lease.seconds / 6))


async def _claim(leases: Leases, place: LeasePlace, lease: Lease | None, holder: Holder) -> Lease | None:
    """None if somebody else was first."""
    wanted = claimed(place, lease, holder)
    try:
        return Lease.of(await (leases.create(wanted) if lease is None else leases.replace(wanted)))
    except OutrunError:
        return None


@asynccontextmanager
async def hold(
    leases: Leases,
    place: LeasePlace,
    holder: Holder,
    *,
    wait: float = 0.0,
    on_held: Callable[[LockHeld], None] | None = None,
    on_lost: Callable[[], None] | None = None,
    extend: Extend = lambda until: None,
    clock: Clock = since_boot,
) -> AsyncIterator[Held]:
    """For as long as the block runs. When it is lost, `on_lost` ends the work in the block, else it is cancelled.

    Raises `LockHeld`; and `LockLost` at the end, whatever else the block raised.
    """
    held = await take(leases, place, holder, wait=wait, on_held=on_held, extend=extend, clock=clock)
    raised: Exception | None = None
    try:
        async with anyio.create_task_group() as tasks:

            async def keep() -> None:
                try:
                    await held.keep()
                except LockLost as lost:
                    held.lost = lost
                    (on_lost or tasks.cancel_scope.cancel)()
                    if held.is_over:
                        kill_all_groups()

            tasks.start_soon(keep, name="sbkube lock")
            try:
                yield held
            except Exception as error:  # noqa: BLE001 - raised below: the task group would wrap it
                raised = error
            tasks.cancel_scope.cancel()
    finally:
        if held.lost is None:
            with anyio.move_on_after(GIVE_BACK, shield=True):
                await _given_back(held)
    if held.lost is not None:
        raise held.lost from raised
    if raised is not None:
        raise raised


def _fate(lease: Lease | None) -> str:
    if lease is None:
        return "removed"
    return f"taken over by {lease.told}" if lease.holder else "given back by somebody else"


async def _given_back(held: Held) -> None:
    try:
        await held.give_back()
    except LockLost as lost:
        held.lost = lost
    except SbkubeError:
        pass  # it runs out
