"""Candles without holes, and sums that roll out of the window."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kraken_engine.runtime import seeded_rng
from kraken_engine.venue.core.candles import CANDLES_KEPT, DAY_S, CandleSeries, RollingDay
from kraken_engine.venue.core.instruments import listed_pairs

PAIR = listed_pairs(1)[0]
START_S = 1_783_465_203


def series(minutes: int = 1) -> CandleSeries:
    return CandleSeries(minutes, PAIR, seeded_rng(1), START_S)


TRADES = st.lists(st.tuples(st.integers(0, 400), st.integers(900, 1100), st.integers(1, 50)), min_size=1, max_size=40)


@settings(max_examples=60, deadline=None)
@given(TRADES, st.sampled_from([1, 5]))
def test_rows_are_what_a_sum_over_the_trades_gives(trades: list[tuple[int, int, int]], minutes: int) -> None:
    candles = series(minutes)
    time_s, span_s = START_S, minutes * 60
    by_begin: dict[int, list[tuple[int, int]]] = {}
    for pause_s, price, qty in trades:
        time_s += pause_s
        candles.add(time_s, price, qty)
        by_begin.setdefault(time_s // span_s * span_s, []).append((price, qty))
    rows = {row.begin_s: row for row in candles.rows(time_s + 1000)}
    for begin_s, inside in by_begin.items():
        row, prices = rows[begin_s], [price for price, _ in inside]
        assert (row.open, row.high, row.low, row.close) == (prices[0], max(prices), min(prices), prices[-1])
        assert (row.volume, row.trades) == (sum(qty for _, qty in inside), len(inside))
        assert row.vwap == sum(price * qty for price, qty in inside) // row.volume


@given(st.integers(0, 10**7), st.sampled_from([1, 60, 1440]))
@settings(max_examples=40, deadline=None)
def test_rows_are_contiguous_up_to_now_and_never_more_than_721(pause_s: int, minutes: int) -> None:
    candles = series(minutes)
    candles.add(START_S + 10, 1000, 5)
    rows = candles.rows(START_S + 10 + pause_s)
    span_s = minutes * 60
    assert len(rows) == CANDLES_KEPT + 1
    assert rows[-1].begin_s == (START_S + 10 + pause_s) // span_s * span_s
    assert {later.begin_s - row.begin_s for row, later in itertools.pairwise(rows)} == {span_s}


def test_a_stretch_without_trades_repeats_the_last_close_with_nothing_in_it() -> None:
    candles = series()
    candles.add(START_S, 1000, 5)
    row = candles.rows(START_S + 60)[-1]
    assert (row.open, row.high, row.low, row.close, row.volume, row.trades, row.vwap) == (1000,) * 4 + (0, 0, 0)


def test_the_made_up_past_depends_on_the_seed_alone_not_on_when_it_is_asked_for() -> None:
    early, late = series(), series()
    asked_early = early.rows(START_S)[:-1]
    for candles in (early, late):
        candles.add(START_S + 30, 1000, 5)
    assert late.rows(START_S + 30)[:-1] == asked_early


def day() -> RollingDay:
    return RollingDay(PAIR, seeded_rng(1), START_S)


def test_a_trade_counts_for_24_hours_and_then_no_more() -> None:
    rolling = day()
    before = rolling.last_24_hours(START_S)
    rolling.add(START_S, 10 * PAIR.open_price, 7)
    with_it = rolling.last_24_hours(START_S)
    assert (with_it.volume, with_it.trades) == (before.volume + 7, before.trades + 1)
    assert with_it.high == 10 * PAIR.open_price
    assert rolling.last_24_hours(START_S + DAY_S - 1800).high == 10 * PAIR.open_price
    after = rolling.last_24_hours(START_S + DAY_S + 1800)
    assert (after.volume, after.trades, after.close) == (0, 0, 10 * PAIR.open_price)


@pytest.mark.parametrize("pause_s", [0, 100, 3600, 50_000, 10**7])
def test_today_is_never_more_than_24_hours(pause_s: int) -> None:
    rolling = day()
    rolling.add(START_S, PAIR.open_price, 7)
    now_s = START_S + pause_s
    today, whole = rolling.today(now_s), rolling.last_24_hours(now_s)
    assert today.volume <= whole.volume
    assert today.high <= whole.high
    assert today.low >= whole.low
    assert today.begin_s >= now_s // DAY_S * DAY_S
