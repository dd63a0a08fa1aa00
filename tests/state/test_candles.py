from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from kraken_engine.model import Integrity, Source
from kraken_engine.normalise.events import Candle
from kraken_engine.state.candles import CLOSED_CANDLES, CandleSeries


def candle(minute: int, trades: int = 1) -> Candle:
    one = Decimal(1)
    return Candle(
        symbol="BTC/USD", source=Source.WEBSOCKET_V2, received_s=0.0, venue_time=None, integrity=Integrity.UNVERIFIED,
        interval_min=1, interval_begin=f"2026-11-22T{minute // 60:02d}:{minute % 60:02d}:00.000000000Z",
        open=one, high=one, low=one, close=one, vwap=one, volume=Decimal(trades), trades=trades,
    )  # fmt: skip


def after(*candles: Candle) -> CandleSeries:
    series = CandleSeries("BTC/USD", 1)
    for one in candles:
        series.receive(one)
    return series


def test_a_candle_is_closed_by_its_successor_with_its_last_state() -> None:
    series = after(candle(1, 1), candle(1, 5))
    assert not series.closed

    series.receive(candle(2, 1))

    assert series.closed == (candle(1, 5),)
    assert series.forming == candle(2, 1)


def test_a_candle_that_was_forming_when_updates_were_lost_is_never_closed() -> None:
    series = after(candle(1, 9), candle(2, 1))

    series.lose()
    assert series.forming is None
    series.receive(candle(4, 1))

    assert series.closed == (candle(1, 9),)


def test_a_snapshot_completes_the_candle_that_was_forming() -> None:
    series = after(candle(1, 9), candle(2, 1))
    series.lose()

    for one in (candle(1, 9), candle(2, 6), candle(3, 2)):
        series.receive(one)

    assert series.closed == (candle(1, 9), candle(2, 6))
    assert series.forming == candle(3, 2)
    assert series.outdated == 1


def test_an_older_state_of_the_forming_candle_is_dropped() -> None:
    series = after(candle(1, 5))

    assert series.receive(candle(1, 4)) == ()
    assert series.receive(candle(0, 9)) == ()
    assert series.forming == candle(1, 5)
    assert series.outdated == 2


def test_a_candle_sent_again_with_as_many_trades_is_news() -> None:
    series = after(candle(1, 5))

    assert series.receive(candle(1, 5)) == (candle(1, 5),)


def test_closed_candles_are_bounded() -> None:
    series = after(*(candle(minute) for minute in range(CLOSED_CANDLES + 5)))

    assert len(series.closed) == CLOSED_CANDLES
    assert series.closed[-1] == candle(CLOSED_CANDLES + 3)


@given(st.lists(st.one_of(st.none(), st.tuples(st.integers(0, 6), st.integers(1, 4))), max_size=40))
def test_closed_candles_are_in_order_each_once_and_never_the_newest(steps: list[tuple[int, int] | None]) -> None:
    series = CandleSeries("BTC/USD", 1)
    newest = ""
    for step in steps:
        if step is None:
            series.lose()
            continue
        one = candle(*step)
        newest = max(newest, one.interval_begin)
        series.receive(one)
        begins = [closed.interval_begin for closed in series.closed]
        assert begins == sorted(set(begins))
        assert newest not in begins
