"""Connect budget (I-24): a gap between attempts, a cap on any window, one account for all lines."""

from __future__ import annotations

import bisect

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


@given(
    steps=st.lists(st.tuples(st.floats(0.0, 8.0), st.booleans()), max_size=80),
    most=st.integers(1, 6),
    start=st.floats(0.0, 1e6),
)
def test_no_window_ever_sees_more_than_the_cap(steps: list[tuple[float, bool]], most: int, start: float) -> None:
    budget = ConnectBudget(BackoffSettings(min_gap_s=1.0, max_attempts=most, window_s=20.0))
    now = start
    starts: list[float] = []
    ordinary: list[float] = []
    for step, immediate in steps:
        now += step
        wait = budget.reserve(now=now, immediate=immediate)
        assert wait >= 0.0
        starts.append(now + wait)
        if not immediate:
            if ordinary:
                assert now + wait >= ordinary[-1] + 1.0 - 1e-6
            ordinary.append(now + wait)
    starts.sort()
    for i, first in enumerate(starts):
        assert bisect.bisect_left(starts, first + 20.0 - 1e-6) - i <= most


def test_memory_is_bounded_while_attempts_are_made_in_time() -> None:
    budget = ConnectBudget(BackoffSettings())
    now = 0.0
    for _ in range(3000):
        now += budget.reserve(now=now)
    assert budget.attempts(now=now) <= 100
    assert len(budget._starts) <= 101
