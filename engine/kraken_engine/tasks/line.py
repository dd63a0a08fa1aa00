"""What one line knows across its connections: wishes, views, counters, and where to publish.

A line is one place in the pool; its connections come and go (``supervisor``, ``session``). What it is good for is up to
the kind of line (:mod:`~kraken_engine.tasks.market_line`, and others): which channels it has and what they know, how
frames are read and requests written, and what has to be got ready before each attempt to connect. All methods are
synchronous.
"""

from __future__ import annotations

import abc
import math
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Literal, Protocol

import attrs

from kraken_engine.codec.requests import encode_request
from kraken_engine.codec.ws_v2 import Ack
from kraken_engine.config import Config
from kraken_engine.control.backoff import Backoff
from kraken_engine.control.error_actions import Command, ErrorDesk, ReconnectWithBackoff, Resnapshot, Where
from kraken_engine.control.venue_mode import VenueModes
from kraken_engine.errors import DecodeError, LineError
from kraken_engine.monitor.kpis import Kpis
from kraken_engine.normalise.events import Event, LineUp, Notice, Refused, Resync
from kraken_engine.runtime import Runtime
from kraken_engine.state.channel_view import ChannelView, Outcome, Restore
from kraken_engine.state.freshness import StreamKey
from kraken_engine.state.junk import Lost
from kraken_engine.state.outlet import Outlet
from kraken_engine.state.subscriptions import Request, SubscriptionKey, Subscriptions, SubscriptionStatus
from kraken_engine.tasks.line_statistics import LineCounters, LineStatistics
from kraken_engine.wire.dial import AddressCache
from kraken_engine.wire.endpoints import Endpoint

__all__ = ["Batch", "Line", "Port", "Reader"]

_REASONS_KEPT = 64
"""Different decode errors counted by name; the rest are counted together."""


class Port(Protocol):
    """What a line may ask of its present connection."""

    def poke(self) -> None:
        """Look at the wishes: they changed."""
        ...

    def again(self, key: StreamKey) -> None:
        """Subscribe anew to what stands behind ``key``."""
        ...

    def nudge(self, channel: str, *, now: float) -> None:
        """Let a channel's task look at what is due, unless it is busy anyway."""
        ...

    def pong(self) -> None:
        """Take note that a ping was answered."""
        ...

    def idle(self, channel: str) -> bool:
        """Return whether all messages of a channel that were handed over have been applied."""
        ...

    def end(self, reason: LineError) -> None:
        """End the connection; the first reason counts."""
        ...


@attrs.frozen
class Batch:
    """Messages of one channel, from one socket read, in order; a :class:`~kraken_engine.state.junk.Lost` among them."""

    messages: Sequence[Any]
    received_s: float
    late: str | None = None
    """How far the line was behind the venue when this was read, in words; None: not too far."""


class Reader(Protocol):
    """How the frames of one connection are read."""

    def receive(self, frames: Sequence[bytes], received_s: float) -> Mapping[str, Batch]:
        """Decode, handle what is no data of a channel, and return the rest by channel."""
        ...

    def spoke_again(self, *, now: float) -> None:
        """The connection has ended a silence that had made everything stale."""
        ...

    def look(self, *, now: float) -> None:
        """Do what is due; called at least every ``check_s``."""
        ...


