"""REST market data becomes the same events as WebSocket data, marked unverified, and never somebody else's market."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.normalise.test_symbols import SYMBOLS

from kraken_engine.codec import rest_public as codec
from kraken_engine.codec.rest import Envelope, decode_envelope
from kraken_engine.errors import DecodeError
from kraken_engine.model import Integrity, Side, Source, VenueMode
from kraken_engine.normalise import rest_market as normalise


def _reply(result: Any) -> Envelope:
    return decode_envelope(msgspec.json.encode({"error": [], "result": result}))


def _refuse(error: DecodeError) -> None:
    raise AssertionError(error)


TICKER = {
    "a": ["105944.30000", "1", "1.000"], "b": ["105944.20000", "2", "2.500"], "c": ["105899.40000", "0.00009443"],
    "v": ["0.78648221", "163.28908096"], "p": ["105960.64756", "105904.39279"], "t": [35, 3276],
    "l": ["105853.50000", "104711.00000"], "h": ["106112.00000", "106613.10000"], "o": "106021.60000",
}  # fmt: skip


def test_a_ticker_covers_the_last_24_hours_and_has_no_change() -> None:
    found = normalise.rest_tickers(
        codec.decode_ticker(_reply({"XXBTZUSD": TICKER})), SYMBOLS, received_s=5.0, reject=_refuse
    )
    tick = found["BTC/USD"]
    assert (tick.source, tick.integrity, tick.venue_time, tick.received_s) == (
        Source.REST, Integrity.UNVERIFIED, None, 5.0,
    )  # fmt: skip
    assert (str(tick.bid), str(tick.bid_qty), str(tick.ask)) == ("105944.20000", "2.500", "105944.30000")
    assert (tick.volume, tick.low, tick.high) == (Decimal("163.28908096"), Decimal(104711), Decimal("106613.1"))
    assert (tick.change, tick.change_pct) == (None, None)


def test_a_ticker_of_a_pair_the_tables_lack_is_rejected_and_the_others_stand() -> None:
    rejected: list[DecodeError] = []
    tickers = codec.decode_ticker(_reply({"NEWUSD": TICKER, "XTZUSD": TICKER}))
    found = normalise.rest_tickers(tickers, SYMBOLS, received_s=0.0, reject=rejected.append)
    assert list(found) == ["XTZ/USD"]
    assert [error.got for error in rejected] == ["NEWUSD"]


def _book(asks: list[list[Any]], bids: list[list[Any]], market: str = "XXBTZUSD") -> tuple[str, codec.BookLevels]:
    return codec.decode_depth(_reply({market: {"asks": asks, "bids": bids}}))


def test_a_rest_book_is_unverified_down_to_its_first_level() -> None:
    answer = _book([["101.0", "1.000", 1], ["102.0", "0.000", 1]], [["100.0", "2.000", 1]])
    update = normalise.rest_book("BTC/USD", answer, SYMBOLS, depth=10, received_s=1.0)
    assert (update.integrity, update.source, update.book.verified_levels) == (Integrity.UNVERIFIED, Source.REST, 0)
    assert [(str(level.price), str(level.qty)) for level in update.book.asks] == [
        ("101.0", "1.000"),
        ("102.0", "0.000"),
    ]
    assert not update.book.crossed


def test_a_crossed_rest_book_says_so() -> None:
    answer = _book([["99.0", "1", 1]], [["100.0", "2", 1]])
    assert normalise.rest_book("BTC/USD", answer, SYMBOLS, depth=10, received_s=0.0).book.crossed


@pytest.mark.parametrize(
    ("asks", "bids", "path"),
    [
        ([["101", "1", 1], ["101", "1", 1]], [], "$.result.asks[1][0]"),
        ([["102", "1", 1], ["101", "1", 1]], [], "$.result.asks[1][0]"),
        ([], [["100", "1", 1], ["101", "1", 1]], "$.result.bids[1][0]"),
        ([["0", "1", 1]], [], "$.result.asks[0][0]"),
        ([], [["-1", "1", 1]], "$.result.bids[0][0]"),
        ([["1", "-1", 1]], [], "$.result.asks[0][1]"),
        ([[str(n), "1", 1] for n in range(1, 12)], [], "$.result.asks"),
    ],
)
def test_a_book_that_makes_no_sense_is_refused_whole(asks: list[list[Any]], bids: list[list[Any]], path: str) -> None:
    with pytest.raises(DecodeError) as caught:
        normalise.rest_book("BTC/USD", _book(asks, bids), SYMBOLS, depth=10, received_s=0.0)
    assert caught.value.path == path


def test_an_answer_about_another_market_is_refused() -> None:
    with pytest.raises(DecodeError, match="an answer about BTC/USD, got XTZUSD"):
        normalise.rest_book("BTC/USD", _book([], [], "XTZUSD"), SYMBOLS, depth=10, received_s=0.0)


def test_finished_candles_and_the_current_one_are_told_apart() -> None:
    rows = [[60 * n, "1.0", "2.0", "0.5", "1.5", "1.1", "3.00000000", n] for n in (1, 2, 3)]
    page = codec.decode_ohlc(_reply({"BTC/USD": rows, "last": 120}))
    history = normalise.candle_history("BTC/USD", page, SYMBOLS, interval_min=1, received_s=0.0, reject=_refuse)
    assert [candle.interval_begin for candle in history.candles] == ["1970-01-01T00:01:00Z", "1970-01-01T00:02:00Z"]
    assert history.current is not None
    assert (history.current.trades, history.last, history.current.source) == (3, 120, Source.REST)


def test_a_candle_that_makes_no_sense_is_left_out_and_named() -> None:
    rejected: list[DecodeError] = []
    rows = [[60, "1", "0.9", "0.5", "1", "1", "3", 1], [120, "1", "1", "1", "1", "1", "3", 1]]
    page = codec.decode_ohlc(_reply({"XBTUSD": rows, "last": 120}))
    history = normalise.candle_history("BTC/USD", page, SYMBOLS, interval_min=1, received_s=0.0, reject=rejected.append)
    assert [error.path for error in rejected] == ["$.result[0]"]
    assert len(history.candles) == 1


def test_a_trade_keeps_the_digits_of_its_time() -> None:
    row = ["37247.00000", "0.00026451", "1701019771.0383663", "b", "l", "", 64754585]
    page = codec.decode_trades(_reply({"XXBTZUSD": [row], "last": "1701019771038366300"}))
    history = normalise.trade_history("BTC/USD", page, SYMBOLS, received_s=0.0, reject=_refuse)
    (trade,) = history.trades
    assert (trade.venue_time, trade.side, trade.order_type) == ("2023-11-26T17:29:31.0383663Z", Side.BUY, "limit")
    assert (trade.trade_id, str(trade.qty), history.last) == (64754585, "0.00026451", 1701019771038366300)


@pytest.mark.parametrize(
    "row",
    [
        ["1", "1", 1, "x", "l", "", 1], ["1", "1", 1, "b", "x", "", 1], ["1", "1", 1, "b", "l"],
        ["0", "1", 1, "b", "l", "", 1], ["1", "0", 1, "b", "l", "", 1], ["1", "1", -1, "b", "l", "", 1],
        ["1", "1", 1e20, "b", "l", "", 1],
    ],
)  # fmt: skip
def test_a_trade_that_makes_no_sense_is_left_out(row: list[Any]) -> None:
    rejected: list[DecodeError] = []
    page = codec.decode_trades(_reply({"XXBTZUSD": [row], "last": "1"}))
    history = normalise.trade_history("BTC/USD", page, SYMBOLS, received_s=0.0, reject=rejected.append)
    assert (history.trades, len(rejected)) == ((), 1)


def test_spreads_keep_their_order() -> None:
    page = codec.decode_spread(_reply({"XXBTZUSD": [[60, "1.0", "2.0"], [61, "1.1", "2.1"]], "last": 61}))
    points = normalise.spread_points("BTC/USD", page, SYMBOLS)
    assert [(point.venue_time, str(point.bid)) for point in points] == [
        ("1970-01-01T00:01:00Z", "1.0"), ("1970-01-01T00:01:01Z", "1.1"),
    ]  # fmt: skip


def test_instruments_are_those_of_the_websocket() -> None:
    pairs = codec.decode_asset_pairs(
        _reply(
            {
                "XXBTZUSD": {
                    "altname": "XBTUSD", "wsname": "XBT/USD", "base": "XXBT", "quote": "ZUSD", "pair_decimals": 1,
                    "lot_decimals": 8, "leverage_buy": [2, 3], "leverage_sell": [], "ordermin": "0.00005",
                    "costmin": "0.5", "tick_size": "0.1", "status": "online",
                },
                "XTZUSD": {
                    "altname": "XTZUSD", "base": "XTZ", "quote": "ZUSD", "pair_decimals": 4, "lot_decimals": 8,
                },
                "XXBTZUSD.d": {
                    "altname": "XBTUSD.d", "base": "XXBT", "quote": "ZUSD", "pair_decimals": 1, "lot_decimals": 8,
                },
            }
        )
    )  # fmt: skip
    update = normalise.rest_instruments(pairs, SYMBOLS, received_s=0.0, reject=_refuse)
    bitcoin, tezos = update.instruments
    assert (bitcoin.symbol, str(bitcoin.price_increment), str(bitcoin.qty_increment)) == ("BTC/USD", "0.1", "1E-8")
    assert (str(bitcoin.qty_min), str(bitcoin.cost_min), bitcoin.marginable) == ("0.00005", "0.5", True)
    assert (tezos.symbol, str(tezos.price_increment), tezos.marginable) == ("XTZ/USD", "0.0001", False)


def test_an_instrument_that_makes_no_sense_is_left_out_and_named() -> None:
    rejected: list[DecodeError] = []
    row = {"altname": "XTZUSD", "base": "XTZ", "quote": "ZUSD", "pair_decimals": 31, "lot_decimals": 8}
    pairs = codec.decode_asset_pairs(_reply({"XTZUSD": row}))
    assert normalise.rest_instruments(pairs, SYMBOLS, received_s=0.0, reject=rejected.append).instruments == ()
    assert [error.path for error in rejected] == ["$.result.XTZ/USD.pair_decimals"]


def test_the_venues_state_is_the_event_of_the_websocket() -> None:
    state = codec.decode_system_status(_reply({"status": "post_only", "timestamp": "2023-07-06T18:52:00Z"}))
    assert normalise.rest_venue_status(state, at_s=1.0).mode is VenueMode.POST_ONLY
    state = codec.decode_system_status(_reply({"status": "dancing"}))
    assert normalise.rest_venue_status(state, at_s=1.0).mode is VenueMode.UNKNOWN


@given(st.integers(0, 253_402_300_798), st.integers(0, 10**9 - 1))
def test_a_time_is_exact_to_the_last_digit(second: int, nano: int) -> None:
    text = normalise.rest_time(Decimal(f"{second}.{nano:09d}"))
    assert text.endswith(f".{nano:09d}Z")
    assert normalise.rest_time(second)[:-1] == text[: text.index(".")]
