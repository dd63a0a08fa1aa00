"""The kind of line that brings market data: books, tickers, trades, candles and the list of instruments.

What the line feeds is withheld while it comes late by the venue's own time (:mod:`~kraken_engine.control.lag`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import attrs

from kraken_engine.codec.ws_v2 import (
    Ack,
    BookMessage,
    Decoder,
    InstrumentMessage,
    OhlcMessage,
    Pong,
    StatusMessage,
    TickerMessage,
    TradeMessage,
)
from kraken_engine.control.error_actions import Resnapshot
from kraken_engine.control.lag import Lag
from kraken_engine.errors import DecodeError, LineError
from kraken_engine.model import Instrument
from kraken_engine.normalise.events import Candle, Event, InstrumentUpdate, VenueStatus
from kraken_engine.normalise.instruments import venue_status
from kraken_engine.state.book_channel import BookChannel
from kraken_engine.state.channel_view import ChannelView, Outcome
from kraken_engine.state.channels import CandleChannel, InstrumentChannel, Shared, TickerChannel
from kraken_engine.state.freshness import StreamKey
from kraken_engine.state.junk import Junk
from kraken_engine.state.lineage import Place
from kraken_engine.state.stream_watch import Report
from kraken_engine.state.subscriptions import SubscriptionKey, SubscriptionStatus
from kraken_engine.state.suspects import Suspects
from kraken_engine.state.trade_channel import MergedTradeChannel, TradeChannel
from kraken_engine.tasks.line import Batch, Line, Port, Reader

__all__ = ["HELD_CHANNELS", "MarketLine"]

HELD_CHANNELS = ("book", "ticker", "ohlc")
"""Whose late values are withheld; a trade is a fact with a time of its own, and is told whenever it comes."""

_CHANNEL_OF: dict[type, str] = {
    BookMessage: "book",
    TickerMessage: "ticker",
    TradeMessage: "trade",
    OhlcMessage: "ohlc",
    InstrumentMessage: "instrument",
}
_TIMED = (BookMessage, TickerMessage, TradeMessage)
"""Whose updates say when what they tell happened."""


@attrs.define(eq=False, kw_only=True)
class MarketLine(Line):
    """A line of public market data."""

    instruments: dict[str, Instrument]
    """Shared by all lines of a market."""
    shared: Shared | None = None
    """What the lines of a pool know together; None: this line is the only one."""
    on_instruments: Callable[[], None] | None = None
    """Called when the list of instruments was first received."""
    on_status: Callable[[VenueStatus], None] | None = None
    """Called when the venue announces its state."""
    books: BookChannel = attrs.field(init=False)
    candles: CandleChannel = attrs.field(factory=CandleChannel, init=False)
    lag: Lag = attrs.field(init=False)
    _held: dict[str, str] = attrs.field(factory=dict[str, str], init=False)
    """Channels whose data comes late, and how that is said."""

    def __attrs_post_init__(self) -> None:
        Line.__attrs_post_init__(self)
        self.lag = Lag(self.config.liveness.late_after_s)

    @property
    def late(self) -> str | None:
        """How far the line is behind the venue, in words; None: not too far."""
        return self.lag.words

    def make_views(self) -> Iterable[ChannelView]:
        """Return the five views of market data."""
        settings, known = self.config.subscriptions, self.instruments.get
        shared = self.shared
        if shared is None:
            self.books = BookChannel(settings, known)
            return self.books, TickerChannel(), TradeChannel(), self.candles, InstrumentChannel()
        self.books = BookChannel(settings, known, shared.books)
        trades = MergedTradeChannel(self.identity, shared.trades)
        return self.books, TickerChannel(shared.tickers), trades, self.candles, InstrumentChannel()

    def closed_candles(self, key: StreamKey) -> tuple[Candle, ...]:
        """Return the closed candles of a series, oldest first."""
        return self.candles.closed(key)

    # -- what is asked of one line among several

    def place(self, key: StreamKey) -> Place | None:
        """Return where this line stands with a book that the lines have in common."""
        replica = self.books.replica(key) if key[0] == "book" else None
        return None if replica is None else replica.place

    def has_passed(self, key: StreamKey, place: Place) -> bool:
        """Return whether this line has brought ``place``, or what comes after it."""
        replica = self.books.replica(key)
        return replica is not None and replica.has_passed(place)

    def follows(self, key: StreamKey, place: Place) -> bool:
        """Return whether this line has passed ``place``, or is going to."""
        replica = self.books.replica(key)
        return replica is not None and replica.follows(place)

    def lumps(self, key: StreamKey) -> bool:
        """Return whether this line lately told several changes of a book in one that another told one by one."""
        replica = self.books.replica(key)
        return replica is not None and replica.lumps

    def speak_up(self, key: StreamKey, *, loud: bool) -> None:
        """Tell, or do not tell, of what another line brought first."""
        self.views[str(key[0])].speak_up(key, loud=loud)

    def report(self, key: StreamKey) -> Report | None:
        """Return how this line stands with a stream; None: nothing can be expected of it now."""
        subscription = self._wanted.get(key)
        if subscription is None or not self.up or self.late is not None:
            return None
        status = self.subscriptions.status(subscription)
        if status is SubscriptionStatus.LIVE:
            view = self.views[subscription.channel]
            return Report(view.progress(key), is_dated=view.is_dated(key), heard_s=self.heard_s)
        return Report(None, awaited=True, heard_s=self.heard_s) if status is SubscriptionStatus.ACKED else None

    def replace_connection(self, why: str) -> None:
        """End the present connection; the supervisor makes another."""
        if self._port is not None:
            self._port.end(LineError(f"{self.name}: {why}"))

    def ask_anew(self, key: StreamKey) -> None:
        """Subscribe anew to one stream, on this connection."""
        if self._port is not None:
            self._port.again(key)

    def open_reader(self, port: Port) -> Reader:
        """Return what reads the frames of a new connection."""
        return _MarketReader(self, port)

    def want(self, key: StreamKey, subscription: SubscriptionKey) -> None:
        """Subscribe to a stream; if its channel is late, so will its data be."""
        begins = self._fed.get(key) != subscription
        Line.want(self, key, subscription)
        late = self._held.get(subscription.channel)
        if begins and late is not None:
            self.outlet.hold(key, late, now=self.now())

    def connected(self, port: Port) -> None:
        """A connection is up."""
        Line.connected(self, port)
        if self.shared is not None:
            self.shared.lines_up += 1

    def disconnected(self, why: str) -> None:
        """The connection is gone; the next one is not late until it shows it."""
        if self.shared is not None and self.up:
            self.shared.lines_up -= 1
            self.shared.frames.clear()
        Line.disconnected(self, why)
        self.lag.restart()
        for channel in list(self._held):
            self.held(channel, None)
        self.outlet.flush()

    def held(self, channel: str, late: str | None) -> None:
        """What a channel delivers from here on is late; or (None) all it delivered so far is on time.

        TCP keeps the order: when one update comes on time, whatever was sent before it is here, and all streams are
        current.
        """
        if (late is None) == (channel not in self._held) or channel not in HELD_CHANNELS:
            return
        if late is None:
            del self._held[channel]
            for key in self.streams_of(channel):
                self.outlet.release(key, now=self.now())
        else:
            self._held[channel] = late
            for key in self.streams_of(channel):
                self.outlet.hold(key, late, now=self.now())

    def apply(self, channel: str, batch: Batch, port: Port) -> None:
        """Apply the messages of one channel; whether they were late holds from the first, or after the last."""
        if batch.late is not None:
            self.held(channel, batch.late)
        Line.apply(self, channel, batch, port)
        if batch.late is None:
            self.held(channel, None)

    def overran(self, channel: str, port: Port) -> None:
        """Messages were dropped, and with them perhaps the word that the line is late, or is not any more."""
        Line.overran(self, channel, port)
        self.held(channel, self.lag.words)

    def publish(self, key: StreamKey, event: Event) -> None:
        """Publish what happened to a stream; instruments are the line's own business, too."""
        Line.publish(self, key, event)
        if isinstance(event, InstrumentUpdate) and self._port is not None:
            self.settle(self._instruments_changed(event), self._port)
            self._port.nudge("book", now=event.received_s)  # it may have something due now

    def _instruments_changed(self, update: InstrumentUpdate) -> list[Outcome]:
        """Take over new and changed instruments; return what that means for the books."""
        outcomes: list[Outcome] = []
        for instrument in update.instruments:
            self.instruments[instrument.symbol] = instrument
            outcomes.extend(self.books.changed(instrument, now=update.received_s))
        if self.on_instruments is not None:
            self.on_instruments()
        return outcomes

    def symbols_of(self, channel: str, message: Any) -> Iterable[str | None]:
        """Return the symbols a snapshot is about; the list of instruments is subscribed to as a whole."""
        return (None,) if channel == "instrument" else Line.symbols_of(self, channel, message)

    @property
    def books_checked(self) -> tuple[int, int]:
        """Checksums that matched, and that did not."""
        return self.books.verified, self.books.mismatched


