"""Ticker, trade, ohlc and instrument: when they are sent, in which shape, with which digits."""

from __future__ import annotations

import itertools
import json
import re
from typing import Any

import pytest
from tests.venue.core.naive_client import ask, decoded, opened, subscribe, taken

from kraken_engine.venue.core.exchange import Exchange
from kraken_engine.venue.core.sessions import Session

TICKER = [
    "symbol",
    "bid",
    "bid_qty",
    "ask",
    "ask_qty",
    "last",
    "volume",
    "vwap",
    "low",
    "high",
    "change",
    "change_pct",
    "trades",
    "timestamp",
]
TRADE = ["symbol", "side", "price", "qty", "ord_type", "trade_id", "timestamp"]
CANDLE = [
    "symbol",
    "open",
    "high",
    "low",
    "close",
    "trades",
    "volume",
    "vwap",
    "interval_begin",
    "interval",
    "timestamp",
]
ASSET = ["id", "status", "precision", "precision_display", "borrowable", "collateral_value", "class", "margin_rate"]
PAIR = [
    "symbol",
    "base",
    "quote",
    "status",
    "qty_precision",
    "qty_increment",
    "price_precision",
    "cost_precision",
    "marginable",
    "has_index",
    "ws_display_price_precision",
    "cost_min",
    "margin_initial",
    "position_limit_long",
    "position_limit_short",
    "tick_size",
    "price_increment",
    "qty_min",
]

MICROS = re.compile(r"2026-07-07T23:00:\d\d\.\d{6}Z")
NANOS = re.compile(r"2026-07-07T23:00:\d\d\.\d{9}Z")


def watched(
    exchange: Exchange, seconds: float = 3.0, **channels: dict[str, Any]
) -> tuple[Session, list[dict[str, Any]]]:
    session = exchange.connect("public", 0.0)
    taken(session)
    for channel, params in channels.items():
        ask(session, 0.0, "subscribe", params={"channel": channel, "symbol": ["BTC/USD"], "snapshot": False, **params})
    exchange.advance(seconds)
    return session, [frame for frame in decoded(taken(session)) if frame["channel"] != "heartbeat"]


def test_a_ticker_has_the_keys_of_the_recording_in_its_order_and_the_digits_of_its_pair() -> None:
    frames = subscribe(opened().connect("public", 0.0), 0.1, "ticker", ["SHIB/USD", "BTC/USD"])
    ticker = frames[-1]
    assert (ticker["channel"], ticker["type"], len(ticker["data"])) == ("ticker", "snapshot", 1)
    (data,) = ticker["data"]
    assert list(data) == TICKER
    assert MICROS.fullmatch(data["timestamp"])
    for name in ("bid", "ask", "last", "vwap", "low", "high", "change"):
        assert re.fullmatch(r"-?\d+\.\d", data[name]), name
    for name in ("bid_qty", "ask_qty", "volume"):
        assert re.fullmatch(r"\d+\.\d{8}", data[name]), name
    assert re.fullmatch(r"-?\d+\.\d\d", data["change_pct"])
    assert float(data["low"]) <= float(data["last"]) <= float(data["high"])
    assert float(data["bid"]) < float(data["ask"])


def test_after_every_trade_comes_a_ticker_when_triggered_by_trades() -> None:
    _, frames = watched(opened(), trade={}, ticker={})
    trades = [frame["data"][-1] for frame in frames if frame["channel"] == "trade"]
    tickers = [frame["data"][0] for frame in frames if frame["channel"] == "ticker"]
    assert len(trades) > 10
    assert [t["timestamp"] for t in trades] == [t["timestamp"] for t in tickers]
    assert [t["price"] for t in trades] == [t["last"] for t in tickers]


def test_with_the_bbo_trigger_a_ticker_comes_whenever_the_best_bid_or_offer_changed_and_only_then() -> None:
    _, frames = watched(opened(), book={}, ticker={"event_trigger": "bbo"})
    quotes = [
        tuple(frame["data"][0][name] for name in ("bid", "bid_qty", "ask", "ask_qty"))
        for frame in frames
        if frame["channel"] == "ticker"
    ]
    assert len(quotes) > 20
    assert all(one != following for one, following in itertools.pairwise(quotes))


def test_trades_have_consecutive_ids_over_snapshot_and_updates() -> None:
    exchange = opened(rate=500.0)
    session = exchange.connect("public", 0.0)
    snapshot = subscribe(session, 1.0, "trade", ["ETH/USD"], snapshot=True)[-1]
    exchange.advance(3.0)
    updates = [frame for frame in decoded(taken(session)) if frame["channel"] == "trade"]
    assert (snapshot["type"], len(snapshot["data"])) == ("snapshot", 50)
    trades = [trade for frame in [snapshot, *updates] for trade in frame["data"]]
    first = trades[0]["trade_id"]
    assert [trade["trade_id"] for trade in trades] == list(range(first, first + len(trades)))
    assert [trade["timestamp"] for trade in trades] == sorted(trade["timestamp"] for trade in trades)
    for trade in trades:
        assert list(trade) == TRADE
        assert trade["side"] in ("buy", "sell")
        assert trade["ord_type"] in ("limit", "market")
        assert re.fullmatch(r"\d+\.\d\d", trade["price"])
        assert re.fullmatch(r"\d+\.\d{8}", trade["qty"])
    assert max(len(frame["data"]) for frame in updates) > 1


def test_a_trade_comes_before_the_book_update_it_caused_with_the_same_time() -> None:
    _, frames = watched(opened(), trade={}, book={})
    for one, following in itertools.pairwise(frames):
        if one["channel"] == "trade":
            assert following["channel"] == "book"
            assert following["data"][0]["timestamp"] == one["data"][-1]["timestamp"]


