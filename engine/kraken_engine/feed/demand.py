"""Who listens to what, reduced to the subscriptions the venue is asked for.

Counts readers per stream. Readers of one book share one subscription, as deep as the deepest of them so far; readers
of one ticker share one, by the finer trigger. It gets wider when it must, and narrower only when nobody reads any more.
Knows nothing of lines: it calls ``want``, ``change`` and ``drop``.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs

from kraken_engine.feed.topics import Book, Candles, Ticker, Topic, Trades
from kraken_engine.state.freshness import StreamKey
from kraken_engine.state.subscriptions import SubscriptionKey

__all__ = ["Demand"]

_WireTopic = Ticker | Book | Trades | Candles


@attrs.define
class Demand:
    """Reference counts of topics, and the subscription each stream needs now."""

    want: Callable[[StreamKey, SubscriptionKey], None]
    """Called when a stream needs this subscription from now on."""
    drop: Callable[[StreamKey, SubscriptionKey], None]
    """Called when a subscription is not needed any more."""
    change: Callable[[StreamKey, SubscriptionKey, SubscriptionKey], None]
    """Called when a stream needs the second subscription from now on, and not the first any more."""
    _readers: dict[StreamKey, dict[_WireTopic, int]] = attrs.field(
        factory=dict[StreamKey, dict[_WireTopic, int]], init=False
    )
    _wanted: dict[StreamKey, SubscriptionKey] = attrs.field(factory=dict[StreamKey, SubscriptionKey], init=False)

    def add(self, topic: Topic) -> None:
        """Count one more reader of ``topic``."""
        if not isinstance(topic, _WireTopic):
            return
        readers = self._readers.setdefault(topic.key, {})
        readers[topic] = readers.get(topic, 0) + 1
        self._settle(topic.key)

    def remove(self, topic: Topic) -> None:
        """Count one reader of ``topic`` less."""
        if not isinstance(topic, _WireTopic):
            return
        readers = self._readers[topic.key]
        readers[topic] -= 1
        if not readers[topic]:
            del readers[topic]
        self._settle(topic.key)

    def wanted(self) -> dict[StreamKey, SubscriptionKey]:
        """Return the subscription every stream needs now."""
        return dict(self._wanted)

    def _settle(self, key: StreamKey) -> None:
        readers = self._readers.get(key)
        before = self._wanted.get(key)
        after = _widest(list(readers)) if readers else None
        if before is not None and after is not None and _width(before) >= _width(after):
            after = before  # a change would cost every reader a gap, and only save the venue some work
        if not readers:
            self._readers.pop(key, None)
        if before == after:
            return
        if after is None:
            self.drop(key, self._wanted.pop(key))
            return
        self._wanted[key] = after
        if before is None:
            self.want(key, after)
        else:
            self.change(key, before, after)


def _widest(topics: list[_WireTopic]) -> SubscriptionKey:
    """Return the one subscription that serves all of ``topics``, which share a stream."""

    return max((topic.wire_key for topic in topics), key=_width)


def _width(key: SubscriptionKey) -> int:
    """Return how much a subscription brings, compared with others of its stream."""
    return key.depth or (key.trigger == "bbo")
