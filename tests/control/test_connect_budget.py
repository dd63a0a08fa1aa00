"""Connect budget (I-24): a gap between attempts, a cap on any window, one account for all lines."""

from __future__ import annotations

import bisect

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kraken_engine.config import BackoffSettings
from kraken_engine.control.connect_budget import ConnectBudget

SMALL = BackoffSettings(min_gap_s=1.0, max_attempts=4, window_s=20.0)


def test_the_first_attempt_starts_at_once_and_the_next_keeps_the_gap() -> None:
    budget = ConnectBudget(SMALL)
    assert [budget.reserve(now=0.0), budget.reserve(now=0.0), budget.reserve(now=0.5)] == [0.0, 1.0, 1.5]


def test_an_immediate_retry_need_not_keep_the_gap() -> None:
    budget = ConnectBudget(SMALL)
    budget.reserve(now=10.0)
    assert budget.reserve(now=10.2, immediate=True) == 0.0
    assert budget.reserve(now=10.2) == 1.0


def test_only_one_line_a_minute_may_come_closer_than_the_gap() -> None:
    budget = ConnectBudget(BackoffSettings(immediate_every_s=60.0))
    budget.reserve(now=10.0)
    assert budget.reserve(now=10.2, immediate=True) == 0.0, "the first line to be lost"
    assert budget.reserve(now=10.4, immediate=True) == pytest.approx(0.8), "the second one, at the same time"
    assert budget.reserve(now=30.0, immediate=True) == 0.0, "nobody is near"
    assert budget.reserve(now=30.3, immediate=True) == pytest.approx(0.7)
    assert budget.reserve(now=70.3) == 0.0
    assert budget.reserve(now=70.4, immediate=True) == 0.0, "another minute"


def test_a_full_window_delays_even_an_immediate_retry() -> None:
    budget = ConnectBudget(SMALL)
    for n in range(4):
        assert budget.reserve(now=float(n * 2)) == 0.0
    assert budget.reserve(now=7.0, immediate=True) == 13.0
    assert budget.reserve(now=7.0) == 15.0


def test_attempts_leave_the_window() -> None:
    budget = ConnectBudget(SMALL)
    for n in range(4):
        budget.reserve(now=float(n))
    assert budget.attempts(now=5.0) == 4
    assert budget.attempts(now=21.5) == 2
    assert budget.reserve(now=21.5) == 0.0


def test_a_booking_far_ahead_forgets_nothing_that_still_counts() -> None:
    budget = ConnectBudget(SMALL)
    for n in range(4):
        budget.reserve(now=float(n))
    assert budget.reserve(now=5.0, after_s=900.0) == 0.0, "a key that was refused is left alone for a while"
    assert budget.reserve(now=5.0) == 15.0


def test_a_booking_far_ahead_delays_nobody_before_it() -> None:
    budget = ConnectBudget(SMALL)
    assert budget.reserve(now=35.0) == 0.0
    assert budget.reserve(now=0.0) == 0.0
    assert budget.reserve(now=0.5) == 0.5
    assert budget.reserve(now=34.5) == 1.5


@given(
    steps=st.lists(st.tuples(st.floats(0.0, 8.0), st.floats(0.0, 20.0), st.booleans()), max_size=60),
    most=st.integers(1, 6),
    start=st.floats(0.0, 1e6),
)
def test_no_window_ever_sees_more_than_the_cap_and_the_gap_is_kept(
    steps: list[tuple[float, float, bool]], most: int, start: float
) -> None:
    budget = ConnectBudget(BackoffSettings(min_gap_s=1.0, max_attempts=most, window_s=20.0))
    now = start
    starts: list[float] = []
    for step, ahead, immediate in steps:
        now += step
        wait = budget.reserve(now=now + ahead, immediate=immediate)
        assert wait >= 0.0
        attempt = now + ahead + wait
        if not immediate:
            assert all(abs(attempt - other) >= 1.0 - 1e-6 for other in starts)
        bisect.insort(starts, attempt)
        if len(starts) > most:
            assert min(late - early for early, late in zip(starts, starts[most:], strict=False)) >= 20.0 - 1e-6


def test_memory_is_bounded() -> None:
    budget = ConnectBudget(BackoffSettings())
    now = 0.0
    for _ in range(1000):
        now += budget.reserve(now=now)
    assert budget.attempts(now=now) <= 100
    assert len(budget._starts) <= 201


def test_what_an_earlier_process_spent_is_spent_and_what_is_older_than_the_window_is_not() -> None:
    settings = BackoffSettings(max_attempts=3, window_s=600.0, min_gap_s=1.0)
    budget = ConnectBudget(settings)
    budget.restore([10.0, 20.0, 700.0, -5.0], now=1000.0)
    assert budget.attempts(now=1000.0) == 3, "one in the future counts as made now: the wall clock was set back"
    assert budget.reserve(now=1000.0) >= 580.0
    assert sorted(budget.history(now=1000.0)) == [0.0, 10.0, 20.0]


def test_a_restart_in_the_middle_of_a_storm_lets_no_more_attempts_through_than_one_process_would() -> None:
    settings = BackoffSettings()
    now, starts = 0.0, []
    budget = ConnectBudget(settings)
    for n in range(250):
        now += budget.reserve(now=now)
        starts.append(now)
        if n % 20 == 19:
            ages = budget.history(now=now)
            budget = ConnectBudget(settings)
            budget.restore(ages, now=now)
    for first, last in zip(starts, starts[settings.max_attempts :], strict=False):
        assert last - first >= settings.window_s - 1e-6


def test_an_attempt_that_is_not_made_is_given_back_and_no_other() -> None:
    settings = BackoffSettings(max_attempts=2, window_s=600.0, min_gap_s=1.0)
    budget = ConnectBudget(settings)
    budget.reserve(now=100.0)
    start = 100.0 + budget.reserve(now=100.0)
    budget.give_back(start)
    budget.give_back(start)
    assert budget.attempts(now=150.0) == 1
    assert budget.reserve(now=150.0) == 0.0


def test_an_immediate_attempt_does_not_come_close_to_one_that_is_promised_as_well() -> None:
    budget = ConnectBudget(BackoffSettings(min_gap_s=1.0))
    assert budget.reserve(now=100.0) == 0.0
    assert budget.reserve(now=100.2) == pytest.approx(0.8)
    assert budget.reserve(now=100.3, immediate=True) == pytest.approx(1.7)
