"""What makes two sources equal, what explains a difference, and what does not."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kraken_engine.codec.ws_v2 import Level, TickerData
from kraken_engine.feed.consistency import Agreement, compare, contradicts
from kraken_engine.model import Integrity, Side, Source
from kraken_engine.normalise.book_view import BookUpdate, BookView
from kraken_engine.normalise.events import TickerUpdate, Trade

WS, REST = Source.WEBSOCKET_V2, Source.REST
Rows = Sequence[tuple[str, str]]


def book(bids: Rows, asks: Rows = (), *, at: float = 0.0, source: Source = WS) -> BookUpdate:
    sides = [tuple(Level(price.encode(), qty.encode()) for price, qty in rows) for rows in (bids, asks)]
    view = BookView(symbol="A/B", depth=10, checksum=0, raw_bids=sides[0], raw_asks=sides[1])
    return BookUpdate(
        symbol="A/B", source=source, received_s=at, venue_time=None, integrity=Integrity.UNVERIFIED, book=view,
        snapshot=True,
    )  # fmt: skip


def ticker(bid: str, ask: str = "9", *, at: float = 0.0, source: Source = WS, **more: str) -> TickerUpdate:
    fields: dict[str, Any] = dict.fromkeys(
        ("bid_qty", "ask_qty", "last", "volume", "vwap", "low", "high", "change", "change_pct"), b"1.0"
    )
    fields |= {name: value.encode() for name, value in {"bid": bid, "ask": ask, **more}.items()}
    return TickerUpdate(
        symbol="A/B", source=source, received_s=at, venue_time=None, integrity=Integrity.UNVERIFIED,
        data=TickerData(symbol="A/B", **fields),
    )  # fmt: skip


def verdict(rest: Any, *shown: Any) -> Agreement:
    return compare(rest, shown, asked_s=10.0, answered_s=10.1).agreement


def test_more_zeros_are_the_same_number() -> None:
    assert verdict(book([("5.00000", "1.500")], source=REST), book([("5.0", "1.5")])) is Agreement.EQUAL
    assert verdict(ticker("5.00000", source=REST), ticker("5.0")) is Agreement.EQUAL


@given(lots=st.integers(0, 10**9))
def test_a_quantity_rounded_to_three_decimals_is_explained_and_one_that_is_further_off_is_not(lots: int) -> None:
    exact = Decimal(lots).scaleb(-8)
    rounded = exact.quantize(Decimal("0.001"))
    shown = book([("5", str(exact) if exact else "0.00000001")])
    assert verdict(book([("5", str(rounded))], source=REST), shown).fine
    off = rounded + Decimal("0.002")
    assert verdict(book([("5", str(off))], source=REST), shown) is Agreement.DIFFERENT


def test_another_price_is_never_explained_by_rounding() -> None:
    assert verdict(book([("5.1", "1")], source=REST), book([("5.2", "1")])) is Agreement.DIFFERENT
    assert verdict(ticker("5.1", source=REST), ticker("5.2")) is Agreement.DIFFERENT


@pytest.mark.parametrize("at", [9.0, 10.05, 10.4])
def test_a_state_shown_while_the_question_was_under_way_explains_it(at: float) -> None:
    states = sorted([book([("6", "1")], at=10.08), book([("5", "1")], at=at)], key=lambda event: event.received_s)
    assert verdict(book([("5", "1")], source=REST), *states) is Agreement.AGE


def test_a_state_in_between_two_that_were_shown_is_explained() -> None:
    before = book([("6", "1"), ("5", "1")], [("8", "1")], at=9.0)
    after = book([("6", "2"), ("5", "2")], [("8", "1")], at=10.05)
    between = book([("6", "2"), ("5", "1")], [("8", "1")], source=REST)
    assert verdict(between, before, after) is Agreement.AGE
    never = book([("6", "3"), ("5", "1")], [("8", "1")], source=REST)
    assert verdict(never, before, after) is Agreement.DIFFERENT


def test_levels_that_rest_lacks_are_a_difference() -> None:
    whole = book([("6", "1"), ("5", "1")], [("8", "1")])
    later = attrs.evolve(whole, received_s=10.05)
    for part in (book([]), book([("6", "1")], [("8", "1")]), book([("6", "1"), ("5", "1")])):
        assert verdict(attrs.evolve(part, source=REST), whole) is Agreement.DIFFERENT
        assert verdict(attrs.evolve(part, source=REST), whole, later) is Agreement.DIFFERENT


def test_a_difference_says_where() -> None:
    comparison = compare(
        book([("6", "1"), ("5", "4")], source=REST), [book([("6", "1"), ("5", "1")])], asked_s=1.0, answered_s=1.1
    )
    assert comparison.what == "bids[1]: REST 4 at 5, WebSocket 1 at 5"
    assert (comparison.channel, comparison.symbol) == ("book", "A/B")
    assert not comparison.agreement.fine


def test_nothing_shown_is_nothing_to_compare() -> None:
    assert verdict(book([("6", "1")], source=REST)) is Agreement.UNKNOWN
    assert verdict(book([("6", "1")], source=REST), book([("6", "1")], at=10.2)) is Agreement.UNKNOWN


def test_a_ticker_of_rest_contradicts_a_silent_stream_by_its_prices_alone() -> None:
    rest = ticker("5.0", "6.0", last="5.5", bid_qty="9", source=REST)
    assert contradicts(rest, ticker("5.00", "6.00", last="5.50", bid_qty="1")) is None
    assert contradicts(rest, ticker("5.1", "6.0", last="5.5")) == "bid 5.1 here, 5.0 at REST"
    assert contradicts(rest, book([("5", "1")], [("6", "1")])) is None
    assert contradicts(rest, book([("5", "1")], [("7", "1")])) == "best ask 7 here, 6.0 at REST"
    assert contradicts(rest, book([("5", "1")])) is None
    assert contradicts(rest, trade("5.5")) is None
    assert contradicts(rest, trade("5.4")) == "last trade at 5.4 here, 5.5 at REST"


def trade(price: str) -> Trade:
    return Trade(
        symbol="A/B", source=WS, received_s=0.0, venue_time=None, integrity=Integrity.UNVERIFIED, side=Side.BUY,
        price=Decimal(price), qty=Decimal(1), order_type="limit", trade_id=1,
    )  # fmt: skip
