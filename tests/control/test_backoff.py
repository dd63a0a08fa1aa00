"""Backoff: immediate once per healthy period, full jitter, floors, reset by health alone."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kraken_engine.config import BackoffSettings
from kraken_engine.control.backoff import Backoff
from kraken_engine.errors import ConnectFailed, LineClosed, UpgradeRejected

SETTINGS = BackoffSettings(base_s=0.25, cap_s=5.0, rejected_floor_s=30.0, healthy_s=30.0, down_after=10)


def backoff(seed: int = 0) -> Backoff:
    return Backoff(SETTINGS, random.Random(seed))


def test_the_first_retry_is_immediate_and_the_second_is_not() -> None:
    b = backoff()
    assert b.failed(now=0.0) == 0.0
    assert b.failed(now=0.1) > 0.0


def test_a_connection_that_dies_young_earns_no_new_immediate_retry_and_no_reset() -> None:
    b = backoff()
    b.failed(now=0.0)
    b.connected(now=1.0)
    assert b.failed(now=1.0 + 29.9) > 0.0
    assert b.failures == 2


def test_health_resets_the_count_and_earns_an_immediate_retry() -> None:
    b = backoff()
    for n in range(12):
        b.failed(now=float(n))
    assert b.down
    b.connected(now=20.0)
    assert not b.healthy(now=49.9)
    assert b.down
    assert b.healthy(now=50.0)
    assert (b.failures, b.down) == (0, False)
    assert b.failed(now=60.0) == 0.0
    assert b.failed(now=61.0) > 0.0


def test_health_counts_although_nobody_asked_before_the_connection_ended() -> None:
    b = backoff()
    for n in range(5):
        b.failed(now=float(n))
    b.connected(now=10.0)
    assert b.failed(now=40.0) == 0.0
    assert b.failures == 1


def test_a_line_that_is_down_goes_on_at_the_slowest_pace() -> None:
    b = backoff()
    pauses = [b.failed(now=float(n)) for n in range(15)]
    assert pauses[9:] == [SETTINGS.cap_s] * 6
    assert b.down


@given(seed=st.integers(0, 1000), failures=st.integers(2, 9))
def test_pauses_lie_below_the_doubling_bound_and_the_cap(seed: int, failures: int) -> None:
    b = backoff(seed)
    pause = [b.failed(now=float(n)) for n in range(failures)][-1]
    assert 0.0 <= pause <= min(SETTINGS.cap_s, SETTINGS.base_s * 2 ** (failures - 1))


def test_jitter_is_full_and_depends_on_the_seed_alone() -> None:
    def fifth(seed: int) -> float:
        b = backoff(seed)
        return [b.failed(now=0.0) for _ in range(5)][-1]

    drawn = [fifth(seed) for seed in range(300)]
    assert min(drawn) < 0.4
    assert max(drawn) > 3.6
    assert drawn == [fifth(seed) for seed in range(300)]


@given(seed=st.integers(0, 1000), before=st.integers(0, 100))
def test_above_a_floor_no_retry_is_immediate_and_the_jitter_never_collapses(seed: int, before: int) -> None:
    b = backoff(seed)
    for n in range(before):
        b.failed(now=float(n))
    pause = b.failed(now=200.0, floor_s=30.0)
    bound = min(SETTINGS.cap_s, SETTINGS.base_s * 2**before)
    assert 30.0 + bound / 2 <= pause <= 30.0 + SETTINGS.cap_s


def test_a_floored_failure_spends_the_immediate_retry() -> None:
    b = backoff()
    b.failed(now=0.0, floor_s=30.0)
    assert b.failed(now=31.0) > 0.0


def test_a_million_failures_do_not_overflow() -> None:
    b = Backoff(BackoffSettings(down_after=10**9), random.Random(1))
    b.failures = 10**6
    assert b.failed(now=0.0) == 0.0
    assert b.failed(now=0.0) <= 5.0


@pytest.mark.parametrize(
    ("error", "floor_s"),
    [
        (UpgradeRejected("h", 429), 30.0),
        (UpgradeRejected("h", 403), 30.0),
        (UpgradeRejected("h", 429, retry_floor_s=90.0), 90.0),
        (UpgradeRejected("h", 503), 0.0),
        (ConnectFailed("tls", "h", "certificate", retry_floor_s=7.0), 7.0),
        (LineClosed("h", 1006), 0.0),
    ],
)
def test_throttling_answers_have_a_floor(error: ConnectFailed, floor_s: float) -> None:
    assert backoff().floor_s(error) == floor_s


@pytest.mark.parametrize("code", [1012, 1013])
def test_a_venue_that_asks_for_a_pause_gets_a_random_one(code: int) -> None:
    pauses = {backoff(seed).floor_s(LineClosed("h", code)) for seed in range(20)}
    assert len(pauses) == 20
    assert 0.25 <= min(pauses) < max(pauses) <= SETTINGS.asked_pause_s
    assert backoff().floor_s(LineClosed("h", 1001)) == 0.0


def test_failures_of_a_venue_that_is_away_on_purpose_count_for_nothing_and_their_pauses_do_not_grow() -> None:
    b = backoff()
    pauses = [b.failed(now=float(n), excused=True) for n in range(50)]
    assert all(2.5 <= pause <= 5.0 for pause in pauses)
    assert (b.failures, b.down) == (0, False)
    assert b.failed(now=60.0) == 0.0, "the immediate retry is still to be had"
    assert b.failed(now=61.0, floor_s=30.0, excused=True) >= 32.5
