"""Token bucket: never more than promised in any window, and the wait it names is enough."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kraken_engine.control.token_bucket import TokenBucket

RATES = st.floats(0.1, 100.0)
BURSTS = st.integers(1, 30)


def test_a_burst_is_let_through_and_then_the_rate() -> None:
    bucket = TokenBucket(rate=2.0, burst=3.0)
    assert [bucket.take(now=0.0) for _ in range(4)] == [True, True, True, False]
    assert bucket.wait_s(now=0.0) == pytest.approx(0.5)
    assert not bucket.take(now=0.4)
    assert bucket.take(now=0.5)
    assert not bucket.take(now=0.5)


def test_no_more_is_saved_up_than_the_burst() -> None:
    bucket = TokenBucket(rate=1.0, burst=2.0)
    bucket.take(2, now=0.0)
    assert bucket.take(2, now=1000.0)
    assert not bucket.take(now=1000.0)


def test_more_than_the_bucket_holds_is_an_error_not_a_wait_for_ever() -> None:
    with pytest.raises(ValueError, match="never holds 4"):
        TokenBucket(rate=1.0, burst=3.0).take(4, now=0.0)


def test_a_new_rate_holds_from_now_on() -> None:
    bucket = TokenBucket(rate=10.0, burst=1.0)
    bucket.take(now=0.0)
    bucket.set_rate(1.0, now=0.05)
    assert bucket.wait_s(now=0.05) == pytest.approx(0.5)


def test_a_drained_bucket_starts_again_from_nothing() -> None:
    bucket = TokenBucket(rate=2.0, burst=5.0)
    bucket.drain(now=10.0)
    assert bucket.wait_s(now=10.0) == pytest.approx(0.5)


@given(rate=RATES, burst=BURSTS, steps=st.lists(st.floats(0.0, 2.0), max_size=60), start=st.floats(0.0, 1e6))
def test_no_window_sees_more_than_burst_plus_rate(rate: float, burst: int, steps: list[float], start: float) -> None:
    bucket = TokenBucket(rate=rate, burst=burst)
    now = start
    taken: list[float] = []
    for step in steps:
        now += step
        while len(taken) < 300 and bucket.take(now=now):
            taken.append(now)
    for i, first in enumerate(taken):
        in_window = sum(1 for t in taken[i:] if t - first < 1.0)
        assert in_window <= burst + rate + 1e-3


@given(rate=RATES, burst=BURSTS, start=st.floats(0.0, 1e6), takes=st.integers(1, 50))
def test_waiting_as_long_as_told_is_enough(rate: float, burst: int, start: float, takes: int) -> None:
    bucket, now = TokenBucket(rate=rate, burst=burst), start
    for _ in range(takes):
        now += bucket.wait_s(now=now)
        assert bucket.take(now=now)
