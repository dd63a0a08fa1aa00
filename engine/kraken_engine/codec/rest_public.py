"""REST replies about market data, field for field.

Rows are arrays at the venue and records here; an element it may add at the end is passed over. Knows nothing of what
the values mean together. Sources: docs of each endpoint ("Get Server Time", "Get System Status", "Get Asset Info", "Get
Tradable Asset Pairs", "Get Ticker Information", "Get OHLC Data", "Get Order Book", "Get Recent Trades", "Get Recent
Spreads"), recordings from 2023 to 2026.
"""

from __future__ import annotations

from typing import Any

import msgspec

from kraken_engine.codec.rest import Envelope, Number, Signed, UnixTime, decode_result, only_market, reply_decoder
from kraken_engine.errors import DecodeError, shown

__all__ = [
    "AssetInfo",
    "BookLevels",
    "OhlcPage",
    "OhlcRow",
    "PairInfo",
    "RestLevel",
    "RestTicker",
    "ServerTime",
    "SpreadPage",
    "SpreadRow",
    "SystemState",
    "TradePage",
    "TradeRow",
    "decode_asset_pairs",
    "decode_assets",
    "decode_depth",
    "decode_ohlc",
    "decode_spread",
    "decode_system_status",
    "decode_ticker",
    "decode_time",
    "decode_trades",
]


class ServerTime(msgspec.Struct, frozen=True, kw_only=True):
    """The venue's clock, to the second."""

    unixtime: Signed
    rfc1123: str = ""


class SystemState(msgspec.Struct, frozen=True, kw_only=True):
    """The state of the trading engine."""

    status: str
    timestamp: str | None = None
    upcoming_maintenance: list[Any] = []
    emergency: list[Any] = []


class AssetInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One asset; the reply is keyed by its legacy id (``XXBT``)."""

    altname: str
    decimals: Signed
    display_decimals: Signed
    aclass: str = "currency"
    status: str = "enabled"
    collateral_value: Number | None = None
    margin_rate: Number | None = None


class PairInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One tradable pair; the reply is keyed by its legacy key (``XXBTZUSD``). Older replies lack some fields."""

    altname: str
    base: str
    quote: str
    pair_decimals: Signed
    lot_decimals: Signed
    wsname: str | None = None
    cost_decimals: Signed | None = None
    leverage_buy: list[Number] = []
    leverage_sell: list[Number] = []
    fees: list[list[Number]] = []
    fees_maker: list[list[Number]] = []
    ordermin: Number | None = None
    costmin: Number | None = None
    tick_size: Number | None = None
    status: str = "online"
    execution_venue: str | None = None


class RestTicker(msgspec.Struct, frozen=True, kw_only=True):
    """One ticker. ``a`` and ``b``: price, whole lots, lots; ``c``: price, lots; the others: today, last 24 hours."""

    a: tuple[Number, Number, Number]
    b: tuple[Number, Number, Number]
    c: tuple[Number, Number]
    v: tuple[Number, Number]
    p: tuple[Number, Number]
    t: tuple[Signed, Signed]
    l: tuple[Number, Number]  # noqa: E741 - the venue's name
    h: tuple[Number, Number]
    o: Number


class OhlcRow(msgspec.Struct, frozen=True, array_like=True):
    """One candle."""

    time: Signed
    """Beginning of the interval, Unix seconds."""
    open: Number
    high: Number
    low: Number
    close: Number
    vwap: Number
    volume: Number
    count: Signed


class RestLevel(msgspec.Struct, frozen=True, array_like=True):
    """One level of a book; the volume is rounded to three decimals."""

    price: Number
    volume: Number
    timestamp: UnixTime


class BookLevels(msgspec.Struct, frozen=True, kw_only=True):
    """The two sides of one book, best level first."""

    asks: list[RestLevel]
    bids: list[RestLevel]


class TradeRow(msgspec.Struct, frozen=True, array_like=True):
    """One public trade. ``side``: ``b`` or ``s``, of the taker; ``order_type``: ``m`` or ``l``."""

    price: Number
    volume: Number
    time: UnixTime
    side: str
    order_type: str
    misc: str = ""
    trade_id: Signed | None = None
    """Absent in recordings before 2021."""


