"""A lock held in a cluster: by one, for as long as it is renewed, and by the next after that."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import pairwise
from random import Random
from typing import Any

import anyio
import pytest
from trio.testing import MockClock

from contract.lease_cases import ME, OTHER, FakeLeases
from sbkube.errors import SbkubeError
from sbkube.targets.cluster.holding import KILL, RENEW, STOP, Held, hold, take
from sbkube.targets.cluster.lease import (
    Holder,
    Lease,
    LeasePlace,
    LockHeld,
    LockLost,
    Object,
    Seen,
    claimed,
    decide,
)

pytestmark = pytest.mark.anyio

PLACE = LeasePlace("shop", "sbkube", 30)
LEASE = Lease("7", "uid", "bob", 30.0, 0, "", "bob")


class Passing(SbkubeError):
    transient = True


@dataclass
class Faulty(FakeLeases):
    """An API server that can be away, hang, or do what it is asked and fail to say so."""

    away: bool = False
    away_for: SbkubeError = field(default_factory=lambda: SbkubeError("connection refused"))
    hangs: bool = False
    mute: bool = False
    writes: list[float] = field(default_factory=list)

    async def get(self) -> Object | None:
        await self._reached()
        return await super().get()

    async def create(self, wanted: Object) -> Object:
        await self._reached()
        return self._answered(await super().create(wanted))

    async def replace(self, wanted: Object) -> Object:
        await self._reached()
        return self._answered(await super().replace(wanted))

    def _answered(self, done: Object) -> Object:
        self.writes.append(anyio.current_time())
        if self.mute:
            self.mute = False
            raise Passing("the answer was lost")
        return done

    async def _reached(self) -> None:
        await anyio.lowlevel.checkpoint()
        if self.hangs:
            await anyio.sleep_forever()
        if self.away:
            raise self.away_for

    @property
    def lease(self) -> Lease:
        assert self.kept is not None
        return Lease.of(self.kept)


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    """Virtual time: it jumps to the next deadline whenever nothing else can go on."""
    return "trio", {"clock": MockClock(autojump_threshold=0)}


@pytest.fixture
def leases() -> Faulty:
    return Faulty()


def holding(leases: FakeLeases, holder: Holder = ME, **options: Any) -> AbstractAsyncContextManager[Held]:
    return hold(leases, PLACE, holder, clock=anyio.current_time, **options)


async def taken(leases: FakeLeases, holder: Holder = OTHER, **options: Any) -> Held:
    return await take(leases, PLACE, holder, clock=anyio.current_time, **options)


def lost(why: str) -> AbstractContextManager[object]:
    return pytest.raises(LockLost, match=why)


@contextmanager
def takes(seconds: float, within: float = 2.5) -> Iterator[None]:
    """Virtual seconds, and how much later it may be."""
    began = anyio.current_time()
    yield
    assert seconds <= anyio.current_time() - began <= seconds + within


# --- deciding -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("found", "seen", "asked", "decision"),
    [
        (None, None, 0.0, "take"),
        (None, Seen("7", 0.0), 5.0, "take"),
        (replace(LEASE, holder=""), Seen("6", 0.0), 1.0, "take"),
        (LEASE, None, 1000.0, "look"),
        (LEASE, Seen("7", 10.0), 39.9, "look"),
        (LEASE, Seen("7", 10.0), 40.0, "take"),
        (replace(LEASE, seconds=60.0), Seen("7", 10.0), 40.0, "look"),
        (LEASE, Seen("6", 10.0), 1000.0, "held"),
        (LEASE, Seen("", 10.0), 10.0, "held"),
    ],
)
async def test_it_is_taken_when_it_is_free_or_has_not_changed_for_its_own_lease_time(
    found: Lease | None, seen: Seen | None, asked: float, decision: str
) -> None:
    assert decide(found, seen, asked) == decision


# --- taking ---------------------------------------------------------------------


async def test_a_free_lock_is_taken_at_once_and_given_back_at_the_end(leases: Faulty) -> None:
    with takes(0, within=0):
        async with holding(leases) as held:
            assert leases.lease.holder == ME.identity
            assert not held.waited
    assert leases.lease.holder == ""
    with takes(0, within=0):
        async with holding(leases, OTHER):
            assert leases.lease.transitions == 1


async def test_of_many_that_come_together_one_holds_and_the_others_say_who(leases: Faulty) -> None:
    holders, refused, end = [], [], anyio.Event()

    async def come(number: int) -> None:
        holder = Holder(f"token-{number}", "ci", number, "alice")
        try:
            async with holding(leases, holder):
                holders.append(holder)
                await end.wait()
        except LockHeld as held:
            refused.append(str(held))
            if len(refused) == 9:
                end.set()

    async with anyio.create_task_group() as tasks:
        for number in range(10):
            tasks.start_soon(come, number)
    (holder,) = holders
    assert len(refused) == 9
    assert all(f"process {holder.pid} of alice on ci since 20" in text for text in refused)


async def test_who_finds_a_living_holder_knows_after_a_third_of_the_lease_time(leases: Faulty) -> None:
    told: list[LockHeld] = []
    async with holding(leases) as held:
        held.tell_run(12)
        await anyio.sleep(15)
        with (
            takes(0, within=30 * RENEW + 2),
            pytest.raises(LockHeld, match="alice on ci-1 with run 12 since"),
        ):
            await taken(leases, on_held=told.append)
    assert len(told) == 1


async def test_a_dead_holder_is_followed_after_the_lease_time_and_not_before(leases: Faulty) -> None:
    await taken(leases, ME)
    with takes(30):
        held = await taken(leases)
    assert held.waited
    assert (held.lease.holder, held.lease.transitions) == (OTHER.identity, 1)


async def test_the_lease_time_that_counts_is_that_of_the_holder(leases: Faulty) -> None:
    await leases.create(claimed(replace(PLACE, seconds=300), None, ME))
    with takes(300):
        await taken(leases)


async def test_who_waits_gets_it_when_it_is_given_back(leases: Faulty) -> None:
    async def work() -> None:
        async with holding(leases):
            await anyio.sleep(100)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(work)
        await anyio.sleep(1)
        with takes(99):
            await taken(leases, wait=600.0)


async def test_who_waits_in_vain_gives_up_at_the_next_sign_of_life(leases: Faulty) -> None:
    async with holding(leases):
        with takes(100, within=30 * RENEW + 2), pytest.raises(LockHeld):
            await taken(leases, wait=100.0)


async def test_who_waits_is_not_put_off_by_a_moment_without_an_answer(leases: Faulty) -> None:
    async def blink() -> None:
        await anyio.sleep(20)
        leases.away = True
        await anyio.sleep(5)
        leases.away = False

    await taken(leases, ME)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(blink)
        with takes(30):
            await taken(leases, wait=600.0)


async def test_who_cannot_reach_the_server_at_the_start_says_so(leases: Faulty) -> None:
    leases.away = True
    with pytest.raises(SbkubeError, match="connection refused"):
        await taken(leases)


async def test_who_takes_it_asks_again_for_a_while_after_what_may_pass(leases: Faulty) -> None:
    async def come_back() -> None:
        await anyio.sleep(5)
        leases.away = False

    leases.away, leases.away_for = True, Passing("connection reset")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(come_back)
        with takes(5):
            await taken(leases)
    leases.away = True
    with takes(15), pytest.raises(Passing, match="connection reset"):
        await taken(leases, ME)


async def test_who_takes_it_and_loses_the_answer_holds_it(leases: Faulty) -> None:
    leases.mute = True
    with takes(2, within=0.1):
        async with holding(leases) as held:
            assert held.at == leases.writes[-1] > leases.writes[0], "as it would count from what was answered"
            assert held.lease == leases.lease


# --- keeping --------------------------------------------------------------------


async def test_it_is_renewed_every_third_of_the_lease_time(leases: Faulty) -> None:
    told: list[float] = []
    async with holding(leases, extend=told.append):
        began = leases.writes[0]
        await anyio.sleep(101)
    assert [round(at - began) for at in leases.writes[:-1]] == [0, *range(10, 101, 10)]
    assert told == [at + KILL * 30 for at in leases.writes[:-1]]


@pytest.mark.parametrize("fault", ["away", "hangs"])
async def test_a_short_absence_of_the_server_is_survived(leases: Faulty, fault: str) -> None:
    async with holding(leases):
        await anyio.sleep(9)
        setattr(leases, fault, True)
        # A request that hangs has a limit of its own, which kubectl keeps.
        await anyio.sleep(0.5 if fault == "hangs" else 10)
        setattr(leases, fault, False)
        await anyio.sleep(50)
    assert leases.lease.holder == ""


@pytest.mark.parametrize("fault", ["away", "hangs"])
async def test_after_two_thirds_of_the_lease_time_without_the_server_the_work_is_stopped(
    leases: Faulty, fault: str
) -> None:
    with takes(STOP * 30, within=1), lost("was not renewed for 20 s"):
        async with holding(leases):
            await anyio.sleep(5)
            setattr(leases, fault, True)
            await anyio.sleep_forever()


async def test_who_says_how_to_stop_is_not_cancelled(leases: Faulty) -> None:
    stop = anyio.Event()
    with lost("connection refused"):
        async with holding(leases, on_lost=stop.set):
            leases.away = True
            await stop.wait()
            await anyio.sleep(1)  # to record how it ended
            recorded = True
    assert recorded


async def test_a_holder_that_was_followed_stops_and_leaves_the_lock_to_the_next(leases: Faulty) -> None:
    with lost("it was taken over by process 22 of bob on ci-2"):
        async with holding(leases):
            await leases.replace(claimed(PLACE, leases.lease, OTHER))
            await anyio.sleep_forever()
    assert leases.lease.holder == OTHER.identity


async def test_a_lock_that_was_removed_is_lost_and_not_made_again(leases: Faulty) -> None:
    with lost("it was removed"):
        async with holding(leases):
            await leases.remove()
            await anyio.sleep_forever()
    assert leases.kept is None


async def test_a_label_put_on_it_by_hand_loses_nothing(leases: Faulty) -> None:
    async with holding(leases):
        assert leases.kept is not None
        await leases.replace({**leases.kept, "metadata": {**leases.kept["metadata"], "labels": {"a": "b"}}})
        await anyio.sleep(100)
    assert leases.lease.holder == ""


async def test_a_renewal_whose_answer_was_lost_is_ours_still(leases: Faulty) -> None:
    async with holding(leases):
        leases.mute = True
        await anyio.sleep(100)
    assert not leases.mute
    assert leases.lease.holder == ""


async def test_a_holder_that_slept_past_its_lease_writes_no_more(leases: Faulty) -> None:
    slept = 0.0
    with lost("was not renewed for 3"):
        async with hold(leases, PLACE, ME, clock=lambda: anyio.current_time() + slept):
            await anyio.sleep(15)
            writes = list(leases.writes)
            slept = 3600.0
            await anyio.sleep_forever()
    assert leases.writes == writes


async def test_what_the_block_raises_comes_out_as_it_is_and_the_lock_is_given_back(leases: Faulty) -> None:
    with pytest.raises(KeyError):
        async with holding(leases):
            raise KeyError("x")
    assert leases.lease.holder == ""


async def test_who_is_cancelled_gives_the_lock_back(leases: Faulty) -> None:
    with anyio.move_on_after(5):
        async with holding(leases):
            await anyio.sleep_forever()
    assert leases.lease.holder == ""


async def test_a_lock_that_cannot_be_given_back_fails_nothing(leases: Faulty) -> None:
    with takes(5, within=0):
        async with holding(leases):
            leases.hangs = True
    assert leases.lease.holder == ME.identity


# --- all together ---------------------------------------------------------------


@dataclass
class BadLine(FakeLeases):
    """To another server: requests and answers are late, or lost."""

    to: FakeLeases = field(default_factory=FakeLeases)
    chance: Random = field(default_factory=Random)

    async def get(self) -> Object | None:
        return await self._sent(self.to.get)

    async def create(self, wanted: Object) -> Object:
        return await self._sent(partial(self.to.create, wanted))

    async def replace(self, wanted: Object) -> Object:
        return await self._sent(partial(self.to.replace, wanted))

    async def _sent(self, request: Callable[[], Awaitable[Any]]) -> Any:
        await self._late()
        answer = await request()
        await self._late()
        return answer

    async def _late(self) -> None:
        await anyio.sleep(self.chance.random() * self.chance.choice([0.1, 0.1, 0.1, 12]))
        if self.chance.random() < 0.04:
            raise SbkubeError("lost")


@pytest.mark.parametrize("seed", range(20))
async def test_never_do_two_live_at_once_however_requests_are_late_or_lost(seed: int) -> None:
    chance, lives = Random(seed), list[tuple[float, float]]()
    leases = BadLine(chance=chance)

    async def live(holder: Holder) -> None:
        until = 0.0

        def extend(to: float) -> None:
            nonlocal until
            until = to

        async with holding(leases, holder, wait=50, extend=extend):
            began = anyio.current_time()
            try:
                await anyio.sleep(chance.random() * 90)
            finally:
                assert anyio.current_time() <= until
                lives.append((began, anyio.current_time()))

    async def come_and_go(name: str) -> None:
        for number in range(8):
            await anyio.sleep(chance.random() * 20)
            with suppress(SbkubeError):
                await live(Holder(f"{name}-{number}", "ci", number, name))

    async with anyio.create_task_group() as tasks:
        for name in "abc":
            tasks.start_soon(come_and_go, name)
    lives.sort()
    assert all(end <= began for (_, end), (began, _) in pairwise(lives))
    assert len(lives) > 5
