"""Tickers, trades and candles become events; a bad element costs itself only."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from tests import strategies_frames as frames

from kraken_engine.codec.ws_v2 import Decoder
from kraken_engine.errors import DecodeError
from kraken_engine.model import Integrity, Side, Source
from kraken_engine.normalise.market_data import candles, ticker_updates, trades


def decoded(frame: bytes) -> Any:
    return Decoder().decode(frame)


def never(error: DecodeError) -> None:
    raise AssertionError(f"rejected: {error}")


def doubled(frame: bytes, old: bytes, new: bytes) -> bytes:
    """Return ``frame`` with a changed copy of its element before the real one."""
    element = frame[frame.index(b"[{") + 1 : frame.rindex(b"]")]
    assert old in element
    return frame.replace(element, element.replace(old, new) + b"," + element)


def test_a_ticker_gives_its_decimals_when_read() -> None:
    (update,) = ticker_updates(decoded(frames.TICKER), received_s=3.5, reject=never)
    assert (update.symbol, update.source, update.received_s) == ("BTC/USD", Source.WEBSOCKET_V2, 3.5)
    assert (update.venue_time, update.integrity) == ("2026-09-25T17:48:26.844359Z", Integrity.UNVERIFIED)
    names = ("bid", "bid_qty", "ask", "ask_qty", "last", "volume", "vwap", "low", "high", "change", "change_pct")
    assert {name: str(getattr(update, name)) for name in names} == {
        "bid": "83744.2",
        "bid_qty": "0.56251979",
        "ask": "83744.3",
        "ask_qty": "0.00044780",
        "last": "83744.3",
        "volume": "3156.84782110",
        "vwap": "84174.6",
        "low": "83163.6",
        "high": "85247.4",
        "change": "-429.3",
        "change_pct": "-0.51",
    }


@pytest.mark.parametrize("value", [b'"83744.2"', b"null", b"true", b"[]", b"1e99", b"9" * 50])
@pytest.mark.parametrize(
    "name",
    [b"bid", b"bid_qty", b"ask", b"ask_qty", b"last", b"volume", b"vwap", b"low", b"high", b"change", b"change_pct"],
)
def test_a_ticker_with_a_number_that_is_none_is_rejected_alone(name: bytes, value: bytes) -> None:
    data = decoded(frames.TICKER).data[0]
    token = getattr(data, name.decode())
    rejected: list[DecodeError] = []
    message = decoded(doubled(frames.TICKER, b'"%s":%s' % (name, token), b'"%s":%s' % (name, value)))
    (update,) = ticker_updates(message, received_s=0.0, reject=rejected.append)
    assert update.data == data
    assert [error.path for error in rejected] == [f"$.data[0].{name.decode()}"]


def test_a_trade_keeps_its_digits_and_the_takers_side() -> None:
    (trade,) = trades(decoded(frames.TRADE), received_s=1.0, reject=never)
    assert (trade.side, trade.order_type, trade.trade_id) == (Side.BUY, "limit", 109116693)
    assert (str(trade.price), str(trade.qty)) == ("83744.3", "0.00044780")
    assert trade.venue_time == "2026-09-25T17:48:26.844359Z"


@pytest.mark.parametrize(
    ("old", "new", "path"),
    [
        (b'"side":"buy"', b'"side":"BUY"', "$.data[0].side"),
        (b'"price":83744.3', b'"price":0.0', "$.data[0].price"),
        (b'"price":83744.3', b'"price":-1.0', "$.data[0].price"),
        (b'"price":83744.3', b'"price":"83744.3"', "$.data[0].price"),
        (b'"qty":0.00044780', b'"qty":0.0', "$.data[0].qty"),
        (b'"qty":0.00044780', b'"qty":null', "$.data[0].qty"),
    ],
)
def test_a_trade_that_makes_no_sense_is_rejected_alone(old: bytes, new: bytes, path: str) -> None:
    rejected: list[DecodeError] = []
    kept = trades(decoded(doubled(frames.TRADE, old, new)), received_s=0.0, reject=rejected.append)
    assert [trade.trade_id for trade in kept] == [109116693]
    assert [error.path for error in rejected] == [path]


def test_trades_keep_the_order_of_the_message() -> None:
    message = decoded(doubled(frames.TRADE, b"109116693", b"109116692"))
    assert [trade.trade_id for trade in trades(message, received_s=0.0, reject=never)] == [109116692, 109116693]


def test_a_candle_has_the_envelopes_time() -> None:
    (candle,) = candles(decoded(frames.OHLC), received_s=0.0, reject=never)
    assert candle.venue_time == "2026-09-25T17:48:26.844359566Z"
    assert (candle.interval_min, candle.interval_begin) == (1, "2026-09-25T17:48:00.000000000Z")
    prices = (candle.open, candle.high, candle.low, candle.close, candle.vwap)
    assert prices == tuple(map(Decimal, ("83729.5", "83745.2", "83729.4", "83744.3", "83736.4")))
    assert (candle.volume, candle.trades) == (Decimal("0.21155628"), 33)


@pytest.mark.parametrize(
    ("old", "new", "path"),
    [
        (b'"high":83745.2', b'"high":83700.0', "$.data[0]"),
        (b'"low":83729.4', b'"low":83729.6', "$.data[0]"),
        (b'"close":83744.3', b'"close":null', "$.data[0].close"),
        (b'"vwap":83736.4', b'"vwap":"83736.4"', "$.data[0].vwap"),
        (b'"volume":0.21155628', b'"volume":1e31', "$.data[0].volume"),
        (b"T17:48:00", b"T17:50:00", "$.data[0].interval_begin"),
    ],
)
def test_a_candle_that_makes_no_sense_is_rejected_alone(old: bytes, new: bytes, path: str) -> None:
    rejected: list[DecodeError] = []
    (kept,) = candles(decoded(doubled(frames.OHLC, old, new)), received_s=0.0, reject=rejected.append)
    assert kept.close == Decimal("83744.3")
    assert [error.path for error in rejected] == [path]