@attrs.define(eq=False, kw_only=True)
class Line(abc.ABC):
    """One line of the pool, of any kind."""

    name: str
    """Its place in the pool."""
    generation: int = 1
    """Counts the lines that have had this place: a rotation puts a new one there."""
    endpoint: Endpoint
    runtime: Runtime
    config: Config
    outlet: Outlet
    """Where all it has to say goes."""
    kpis: Kpis
    when_full: Literal["resync", "wait"] = "resync"
    """What the reader does with an inbox that is full: ``resync`` that channel at once (market data), or ``wait`` for
    room, and give up the connection when there is none in time (what must not be lost)."""
    desk: ErrorDesk = attrs.field(factory=ErrorDesk)
    """Decides about errors, and counts them; one for all lines."""
    modes: VenueModes = attrs.field(factory=VenueModes)
    """The venue's state, one for all lines: while it is away on purpose, nothing that follows from it is an alarm."""
    urgent: Callable[[], Collection[str]] = tuple
    """Symbols to be subscribed to first on every connection: those with open orders."""
    prepare: Callable[[], Awaitable[None]] | None = None
    """Called before each attempt to connect (for a token, say), however long it takes. A ``LineError`` of its own is a
    failed attempt, at which nothing was dialled."""
    heard_s: float = attrs.field(default=0.0, init=False)
    """When bytes of the peer were read last."""
    counters: LineCounters = attrs.field(factory=LineCounters, init=False)
    last_frame_s: float = attrs.field(default=-math.inf, init=False)
    """When the last frame was read, on whatever connection (monotonic)."""
    subscriptions: Subscriptions = attrs.field(init=False)
    views: Mapping[str, ChannelView] = attrs.field(init=False)
    errors: dict[str, int] = attrs.field(factory=dict[str, int], init=False)
    """Undecodable frames by reason."""
    backoff: Backoff = attrs.field(init=False)
    addresses: AddressCache = attrs.field(factory=AddressCache, init=False)
    """The last answer of the name service, used once when it fails."""
    _wanted: dict[StreamKey, SubscriptionKey] = attrs.field(factory=dict[StreamKey, SubscriptionKey], init=False)
    _fed: dict[StreamKey, SubscriptionKey] = attrs.field(factory=dict[StreamKey, SubscriptionKey], init=False)
    _dropped: dict[StreamKey, None] = attrs.field(factory=dict[StreamKey, None], init=False)
    """Of the fed streams those that are not wanted any more."""
    _port: Port | None = attrs.field(default=None, init=False)
    _asked_for_nonsense: dict[str, None] = attrs.field(factory=dict[str, None], init=False)
    """Channels that were asked anew on this connection, since an element of a message made no sense."""

    def __attrs_post_init__(self) -> None:
        self.backoff = Backoff(self.config.backoff, self.runtime.fork_rng(f"backoff {self.name}"))
        self.subscriptions = Subscriptions(self.config.subscriptions, self.urgent, self._is_away)
        self.views = {view.channel: view for view in self.make_views()}
        for view in self.views.values():
            view.tell_rejects(partial(self.left_out, view.channel))

    # -- what makes the kind of a line

    @abc.abstractmethod
    def make_views(self) -> Iterable[ChannelView]:
        """Return the views of the channels this line has; called once."""

    @abc.abstractmethod
    def open_reader(self, port: Port) -> Reader:
        """Return what reads the frames of a new connection."""

    def encode(self, request: Request) -> bytes:
        """Return a request as one text frame."""
        return encode_request(request.method, request.params, request.req_id)

    def apply(self, channel: str, batch: Batch, port: Port) -> None:
        """Apply the messages of one channel to its view, and publish the outcome."""
        view = self.views[channel]
        received_s = batch.received_s
        for message in batch.messages:
            if type(message) is Lost:
                self.settle(view.lose(message.why, now=received_s, symbol=message.symbol), port)
                continue
            for key, outcome in view.receive(message, received_s=received_s):
                if isinstance(outcome, Restore):
                    port.again(key)
                else:
                    self.publish(key, outcome)
            if message.type == "snapshot":
                self.arrived(channel, message)
        self.handled(len(batch.messages), received_s)

    def overran(self, channel: str, port: Port) -> None:
        """Messages of a channel were dropped because its inbox was full."""
        self.settle(self.views[channel].lose("this channel's inbox overran", now=self.now()), port)

    def tick(self, channel: str, port: Port) -> None:
        """Do what is due in a channel by now."""
        self.settle(self.views[channel].tick(now=self.now()), port)

    @property
    def account_name(self) -> str | None:
        """Whose line it is; None: nobody's, it is of the public side."""
        return None

    @property
    def identity(self) -> str:
        """What tells this line from any other, the one that has its place next included."""
        return self.name if self.generation == 1 else f"{self.name} ({self.generation})"

    def now(self) -> float:
        """Return the runtime's monotonic time."""
        return self.runtime.clock.now()

    @property
    def up(self) -> bool:
        """Whether there is a connection now."""
        return self._port is not None

    @property
    def late(self) -> str | None:
        """How far the line is behind the venue, in words; None: not too far."""
        return None

    def _is_away(self) -> bool:
        return self.modes.away is not None

    # -- wishes

    def want(self, key: StreamKey, subscription: SubscriptionKey) -> None:
        """Subscribe to a stream, now or as soon as there is a connection."""
        was_wanted = key in self._wanted
        self._wanted[key] = subscription
        self._dropped.pop(key, None)
        before = self._fed.get(key)
        leaves = not was_wanted and self.subscriptions.status(subscription) is SubscriptionStatus.LEAVING
        if before != subscription or leaves:
            if before is not None:
                # What is shown is not kept up to date any more, and whatever ends this wait has to tell the readers.
                self.outlet.lose(key, "the subscription changes", now=self.now())
                self.outlet.flush()
            self._fed[key] = subscription
            self.views[subscription.channel].want(key, subscription, now=self.now())
        self.subscriptions.want(subscription, now=self.now())
        self._poke()

    def drop(self, key: StreamKey, subscription: SubscriptionKey) -> None:
        """Give up a subscription; the venue is told after the grace period."""
        self._wanted.pop(key, None)
        if key in self._fed:
            self._dropped[key] = None
        self.subscriptions.drop(subscription, now=self.now())
        self._poke()

    def supersede(self, key: StreamKey, subscription: SubscriptionKey) -> None:
        """Other lines bring a stream by ``subscription`` now: end what is fed here, if it is by another one."""
        if key not in self._wanted and self._fed.get(key, subscription) != subscription:
            self.outlet.lose(key, "the subscription changes", now=self.now())
            self._retire(key)

    def wanted(self) -> dict[StreamKey, SubscriptionKey]:
        """Return the streams this line is to feed, and the subscription of each."""
        return dict(self._wanted)

    def stream_keys(self) -> list[StreamKey]:
        """Return the streams this line feeds: the wanted ones, and dropped ones within their grace period."""
        return list(self._fed)

    def streams_of(self, channel: str) -> list[StreamKey]:
        """Return those of :meth:`stream_keys` that are of one channel."""
        return [key for key, subscription in self._fed.items() if subscription.channel == channel]

    def sweep(self) -> None:
        """End the streams nobody wants any more whose unsubscription is on its way, or that the venue never had."""
        for key in list(self._dropped):
            if self.subscriptions.status(self._fed[key]) in (None, SubscriptionStatus.LEAVING):
                self._retire(key)

    def _retire(self, key: StreamKey) -> None:
        if key not in self._wanted:
            subscription = self._fed.pop(key)
            self._dropped.pop(key, None)
            self.views[subscription.channel].drop(key)
            self.outlet.forget(key)

    def _retire_unwanted(self) -> None:
        for key in self.stream_keys():
            self._retire(key)

    def refresh(self, key: StreamKey) -> None:
        """Let the writer ask for a fresh snapshot of a stream; without a connection, the next one brings it anyway."""
        if self._port is not None and key in self._wanted:
            self._port.again(key)

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
        self._retire_unwanted()
        self._asked_for_nonsense.clear()
        now = self.now()
        self.backoff.connected(now=now)
        self.kpis.line_up(self.identity, now=now)
        self.subscriptions.connected(now=now)

    def greeted(self, *, now: float) -> None:
        """The venue's first frame is here."""
        self.counters.connections += 1
        self.outlet.announce(LineUp(at_s=now, line=self.name, connection=self.counters.connections))
        self.outlet.flush()

    def suspect(self, why: str) -> None:
        """The connection is silent: what it feeds may not be trusted."""
        now, why = self.now(), self.modes.blame(why)
        for key in self.stream_keys():
            self.outlet.suspect(key, why, now=now)

    def disconnected(self, why: str) -> None:
        """The connection is gone, or there was none to be had: nothing is current through it."""
        self._port = None
        self._retire_unwanted()  # symbols come and go even while the line cannot connect for hours
        now, why = self.now(), self.modes.blame(why)
        self.subscriptions.disconnected(now=now)
        self.kpis.line_down(self.identity, now=now)
        if not self._is_away():
            self.kpis.error(now=now)
        for view in self.views.values():
            for key, outcome in view.lose(why, now=now, line_down=True):
                if not isinstance(outcome, Restore):
                    self.outlet.publish(key, outcome)
        self.outlet.flush()

    def retire(self, why: str) -> None:
        """Another line takes this one's place: nothing is fed from here any more. The connection has ended before."""
        self.disconnected(why)
        self._wanted.clear()
        self._retire_unwanted()

    # -- what the reader and the channel tasks report

    def answered(self, ack: Ack, port: Port, *, now: float) -> None:
        """Take one reply of the venue to a subscription.

        What a refusal means for it is the subscriptions' to say; what it means beyond, the table of errors.
        """
        if not ack.success:
            error = ack.error or "refused without a reason"
            where = Where(line=self.name, account=self.account_name, channel=ack.channel, symbol=ack.symbol)
            self.obey(self.desk.decide(error, where), port, error=error)
        for notice in self.subscriptions.ack(ack, now=now):
            self.tell(notice)
        view = self.views.get(ack.channel or "")
        if view is not None and ack.success and ack.method == "subscribe":
            view.confirmed(ack.symbol, depth=ack.depth, now=now)
        port.poke()
        if view is not None:
            # A confirmed subscription may have started a deadline, which its channel's task must get to know.
            port.nudge(view.channel, now=now)
        self.outlet.flush()

    def obey(self, command: Command, port: Port, *, error: str) -> None:
        """Do what the table of errors commands about ``error``, the venue's words over this line."""
        if isinstance(command, ReconnectWithBackoff):
            port.end(LineError(f"{self.name}: {error}"))
        else:
            self.desk.deliver(command)  # a rate limit stops the REST calls of this account; the rest is told already

    def settle(self, outcomes: Iterable[Outcome], port: Port) -> None:
        """Publish what happened, and ask anew for what only a snapshot heals."""
        for key, outcome in outcomes:
            if isinstance(outcome, Restore):
                port.again(key)
            else:
                self.publish(key, outcome)

    def arrived(self, channel: str, message: Any) -> None:
        """A snapshot is here: its subscription has done what it was asked for."""
        now = self.now()
        for symbol in self.symbols_of(channel, message):
            self.subscriptions.data(channel, symbol, now=now)

    def symbols_of(self, channel: str, message: Any) -> Iterable[str | None]:  # noqa: ARG002 - channels may differ
        """Return the symbols a snapshot is about; None: its subscription has none."""
        return dict.fromkeys(data.symbol for data in message.data)

    def handled(self, messages: int, received_s: float) -> None:
        """Count a batch that was applied and published."""
        self.counters.handled += messages
        now = self.now()
        self.kpis.messages(messages, latency_s=now - received_s, now=now)

    def publish(self, key: StreamKey, event: Event) -> None:
        """Publish what happened to a stream, and count what went wrong; no alarm while the venue is away on purpose."""
        if isinstance(event, Resync):
            self.kpis.error(now=event.at_s)
            if event.alarm and self._is_away():
                event = attrs.evolve(event, alarm=False)
        self.outlet.publish(key, event)

    def tell(self, notice: Notice) -> None:
        """Publish a notice about a subscription to the readers of the stream it concerns."""
        concerned = [
            key
            for key, subscription in self._wanted.items()
            if isinstance(notice, Refused)
            and (subscription.channel, subscription.symbol) == (notice.channel, notice.symbol)
            and self.subscriptions.error(subscription) is not None  # candles of other intervals are well
        ]
        for key in concerned:
            self.outlet.publish(key, notice)
        if not concerned:
            self.outlet.announce(notice)

    def left_out(self, channel: str, error: DecodeError) -> None:
        """A view left out an element that makes no sense: where others build upon it, a snapshot is asked for.

        Once for each connection: a list that comes with the same nonsense every time is as whole as it gets.
        """
        command = self.desk.decide(error, Where(line=self.name, account=self.account_name, channel=channel))
        if isinstance(command, Resnapshot) and self._port is not None and channel not in self._asked_for_nonsense:
            self._asked_for_nonsense[channel] = None
            for key in self.streams_of(channel):
                self._port.again(key)

    def reject(self, error: DecodeError) -> Command:
        """Count a frame that could not be decoded, and return what is to be done about it."""
        self.counters.undecodable += 1
        command = self.desk.decide(error, Where(line=self.name, account=self.account_name))
        self.kpis.error(now=self.now())
        name = f"{error.path}: expected {error.expected}"
        if name not in self.errors and len(self.errors) >= _REASONS_KEPT:
            name = "other"
        self.errors[name] = self.errors.get(name, 0) + 1
        return command

    def status_rejected(self, error: DecodeError) -> None:
        """Count a status that makes no sense; the next one stands by itself."""
        self.reject(error)

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
            passed=self.counters.passed,
            rejected=sum(view.rejected for view in self.views.values()),
            resubscriptions=self.counters.resubscriptions,
            books_verified=self.books_checked[0],
            books_mismatched=self.books_checked[1],
            longest_lag_s=self.counters.longest_lag_s,
        )

    @property
    def books_checked(self) -> tuple[int, int]:
        """Checksums that matched, and that did not."""
        return 0, 0

    def _poke(self) -> None:
        if self._port is not None:
            self._port.poke()
