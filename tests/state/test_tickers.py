from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kraken_engine.codec.ws_v2 import TickerData
from kraken_engine.errors import Stale
from kraken_engine.model import Integrity, Source
from kraken_engine.normalise.events import Event, TickerUpdate
from kraken_engine.state.tickers import BEHIND_TOLERANCE_S, LatestTicker


def ticker(micros: int | None, *, at: float = 0.0) -> TickerUpdate:
    number = b"1.0"
    data = TickerData(
        symbol="BTC/USD", bid=number, bid_qty=number, ask=number, ask_qty=number, last=number, volume=number,
        vwap=number, low=number, high=number, change=number, change_pct=number,
    )  # fmt: skip
    time = None if micros is None else f"2026-11-22T07:00:00.{micros:06d}Z"
    return TickerUpdate(
        symbol="BTC/USD", source=Source.WEBSOCKET_V2, received_s=at, venue_time=time, integrity=Integrity.UNVERIFIED,
        data=data,
    )  # fmt: skip


def times(events: list[Event]) -> list[str]:
    return [event.venue_time or "" for event in events if isinstance(event, TickerUpdate)]


@given(st.lists(st.integers(0, 5), max_size=30))
def test_within_the_tolerance_venue_times_never_go_back(micros: list[int]) -> None:
    state = LatestTicker("BTC/USD")

    passed = [event for micro in micros for event in state.receive(ticker(micro), now=0.0)]

    assert times(passed) == sorted(times(passed))
    assert len(passed) + state.outdated == len(micros)
    assert state.latest == (passed[-1] if passed else None)


def test_an_equal_time_is_not_older() -> None:
    state = LatestTicker("BTC/USD")
    first, second = ticker(7), ticker(7, at=1.0)

    assert [*state.receive(first, now=0.0), *state.receive(second, now=1.0)] == [first, second]


def test_tickers_without_a_time_count_in_their_order_of_arrival() -> None:
    state = LatestTicker("BTC/USD")
    update = ticker(None)

    assert [*state.receive(ticker(7), now=0.0), *state.receive(update, now=1.0)][-1] is update


def test_when_the_venues_clock_went_back_consumers_are_told_and_served_again() -> None:
    state = LatestTicker("BTC/USD")
    state.receive(ticker(900), now=0.0)
    assert state.receive(ticker(100), now=1.0) == ()

    told = list(state.receive(ticker(101), now=1.0 + BEHIND_TOLERANCE_S))

    assert isinstance(told[0], Stale)
    assert told[0].since_s == 1.0
    assert times(told) == ["2026-11-22T07:00:00.000101Z"]
    assert len(state.receive(ticker(102), now=4.0)) == 1


def test_one_late_ticker_does_not_count_against_the_venues_clock_later() -> None:
    state = LatestTicker("BTC/USD")
    state.receive(ticker(900), now=0.0)
    state.receive(ticker(100), now=1.0)
    state.receive(ticker(901), now=2.0)

    assert state.receive(ticker(102), now=100.0) == ()