class _MarketReader:
    """Reads one connection of a market line."""

    def __init__(self, line: MarketLine, port: Port) -> None:
        self._line = line
        self._port = port
        self._decode = Decoder().decode
        self._junk = Junk(tuple(line.views))
        self._suspects = Suspects(line.config.liveness.stale_after_s)

    def receive(self, frames: Sequence[bytes], received_s: float) -> Mapping[str, Batch]:
        """Decode, answer to bookkeeping, and sort the rest by channel."""
        shared = self._line.shared
        known = None if shared is None or shared.lines_up < 2 else shared.frames
        found: dict[str, list[Any]] = {}
        newest: Any = None
        venue_time: str | None = None
        message: Any
        for frame in frames:
            message = None if known is None else known.pop(frame, None)
            if message is None:
                try:
                    decoded = self._decode(frame)
                except DecodeError as error:
                    self._undecodable(frame, error, received_s, found)
                    continue
                channel = _CHANNEL_OF.get(type(decoded))
                if channel is None:
                    self._keep_books(decoded, received_s)
                    if type(decoded) is Pong and self._line.lag.late:
                        venue_time = decoded.time_out  # nothing else tells in a market that has gone quiet
                    continue
                message = decoded
                if shared is not None and known is not None and message.type == "update":
                    shared.remember(frame, message)
            else:
                self._line.counters.passed += 1
                channel = _CHANNEL_OF[type(message)]
                if self._passes(channel, message, found, received_s):
                    newest = message
                    continue
            newest = message
            if channel in found:
                found[channel].append(message)
            else:
                found[channel] = [message]
        lag = self._line.lag
        if type(newest) in _TIMED and newest.type == "update":
            venue_time = newest.data[-1].timestamp if newest.data else None
        if lag.judge(venue_time, received_s=received_s):
            for channel in HELD_CHANNELS:  # each of them has to know
                found.setdefault(channel, [])
        return {channel: Batch(messages, received_s, lag.words) for channel, messages in found.items()}

    def _passes(self, channel: str, message: Any, found: Mapping[str, list[Any]], received_s: float) -> bool:
        """Pass over what another line has brought already, unless something before it waits to be applied."""
        if channel in found or not self._port.idle(channel):
            return False
        return self._line.views[channel].passes(message, now=received_s)

    def spoke_again(self, *, now: float) -> None:
        """Everything was stale for silence: what stays quiet from here on has to be asked for anew."""
        self._suspects.spoke_again(self._line.stream_keys(), now=now)

    def look(self, *, now: float) -> None:
        """Ask anew for streams that stayed quiet since the line spoke again: only data on time makes them live."""
        outlet, late = self._line.outlet, self._line.lag.words is not None
        for key in self._suspects.take(lambda key: outlet.stale(key) is not None, late=late, now=now):
            self._port.again(key)

    def _keep_books(self, message: Any, received_s: float) -> None:
        """Handle what is no market data: replies, the venue's state. A heartbeat has done its work by arriving."""
        line = self._line
        if type(message) is Ack:
            line.answered(message, self._port, now=received_s)
        elif type(message) is StatusMessage:
            status = venue_status(message, at_s=received_s, reject=line.status_rejected)
            if status is not None:
                line.outlet.announce(status)
                line.outlet.flush()
                if line.on_status is not None:
                    line.on_status(status)
        elif type(message) is Pong:
            self._port.pong()

    def _undecodable(self, frame: bytes, error: DecodeError, received_s: float, found: dict[str, list[Any]]) -> None:
        """Skip a frame, but not silently: what it may have changed is unsynchronised from here on."""
        if isinstance(self._line.reject(error), Resnapshot):
            for channel, lost in self._junk.cost(frame, error):
                found.setdefault(channel, []).append(lost)
        why = self._junk.verdict(error, now=received_s)
        if why is not None:
            self._port.end(LineError(f"{self._line.name}: {why}"))
