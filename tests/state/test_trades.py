from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from kraken_engine.model import Integrity, Side, Source
from kraken_engine.normalise.events import Event, Trade, TradeGap
from kraken_engine.state.trades import TradeSequence


def trade(trade_id: int) -> Trade:
    return Trade(
        symbol="BTC/USD", source=Source.WEBSOCKET_V2, received_s=0.0, venue_time=None, integrity=Integrity.VERIFIED,
        side=Side.BUY, price=Decimal(1), qty=Decimal(1), order_type="limit", trade_id=trade_id,
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
