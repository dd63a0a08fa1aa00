"""Nonces (I-18, I-20): they rise over calls, crashes, clock steps and refusals, and are on disk before use."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kraken_engine.config import NonceSettings
from kraken_engine.control.nonce import LATEST_NONCE, ClockStepped, Held, NeedsMark, NonceSource

T0 = 1_795_000_000 * 10**9
S = 10**9


def drawn(source: NonceSource, wall_ns: int, *, now: float = 0.0, urgent: bool = False) -> int:
    """The next nonce, with a disk that is always there."""
    answer = source.next(wall_ns, now=now, urgent=urgent)
    if isinstance(answer, NeedsMark):
        source.marked(answer.up_to)
        answer = source.next(wall_ns, now=now, urgent=urgent)
    assert isinstance(answer, int)
    return answer


def step_of(source: NonceSource) -> ClockStepped | None:
    return source.clock_step


def test_the_first_nonce_waits_until_a_block_is_on_disk() -> None:
    source = NonceSource(0)
    assert source.next(T0, now=0.0) == NeedsMark(T0 + S)
    assert source.next(T0 + 5, now=0.0) == NeedsMark(T0 + 5 + S)
    source.marked(T0 + S)
    assert source.next(T0 + 9, now=0.0) == T0 + 9


def test_a_block_is_enough_for_a_second_of_calls() -> None:
    source = NonceSource(0)
    drawn(source, T0)
    marks = 0
    for ms in range(1, 10_001):
        answer = source.next(T0 + ms * 10**6, now=ms / 1e3)
        if isinstance(answer, NeedsMark):
            marks += 1
            source.marked(answer.up_to)
    assert marks == 10


def test_a_slow_disk_does_not_starve_a_call() -> None:
    source = NonceSource(0)
    answer = source.next(T0, now=0.0)
    assert isinstance(answer, NeedsMark)
    source.marked(answer.up_to)
    assert source.next(T0 + 7 * S, now=7.0) == T0 + S - 1
    assert source.next(T0 + 7 * S, now=7.0) == NeedsMark(T0 + 8 * S)


def test_a_restart_goes_on_at_the_mark_even_with_a_clock_that_is_behind() -> None:
    assert drawn(NonceSource(T0), T0 - 3600 * S) == T0
    assert drawn(NonceSource(T0), T0 + 5) == T0 + 5


def test_equal_and_falling_clocks_give_rising_nonces() -> None:
    source = NonceSource(0)
    walls = [T0, T0, T0 - 1, T0 - 3600 * S, T0 + 1]
    assert [drawn(source, wall) for wall in walls] == [T0, T0 + 1, T0 + 2, T0 + 3, T0 + 4]


def test_steps_of_the_clock_are_told() -> None:
    source = NonceSource(0)
    drawn(source, T0, now=0.0)
    drawn(source, T0 + 10 * S, now=10.5)  # half a second is an adjustment
    assert step_of(source) is None
    drawn(source, T0 - 3590 * S, now=10.5)
    assert step_of(source) == ClockStepped(-3600.0, followed=True)
    drawn(source, T0 + 11 * S, now=11.5)
    assert step_of(source) == ClockStepped(3600.0, followed=True)


@pytest.mark.parametrize("ahead_s", [3601, 86_400 * 365 * 20, 86_400 * 365 * 400, 10**12])
def test_a_clock_far_in_the_future_is_told_once_and_not_followed(ahead_s: int) -> None:
    source = NonceSource(0)
    drawn(source, T0, now=0.0)
    assert drawn(source, T0 + (10 + ahead_s) * S, now=10.0) == T0 + 10 * S
    assert step_of(source) == ClockStepped(float(ahead_s), followed=False)
    source.clock_step = None
    assert drawn(source, T0 + (11 + ahead_s) * S, now=11.0) == T0 + 11 * S
    assert step_of(source) is None
    assert drawn(source, T0 + 12 * S, now=12.0) == T0 + 12 * S


def test_a_clock_that_starts_far_in_the_future_is_not_followed_once_the_venue_has_said_what_time_it_is() -> None:
    source = NonceSource(T0)
    source.told(T0 + 5 * S, now=0.0)
    assert drawn(source, T0 + 86_400 * 365 * S, now=1.0) == T0 + 6 * S


def test_a_clock_beyond_this_century_is_never_followed() -> None:
    source = NonceSource(0)
    assert drawn(source, 2**64) == 0
    step = step_of(source)
    assert step is not None
    assert not step.followed
    assert source.refused(now=0.0, venue_ns=T0)
    assert drawn(source, 2**64) == T0


def test_a_reset_goes_above_everything_reserved_and_above_the_venue() -> None:
    for venue_ns, expected in ((0, T0 + 2 * S), (T0 + 9 * S, T0 + 9 * S), (2**63, T0 + 2 * S)):
        source = NonceSource(0)
        drawn(source, T0)
        source.reset_above(venue_ns)
        assert source.next(T0, now=0.0) == NeedsMark(expected + S)
        assert drawn(source, T0) == expected


def test_two_retries_then_the_key_is_left_alone_for_15_minutes_except_by_urgent_calls() -> None:
    source = NonceSource(0)
    assert [source.refused(now=0.0) for _ in range(3)] == [True, True, False]
    assert source.next(T0, now=100.0) == Held(800.0)
    drawn(source, T0, now=100.0, urgent=True)
    drawn(source, T0, now=900.0)
    assert not source.refused(now=900.0)
    assert source.next(T0, now=900.0) == Held(900.0)


def test_an_accepted_nonce_makes_up_for_all_refusals() -> None:
    source = NonceSource(0)
    for _ in range(3):
        source.refused(now=0.0)
    source.accepted()
    drawn(source, T0, now=1.0)
    assert source.refused(now=1.0)


def test_the_end_of_all_nonces_is_an_error_that_says_so() -> None:
    source = NonceSource(LATEST_NONCE)
    with pytest.raises(OverflowError, match="nonce: expected one below 9223372036854775807"):
        source.next(T0, now=0.0)


@given(walls=st.lists(st.integers(0, 2**64), max_size=50), block=st.integers(1, 10**10), mark=st.integers(0, 2**62))
def test_nonces_rise_and_stay_below_the_mark_whatever_the_clock_says(walls: list[int], block: int, mark: int) -> None:
    source = NonceSource(mark, NonceSettings(block_ns=min(block, 2**31 - 1)))
    last = mark - 1
    for at, wall in enumerate(walls):
        nonce = drawn(source, wall, now=float(at))
        assert last < nonce < source.mark <= LATEST_NONCE
        last = nonce
