"""The event vocabulary: what an application receives, whatever the source.

Market data carries its source, the monotonic time it was received, the venue's own time where it gives one, and
its integrity. Notices (:class:`Live`, :class:`Gap`, :class:`~kraken_engine.errors.Stale`, line and venue states)
come in the same streams, in the order in which they are true, and are never conflated away.

Values that cost something to make (decimals) are made when they are read.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import attrs

from kraken_engine.errors import Stale
from kraken_engine.model import Instrument, Integrity, Side, Source, VenueMode

__all__ = [
    "Candle",
    "Event",
    "Gap",
    "InstrumentUpdate",
    "Lagged",
    "LineDown",
    "LineUp",
    "Live",
    "MarketEvent",
    "Notice",
    "PriceLevel",
    "Refused",
    "Resync",
    "Stale",
    "Trade",
    "TradeGap",
    "VenueStatus",
]


@attrs.frozen
class PriceLevel:
    """One level of a book: total ``qty`` resting at ``price``."""

    price: Decimal
    qty: Decimal


@attrs.frozen(kw_only=True)
class MarketEvent:
    """What every market data event carries."""

    symbol: str
    source: Source
    received_s: float
    """Monotonic seconds (the runtime's clock) at which the bytes were read."""
    venue_time: str | None
    """The venue's timestamp as sent (RFC 3339, UTC), or None where it gives none."""
    integrity: Integrity


@attrs.frozen(kw_only=True)
class Trade(MarketEvent):
    """One public trade (docs "Trades")."""

    side: Side
    """Side of the taker."""
    price: Decimal
    qty: Decimal
    order_type: str
    """``limit`` or ``market``, of the taker."""
    trade_id: int
    """Per-symbol sequence number."""


@attrs.frozen(kw_only=True)
class Candle(MarketEvent):
    """The state of one candle; the same candle repeats until ``interval_begin`` advances (docs "Candles")."""

    interval_min: int
    interval_begin: str
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    vwap: Decimal
    volume: Decimal
    trades: int


@attrs.frozen(kw_only=True)
class InstrumentUpdate:
    """New or changed instruments."""

    instruments: tuple[Instrument, ...]
    snapshot: bool
    received_s: float


@attrs.frozen(kw_only=True)
class Notice:
    """What every notice carries: the monotonic time from which it holds."""

    at_s: float


@attrs.frozen(kw_only=True)
class Live(Notice):
    """Values of ``symbol`` on ``channel`` are current again (or for the first time)."""

    channel: str
    symbol: str


@attrs.frozen(kw_only=True)
class Gap(Notice):
    """Between ``start_s`` and ``end_s`` (monotonic) updates of ``symbol`` on ``channel`` were lost.

    ``healed_by`` says what made the state whole again: ``snapshot``, ``line`` or ``rest``.
    """

    channel: str
    symbol: str
    start_s: float
    end_s: float
    reason: str
    healed_by: str


@attrs.frozen(kw_only=True)
class TradeGap(Notice):
    """Trades ``first`` to ``last`` (ids, inclusive) of ``symbol`` were not delivered before the next one."""

    symbol: str
    first: int
    last: int


@attrs.frozen(kw_only=True)
class Lagged(Notice):
    """This consumer was too slow: ``lost`` events of its own queue were dropped before the next one."""

    lost: int


@attrs.frozen(kw_only=True)
class LineUp(Notice):
    """A connection is up and greeted by the venue."""

    line: str
    connection: int
    """Counts the connections of this line from 1."""


@attrs.frozen(kw_only=True)
class LineDown(Notice):
    """A connection, or an attempt at one, ended."""

    line: str
    reason: str
    failures: int
    """Failed attempts in a row."""
    retry_in_s: float


@attrs.frozen(kw_only=True)
class Resync(Notice):
    """A symbol's state was dropped and asked for anew."""

    channel: str
    symbol: str
    reason: str


@attrs.frozen(kw_only=True)
class Refused(Notice):
    """The venue refused a subscription, in its own words, or never answered; ``final`` when no retry follows."""

    channel: str
    symbol: str | None
    error: str
    final: bool


@attrs.frozen(kw_only=True)
class VenueStatus(Notice):
    """The venue's announced state (docs "Status")."""

    mode: VenueMode
    text: str
    """The venue's word for it."""
    maintenance: Sequence[object] = ()
    """Announced windows, as sent."""


Event = MarketEvent | InstrumentUpdate | Notice | Stale
