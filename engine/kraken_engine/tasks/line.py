"""What one line knows across its connections: wishes, views, counters, and where to publish.

A line is one place in the pool; its connections come and go (``supervisor``, ``session``). All methods are synchronous.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import attrs

from kraken_engine.codec.ws_v2 import Ack
from kraken_engine.config import Config
from kraken_engine.control.backoff import Backoff
from kraken_engine.control.lag import Lag
from kraken_engine.errors import DecodeError
from kraken_engine.feed.publisher import Publisher
from kraken_engine.model import Instrument
from kraken_engine.monitor.kpis import Kpis
from kraken_engine.normalise.events import Event, InstrumentUpdate, LineUp, Notice, Refused, Resync
from kraken_engine.runtime import Runtime
from kraken_engine.state.channels import (
    BookChannel,
    CandleChannel,
    ChannelView,
    InstrumentChannel,
    Outcome,
    Restore,
    TickerChannel,
    TradeChannel,
)
from kraken_engine.state.freshness import StreamKey
from kraken_engine.state.subscriptions import Request, SubscriptionKey, Subscriptions
from kraken_engine.wire.dial import AddressCache
from kraken_engine.wire.endpoints import Endpoint

__all__ = ["HELD_CHANNELS", "Line", "LineCounters", "LineStatistics"]

HELD_CHANNELS = ("book", "ticker", "ohlc")
"""Whose late values are withheld; a trade is a fact with a time of its own, and is told whenever it comes."""

_REASONS_KEPT = 64
"""Different decode errors counted by name; the rest are counted together."""


class Port(Protocol):
    """What a line needs of its present connection."""

    def poke(self) -> None:
        """Look at the wishes: they changed."""
        ...


@attrs.define
class LineCounters:
    """Running totals of one line."""

    connections: int = 0
    reads: int = 0
    frames: int = 0
    handled: int = 0
    """Market data messages applied."""
    overruns: int = 0
    """Batches dropped because a channel's inbox was full."""
    undecodable: int = 0
    resubscriptions: int = 0
    longest_lag_s: float = 0.0
    """Most seconds by which a look at this line came late."""


@attrs.frozen(kw_only=True)
class LineStatistics:
    """What a line did so far."""

    name: str
    up: bool
    connections: int
    reads: int
    frames: int
    overruns: int
    undecodable: int
    rejected: int
    """Elements of stateless channels skipped because they could not be trusted."""
    resubscriptions: int
    books_verified: int
    """Checksums that matched."""
    books_mismatched: int
    """Checksums that did not: each one dropped the book at once."""
    longest_lag_s: float
    """Most seconds by which a look at the line came late: code blocked the event loop, or the machine slept."""

    @property
    def frames_per_read(self) -> float:
        """Text frames cut from one socket read, on average."""
        return self.frames / self.reads if self.reads else 0.0