def test_trades_take_from_the_book_what_they_say() -> None:
    exchange = opened(symbols=1)
    session = exchange.connect("public", 0.0)
    book = subscribe(session, 0.0, "book", ["BTC/USD"], depth=1000)[-1]["data"][0]
    subscribe(session, 0.0, "trade", ["BTC/USD"])
    levels = {side: {level["price"]: level["qty"] for level in book[side]} for side in ("bids", "asks")}
    exchange.advance(3.0)
    expected: dict[str, int] = {}
    checked = 0
    for frame in decoded(taken(session)):
        if frame["channel"] == "trade":
            side = "asks" if frame["data"][0]["side"] == "buy" else "bids"
            for trade in frame["data"]:
                held = expected.get(trade["price"], lots(levels[side][trade["price"]]))
                expected[trade["price"]] = held - lots(trade["qty"])
        elif frame["channel"] == "book":
            data = frame["data"][0]
            told = {level["price"]: level["qty"] for name in ("asks", "bids") for level in data[name]}
            for price, left in expected.items():
                assert lots(told[price]) == left
                checked += 1
            expected = {}
            for name in ("asks", "bids"):
                levels[name] |= {level["price"]: level["qty"] for level in data[name]}
    assert checked > 10


def lots(qty: str) -> int:
    return int(qty.replace(".", ""))


def test_candles_have_the_keys_of_the_recording_and_the_end_of_the_interval_as_timestamp() -> None:
    exchange = opened()
    session = exchange.connect("public", 0.0)
    snapshot = subscribe(session, 0.5, "ohlc", ["BTC/USD"], interval=5)[-1]
    exchange.advance(3.0)
    updates = [frame for frame in decoded(taken(session)) if frame["channel"] == "ohlc"]
    assert list(snapshot) == ["channel", "type", "timestamp", "data"]
    assert NANOS.fullmatch(snapshot["timestamp"])
    begins = [candle["interval_begin"] for candle in snapshot["data"]]
    assert len(begins) > 10
    assert begins == sorted(set(begins))
    assert updates
    for candle in [*snapshot["data"], *(candle for frame in updates for candle in frame["data"])]:
        assert list(candle) == CANDLE
        assert candle["interval"] == 5
        assert float(candle["low"]) <= float(candle["vwap"]) <= float(candle["high"])
    last = updates[-1]["data"][0]
    assert last["interval_begin"] == "2026-07-07T23:00:00.000000000Z"
    assert last["timestamp"] == "2026-07-07T23:05:00.000000Z"


def test_a_candle_update_comes_with_every_trade_and_counts_it() -> None:
    _, frames = watched(opened(), trade={}, ohlc={"interval": 1})
    counted = [frame["data"][0]["trades"] for frame in frames if frame["channel"] == "ohlc"]
    trades = [trade for frame in frames if frame["channel"] == "trade" for trade in frame["data"]]
    assert counted == list(range(1, len(trades) + 1))


def test_the_instrument_snapshot_has_the_keys_of_the_recording() -> None:
    session = opened(symbols=30).connect("public", 0.0)
    snapshot = ask(session, 0.1, "subscribe", params={"channel": "instrument"})[-1]
    assert list(snapshot) == ["channel", "type", "data"]
    assets, pairs = snapshot["data"]["assets"], snapshot["data"]["pairs"]
    assert [pair["symbol"] for pair in pairs] == opened(symbols=30).symbols
    for asset in assets:
        assert list(asset) == (ASSET if asset["borrowable"] else ASSET[:-1])
    for pair in pairs:
        margin = ["margin_initial", "position_limit_long", "position_limit_short"]
        assert list(pair) == (PAIR if pair["marginable"] else [name for name in PAIR if name not in margin])
    known = {asset["id"] for asset in assets}
    assert all({pair["base"], pair["quote"]} <= known for pair in pairs)


@pytest.mark.parametrize(
    ("symbol", "price_precision", "price_increment", "qty_increment"),
    [
        ("BTC/USD", 1, "0.1", "0.00000001"),
        ("DOGE/USD", 7, "0.0000001", "0.00000001"),
        ("SHIB/USD", 8, "0.00000001", "0.00001"),
    ],
)
def test_precisions_are_those_of_the_real_pairs(
    symbol: str, price_precision: int, price_increment: str, qty_increment: str
) -> None:
    session = opened(symbols=30).connect("public", 0.0)
    pairs = ask(session, 0.1, "subscribe", params={"channel": "instrument"})[-1]["data"]["pairs"]
    (pair,) = (pair for pair in pairs if pair["symbol"] == symbol)
    assert pair["price_precision"] == price_precision
    assert (pair["price_increment"], pair["tick_size"]) == (price_increment, price_increment)
    assert pair["qty_increment"] == qty_increment


def test_book_messages_have_the_bytes_of_the_recording() -> None:
    exchange = opened()
    session = exchange.connect("public", 0.0)
    subscribe(session, 0.0, "book", ["BTC/USD"])
    exchange.advance(2.0)
    level = rb'\{"price":\d+\.\d,"qty":\d+\.\d{8}\}'
    side = rb"\[(" + level + rb"(," + level + rb")*)?\]"
    update = re.compile(
        rb'\{"channel":"book","type":"update","data":\[\{"symbol":"BTC/USD","bids":' + side + rb',"asks":' + side
        + rb',"checksum":\d+,"timestamp":"2026-07-07T23:00:\d\d\.\d{6}Z"\}\]\}'
    )  # fmt: skip
    frames = [frame for frame in taken(session) if isinstance(frame, bytes) and b'"book"' in frame]
    assert len(frames) > 50
    for frame in frames:
        assert update.fullmatch(frame), frame
        assert json.loads(frame)["data"][0]["checksum"] < 1 << 32
