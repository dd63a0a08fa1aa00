"""What an application can listen to, as values.

A topic says which state or stream is wanted; it knows nothing of lines, sockets or who else listens.
"""

from __future__ import annotations

import re
from typing import Literal

import attrs

from kraken_engine.errors import UsageError, shown
from kraken_engine.model import BOOK_DEPTHS, CANDLE_INTERVALS_MIN
from kraken_engine.state.freshness import StreamKey
from kraken_engine.state.subscriptions import SubscriptionKey

__all__ = [
    "HEALTH_KEY",
    "AccountTopic",
    "Balances",
    "Book",
    "Candles",
    "Executions",
    "Health",
    "Instruments",
    "Orders",
    "Ticker",
    "Topic",
    "Trades",
]

_SYMBOL = re.compile(r"[A-Za-z0-9._-]+/[A-Za-z0-9._-]+")
_SYMBOL_MAX = 24


def _symbol(_: object, __: attrs.Attribute[str], value: object) -> None:
    if not isinstance(value, str) or len(value) > _SYMBOL_MAX or not _SYMBOL.fullmatch(value):
        raise UsageError(f"symbol: expected BASE/QUOTE such as BTC/USD, got {shown(value)}")


def _one_of(value: object, known: tuple[int, ...]) -> bool:
    # 10.0 and True are equal to an integer, but are something else on the wire.
    return type(value) is int and value in known


@attrs.frozen
class Ticker:
    """Best bid and offer, last trade and the 24-hour figures of one symbol (docs "Ticker (Level 1)")."""

    symbol: str = attrs.field(validator=_symbol)
    trigger: Literal["bbo", "trades"] = "bbo"
    """``bbo``: on every change of the best bid or offer; ``trades``: on every trade."""

    def __attrs_post_init__(self) -> None:
        if self.trigger not in ("bbo", "trades"):
            raise UsageError(f"trigger: expected bbo or trades, got {shown(self.trigger)}")

    @property
    def key(self) -> StreamKey:
        """The stream this topic reads."""
        return ("ticker", self.symbol)

    @property
    def wire_key(self) -> SubscriptionKey:
        """The venue's subscription behind the stream."""
        return SubscriptionKey(channel="ticker", symbol=self.symbol, trigger=self.trigger)


@attrs.frozen
class Book:
    """The order book of one symbol to ``depth`` levels a side (docs "Book (Level 2)").

    Readers of one symbol share one subscription at the venue, as deep as the deepest of them.
    """

    symbol: str = attrs.field(validator=_symbol)
    depth: int = 10

    def __attrs_post_init__(self) -> None:
        if not _one_of(self.depth, BOOK_DEPTHS):
            raise UsageError(f"depth: expected one of {BOOK_DEPTHS}, got {shown(self.depth)}")

    @property
    def key(self) -> StreamKey:
        """The stream this topic reads."""
        return ("book", self.symbol)

    @property
    def wire_key(self) -> SubscriptionKey:
        """The venue's subscription behind the stream."""
        return SubscriptionKey(channel="book", symbol=self.symbol, depth=self.depth)


@attrs.frozen
class Trades:
    """Every public trade of one symbol, in order, each once (docs "Trades")."""

    symbol: str = attrs.field(validator=_symbol)

    @property
    def key(self) -> StreamKey:
        """The stream this topic reads."""
        return ("trade", self.symbol)

    @property
    def wire_key(self) -> SubscriptionKey:
        """The venue's subscription behind the stream."""
        return SubscriptionKey(channel="trade", symbol=self.symbol)


@attrs.frozen
class Candles:
    """Candles of one symbol and interval (docs "Candles")."""

    symbol: str = attrs.field(validator=_symbol)
    interval_min: int = 1

    def __attrs_post_init__(self) -> None:
        if not _one_of(self.interval_min, CANDLE_INTERVALS_MIN):
            raise UsageError(f"interval_min: expected one of {CANDLE_INTERVALS_MIN}, got {shown(self.interval_min)}")

    @property
    def key(self) -> StreamKey:
        """The stream this topic reads."""
        return ("ohlc", self.symbol, self.interval_min)

    @property
    def wire_key(self) -> SubscriptionKey:
        """The venue's subscription behind the stream."""
        return SubscriptionKey(channel="ohlc", symbol=self.symbol, interval=self.interval_min)


@attrs.frozen
class Instruments:
    """New and changed instruments; the engine itself listens to them all the time (docs "Instruments")."""

    @property
    def key(self) -> StreamKey:
        """The stream this topic reads."""
        return ("instrument",)


@attrs.frozen
class Health:
    """Every notice of the engine: lines, venue status, gaps, resyncs, refusals."""

    @property
    def key(self) -> StreamKey:
        """The stream this topic reads."""
        return HEALTH_KEY


@attrs.frozen
class Executions:
    """Every fill of an account, and every other report about its orders, in order: ``account.executions``."""

    account: str

    @property
    def key(self) -> StreamKey:
        """The stream this topic reads."""
        return ("executions", self.account)


@attrs.frozen
class Orders:
    """Every change of an order of an account, with the order after it: ``account.orders``."""

    account: str

    @property
    def key(self) -> StreamKey:
        """The stream this topic reads."""
        return ("orders", self.account)


@attrs.frozen
class Balances:
    """Every change of a balance of an account: ``account.balances``."""

    account: str

    @property
    def key(self) -> StreamKey:
        """The stream this topic reads."""
        return ("balances", self.account)


HEALTH_KEY: StreamKey = ("health",)

AccountTopic = Executions | Orders | Balances
Topic = Ticker | Book | Trades | Candles | Instruments | Health | Executions | Orders | Balances
