"""When a failed attempt is worth another, and how long it waits."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sbkube.engine import Retry, Transient, only_transient

sensible = st.builds(
    Retry,
    retries=st.integers(0, 10),
    base=st.floats(0, 1e3),
    factor=st.floats(1, 1e3),
    cap=st.floats(0, 1e4),
    jitter=st.floats(0, 1),
)


def test_without_retries_no_attempt_follows() -> None:
    assert not Retry().wants(1, Transient())


def test_as_many_attempts_follow_as_there_are_retries() -> None:
    assert [Retry(retries=2).wants(n, ValueError()) for n in (1, 2, 3)] == [True, True, False]


def test_a_transient_error_is_worth_it_whatever_when_says() -> None:
    retry = Retry(retries=1, when=only_transient)

    assert retry.wants(1, Transient("busy"))
    assert not retry.wants(1, ValueError("no"))


def test_a_group_is_worth_it_only_if_each_of_its_leaves_is() -> None:
    retry = Retry(retries=1, when=only_transient)
    mixed = ExceptionGroup("", [Transient(), ExceptionGroup("", [Transient(), ValueError()])])

    assert retry.wants(1, ExceptionGroup("", [Transient(), ExceptionGroup("", [Transient()])]))
    assert not retry.wants(1, mixed)


def test_waits_grow_by_the_factor_up_to_the_cap() -> None:
    retry = Retry(retries=9, base=2, factor=3, cap=50, jitter=0)

    assert [retry.delay(n, 0.5) for n in (1, 2, 3, 4, 5)] == [2, 6, 18, 50, 50]


def test_an_error_may_ask_for_a_longer_wait_than_its_turn_and_never_gets_a_shorter_one() -> None:
    def pause(error: Exception) -> float:
        return float(error.args[0])

    retry = Retry(base=2, factor=10, cap=50, jitter=0.5, pause=pause)

    assert retry.delay(1, 0.0, ValueError(30)) == 30
    assert retry.delay(1, 1.0, ValueError(30)) == 45
    assert retry.delay(9, 0.5, ValueError(30)) == 50
    assert retry.delay(9, 0.5, ValueError(70)) > 70
    assert retry.delay(1, 0.0, ExceptionGroup("", [ValueError(3), ValueError(40)])) == 40


def test_chance_moves_a_wait_by_the_jitter_in_both_directions() -> None:
    retry = Retry(base=10, jitter=0.3)

    assert retry.delay(1, 0.0) == pytest.approx(7)
    assert retry.delay(1, 0.5) == pytest.approx(10)
    assert retry.delay(1, 1.0) == pytest.approx(13)


def test_a_slow_factor_does_not_reach_the_cap_before_its_time() -> None:
    assert Retry(base=1, factor=1.01, cap=60, jitter=0).delay(66, 0.5) == pytest.approx(1.01**65)


def test_waits_of_nothing_stay_nothing_for_ever() -> None:
    assert Retry(base=0.0, factor=2.0, jitter=0).delay(100_000, 0.5) == 0


@given(sensible, st.integers(1, 10**6), st.floats(0, 1))
def test_every_wait_lies_within_the_jitter_around_base_and_cap(
    retry: Retry, failures: int, chance: float
) -> None:
    wait = retry.delay(failures, chance)

    assert wait <= retry.cap * (1 + retry.jitter) * (1 + 1e-9)
    assert wait >= min(retry.base, retry.cap) * (1 - retry.jitter) * (1 - 1e-9)


@pytest.mark.parametrize(
    "wrong", [{"retries": -1}, {"base": -1}, {"cap": -1}, {"factor": 0.5}, {"jitter": 1.1}, {"jitter": -0.1}]
)
def test_a_retry_that_makes_no_sense_is_refused_when_it_is_made(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="retries, base and cap"):
        Retry(**wrong)  # type: ignore[arg-type]
