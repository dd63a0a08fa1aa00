"""What an application holds: streams over any mix of topics, and current values that say how far to trust them."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Generic, TypeVar, final, overload

import attrs

from kraken_engine.errors import Stale, UsageError, shown
from kraken_engine.feed.demand import Demand
from kraken_engine.feed.publisher import Publisher
from kraken_engine.feed.subscription import Conflate, OnFull, Subscription
from kraken_engine.feed.topics import AccountTopic, Book, Candles, Ticker, Topic, Trades
from kraken_engine.model import Integrity, Source
from kraken_engine.normalise.book_view import BookUpdate
from kraken_engine.normalise.events import Candle, Event, MarketEvent, TickerUpdate, Trade
from kraken_engine.runtime import Clock

__all__ = ["Feed", "Reading"]

V = TypeVar("V", bound=MarketEvent)


@attrs.frozen(kw_only=True)
class Reading(Generic[V]):
    """A current value: what it is, where it came from, and how far to trust it."""

    value: V
    stale: Stale | None
    """Why the value may not be trusted now; None: it is current."""
    _clock: Clock = attrs.field(alias="clock", repr=False, eq=False)

    @property
    def source(self) -> Source:
        """Where the value came from."""
        return self.value.source

    @property
    def integrity(self) -> Integrity:
        """How far the value may be trusted."""
        return Integrity.RESYNCING if self.stale is not None else self.value.integrity

    @property
    def age_s(self) -> float:
        """Seconds since the bytes of this value were read, at the moment of asking."""
        return self._clock.now() - self.value.received_s


@final
class Feed:
    """The unified feed of one market; made by ``open_market`` and ``open_engine``."""

    def __init__(self, publisher: Publisher, demand: Demand, clock: Clock) -> None:
        self._publisher = publisher
        self._demand = demand
        self._clock = clock
        self._names = 0

    @asynccontextmanager
    async def subscribe(self, *topics: Topic, on_full: OnFull | None = None) -> AsyncGenerator[Subscription]:
        """Open one ordered stream over ``topics`` for as long as the block lasts.

        Args:
            topics: What to listen to. A stream that is live starts with its current value.
            on_full: The rule of the bounded queue; ``Conflate()`` when not given.

        Raises:
            UsageError: no topic, or something that is not a topic.
        """
        if not topics:
            raise UsageError("subscribe: expected at least one topic, such as Ticker('BTC/USD')")
        for topic in topics:
            if not isinstance(topic, Topic):  # pyright: ignore[reportUnnecessaryIsInstance] # callers may be untyped
                raise UsageError(f"subscribe: expected topics, got {topic!r}")
            if isinstance(topic, AccountTopic) and not self._publisher.hosts(topic.account):
                raise UsageError(f"subscribe: no account called {shown(topic.account)} is open here")
        self._names += 1
        named = ", ".join(str(part) for topic in topics for part in topic.key)
        subscription = Subscription(f"#{self._names} ({named})", on_full or Conflate())
        counted: list[Topic] = []
        try:
            for topic in topics:
                self._demand.add(topic)
                counted.append(topic)
                if isinstance(topic, Book):
                    depth = max(t.depth for t in topics if isinstance(t, Book) and t.symbol == topic.symbol)
                    subscription.transform(topic.key, partial(_narrow, depth=depth))
                self._publisher.attach(subscription, topic.key)
            yield subscription
        finally:
            self._publisher.detach(subscription)
            subscription.end()
            for topic in counted:
                self._demand.remove(topic)

    @overload
    def latest(self, topic: Ticker, *, allow_stale: bool = False) -> Reading[TickerUpdate]: ...
    @overload
    def latest(self, topic: Book, *, allow_stale: bool = False) -> Reading[BookUpdate]: ...
    @overload
    def latest(self, topic: Trades, *, allow_stale: bool = False) -> Reading[Trade]: ...
    @overload
    def latest(self, topic: Candles, *, allow_stale: bool = False) -> Reading[Candle]: ...

    def latest(self, topic: Ticker | Book | Trades | Candles, *, allow_stale: bool = False) -> Reading[Any]:
        """Return the newest value of a stream somebody subscribes to, without waiting.

        Raises:
            Stale: there is no value yet; it may not be trusted now, or has fewer levels than asked for
                (``allow_stale=True`` returns it then).
            UsageError: the topic has no current value (``Health``, ``Instruments``).
        """
        if not isinstance(topic, (Ticker, Book, Trades, Candles)):
            raise UsageError(f"latest: {type(topic).__name__} has no current value, subscribe to it")
        value: Any = self._publisher.latest(topic.key)
        stale = self._publisher.freshness.stale(topic.key)
        channel, symbol = topic.wire_key.channel, topic.symbol
        if value is None:
            refused = self._publisher.refused(topic.key)
            why = "no value yet; does anybody subscribe to it?" if refused is None else f"refused: {refused.error}"
            raise Stale(channel, symbol, why if stale is None else stale.why)
        if stale is not None and not allow_stale:
            raise Stale(channel, symbol, stale.why, since_s=stale.since_s)
        if isinstance(topic, Book):
            subscribed = value.book.depth
            if subscribed < topic.depth and not allow_stale:
                raise Stale(channel, symbol, f"{subscribed} levels are subscribed, {topic.depth} were asked for")
            value = _narrow(value, topic.depth)
        return Reading(value=value, stale=stale, clock=self._clock)


def _narrow(event: Event, depth: int) -> Event:
    """Return a book cut down to the depth its reader asked for; anything else as it is."""
    if isinstance(event, BookUpdate) and event.book.depth > depth:
        return attrs.evolve(event, book=event.book.top(depth))
    return event
