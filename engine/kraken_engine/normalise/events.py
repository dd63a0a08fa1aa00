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

from kraken_engine.codec.numbers import decimal_of
from kraken_engine.codec.ws_v2 import TickerData
from kraken_engine.errors import Stale
from kraken_engine.model import Instrument, Integrity, Side, Source, VenueMode

__all__ = [
    "AccountEvent",
    "AuthFailed",
    "Candle",
    "CircuitChanged",
    "ClockNotice",
    "Event",
    "Gap",
    "Inconsistent",
    "InstrumentUpdate",
    "KeyNotice",
    "Lagged",
    "LineDown",
    "LineUp",
    "Live",
    "MarketEvent",
    "ModeChanged",
    "Notice",
    "PriceLevel",
    "Refused",
    "Resync",
    "Rotated",
    "Silent",
    "SourceChanged",
    "Stale",
    "StoreNotice",
    "TickerUpdate",
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
class TickerUpdate(MarketEvent):
    """One symbol's ticker, complete; windows are the last 24 hours (docs "Ticker (Level 1)")."""

    data: TickerData = attrs.field(repr=False)
    """The numbers as sent; every one was checked."""

    @property
    def bid(self) -> Decimal:
        """Best bid."""
        return decimal_of(self.data.bid, "bid")

    @property
    def bid_qty(self) -> Decimal:
        """Quantity at the best bid."""
        return decimal_of(self.data.bid_qty, "bid_qty")

    @property
    def ask(self) -> Decimal:
        """Best ask."""
        return decimal_of(self.data.ask, "ask")

    @property
    def ask_qty(self) -> Decimal:
        """Quantity at the best ask."""
        return decimal_of(self.data.ask_qty, "ask_qty")

    @property
    def last(self) -> Decimal:
        """Price of the last trade, if there was one within 24 hours."""
        return decimal_of(self.data.last, "last")

    @property
    def volume(self) -> Decimal:
        """Quantity traded, in the base asset."""
        return decimal_of(self.data.volume, "volume")

    @property
    def vwap(self) -> Decimal:
        """Volume weighted average price."""
        return decimal_of(self.data.vwap, "vwap")

    @property
    def low(self) -> Decimal:
        """Lowest price traded."""
        return decimal_of(self.data.low, "low")

    @property
    def high(self) -> Decimal:
        """Highest price traded."""
        return decimal_of(self.data.high, "high")

    @property
    def change(self) -> Decimal | None:
        """Change of the price, in the quote asset; None from REST, which does not tell."""
        return None if self.data.change is None else decimal_of(self.data.change, "change")

    @property
    def change_pct(self) -> Decimal | None:
        """Change of the price, in per cent; None from REST, which does not tell."""
        return None if self.data.change_pct is None else decimal_of(self.data.change_pct, "change_pct")


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
class AccountEvent:
    """What every event of an account carries. None is ever conflated with another, or dropped."""

    account: str
    """Name of the account in the configuration."""
    source: Source
    received_s: float
    """Monotonic seconds (the runtime's clock) at which the bytes were read."""
    venue_time: str | None
    """The venue's timestamp (RFC 3339, UTC), or None where it gives none."""
    integrity: Integrity = Integrity.VERIFIED
    """``verified``: the sequence it belongs to is complete, and its quantities add up."""


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
class SourceChanged(Notice):
    """Values of ``symbol`` on ``channel`` come from ``source`` from here on, for ``reason``.

    Between two values of different sources a change of the source is always told.
    """

    channel: str
    symbol: str
    source: Source
    reason: str


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
class Rotated(Notice):
    """The connection of a line was replaced by another while it worked; no stream noticed."""

    line: str
    generation: int
    """Counts the lines that have had this place, from 1."""
    reason: str


@attrs.frozen(kw_only=True)
class Silent(Notice):
    """One subscription of one line brings nothing though another line does; readers have the stream from there.

    ``remedy`` is what is done about it: ``resubscribe``, ``move`` to another line, or ``replace`` the connection.
    """

    line: str
    channel: str
    symbol: str | None
    reason: str
    remedy: str


@attrs.frozen(kw_only=True)
class Resync(Notice):
    """A symbol's state is asked for anew, for ``reason``.

    ``alarm``: it keeps happening. The next request keeps its distance, and somebody should look at the symbol.
    """

    channel: str
    symbol: str
    reason: str
    alarm: bool = False


@attrs.frozen(kw_only=True)
class Refused(Notice):
    """The venue refused a subscription, in its own words, or never answered.

    ``final`` when retries have come to an end: for good, or, where time may help, but for one now and then of which
    only the success is told.
    """

    channel: str
    symbol: str | None
    error: str
    final: bool


@attrs.frozen(kw_only=True)
class AuthFailed(Notice):
    """The venue takes neither the key of ``account`` nor its tokens: somebody has to look at the key.

    Nothing is asked for another ``retry_in_s``: whoever insists is locked out.
    """

    account: str
    reason: str
    """In the venue's words."""
    retry_in_s: float


@attrs.frozen(kw_only=True)
class KeyNotice(Notice):
    """Something about the key of ``account`` that its owner should change; told when the account is opened.

    ``grave``: the key may do what no key of a trading program should, or not what the account needs.
    """

    account: str
    what: str
    """In plain words, with what to do."""
    grave: bool


@attrs.frozen(kw_only=True)
class CircuitChanged(Notice):
    """A circuit breaker of the REST API changed: ``closed``, ``open`` for another ``retry_in_s``, or ``half_open``.

    One that is open may say so again, when it stays open for longer.
    """

    breaker: str
    """``public``, or the name of the account."""
    state: str
    retry_in_s: float


@attrs.frozen(kw_only=True)
class ClockNotice(Notice):
    """The wall clock of this machine was set, or is not the venue's (``wrong``), or is again.

    Timers do not go by it, nonces rise all the same, and deadlines of orders are reckoned by the venue's clock.
    """

    what: str
    """In plain words."""
    wrong: bool
    step_s: float | None = None
    """By how much it moved against the monotonic clock; a machine that slept looks the same."""
    offset_s: float | None = None
    """By how much it is ahead of the venue's."""


@attrs.frozen(kw_only=True)
class StoreNotice(Notice):
    """Something about the state directory that whoever runs the engine should know.

    ``failing``: writes fail from here on, for the reason in ``what``, until a notice that is not ``failing``. Market
    data goes on; signed calls are refused rather than sent with a nonce that may not be remembered.
    """

    what: str
    failing: bool


@attrs.frozen(kw_only=True)
class VenueStatus(Notice):
    """The venue's announced state (docs "Status")."""

    mode: VenueMode
    text: str
    """The venue's word for it."""
    maintenance: Sequence[object] = ()
    """Announced windows, as sent."""


@attrs.frozen(kw_only=True)
class Inconsistent(Notice):
    """A stream and REST differed twice in a row, and neither rounding nor age explains it.

    ``resync``: the stream is asked for anew, and ``Stale`` until then. Not so if it was before, and still differs: then
    it is REST that is to be doubted.
    """

    channel: str
    symbol: str
    what: str
    """Where they differ."""
    resync: bool


@attrs.frozen(kw_only=True)
class ModeChanged(Notice):
    """The state of the venue (``symbol`` None) or of one market is another one from here on.

    Told once for each change, by whatever way it was heard of; what it allows holds until the next one.
    """

    symbol: str | None
    mode: str
    """The venue's word for it."""
    before: str
    """And for the state before."""
    orders: str
    """Which new orders it takes, in words."""
    cancels: bool
    away: str | None
    """Why no data is to be expected of the venue, in words; None: it is. Alarms are held back meanwhile."""


Event = MarketEvent | AccountEvent | InstrumentUpdate | Notice | Stale
