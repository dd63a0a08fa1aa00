"""A restart never passes the venue's limit, and the venue's clock is as old as its last word."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kraken_engine.control.rest_limits import REST_TIERS, CallCounter
from kraken_engine.control.venue_clock import VenueClock
from kraken_engine.rest.limits import assumed_level


@given(st.sampled_from(list(REST_TIERS.values())), st.floats(0.5, 1.0), st.floats(0.0, 120.0), st.integers(0, 40))
def test_whatever_the_process_before_spent_a_restart_stays_within_the_limit(
    tier: object, buffer: float, idle_s: float, calls: int
) -> None:
    assert isinstance(tier, type(REST_TIERS["pro"]))
    true = max(0.0, tier.limit * buffer - idle_s * tier.decay_per_s)  # as full as it kept it, and drained since
    counter = CallCounter(tier, buffer)
    counter.spend(assumed_level(tier, buffer, idle_s), now=0.0)
    for _ in range(calls):
        if counter.wait_s(1, now=0.0) == 0.0:
            counter.spend(1, now=0.0)
            true += 1
    assert true <= tier.limit + 1e-6


@pytest.mark.parametrize(("idle_s", "level"), [(0.0, 9), (10.0, 6), (28.0, 0), (3600.0, 0)])
def test_a_counter_that_had_time_to_drain_is_taken_to_be_empty(idle_s: float, level: int) -> None:
    assert assumed_level(REST_TIERS["starter"], 0.8, idle_s) == level


def test_the_venues_clock_goes_on_by_ours_and_not_by_the_wall() -> None:
    clock = VenueClock()
    assert clock.now_ns(now=5.0) is None
    assert clock.offset_s(0, now=5.0) is None
    clock.learn(1000, at_s=5.0)
    assert clock.now_ns(now=5.0) == 1000_500_000_000
    assert clock.now_ns(now=65.0) == 1060_500_000_000
    assert clock.offset_s(1061_500_000_000, now=65.0) == pytest.approx(1.0)


def test_of_what_the_venue_said_the_best_is_kept_and_a_contradiction_believed() -> None:
    clock = VenueClock()
    clock.learn(1000, at_s=5.0, took_s=4.0)  # asked at 1.0: between 1000 and 1005 by now
    assert (clock.now_ns(now=5.0), clock.error_s(now=5.0)) == (1002_500_000_000, 2.5)
    assert clock.latest_ns(now=5.0) == 1005_000_000_000
    clock.learn(1001, at_s=6.0)  # says more, and agrees
    assert (clock.now_ns(now=6.0), clock.error_s(now=6.0)) == (1001_500_000_000, 0.5)
    clock.learn(1011, at_s=16.0, took_s=1.0)  # says less, and agrees
    assert clock.now_ns(now=16.0) == 1011_500_000_000
    assert clock.age_s(now=17.0) == 1.0
    clock.learn(2211, at_s=17.0, took_s=1.0)  # the machine slept, and the monotonic clock with it
    assert clock.now_ns(now=17.0) == 2212_000_000_000
    clock.forget()
    assert (clock.now_ns(now=18.0), clock.age_s(now=18.0), clock.error_s(now=18.0)) == (None, math.inf, math.inf)


@given(
    true_s=st.floats(1e9, 2e9),
    answers=st.lists(
        st.tuples(st.floats(0.0, 600.0), st.floats(0.0, 15.0), st.floats(0.0, 1.0)), min_size=1, max_size=20
    ),
)
def test_the_true_time_is_never_further_off_than_the_error_that_is_told(
    true_s: float, answers: list[tuple[float, float, float]]
) -> None:
    clock, now = VenueClock(), 0.0
    for pause_s, took_s, place in answers:
        now += pause_s + took_s
        written_at = now - took_s * place  # when the venue looked at its clock
        clock.learn(math.floor(true_s + written_at), at_s=now, took_s=took_s)
        told_ns = clock.now_ns(now=now)
        assert told_ns is not None
        assert abs(told_ns / 1e9 - (true_s + now)) <= clock.error_s(now=now) + 1e-3
