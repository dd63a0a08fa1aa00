"""One line's view of each channel: messages in, what happened to which stream out.

Each class holds what one channel of one line has to remember (books, trade sequences) and turns a message into a
list of ``(stream, outcome)``. An outcome is an event for the readers of the stream or a :class:`Restore`: ask the
venue anew for it. The views survive reconnects of their line. No I/O, no clock: shells tell them the time.

A message that cannot be trusted is skipped on a stateless channel (ticker, ohlc) and counted; on a stateful one
(book) it is a loss.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Iterable
from typing import Any, Generic, Protocol, TypeVar

import attrs

from kraken_engine.codec.ws_v2 import BookMessage, InstrumentMessage, OhlcMessage, TickerMessage, TradeMessage
from kraken_engine.config import SubscriptionSettings
from kraken_engine.errors import DecodeError, Stale
from kraken_engine.model import Instrument
from kraken_engine.normalise.events import Event, Live, Resync
from kraken_engine.normalise.instruments import instrument_update
from kraken_engine.normalise.market_data import candles, ticker_updates, trades
from kraken_engine.state.book_sync import Action, BookSync, Publish, SyncState
from kraken_engine.state.candles import CandleSeries
from kraken_engine.state.freshness import StreamKey
from kraken_engine.state.subscriptions import SubscriptionKey
from kraken_engine.state.tickers import LatestTicker
from kraken_engine.state.trades import TradeSequence

__all__ = [
    "BookChannel",
    "CandleChannel",
    "ChannelView",
    "InstrumentChannel",
    "Outcome",
    "Restore",
    "TickerChannel",
    "TradeChannel",
]


@attrs.frozen
class Restore:
    """Subscribe anew: only a fresh snapshot makes this stream whole."""

    reason: str


Outcome = tuple[StreamKey, Event | Restore]


class ChannelView(Protocol):
    """What the shell of a channel task needs."""

    channel: str
    rejected: int
    """Elements skipped because they could not be trusted."""
    unsubscribed: int
    """Elements ignored because nobody here asked for their symbol."""

    def want(self, key: StreamKey, subscription: SubscriptionKey, *, now: float) -> None:
        """Expect messages of this stream from now on."""
        ...

    def drop(self, key: StreamKey) -> None:
        """Ignore messages of this stream from now on, and forget what is known of it."""
        ...

    def receive(self, message: Any, *, received_s: float) -> list[Outcome]:
        """Apply one message of this channel."""
        ...

    def lose(self, why: str, *, now: float, symbol: str | None = None, line_down: bool = False) -> list[Outcome]:
        """Note that messages of ``symbol`` (None: of any symbol) may be missing.

        ``line_down``: the next connection subscribes to everything anew, so nothing need be asked for here.
        """
        ...

    def confirmed(self, symbol: str | None, *, depth: int | None, now: float) -> None:
        """Note that the venue confirmed a subscription (of a book: at ``depth``)."""
        ...

    def tick(self, *, now: float) -> list[Outcome]:
        """Do what is due by now."""
        ...

    @property
    def next_due(self) -> float | None:
        """When :meth:`tick` is wanted next."""
        ...


S = TypeVar("S")


@attrs.define
class _Simple(abc.ABC, Generic[S]):
    """Common ground of the channels with one small state per stream and nothing ever due."""

    channel: str = attrs.field(init=False)
    rejected: int = attrs.field(default=0, init=False)
    unsubscribed: int = attrs.field(default=0, init=False)
    last_reject: DecodeError | None = attrs.field(default=None, init=False)
    _streams: dict[StreamKey, S] = attrs.field(factory=dict[StreamKey, S], init=False)

    @abc.abstractmethod
    def _begin(self, subscription: SubscriptionKey) -> S:
        """Return the state of a stream of which nothing is known yet."""

    def want(self, key: StreamKey, subscription: SubscriptionKey, *, now: float) -> None:  # noqa: ARG002 - books need it
        self._streams[key] = self._begin(subscription)

    def drop(self, key: StreamKey) -> None:
        self._streams.pop(key, None)

    def lose(self, why: str, *, now: float, symbol: str | None = None, line_down: bool = False) -> list[Outcome]:
        """Ask anew: the venue answers a fresh subscription with the present state."""
        concerned = [key for key in self._streams if symbol is None or (len(key) > 1 and key[1] == symbol)]
        outcomes: list[Outcome] = []
        for key in concerned:
            self._forget_forming(self._streams[key])
            outcomes.append((key, _stale(key, why, now)))
            if not line_down:
                outcomes.append((key, Restore(why)))
        return outcomes

    def confirmed(self, symbol: str | None, *, depth: int | None, now: float) -> None:
        pass

    def tick(self, *, now: float) -> list[Outcome]:  # noqa: ARG002 - nothing is ever due here
        return []

    @property
    def next_due(self) -> float | None:
        return None

    def _forget_forming(self, state: S) -> None:
        pass

    def _reject(self, error: DecodeError) -> None:
        self.rejected += 1
        self.last_reject = error


@attrs.define
class TickerChannel(_Simple[LatestTicker]):
    """Tickers: every message is a full ticker."""

    channel: str = attrs.field(default="ticker", init=False)

    def _begin(self, subscription: SubscriptionKey) -> LatestTicker:
        return LatestTicker(subscription.symbol or "")

    def receive(self, message: TickerMessage, *, received_s: float) -> list[Outcome]:
        """Return the tickers of one message that are news."""
        outcomes: list[Outcome] = []
        for update in ticker_updates(message, received_s=received_s, reject=self._reject):
            key: StreamKey = ("ticker", update.symbol)
            latest = self._streams.get(key)
            if latest is None:
                self.unsubscribed += 1
            else:
                outcomes.extend((key, event) for event in latest.receive(update, now=received_s))
        return outcomes


@attrs.define
class CandleChannel(_Simple[CandleSeries]):
    """Candles: every message is the full state of its candles."""

    channel: str = attrs.field(default="ohlc", init=False)

    def _begin(self, subscription: SubscriptionKey) -> CandleSeries:
        return CandleSeries(subscription.symbol or "", subscription.interval or 1)

    def _forget_forming(self, state: CandleSeries) -> None:
        state.lose()

    def receive(self, message: OhlcMessage, *, received_s: float) -> list[Outcome]:
        """Return the candles of one message that are news."""
        outcomes: list[Outcome] = []
        for candle in candles(message, received_s=received_s, reject=self._reject):
            key: StreamKey = ("ohlc", candle.symbol, candle.interval_min)
            series = self._streams.get(key)
            if series is None:
                self.unsubscribed += 1
            else:
                outcomes.extend((key, event) for event in series.receive(candle))
        return outcomes


@attrs.define
class InstrumentChannel(_Simple[None]):
    """Instruments: the list of tradable pairs, and what changes in it."""

    channel: str = attrs.field(default="instrument", init=False)

    def _begin(self, subscription: SubscriptionKey) -> None:
        del subscription

    def receive(self, message: InstrumentMessage, *, received_s: float) -> list[Outcome]:
        """Return the new and changed instruments of one message."""
        return [(("instrument",), instrument_update(message, received_s=received_s, reject=self._reject))]


@attrs.define
class TradeChannel(_Simple[TradeSequence]):
    """Trades: each once, in order, with what is missing announced before what follows.

    The snapshot that answers the first subscription is history from before anybody listened: it sets the sequence and
    is not passed on. Later ones fill the hole a lost connection left.
    """

    channel: str = attrs.field(default="trade", init=False)

    def _begin(self, subscription: SubscriptionKey) -> TradeSequence:
        return TradeSequence(subscription.symbol or "")

    def receive(self, message: TradeMessage, *, received_s: float) -> list[Outcome]:
        """Return the new trades of one message, after the gaps before them."""
        outcomes: list[Outcome] = []
        snapshot = message.type == "snapshot"
        history: dict[StreamKey, None] = {}
        answered: dict[StreamKey, str] = {}
        for trade in trades(message, received_s=received_s, reject=self._reject):
            key: StreamKey = ("trade", trade.symbol)
            sequence = self._streams.get(key)
            if sequence is None:
                self.unsubscribed += 1
                continue
            if snapshot:
                answered[key] = trade.symbol
                if sequence.last_id is None:
                    history[key] = None
            passed = sequence.receive(trade, now=received_s)
            if key not in history:
                outcomes.extend((key, event) for event in passed)
        for key, symbol in answered.items():
            outcomes.append((key, Live(at_s=received_s, channel="trade", symbol=symbol)))
        return outcomes


@attrs.define
class BookChannel:
    """Order books: each verified on its own, one's trouble never touches another."""

    settings: SubscriptionSettings
    instrument: Callable[[str], Instrument | None]
    """What is known of a symbol's precision."""
    channel: str = attrs.field(default="book", init=False)
    rejected: int = attrs.field(default=0, init=False)
    unsubscribed: int = attrs.field(default=0, init=False)
    _syncs: dict[str, tuple[StreamKey, BookSync]] = attrs.field(
        factory=dict[str, tuple[StreamKey, BookSync]], init=False
    )
    _foreign: dict[str, None] = attrs.field(factory=dict[str, None], init=False)
    """Symbols whose messages are still those of another depth: a message does not say which it belongs to."""
    _retired_verified: int = attrs.field(default=0, init=False)
    _retired_mismatched: int = attrs.field(default=0, init=False)
    _restless: dict[str, None] = attrs.field(factory=dict[str, None], init=False)
    """Symbols whose synchronisation has something due."""

    def want(self, key: StreamKey, subscription: SubscriptionKey, *, now: float) -> None:
        """Expect a snapshot and updates of this book, at this depth, from now on."""
        assert subscription.symbol is not None
        assert subscription.depth is not None
        symbol = subscription.symbol
        another_depth = symbol in self._syncs
        self.drop(key)
        if another_depth:
            self._foreign[symbol] = None
        sync = BookSync(symbol, subscription.depth, self.settings)
        known = self.instrument(symbol)
        if known is not None:
            sync.instrument(known, now=now)
        self._syncs[symbol] = (key, sync)

    def drop(self, key: StreamKey) -> None:
        """Ignore messages of this book from now on."""
        symbol = str(key[1])
        found = self._syncs.pop(symbol, None)
        self._restless.pop(symbol, None)
        self._foreign.pop(symbol, None)
        if found is not None:
            counted = found[1].statistics()
            self._retired_verified += counted.verified
            self._retired_mismatched += counted.mismatched

    def sync(self, symbol: str) -> BookSync | None:
        """Return the synchronisation of one symbol: its state and counters."""
        found = self._syncs.get(symbol)
        return None if found is None else found[1]

    @property
    def verified(self) -> int:
        """Checksums that matched, of all books so far."""
        return self._retired_verified + sum(sync.statistics().verified for _, sync in self._syncs.values())

    @property
    def mismatched(self) -> int:
        """Checksums that did not match, of all books so far."""
        return self._retired_mismatched + sum(sync.statistics().mismatched for _, sync in self._syncs.values())

    def receive(self, message: BookMessage, *, received_s: float) -> list[Outcome]:
        """Apply a snapshot or an update."""
        outcomes: list[Outcome] = []
        snapshot = message.type == "snapshot"
        for data in message.data:
            found = self._syncs.get(data.symbol)
            if found is None:
                self.unsubscribed += 1
                continue
            if data.symbol in self._foreign:
                continue
            key, sync = found
            self._collect(key, sync, sync.receive(data, snapshot=snapshot, now=received_s), outcomes, received_s)
        return outcomes

    def lose(self, why: str, *, now: float, symbol: str | None = None, line_down: bool = False) -> list[Outcome]:
        """Mark the book of ``symbol``, or every book of this line, as unsynchronised."""
        if line_down:
            self._foreign.clear()
        outcomes: list[Outcome] = []
        for name in list(self._syncs) if symbol is None else [symbol] if symbol in self._syncs else []:
            key, sync = self._syncs[name]
            self._collect(key, sync, sync.lose(why, now=now, resubscribe=not line_down), outcomes, now)
        return outcomes

    def confirmed(self, symbol: str | None, *, depth: int | None, now: float) -> None:
        """Expect the snapshot from now on: the venue confirmed the subscription."""
        found = self._syncs.get(symbol or "")
        if found is not None and depth in (None, found[1].depth):
            _, sync = found
            self._foreign.pop(sync.symbol, None)
            sync.subscribed(now=now)
            self._note_due(sync)

    def changed(self, instrument: Instrument, *, now: float) -> list[Outcome]:
        """Take note of a symbol's precision."""
        outcomes: list[Outcome] = []
        found = self._syncs.get(instrument.symbol)
        if found is not None:
            key, sync = found
            self._collect(key, sync, sync.instrument(instrument, now=now), outcomes, now)
        return outcomes

    def tick(self, *, now: float) -> list[Outcome]:
        """Ask again for snapshots that are overdue."""
        outcomes: list[Outcome] = []
        for symbol in list(self._restless):
            key, sync = self._syncs[symbol]
            if sync.next_due is not None and sync.next_due <= now:
                self._collect(key, sync, sync.tick(now=now), outcomes, now)
        return outcomes

    @property
    def next_due(self) -> float | None:
        """When the first of the books has something due."""
        due: float | None = None
        for symbol in self._restless:
            at = self._syncs[symbol][1].next_due
            if at is not None and (due is None or at < due):
                due = at
        return due

    def _collect(
        self, key: StreamKey, sync: BookSync, actions: Iterable[Action], outcomes: list[Outcome], now: float
    ) -> None:
        for action in actions:
            if isinstance(action, Publish):
                outcomes.append((key, action.event))
                continue
            if sync.state is not SyncState.LIVE:  # a live book that is only refreshed has lost nothing
                alarm = sync.alarm(now=now)
                notice = Resync(at_s=now, channel="book", symbol=sync.symbol, reason=action.reason, alarm=alarm)
                outcomes.append((key, notice))
            outcomes.append((key, Restore(action.reason)))
        self._note_due(sync)

    def _note_due(self, sync: BookSync) -> None:
        if sync.next_due is not None:
            self._restless[sync.symbol] = None
        elif sync.symbol in self._restless:
            del self._restless[sync.symbol]


def _stale(key: StreamKey, why: str, now: float) -> Stale:
    return Stale(str(key[0]), str(key[1]) if len(key) > 1 else None, why, since_s=now)
