from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from kraken_engine.errors import Stale
from kraken_engine.model import Integrity, Side, Source
from kraken_engine.normalise.events import Event, Trade, TradeGap
from kraken_engine.state.trades import TradeSequence


def trade(trade_id: int, venue_time: str | None = None) -> Trade:
    return Trade(
        symbol="BTC/USD", source=Source.WEBSOCKET_V2, received_s=0.0, venue_time=venue_time,
        integrity=Integrity.VERIFIED, side=Side.BUY, price=Decimal(1), qty=Decimal(1), order_type="limit",
        trade_id=trade_id,
    )  # fmt: skip


def passed(ids: list[int]) -> tuple[list[Event], TradeSequence]:
    sequence = TradeSequence("BTC/USD")
    return [event for now, one in enumerate(ids) for event in sequence.receive(trade(one), now=float(now))], sequence


@given(st.lists(st.integers(1, 12), max_size=30))
def test_each_id_at_most_once_and_consecutive_or_the_hole_is_announced(ids: list[int]) -> None:
    events, sequence = passed(ids)

    expected_next = None
    for event in events:
        if isinstance(event, TradeGap):
            assert event.first == expected_next
            expected_next = event.last + 1
        else:
            assert isinstance(event, Trade)
            assert expected_next in (None, event.trade_id)
            expected_next = event.trade_id + 1
    trades = [event for event in events if isinstance(event, Trade)]
    assert len(trades) + sequence.repeated == len(ids)
    assert sequence.missing == sum(event.last - event.first + 1 for event in events if isinstance(event, TradeGap))
    assert sequence.last_id == (max(ids) if ids else None)


def test_the_overlap_of_a_snapshot_after_a_reconnect_is_passed_once() -> None:
    events, sequence = passed([5, 6, 7, *range(4, 10)])

    assert [event.trade_id for event in events if isinstance(event, Trade)] == [5, 6, 7, 8, 9]
    assert sequence.repeated == 4


def test_a_hole_is_announced_before_the_trade_after_it() -> None:
    events, _ = passed([5, 9])

    assert events[1] == TradeGap(at_s=1.0, symbol="BTC/USD", first=6, last=8)
    assert isinstance(events[2], Trade)


def test_the_first_trade_is_no_hole_whatever_its_id() -> None:
    events, _ = passed([4_665_906])

    assert [type(event) for event in events] == [Trade]


def at(second: float) -> str:
    return f"2026-01-01T00:00:{second:09.6f}Z"


def seen(*trades: Trade) -> list[object]:
    sequence = TradeSequence("BTC/USD")
    return [
        event.trade_id if isinstance(event, Trade) else type(event).__name__
        for one in trades
        for event in sequence.receive(one, now=0.0)
    ]


def test_trades_that_are_numbered_anew_are_told_after_stale_rather_than_taken_for_old() -> None:
    assert seen(trade(900, at(1)), trade(1, at(3)), trade(2, at(3.5)), trade(3, at(4))) == [900, "Stale", 1, 2, 3]


def test_an_id_that_was_none_does_not_silence_what_follows() -> None:
    told = seen(trade(5, at(1)), trade(10**12, at(2)), trade(7, at(4)), trade(8, at(4)))
    assert told == [5, "TradeGap", 10**12, "Stale", 7, 8]


def test_readers_of_renumbered_trades_are_told_since_when_and_between_which_ids() -> None:
    sequence = TradeSequence("BTC/USD", trade(900, at(1)))
    stale = sequence.receive(trade(1, at(3)), now=9.0)[0]
    assert isinstance(stale, Stale)
    assert (stale.channel, stale.symbol, stale.since_s) == ("trade", "BTC/USD", 0.0)
    assert "went back from 900 to 1" in stale.why


def test_a_trade_that_is_told_twice_with_times_rounded_differently_is_no_new_numbering() -> None:
    assert seen(trade(5, at(1.2345)), trade(5, at(1.235)), trade(5, None), trade(4, "soon"), trade(6, at(1.3))) == [
        5,
        6,
    ]


def test_what_is_of_the_numbering_before_is_not_told_again() -> None:
    new = trade(1, at(3))
    assert seen(trade(900, at(1)), new, trade(899, at(0.5)), trade(900, at(1)), new, trade(2, at(4))) == [
        900, "Stale", 1, 2,
    ]  # fmt: skip


def test_a_clock_that_is_set_back_after_a_new_numbering_does_not_silence_the_stream_for_ever() -> None:
    told = seen(trade(900, at(30)), trade(1, at(40)), *(trade(2 + n, at(n / 1000)) for n in range(1100)))
    assert told[:3] == [900, "Stale", 1]
    assert told[-1] == 1101


@given(st.lists(st.tuples(st.integers(1, 30), st.integers(0, 50)), max_size=30))
def test_whatever_ids_and_times_come_nobody_is_silenced(prints: list[tuple[int, int]]) -> None:
    """What is more than a second newer than all before it is told, whatever its id."""
    sequence, newest = TradeSequence("BTC/USD"), -9
    for trade_id, second in prints:
        told = sequence.receive(trade(trade_id, at(second)), now=0.0)
        if second > newest + 1:
            assert isinstance(told[-1], Trade)
        newest = max(newest, second)
