"""What was known comes back to the last digit, and never as if it were current."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kraken_engine.codec.rest import Number
from kraken_engine.codec.ws_v2 import Level, TickerData
from kraken_engine.errors import DecodeError
from kraken_engine.model import Instrument, Integrity, OrderStatus, OrderType, Side, Source, TimeInForce
from kraken_engine.normalise.account_events import BalanceUpdate, Order
from kraken_engine.normalise.book_view import BookUpdate, BookView
from kraken_engine.normalise.events import Candle, TickerUpdate, Trade
from kraken_engine.state.checkpoint import AccountState, EngineState, Restored, decode_state, encode_state
from kraken_engine.state.history import Change, account_lane
from kraken_engine.state.history_values import Holding, read_changes, record_changes
from kraken_engine.state.position_lots import Lot
from kraken_engine.state.positions import Position

digits = st.builds(lambda whole, scale: Decimal(whole).scaleb(-scale), st.integers(0, 10**20), st.integers(0, 12))
tokens = st.one_of(digits.map(lambda number: format(number, "f").encode()), st.integers(0, 10**12))
symbols = st.sampled_from(["BTC/USD", "ETH/EUR", "DOGE/USD"])
times = st.one_of(st.none(), st.just("2026-11-25T21:00:00.123456Z"))


def event(**fields: Any) -> dict[str, Any]:
    common: dict[str, Any] = {
        "symbol": symbols,
        "source": st.sampled_from(Source),
        "received_s": st.floats(0, 1e6),
        "venue_time": times,
        "integrity": st.sampled_from([Integrity.VERIFIED, Integrity.UNVERIFIED]),
    }
    return common | fields


levels = st.lists(st.builds(Level, tokens, tokens), max_size=2).map(tuple)
ticker_data = st.builds(TickerData, symbol=symbols, timestamp=times, trades=st.none(), **dict.fromkeys(
    ("bid", "bid_qty", "ask", "ask_qty", "last", "volume", "vwap", "low", "high", "change", "change_pct"), tokens
))  # fmt: skip
tickers = st.builds(TickerUpdate, **event(data=ticker_data))
books = st.builds(
    BookUpdate,
    **event(
        snapshot=st.booleans(),
        book=st.builds(
            BookView, symbol=symbols, depth=st.just(10), checksum=st.integers(0, 2**32 - 1), crossed=st.booleans(),
            raw_bids=levels, raw_asks=levels,
        ),
    ),
)  # fmt: skip
candles = st.builds(
    Candle,
    **event(
        interval_min=st.sampled_from([1, 5]), interval_begin=st.just("2026-11-25T21:00:00.000000Z"),
        trades=st.integers(0, 9),
        **dict.fromkeys(("open", "high", "low", "close", "vwap", "volume"), digits),
    ),
)  # fmt: skip
trades = st.builds(
    Trade,
    **event(side=st.sampled_from(Side), price=digits, qty=digits, order_type=st.just("limit"), trade_id=st.integers(1)),
)
states = st.builds(
    EngineState,
    saved_wall_ns=st.integers(0, 2**62),
    saved_s=st.floats(0, 1e6),
    tickers=st.lists(tickers, max_size=2).map(tuple),
    books=st.lists(books, max_size=2).map(tuple),
    candles=st.lists(candles, max_size=2).map(tuple),
    trades=st.lists(trades.filter(lambda t: t.trade_id < 2**63), max_size=2).map(tuple),
)


@settings(max_examples=max(40, settings().max_examples // 2))
@given(states)
def test_every_digit_survives(state: EngineState) -> None:
    back = decode_state(encode_state(state))
    assert back == state
    for before, after in zip(state.candles, back.candles, strict=True):
        assert str(before.open) == str(after.open)
    for old, new in zip(state.books, back.books, strict=True):
        assert [level.price for level in old.book.raw_bids] == [level.price for level in new.book.raw_bids]
        assert all(type(a.price) is type(b.price) for a, b in zip(old.book.raw_bids, new.book.raw_bids, strict=True))


def test_orders_balances_positions_and_instruments_survive() -> None:
    order = Order(
        order_id="O1", cl_ord_id=None, userref=None, symbol="BTC/USD", side=Side.BUY, order_type=OrderType.LIMIT,
        status=OrderStatus.NEW, time_in_force=TimeInForce.GTC, order_qty=Decimal("0.10"), limit_price=Decimal("1E-8"),
        cum_qty=Decimal("0E-8"), cum_cost=Decimal(0), external=False, opened_time="2026-11-25T21:00:00Z",
    )  # fmt: skip
    balance = BalanceUpdate(
        account="main", source=Source.WEBSOCKET_V2, received_s=5.0, venue_time=None, asset="BTC",
        total=Decimal("1.2300"), used=Decimal("0.10"),
    )  # fmt: skip
    position = Position(
        symbol="BTC/USD", side=Side.BUY, lots=(Lot(Decimal("1.0"), Decimal("2.50")),), realised=Decimal("-0.10")
    )
    instrument = Instrument(
        symbol="BTC/USD", base="BTC", quote="USD", status="online", price_decimals=1, qty_decimals=8,
        price_increment=Decimal("0.1"), qty_increment=Decimal("1E-8"), qty_min=Decimal("0.0001"), cost_min=Decimal(5),
    )  # fmt: skip
    state = EngineState(
        saved_wall_ns=1,
        saved_s=1.0,
        instruments=(instrument,),
        accounts={"main": AccountState(orders=(order,), balances=(balance,), positions=(position,))},
    )
    back = decode_state(encode_state(state))
    assert back == state
    assert str(back.accounts["main"].orders[0].cum_qty) == "0E-8"
    assert back.accounts["main"].positions[0].cost == Decimal("2.500")


def test_numbers_of_rest_replies_are_kept_with_their_digits() -> None:
    candle = Candle(
        symbol="BTC/USD", source=Source.REST, received_s=1.0, venue_time=None, integrity=Integrity.UNVERIFIED,
        interval_min=1, interval_begin="2026-11-25T21:00:00.000000Z", trades=1, open=Number("0.10"), high=Number("1"),
        low=Number("0.1"), close=Number("1E-8"), vwap=Number("0.5"), volume=Number("2.50"),
    )  # fmt: skip
    holding = Change(account_lane("main"), 1.0, Holding("USD", Number("5.00"), Number("0")))
    changes = record_changes([holding])
    back = decode_state(encode_state(EngineState(saved_wall_ns=1, saved_s=1.0, candles=(candle,), history=changes)))
    assert [str(number) for number in (back.candles[0].open, back.candles[0].volume)] == ["0.10", "2.50"]
    (change,) = read_changes(back.history, older_s=0.0)
    assert change.value == holding.value


@pytest.mark.parametrize("data", [b"", b"x", b"\x80", encode_state(EngineState(saved_wall_ns=1, saved_s=1.0))[:-1]])
def test_what_is_no_state_is_refused(data: bytes) -> None:
    with pytest.raises(DecodeError, match="expected a state of the engine"):
        decode_state(data)


def test_a_state_of_another_version_is_refused() -> None:
    data = encode_state(EngineState(saved_wall_ns=1, saved_s=1.0)).replace(b"version\x01", b"version\x02")
    with pytest.raises(DecodeError, match=r"\$.version: expected version 1, got 2"):
        decode_state(data)


@settings(max_examples=max(40, settings().max_examples // 2))
@given(states, st.floats(0, 1e6), st.integers(-(10**15), 10**15))
def test_nothing_restored_is_live_and_everything_is_as_old_as_it_is(
    state: EngineState, now: float, passed_ns: int
) -> None:
    restored = Restored(state=state, now=now, wall_ns=state.saved_wall_ns + passed_ns)
    originals = [*state.tickers, *state.books, *state.candles, *state.trades]
    found = list(restored.events())
    assert len(found) == len(originals)
    assert restored.age_s == max(0.0, passed_ns / 1e9)
    for original, (key, shown) in zip(originals, found, strict=True):
        assert key[1] == original.symbol
        assert shown.integrity is Integrity.RESYNCING
        assert now - shown.received_s == pytest.approx(state.saved_s - original.received_s + restored.age_s, abs=1e-3)
        assert "not current" in restored.stale(key).why
        if isinstance(shown, BookUpdate):
            assert not shown.book.verified
            assert shown.book.verified_levels == 0


def test_a_restored_value_differs_from_the_original_in_its_age_and_trust_alone() -> None:
    trade = Trade(
        symbol="A/B", source=Source.REST, received_s=7.0, venue_time=None, integrity=Integrity.VERIFIED,
        side=Side.BUY, price=Decimal("1.50"), qty=Decimal(1), order_type="limit", trade_id=9,
    )  # fmt: skip
    state = EngineState(saved_wall_ns=10**18, saved_s=10.0, trades=(trade,))
    ((key, shown),) = Restored(state=state, now=100.0, wall_ns=10**18 + 60 * 10**9).events()
    assert key == ("trade", "A/B")
    assert shown == attrs.evolve(trade, received_s=37.0, integrity=Integrity.RESYNCING)
