"""Nouns that every stage shares: instruments, sides, modes, sources, and the rules for money.

Knows nothing of bytes, sockets or tasks.
"""

from __future__ import annotations

import enum
from decimal import Context, Decimal, InvalidOperation

import attrs

__all__ = [
    "BOOK_DEPTHS",
    "CANDLE_INTERVALS_MIN",
    "Instrument",
    "Integrity",
    "Liquidity",
    "OrderStatus",
    "OrderType",
    "Side",
    "Source",
    "TimeInForce",
    "VenueMode",
    "minus",
    "money",
    "plus",
    "times",
]

BOOK_DEPTHS = (10, 25, 100, 500, 1000)
"""Depths the venue's book channel offers (docs "Book (Level 2)")."""

CANDLE_INTERVALS_MIN = (1, 5, 15, 30, 60, 240, 1440, 10080, 21600)
"""Candle intervals in minutes the venue offers (docs "Candles")."""


class Side(enum.Enum):
    """Side of an order, or of the taker of a trade."""

    BUY = "buy"
    SELL = "sell"


class OrderType(enum.Enum):
    """What makes an order act, and at which price (docs "Add Order")."""

    LIMIT = "limit"
    MARKET = "market"
    ICEBERG = "iceberg"
    STOP_LOSS = "stop-loss"
    STOP_LOSS_LIMIT = "stop-loss-limit"
    TAKE_PROFIT = "take-profit"
    TAKE_PROFIT_LIMIT = "take-profit-limit"
    TRAILING_STOP = "trailing-stop"
    TRAILING_STOP_LIMIT = "trailing-stop-limit"
    SETTLE_POSITION = "settle-position"
    UNKNOWN = "unknown"
    """A word this version does not know: an order of somebody else's client. Its quantities are kept all the same."""

    def __str__(self) -> str:
        return self.value


class TimeInForce(enum.Enum):
    """How long an order may wait (docs "Add Order")."""

    GTC = "gtc"
    GTD = "gtd"
    IOC = "ioc"
    FOK = "fok"
    UNKNOWN = "unknown"
    """A word this version does not know."""

    def __str__(self) -> str:
        return self.value


class OrderStatus(enum.Enum):
    """How far an order has come, in the venue's words (docs "Executions")."""

    PENDING_NEW = "pending_new"
    """Accepted, not yet live."""
    NEW = "new"
    """Live, nothing filled."""
    PARTIALLY_FILLED = "partially_filled"
    FILLED = "filled"
    CANCELED = "canceled"
    EXPIRED = "expired"

    def __str__(self) -> str:
        return self.value

    @property
    def is_terminal(self) -> bool:
        """Whether nothing can happen to the order any more."""
        return self in _TERMINAL


_TERMINAL = frozenset({OrderStatus.FILLED, OrderStatus.CANCELED, OrderStatus.EXPIRED})


class Liquidity(enum.Enum):
    """Which side of a trade a fill was on."""

    MAKER = "maker"
    """The order was resting."""
    TAKER = "taker"

    def __str__(self) -> str:
        return self.value


class Source(enum.Enum):
    """Where a value came from."""

    WEBSOCKET_V2 = "websocket_v2"
    WEBSOCKET_V1 = "websocket_v1"
    REST = "rest"

    def __str__(self) -> str:
        return self.value


class Integrity(enum.Enum):
    """How far a value may be trusted."""

    VERIFIED = "verified"
    """A checksum over it matched, or its sequence is complete. Of a book: its ten best levels a side, no further."""
    UNVERIFIED = "unverified"
    """The venue gives nothing to check it with."""
    RESYNCING = "resyncing"
    """Something was lost; no value is current until the next verified snapshot."""

    def __str__(self) -> str:
        return self.value


class VenueMode(enum.Enum):
    """State of the trading engine at the venue (docs "Status", "Get System Status")."""

    ONLINE = "online"
    MAINTENANCE = "maintenance"
    CANCEL_ONLY = "cancel_only"
    POST_ONLY = "post_only"
    LIMIT_ONLY = "limit_only"
    UNKNOWN = "unknown"
    """A word this version does not know; treated as not trading."""


@attrs.frozen(kw_only=True)
class Instrument:
    """A tradable pair, as the ``instrument`` channel describes it."""

    symbol: str
    """Modern name, ``BTC/USD``."""
    base: str
    quote: str
    status: str
    """``online``, ``cancel_only``, ``post_only``, ``limit_only``, ``reduce_only``, ``delisted``, …"""
    price_decimals: int
    """Digits after the point of every price."""
    qty_decimals: int
    """Digits after the point of every quantity."""
    price_increment: Decimal
    qty_increment: Decimal
    qty_min: Decimal
    cost_min: Decimal
    marginable: bool = False


def money(value: Decimal | str | int, *, name: str = "amount") -> Decimal:
    """Return an exact, finite decimal.

    Raises:
        TypeError: ``value`` is a float (it has lost digits already), a bool, or no number at all.
        ValueError: the text is not a finite decimal number.
    """
    if isinstance(value, float):
        raise TypeError(f"{name}: a float has lost digits already, give a Decimal or a str; got {value!r}")
    if isinstance(value, bool) or not isinstance(value, (Decimal, str, int)):
        raise TypeError(f"{name}: expected Decimal or str, got {type(value).__name__}")
    try:
        number = Decimal(value)
    except InvalidOperation:
        raise ValueError(f"{name}: expected a decimal number, got {value!r}") from None
    if not number.is_finite():
        raise ValueError(f"{name}: expected a finite number, got {value!r}")
    return number


_EXACT = Context(prec=200)
"""No sum or product of the venue's numbers (40 digits at most) rounds here, whatever the application's own context."""


def plus(some: Decimal, more: Decimal) -> Decimal:
    """Return the exact sum."""
    return _EXACT.add(some, more)


def minus(some: Decimal, less: Decimal) -> Decimal:
    """Return the exact difference."""
    return _EXACT.subtract(some, less)


def times(some: Decimal, by: Decimal) -> Decimal:
    """Return the exact product."""
    return _EXACT.multiply(some, by)