@attrs.define(eq=False)
class Line:
    """One line of the pool."""

    name: str
    endpoint: Endpoint
    runtime: Runtime
    config: Config
    publisher: Publisher
    kpis: Kpis
    instruments: dict[str, Instrument]
    """Shared by all lines of a market."""
    counters: LineCounters = attrs.field(factory=LineCounters, init=False)
    subscriptions: Subscriptions = attrs.field(init=False)
    books: BookChannel = attrs.field(init=False)
    views: Mapping[str, ChannelView] = attrs.field(init=False)
    errors: dict[str, int] = attrs.field(factory=dict[str, int], init=False)
    """Undecodable frames by reason."""
    on_instruments: Callable[[], None] | None = None
    """Called when the list of instruments was first received."""
    _wanted: dict[StreamKey, SubscriptionKey] = attrs.field(factory=dict[StreamKey, SubscriptionKey], init=False)
    _fed: dict[StreamKey, SubscriptionKey] = attrs.field(factory=dict[StreamKey, SubscriptionKey], init=False)
    lag: Lag = attrs.field(init=False)
    _held: dict[str, str] = attrs.field(factory=dict[str, str], init=False)
    """Channels whose data comes late, and how that is said."""
    backoff: Backoff = attrs.field(init=False)
    addresses: AddressCache = attrs.field(factory=AddressCache, init=False)
    """The last answer of the name service, used once when it fails."""
    _port: Port | None = attrs.field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self.backoff = Backoff(self.config.backoff, self.runtime.fork_rng(f"backoff {self.name}"))
        self.lag = Lag(self.config.liveness.late_after_s)
        self.subscriptions = Subscriptions(self.config.subscriptions)
        self.books = BookChannel(self.config.subscriptions, self.instruments.get)
        views: list[ChannelView] = [self.books, TickerChannel(), TradeChannel(), CandleChannel(), InstrumentChannel()]
        self.views = {view.channel: view for view in views}

    def now(self) -> float:
        """Return the runtime's monotonic time."""
        return self.runtime.clock.now()

    @property
    def up(self) -> bool:
        """Whether there is a connection now."""
        return self._port is not None

    # -- wishes

    def want(self, key: StreamKey, subscription: SubscriptionKey) -> None:
        """Subscribe to a stream, now or as soon as there is a connection."""
        self._wanted[key] = subscription
        before = self._fed.get(key)
        if before != subscription:
            if before is not None:
                # What is shown is not kept up to date any more, and whatever ends this wait has to tell the readers.
                self.publisher.lose(key, "the subscription changes", now=self.now())
                self.publisher.flush()
            self._fed[key] = subscription
            self.views[subscription.channel].want(key, subscription, now=self.now())
            late = self._held.get(subscription.channel)
            if late is not None:
                self.publisher.hold(key, late, now=self.now())
        self.subscriptions.want(subscription, now=self.now())
        self._poke()

    def drop(self, key: StreamKey, subscription: SubscriptionKey) -> None:
        """Give up a subscription; the venue is told after the grace period."""
        self._wanted.pop(key, None)
        self.subscriptions.drop(subscription, now=self.now())
        self._poke()

    def stream_keys(self) -> list[StreamKey]:
        """Return the streams this line feeds: the wanted ones, and dropped ones within their grace period."""
        return list(self._fed)

    def sent(self, request: Request) -> None:
        """Take note of a request that left: streams nobody wants any more end with their unsubscription."""
        if request.method == "unsubscribe":
            for key, subscription in list(self._fed.items()):
                if subscription.channel == request.channel and subscription.symbol in request.symbols:
                    self._retire(key)

    def _retire(self, key: StreamKey) -> None:
        if key not in self._wanted:
            subscription = self._fed.pop(key)
            self.views[subscription.channel].drop(key)
            self.publisher.forget(key)

    def subscribe_again(self, key: StreamKey) -> None:
        """Ask the venue for a fresh snapshot of a stream."""
        subscription = self._wanted.get(key)
        if subscription is not None:
            self.counters.resubscriptions += 1
            self.subscriptions.resubscribe(subscription, now=self.now())

    # -- the life of a connection

    def connected(self, port: Port) -> None:
        """A connection is up: everything wanted is due for subscription."""
        self._port = port
        for key in self.stream_keys():
            self._retire(key)
        now = self.now()
        self.backoff.connected(now=now)
        self.kpis.line_up(self.name, now=now)
        self.subscriptions.connected(now=now)

    def greeted(self, *, now: float) -> None:
        """The venue's first frame is here."""
        self.counters.connections += 1
        self.publisher.announce(LineUp(at_s=now, line=self.name, connection=self.counters.connections))
        self.publisher.flush()

    def disconnected(self, why: str) -> None:
        """The connection is gone, and with it everything that was current through it."""
        self._port = None
        now = self.now()
        self.subscriptions.disconnected(now=now)
        self.kpis.line_down(self.name, now=now)
        self.kpis.error(now=now)
        for view in self.views.values():
            for key, outcome in view.lose(why, now=now, line_down=True):
                if not isinstance(outcome, Restore):
                    self.publisher.publish(key, outcome)
        self.lag.restart()
        for channel in list(self._held):
            self.held(channel, None)
        self.publisher.flush()

    # -- what the channel tasks report

    def held(self, channel: str, late: str | None) -> None:
        """What a channel delivers from here on is late; or (None) all it delivered so far is on time.

        TCP keeps the order: when one update comes on time, whatever was sent before it is here, and all streams are
        current.
        """
        if (late is None) == (channel not in self._held) or channel not in HELD_CHANNELS:
            return
        streams = [key for key, subscription in self._fed.items() if subscription.channel == channel]
        if late is None:
            del self._held[channel]
            for key in streams:
                self.publisher.release(key, now=self.now())
        else:
            self._held[channel] = late
            for key in streams:
                self.publisher.hold(key, late, now=self.now())

    def instruments_changed(self, update: InstrumentUpdate) -> list[Outcome]:
        """Take over new and changed instruments; return what that means for the books."""
        outcomes: list[Outcome] = []
        for instrument in update.instruments:
            self.instruments[instrument.symbol] = instrument
            outcomes.extend(self.books.changed(instrument, now=update.received_s))
        if self.on_instruments is not None:
            self.on_instruments()
        return outcomes

    def answered(self, ack: Ack, *, now: float) -> None:
        """Take one reply of the venue to a subscription."""
        for notice in self.subscriptions.ack(ack, now=now):
            self.tell(notice)
        view = self.views.get(ack.channel or "")
        if view is not None and ack.success and ack.method == "subscribe":
            view.confirmed(ack.symbol, depth=ack.depth, now=now)

    def arrived(self, channel: str, message: Any) -> None:
        """A snapshot is here: its subscription has done what it was asked for."""
        now = self.now()
        if channel == "instrument":
            self.subscriptions.data(channel, None, now=now)
        else:
            for symbol in dict.fromkeys(data.symbol for data in message.data):
                self.subscriptions.data(channel, symbol, now=now)

    def handled(self, messages: int, received_s: float) -> None:
        """Count a batch that was applied and published."""
        self.counters.handled += messages
        now = self.now()
        self.kpis.messages(messages, latency_s=now - received_s, now=now)

    def publish(self, key: StreamKey, event: Event) -> None:
        """Publish what happened to a stream, and count what went wrong."""
        if isinstance(event, Resync):
            self.kpis.error(now=event.at_s)
        self.publisher.publish(key, event)

    def tell(self, notice: Notice) -> None:
        """Publish a notice about a subscription to the readers of the stream it concerns."""
        concerned = [
            key
            for key, subscription in self._wanted.items()
            if isinstance(notice, Refused)
            and subscription.channel == notice.channel
            and subscription.symbol == notice.symbol
        ]
        for key in concerned:
            self.publisher.publish(key, notice)
        if not concerned:
            self.publisher.announce(notice)

    def reject(self, error: DecodeError) -> None:
        """Count a frame that could not be decoded."""
        self.counters.undecodable += 1
        self.kpis.error(now=self.now())
        name = f"{error.path}: expected {error.expected}"
        if name not in self.errors and len(self.errors) >= _REASONS_KEPT:
            name = "other"
        self.errors[name] = self.errors.get(name, 0) + 1

    def statistics(self) -> LineStatistics:
        """Return the totals of this line."""
        return LineStatistics(
            name=self.name,
            up=self.up,
            connections=self.counters.connections,
            reads=self.counters.reads,
            frames=self.counters.frames,
            overruns=self.counters.overruns,
            undecodable=self.counters.undecodable,
            rejected=sum(view.rejected for view in self.views.values()),
            resubscriptions=self.counters.resubscriptions,
            books_verified=self.books.verified,
            books_mismatched=self.books.mismatched,
            longest_lag_s=self.counters.longest_lag_s,
        )

    def _poke(self) -> None:
        if self._port is not None:
            self._port.poke()
