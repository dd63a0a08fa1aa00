"""Retries (I-25): affordable in every minute, spread out, and never sooner than the venue asked for."""

from __future__ import annotations

import random

from hypothesis import example, given
from hypothesis import strategies as st

from kraken_engine.config import RetrySettings
from kraken_engine.control.retry_budget import RetryBudget
from kraken_engine.control.retry_pause import RetryPause, until_s


def test_ten_retries_a_minute_are_free() -> None:
    budget = RetryBudget()
    assert [budget.retry(now=0.0) for _ in range(11)] == [True] * 10 + [False]
    assert not budget.retry(now=60.0)
    assert budget.retry(now=60.1)


def test_first_attempts_earn_a_fifth_of_a_retry_each() -> None:
    budget = RetryBudget(RetrySettings(free_retries=0))
    for n in range(1, 21):
        budget.first(now=1.0)
        assert budget.retry(now=1.0) == (n % 5 == 0)


def test_when_every_call_fails_a_fifth_of_them_is_tried_again() -> None:
    budget, retries = RetryBudget(), 0
    for ms in range(0, 600_000, 100):
        budget.first(now=ms / 1000)
        retries += budget.retry(now=ms / 1000)
    assert 1200 <= retries <= 1320


STEPS = st.lists(st.tuples(st.sampled_from([0.0, 0.1, 1.0, 5.0, 30.0]), st.booleans()), max_size=200)


@example(steps=[(0.1, True), (30.0, False), (30.0, True)], free=1, share=0.0)  # 60.1 - 60.0 > 0.1, says the machine
@given(steps=STEPS, free=st.integers(0, 4), share=st.sampled_from([0.0, 0.2, 1.0]))
def test_no_window_of_a_minute_sees_more_retries_than_allowed(
    steps: list[tuple[float, bool]], free: int, share: float
) -> None:
    budget = RetryBudget(RetrySettings(free_retries=free, retry_share=share))
    now, firsts, retries = 0.0, list[float](), list[float]()
    for pause, is_retry in steps:
        now += pause
        if not is_retry:
            budget.first(now=now)
            firsts.append(now)
        elif budget.retry(now=now):
            retries.append(now)
    edges = sorted({*firsts, *retries})
    for begin in edges:
        for end in (begin + 60.0, *(edge for edge in edges if begin <= edge <= begin + 60.0)):
            inside = [sum(begin <= at <= end for at in times) for times in (retries, firsts)]
            # Windows shorter than a minute hold as well: their end may be now, and the rest of the minute empty.
            assert inside[0] <= free + share * inside[1] + 1e-9


def test_the_memory_of_the_budget_is_bounded() -> None:
    budget = RetryBudget()
    for n in range(20_000):
        budget.first(now=n / 1e6)
    assert len(budget._firsts) == 4096
    budget.first(now=1000.0)
    assert len(budget._firsts) == 1


@given(seed=st.integers(), retry=st.integers(1, 2000))
def test_pauses_double_up_to_the_cap_and_are_jittered(seed: int, retry: int) -> None:
    pause = RetryPause(RetrySettings(), random.Random(seed))
    bound = min(8.0, 0.5 * 2 ** min(retry - 1, 4))
    assert 0.0 <= pause.transport_s(retry) <= bound
    assert 5.0 + bound / 2 <= pause.throttled_s(retry) <= 5.0 + bound
    assert 90.0 + bound / 2 <= pause.throttled_s(retry, at_least_s=90.0) <= 90.0 + bound


def test_pauses_after_a_failure_of_the_transport_may_be_next_to_nothing_but_are_spread_out() -> None:
    pause = RetryPause(RetrySettings(), random.Random(1))
    drawn = [pause.transport_s(5) for _ in range(1000)]
    assert min(drawn) < 0.1
    assert max(drawn) > 7.9
    assert 3.7 < sum(drawn) / len(drawn) < 4.3


def test_the_time_the_venue_names_counts_by_its_own_clock() -> None:
    assert until_s(1_795_000_030.0, venue_ns=1_795_000_000_500_000_000) == 29.5
    assert until_s(1_795_000_030.0, venue_ns=1_795_000_031 * 10**9) == 0.0
