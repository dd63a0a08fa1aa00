"""The public REST endpoints: the venue's shapes, roundings and words (docs "Spot REST Introduction", recordings).

Numbers are strings except where recordings have numbers. Prices are padded to five decimals outside OHLC, and ``Depth``
rounds quantities to three: REST books are unusable for the checksum, as at the venue. A market is answered under the
name it was asked by: legacy names give ``XXBTZUSD``, ``BTC/USD`` gives ``BTC/USD``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kraken_engine.venue.core.candles import INTERVALS, Candle
from kraken_engine.venue.core.instruments import Asset, Pair, plain
from kraken_engine.venue.core.listing import Listing
from kraken_engine.venue.core.matching import Ladder
from kraken_engine.venue.core.names import Names
from kraken_engine.venue.core.ports import RestRequest, RestResponse
from kraken_engine.venue.core.rest_form import Answer, RestFailed, envelope, failure, integer, with_posted_form
from kraken_engine.venue.core.timestamps import NS_PER_S, Stamps, rfc1123

__all__ = ["PublicRest"]

_PRICE_DECIMALS = 5
"""Prices have at least so many decimals outside OHLC."""

_INFO = ("info", "leverage", "fees", "margin")
"""What ``info`` may ask of ``AssetPairs``; every kind is answered in full."""


class PublicRest:
    """Answers HTTP requests about market data."""

    def __init__(self, names: Names) -> None:
        self._names = names
        self._stamps = Stamps()
        self._status = "online"
        self._endpoints: dict[str, Callable[[RestRequest, int], Answer]] = {
            "Time": self._time,
            "SystemStatus": self._system_status,
            "Assets": self._asset_list,
            "AssetPairs": self._asset_pairs,
            "Ticker": self._ticker,
            "OHLC": self._ohlc,
            "Depth": self._depth,
            "Trades": self._trades,
            "Spread": self._spread,
        }

    def answer(self, request: RestRequest, wall_ns: int, status: str) -> RestResponse:
        """Answer one request at ``wall_ns``; ``status`` is the state of the venue."""
        self._status = status
        endpoint = self._endpoints.get(request.path.removeprefix("/0/public/"))
        if endpoint is None or not request.path.startswith("/0/public/"):
            return failure("EGeneral:Unknown method", 200 if request.path.startswith("/0/") else 404)
        if request.method not in ("GET", "POST"):
            return failure("EGeneral:Unknown method", 405)
        try:
            return envelope(endpoint(with_posted_form(request), wall_ns))
        except RestFailed as failed:
            return failure(str(failed))

    def _time(self, _: RestRequest, wall_ns: int) -> Answer:
        return {"unixtime": wall_ns // NS_PER_S, "rfc1123": rfc1123(wall_ns)}

    def _system_status(self, _: RestRequest, wall_ns: int) -> Answer:
        return {
            "status": self._status,
            "timestamp": self._stamps.seconds(wall_ns).decode(),
            "upcoming_maintenance": [],
            "emergency": [],
        }

    def _asset_list(self, request: RestRequest, _: int) -> Answer:
        asked = request.query.get("asset")
        assets = self._names.assets if asked is None else [self._names.asset(name) for name in asked.split(",")]
        modern = request.query.get("assetVersion") == "1"
        return {asset.code if modern else asset.key: _asset_row(asset) for asset in assets}

    def _asset_pairs(self, request: RestRequest, _: int) -> Answer:
        asked = request.query.get("pair")
        if request.query.get("info", "info") not in _INFO:
            raise RestFailed("EGeneral:Invalid arguments")
        if asked is None:
            modern = request.query.get("assetVersion") == "1"
            pairs = [listing.pair for listing in self._names.listings]
            return {pair.symbol if modern else pair.key: _pair_row(pair, modern) for pair in pairs}
        return {name: _pair_row(listing.pair, "/" in name) for name, listing in self._names.markets(asked)}

    def _ticker(self, request: RestRequest, wall_ns: int) -> Answer:
        asked = request.query.get("pair")
        found = (
            self._names.markets(asked) if asked else [(listing.pair.key, listing) for listing in self._names.listings]
        )
        return {name: _ticker_row(listing, wall_ns // NS_PER_S) for name, listing in found}

    def _ohlc(self, request: RestRequest, wall_ns: int) -> Answer:
        name, listing = self._names.market(request.query.get("pair"))
        minutes = integer(request.query, "interval", 1)
        since = integer(request.query, "since", 0)
        if minutes not in INTERVALS:
            raise RestFailed("EGeneral:Invalid arguments:interval")
        rows = listing.candles[minutes].rows(wall_ns // NS_PER_S)
        last_finished = rows[-2].begin_s if len(rows) > 1 else rows[-1].begin_s
        return {name: [_candle_row(listing.pair, row) for row in rows if row.begin_s > since], "last": last_finished}

    def _depth(self, request: RestRequest, wall_ns: int) -> Answer:
        name, listing = self._names.market(request.query.get("pair"))
        count = integer(request.query, "count", 100)
        if not 1 <= count <= 500:
            raise RestFailed("EGeneral:Invalid arguments:count")
        book, time_s = listing.flow.book, wall_ns // NS_PER_S
        asks, bids = (_depth_rows(listing.pair, ladder, count, time_s) for ladder in (book.asks, book.bids))
        return {name: {"asks": asks, "bids": bids}}

    def _trades(self, request: RestRequest, _: int) -> Answer:
        name, listing = self._names.market(request.query.get("pair"))
        count = integer(request.query, "count", 1000)
        since = integer(request.query, "since", 0)
        if not 1 <= count <= 1000:
            raise RestFailed("EGeneral:Invalid arguments:count")
        since_ns = since if since >= NS_PER_S * 1000 else since * NS_PER_S
        trades = [trade for trade in listing.tape.trades if trade.wall_ns > since_ns]
        trades = trades[:count] if since else trades[-count:]
        rows = [
            [
                _price(listing.pair, trade.price),
                listing.pair.qty_text(trade.qty),
                trade.wall_ns / NS_PER_S,
                "b" if trade.taker_buys else "s",
                trade.order_type[0],
                "",
                trade.id,
            ]
            for trade in trades
        ]
        return {name: rows, "last": str(trades[-1].wall_ns if trades else since_ns)}

    def _spread(self, request: RestRequest, _: int) -> Answer:
        name, listing = self._names.market(request.query.get("pair"))
        since = integer(request.query, "since", 0)
        rows = [
            [row.time_s, _price(listing.pair, row.bid), _price(listing.pair, row.ask)]
            for row in listing.spreads
            if row.time_s >= since
        ]
        return {name: rows, "last": rows[-1][0] if rows else since}


def _price(pair: Pair, ticks: int) -> str:
    text = pair.price_text(ticks)
    return text + "0" * (_PRICE_DECIMALS - pair.price_decimals)


def _asset_row(asset: Asset) -> Answer:
    row: Answer = {
        "aclass": "currency",
        "altname": asset.altname,
        "decimals": asset.decimals,
        "display_decimals": asset.display_decimals,
        "collateral_value": float(asset.collateral),
        "status": "enabled",
    }
    if asset.margin_rate is not None:
        row["margin_rate"] = _trimmed(asset.margin_rate)
    return row


def _pair_row(pair: Pair, modern: bool) -> Answer:
    row: Answer = {
        "altname": pair.altname,
        "wsname": pair.wsname,
        "aclass_base": "currency",
        "base": pair.base.code if modern else pair.base.key,
        "aclass_quote": "currency",
        "quote": pair.quote.code if modern else pair.quote.key,
        "lot": "unit",
        "cost_decimals": pair.cost_decimals,
        "pair_decimals": pair.price_decimals,
        "lot_decimals": pair.qty_decimals,
        "lot_multiplier": 1,
        "leverage_buy": list(pair.leverage),
        "leverage_sell": list(pair.leverage),
        "fees": [],
        "fees_maker": [],
        "fee_volume_currency": "ZUSD",
        "margin_call": 80,
        "margin_stop": 40,
        "ordermin": _trimmed(pair.qty_text(pair.qty_min)),
        "costmin": pair.cost_min,
        "tick_size": pair.price_text(1),
        "status": "online",
        "execution_venue": "international",
    }
    if pair.leverage:
        row |= {"long_position_limit": pair.position_limit, "short_position_limit": pair.position_limit}
    return row


def _ticker_row(listing: Listing, now_s: int) -> Answer:
    pair, book = listing.pair, listing.flow.book
    last = listing.tape.trades[-1]
    today, day = listing.day.today(now_s), listing.day.last_24_hours(now_s)
    return {
        "a": _best_row(pair, book.asks),
        "b": _best_row(pair, book.bids),
        "c": [_price(pair, last.price), pair.qty_text(last.qty)],
        "v": [pair.qty_text(today.volume), pair.qty_text(day.volume)],
        "p": [_price(pair, today.vwap), _price(pair, day.vwap)],
        "t": [today.trades, day.trades],
        "l": [_price(pair, today.low), _price(pair, day.low)],
        "h": [_price(pair, today.high), _price(pair, day.high)],
        "o": _price(pair, today.open),
    }


def _best_row(pair: Pair, ladder: Ladder) -> list[str]:
    lots, scale = ladder.total(0), 10**pair.qty_decimals
    return [_price(pair, abs(ladder.keys[0])), str(max(1, lots // scale)), _three_decimals(lots, scale)]


def _candle_row(pair: Pair, candle: Candle) -> list[Any]:
    price = pair.price_text
    return [
        candle.begin_s,
        price(candle.open),
        price(candle.high),
        price(candle.low),
        price(candle.close),
        price(candle.vwap) if candle.trades else "0.0",
        pair.qty_text(candle.volume),
        candle.trades,
    ]


def _depth_rows(pair: Pair, ladder: Ladder, count: int, time_s: int) -> list[list[Any]]:
    scale = 10**pair.qty_decimals
    return [
        [_price(pair, abs(key)), _three_decimals(ladder.levels[key].total, scale), time_s]
        for key in ladder.keys[:count]
    ]


def _three_decimals(lots: int, scale: int) -> str:
    """Return a quantity rounded half up to three decimals."""
    return plain((2 * 1000 * lots + scale) // (2 * scale), 3)


def _trimmed(text: str) -> str:
    return text.rstrip("0").rstrip(".") if "." in text else text
