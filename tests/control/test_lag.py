"""Data is called late by how much longer it took than the quickest of the last minute, and by nothing else."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kraken_engine.control.lag import Lag

LIMIT_S = 2.5
EPOCH = datetime(2026, 7, 7, 23, 0, 3, tzinfo=UTC)

latencies = st.floats(-1e6, 1e6)
"""Ours minus the venue's clock included, which may be anything."""
pauses = st.lists(st.floats(0.0, 20.0), min_size=1, max_size=200)


def venue_time(at_s: float) -> str:
    return (EPOCH + timedelta(seconds=at_s)).isoformat().replace("+00:00", "Z")


def observe(lag: Lag, sent_s: float, latency_s: float) -> float:
    return lag.observe(venue_time(sent_s), received_s=sent_s + latency_s)


def test_a_step_above_the_limit_is_late_and_its_end_is_seen_with_the_next_update() -> None:
    lag = Lag(LIMIT_S)
    seen = [
        (observe(lag, sent_s, latency_s), lag.late) for sent_s, latency_s in ((0, 0.02), (1, 2.5), (2, 4), (7, 0.02))
    ]
    assert [late for _, late in seen] == [False, False, True, False]
    assert [behind_s for behind_s, _ in seen] == pytest.approx([0, 2.48, 3.98, 0], abs=1e-5)


def test_late_ends_at_half_the_limit_so_that_jitter_around_it_makes_no_storm() -> None:
    lag = Lag(LIMIT_S)
    seen = []
    for sent_s, latency_s in enumerate((0.0, 2.6, 2.4, 2.6, 1.3, 1.2, 2.4)):
        observe(lag, sent_s * 4, latency_s)
        seen.append(lag.late)
    assert seen == [False, True, True, True, True, False, False]


def test_a_path_that_stays_slow_for_a_minute_is_the_new_floor() -> None:
    lag = Lag(LIMIT_S)
    observe(lag, 0, 0.02)
    for sent_s in range(1, 57):
        observe(lag, sent_s, 4.0)
        assert lag.late
    observe(lag, 57, 4.0)
    assert not lag.late


def test_another_connection_is_not_late_until_it_shows_it_and_is_judged_by_the_one_before() -> None:
    lag = Lag(LIMIT_S)
    observe(lag, 0, 0.02)
    observe(lag, 1, 4.0)
    lag.restart()
    assert lag.late is False
    assert observe(lag, 2, 4.0) == pytest.approx(3.98)
    assert lag.late


@pytest.mark.parametrize("text", ["", "yesterday", "2026-13-07T23:00:03Z", "2026-07-07T23:00:03", "9" * 5000])
def test_a_time_that_cannot_be_read_says_nothing(text: str) -> None:
    lag = Lag(LIMIT_S)
    observe(lag, 0, 0.02)
    observe(lag, 1, 4.0)
    assert lag.observe(text, received_s=6.0) == 0.0
    assert lag.late


def test_one_update_from_the_future_makes_no_other_look_late_but_a_clock_that_went_forward_is_believed() -> None:
    lag = Lag(LIMIT_S)
    observe(lag, 0, 0.02)
    assert lag.observe(venue_time(1e6), received_s=2.0) == 0.0
    assert observe(lag, 3, 0.02) == pytest.approx(0.0)
    for received_s, ahead_s, late in ((5.0, 60, False), (6.0, 60, False), (7.0, 57, True), (8.0, 60, False)):
        lag.observe(venue_time(received_s + ahead_s), received_s=received_s)
        assert lag.late == late


@given(latencies, pauses)
def test_a_constant_latency_is_never_late_whatever_its_size(latency_s: float, between: list[float]) -> None:
    lag, sent_s = Lag(LIMIT_S), 0.0
    for pause_s in between:
        sent_s += pause_s
        assert observe(lag, sent_s, latency_s) == pytest.approx(0.0, abs=1e-3)
        assert not lag.late


@given(latencies, pauses, st.floats(LIMIT_S + 0.01, 1e3))
def test_a_step_above_the_limit_is_late_at_once(latency_s: float, between: list[float], step_s: float) -> None:
    lag, sent_s = Lag(LIMIT_S), 0.0
    for pause_s in between:
        sent_s += pause_s
        observe(lag, sent_s, latency_s)
    behind_s = lag.observe(venue_time(sent_s - step_s), received_s=sent_s + latency_s)
    assert behind_s == pytest.approx(step_s, abs=1e-3)
    assert lag.late


@given(
    latencies, st.lists(st.tuples(st.floats(0.0, 20.0), st.floats(0.0, 1.0)), max_size=200), st.sampled_from([1, -1])
)
def test_jitter_below_the_limit_and_a_clock_that_drifts_are_never_late(
    latency_s: float, steps: list[tuple[float, float]], sign: int
) -> None:
    lag, sent_s = Lag(LIMIT_S), 0.0
    for pause_s, jitter in steps:
        sent_s += pause_s
        drifted_s = sent_s * (1 + sign * 1e-4)
        lag.observe(venue_time(drifted_s), received_s=sent_s + latency_s + jitter * 2.49)
        assert not lag.late


@given(st.lists(st.tuples(st.floats(0.0, 20.0), st.floats(0.0, 2.4)), max_size=200))
def test_the_floor_is_the_quickest_of_the_last_minute(steps: list[tuple[float, float]]) -> None:
    """Against the obvious model, which keeps everything; the floor may be a second older, since it keeps less."""
    lag, received_s = Lag(LIMIT_S), 0.0
    seen: list[tuple[float, float]] = []
    for pause_s, difference in steps:
        received_s += pause_s
        seen.append((received_s, difference))
        behind_s = lag.observe(venue_time(received_s - difference), received_s=received_s)
        model = [difference - min(d for at, d in seen if at > received_s - window_s) for window_s in (59.0, 60.0)]
        assert model[0] - 1e-3 <= behind_s <= model[1] + 1e-3


def test_what_readers_are_told_changes_once_and_holds_until_it_is_over() -> None:
    lag = Lag(LIMIT_S)
    told = []
    for sent_s, latency_s in ((0.0, 0.02), (1.0, 4.0), (2.0, 3.5), (3.0, 0.02)):
        changed = lag.judge(venue_time(sent_s), received_s=sent_s + latency_s)
        told.append((changed, lag.words))
    late = "data is 4.0 s behind the venue"
    assert told == [(False, None), (True, late), (False, late), (True, None)]


def test_an_update_without_a_time_changes_nothing_and_the_next_connection_begins_on_time() -> None:
    lag = Lag(LIMIT_S)
    lag.judge(venue_time(0.0), received_s=0.0)
    lag.judge(venue_time(1.0), received_s=5.0)
    assert not lag.judge(None, received_s=6.0)
    assert lag.words is not None
    lag.restart()
    assert lag.words is None
