"""What an application holds: streams over any mix of topics, and current values that say how far to trust them."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, final, overload

import attrs

from kraken_engine.errors import Stale, UsageError, shown
from kraken_engine.feed.current import CandleRun, CurrentValues, Patience, Reading
from kraken_engine.feed.demand import Demand
from kraken_engine.feed.publisher import Publisher
from kraken_engine.feed.subscription import Conflate, OnFull, Subscription
from kraken_engine.feed.topics import AccountTopic, Book, Candles, Ticker, Topic, Trades
from kraken_engine.model import Integrity
from kraken_engine.normalise.book_view import BookUpdate
from kraken_engine.normalise.events import Candle, Event, TickerUpdate, Trade
from kraken_engine.runtime import Clock

__all__ = ["Feed", "Reading"]


@final
class Feed:
    """The unified feed of one market; made by ``open_market`` and ``open_engine``."""

    def __init__(
        self,
        publisher: Publisher,
        demand: Demand,
        clock: Clock,
        current: CurrentValues | None = None,
        *,
        batch_size: int = 100,
    ) -> None:
        self._publisher = publisher
        self._demand = demand
        self._clock = clock
        self._current = current or CurrentValues(publisher, None, clock, cache_ttl_s=0.0, fresh_s=0.0)
        self._batch_size = batch_size
        self._names = 0

    @asynccontextmanager
    async def subscribe(self, *topics: Topic, on_full: OnFull | None = None) -> AsyncGenerator[Subscription]:
        """Open one ordered stream over ``topics`` for as long as the block lasts.

        Args:
            topics: What to listen to. A stream that is live starts with its current value.
            on_full: The rule of the bounded queue; ``Conflate()`` when not given.

        Raises:
            UsageError: no topic, or something that is not a topic or not a rule; or the market is closed.
        """
        if self._publisher.closed:
            raise UsageError("subscribe: the market is closed")
        if not topics:
            raise UsageError("subscribe: expected at least one topic, such as Ticker('BTC/USD')")
        for topic in topics:
            if not isinstance(topic, Topic):  # pyright: ignore[reportUnnecessaryIsInstance] # callers may be untyped
                raise UsageError(f"subscribe: expected topics, got {topic!r}")
            if isinstance(topic, AccountTopic) and not self._publisher.hosts(topic.account):
                raise UsageError(f"subscribe: no account called {shown(topic.account)} is open here")
        if on_full is not None and not isinstance(on_full, OnFull):  # pyright: ignore[reportUnnecessaryIsInstance] # as above
            raise UsageError(f"on_full: expected a rule such as Conflate(), got {shown(on_full)}")
        self._names += 1
        named = ", ".join(str(part) for topic in topics for part in topic.key)
        subscription = Subscription(f"#{self._names} ({named})", on_full or Conflate(), batch_size=self._batch_size)
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

    async def get_ticker(
        self, symbol: str, *, max_age_s: float | None = None, allow_stale: bool = False
    ) -> Reading[TickerUpdate]:
        """Return the ticker of ``symbol`` now: from the stream if it is live, else from REST.

        Args:
            symbol: such as ``BTC/USD``; nobody needs to subscribe to it.
            max_age_s: how old an answer of REST may be before it is asked again; 5 s when not given.
            allow_stale: return the newest value there is, rather than nothing, when neither source has a current one.

        Raises:
            Stale: neither the stream nor REST has a current value; it says why for both.
            UsageError: no symbol, depth, interval or age could be like that.
        """
        return await self._current.ticker(symbol, Patience(max_age_s=max_age_s, allow_stale=allow_stale))

    async def get_book(
        self, symbol: str, depth: int = 10, *, max_age_s: float | None = None, allow_stale: bool = False
    ) -> Reading[BookUpdate]:
        """Return the book of ``symbol`` now, ``depth`` levels a side; otherwise as :meth:`get_ticker`.

        A book of REST is rounded and unverified, and has 500 levels a side at most.
        """
        return await self._current.book(symbol, depth, Patience(max_age_s=max_age_s, allow_stale=allow_stale))

    async def get_candles(
        self, symbol: str, interval_min: int = 1, *, max_age_s: float | None = None, allow_stale: bool = False
    ) -> Reading[CandleRun]:
        """Return up to 721 candles of ``symbol``, the last one still forming; otherwise as :meth:`get_ticker`.

        Closed candles come from REST, the forming one from the stream if it is live.
        """
        patience = Patience(max_age_s=max_age_s, allow_stale=allow_stale)
        return await self._current.candles(symbol, interval_min, patience)

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
            if self._publisher.closed:
                why = "the market is closed"
            raise Stale(channel, symbol, why if stale is None else stale.why)
        if stale is None and value.integrity is Integrity.RESYNCING:
            # A stream of trades becomes live without a trade: the last one is still that of an earlier life.
            stale = Stale(channel, symbol, "restored; the stream is current, and has brought nothing newer yet")
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
