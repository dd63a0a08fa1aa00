"""Ticker, trade and candle messages become events, element by element.

These channels carry no state from one message to the next, so an element that makes no sense is handed to
``reject`` and the rest goes on. Books are stateful, and their messages go to the book as they are.

Knows the venue's field names and our event names, nothing of what happened before.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from kraken_engine.codec.numbers import decimal_of, positive, require_number
from kraken_engine.codec.ws_v2 import OhlcData, OhlcMessage, TickerData, TickerMessage, TradeData, TradeMessage
from kraken_engine.errors import DecodeError
from kraken_engine.model import Integrity, Side, Source
from kraken_engine.normalise.events import Candle, TickerUpdate, Trade

__all__ = ["Reject", "candles", "ticker_updates", "trades"]

Reject = Callable[[DecodeError], None]
"""Told of every element that was left out, with the path to the fault."""

_Data = TypeVar("_Data")
_Event = TypeVar("_Event")
_SECONDS = len("2026-01-01T00:00:00")
_SIDES = {"buy": Side.BUY, "sell": Side.SELL}
_TICKER_NUMBERS = (
    "bid", "bid_qty", "ask", "ask_qty", "last", "volume", "vwap", "low", "high", "change", "change_pct",
)  # fmt: skip


def ticker_updates(message: TickerMessage, *, received_s: float, reject: Reject) -> list[TickerUpdate]:
    """Return the tickers of ``message``. Their decimals are made when they are read; that they can be is checked here.

    Args:
        message: a decoded snapshot or update; both are complete tickers.
        received_s: monotonic seconds at which its bytes were read.
        reject: told of elements left out.
    """
    return _each(message.data, lambda data, path: _ticker(data, path, received_s), reject)


def trades(message: TradeMessage, *, received_s: float, reject: Reject) -> list[Trade]:
    """Return the trades of ``message`` in its order, oldest first.

    A trade must have a side, and a positive price and quantity. Arguments as for :func:`ticker_updates`.
    """
    return _each(message.data, lambda data, path: _trade(data, path, received_s), reject)


def candles(message: OhlcMessage, *, received_s: float, reject: Reject) -> list[Candle]:
    """Return the candles of ``message`` in its order.

    ``low`` must be the least of the four prices and ``high`` the greatest. The venue's time of each is that of the
    envelope: an element's own ``timestamp`` is the end of its interval. A candle that begins later than that is none,
    and would have all true ones taken for outdated. Arguments as for :func:`ticker_updates`.
    """
    return _each(message.data, lambda data, path: _candle(data, path, message.timestamp, received_s), reject)


def _each(elements: Sequence[_Data], make: Callable[[_Data, str], _Event], reject: Reject) -> list[_Event]:
    events: list[_Event] = []
    for index, data in enumerate(elements):
        try:
            events.append(make(data, f"$.data[{index}]"))
        except DecodeError as error:
            reject(error)
    return events


def _ticker(data: TickerData, path: str, received_s: float) -> TickerUpdate:
    for name in _TICKER_NUMBERS:
        try:
            require_number(getattr(data, name), name)
        except DecodeError as error:
            raise DecodeError(f"{path}.{name}", error.expected, error.got) from None
    return TickerUpdate(
        symbol=data.symbol,
        source=Source.WEBSOCKET_V2,
        received_s=received_s,
        venue_time=data.timestamp,
        integrity=Integrity.UNVERIFIED,
        data=data,
    )


def _trade(data: TradeData, path: str, received_s: float) -> Trade:
    side = _SIDES.get(data.side)
    if side is None:
        raise DecodeError(f"{path}.side", "buy or sell", data.side)
    return Trade(
        symbol=data.symbol,
        source=Source.WEBSOCKET_V2,
        received_s=received_s,
        venue_time=data.timestamp,
        integrity=Integrity.UNVERIFIED,
        side=side,
        price=positive(data.price, f"{path}.price"),
        qty=positive(data.qty, f"{path}.qty"),
        order_type=data.ord_type,
        trade_id=data.trade_id,
    )


def _candle(data: OhlcData, path: str, venue_time: str | None, received_s: float) -> Candle:
    prices = [decimal_of(getattr(data, name), f"{path}.{name}") for name in ("low", "open", "close", "high")]
    low, opened, closed, high = prices
    if low != min(prices) or high != max(prices):
        raise DecodeError(path, "low <= open, close <= high", ", ".join(map(str, prices)))
    if venue_time is not None and data.interval_begin[:_SECONDS] > venue_time[:_SECONDS]:
        raise DecodeError(f"{path}.interval_begin", f"{venue_time}, the message's time, or before", data.interval_begin)
    return Candle(
        symbol=data.symbol,
        source=Source.WEBSOCKET_V2,
        received_s=received_s,
        venue_time=venue_time,
        integrity=Integrity.UNVERIFIED,
        interval_min=data.interval,
        interval_begin=data.interval_begin,
        open=opened,
        high=high,
        low=low,
        close=closed,
        vwap=decimal_of(data.vwap, f"{path}.vwap"),
        volume=decimal_of(data.volume, f"{path}.volume"),
        trades=data.trades,
    )