class SpreadRow(msgspec.Struct, frozen=True, array_like=True):
    """Best bid and ask at one time."""

    time: Signed
    bid: Number
    ask: Number


class OhlcPage(msgspec.Struct, frozen=True, kw_only=True):
    """Candles, oldest first; the last is not finished."""

    market: str
    """Under which name the venue answered."""
    rows: list[OhlcRow]
    last: int
    """Beginning of the last finished candle: the next ``since``."""


class TradePage(msgspec.Struct, frozen=True, kw_only=True):
    """Trades, oldest first."""

    market: str
    rows: list[TradeRow]
    last: int
    """Unix nanoseconds of the last one: the next ``since``."""


class SpreadPage(msgspec.Struct, frozen=True, kw_only=True):
    """Spreads, oldest first."""

    market: str
    rows: list[SpreadRow]
    last: int
    """Unix seconds of the last one: the next ``since``."""


def decode_time(envelope: Envelope) -> ServerTime:
    """Return the result of ``Time``; like all of these, :class:`DecodeError` when it is none."""
    return decode_result(envelope, _TIME)


def decode_system_status(envelope: Envelope) -> SystemState:
    """Return the result of ``SystemStatus``."""
    return decode_result(envelope, _STATUS)


def decode_assets(envelope: Envelope) -> dict[str, AssetInfo]:
    """Return the result of ``Assets`` by the venue's id."""
    return decode_result(envelope, _ASSETS)


def decode_asset_pairs(envelope: Envelope) -> dict[str, PairInfo]:
    """Return the result of ``AssetPairs`` by the venue's key."""
    return decode_result(envelope, _PAIRS)


def decode_ticker(envelope: Envelope) -> dict[str, RestTicker]:
    """Return the result of ``Ticker`` by the name the venue answers under."""
    return decode_result(envelope, _TICKER)


def decode_ohlc(envelope: Envelope) -> OhlcPage:
    """Return the result of ``OHLC``."""
    market, rows, last = _page(envelope, _OHLC_ROWS)
    return OhlcPage(market=market, rows=rows, last=last)


def decode_depth(envelope: Envelope) -> tuple[str, BookLevels]:
    """Return the result of ``Depth``: the name the venue answers under, and the book."""
    results = decode_result(envelope, _RAW)
    market, raw = only_market(results)
    return market, decode_result(Envelope(errors=(), warnings=(), result=raw), _LEVELS, f"$.result.{shown(market)}")


def decode_trades(envelope: Envelope) -> TradePage:
    """Return the result of ``Trades``."""
    market, rows, last = _page(envelope, _TRADE_ROWS)
    return TradePage(market=market, rows=rows, last=last)


def decode_spread(envelope: Envelope) -> SpreadPage:
    """Return the result of ``Spread``."""
    market, rows, last = _page(envelope, _SPREAD_ROWS)
    return SpreadPage(market=market, rows=rows, last=last)


_TIME = reply_decoder(ServerTime)
_STATUS = reply_decoder(SystemState)
_ASSETS = reply_decoder(dict[str, AssetInfo])
_PAIRS = reply_decoder(dict[str, PairInfo])
_TICKER = reply_decoder(dict[str, RestTicker])
_RAW = reply_decoder(dict[str, msgspec.Raw])
_LEVELS = reply_decoder(BookLevels)
_OHLC_ROWS = reply_decoder(list[OhlcRow])
_TRADE_ROWS = reply_decoder(list[TradeRow])
_SPREAD_ROWS = reply_decoder(list[SpreadRow])
_CURSOR = reply_decoder(Number)


def _page(envelope: Envelope, decoder: Any) -> tuple[str, Any, int]:
    results = decode_result(envelope, _RAW)
    market, raw = only_market(results)
    rows = decode_result(Envelope(errors=(), warnings=(), result=raw), decoder, f"$.result.{shown(market)}")
    if "last" not in results:
        raise DecodeError("$.result.last", "a cursor", "nothing")
    last = decode_result(Envelope(errors=(), warnings=(), result=results["last"]), _CURSOR, "$.result.last")
    if last < 0 or last != last.to_integral_value():
        raise DecodeError("$.result.last", "a whole number of 0 or more", str(last))
    return market, rows, int(last)
