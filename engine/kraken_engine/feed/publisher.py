"""From state to consumers: synchronous, in order, never waiting for anybody.

Whoever applies a message calls :meth:`Publisher.publish` for each resulting event and :meth:`Publisher.flush` once per
batch; in Trio that is atomic as long as nothing is awaited in between, so there is one writer at a time and no lock.
The publisher keeps the newest value of every stream and whether it is current, and outlives its sources.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import final

from kraken_engine.errors import Stale
from kraken_engine.feed.subscription import Subscription
from kraken_engine.feed.topics import HEALTH_KEY
from kraken_engine.normalise.account_events import BalanceUpdate, OrdersListed, OrderUpdate
from kraken_engine.normalise.events import (
    AccountEvent,
    Event,
    InstrumentUpdate,
    Live,
    MarketEvent,
    Notice,
    Refused,
)
from kraken_engine.state.freshness import Freshness, StreamKey
from kraken_engine.state.gate import Gate

__all__ = ["ACCOUNT_STREAMS", "Publisher"]

ACCOUNT_STREAMS = ("executions", "orders", "balances")
"""The streams of each account: ``(name, account)``."""

_STREAMS: dict[type, str] = {OrderUpdate: "orders", OrdersListed: "orders", BalanceUpdate: "balances"}


@final
class Publisher:
    """Fans events out to subscriptions and keeps the newest value of every stream."""

    def __init__(self) -> None:
        self.published = 0
        """Market data events published so far."""
        self._gate = Gate(self._tell)
        self._refused: dict[StreamKey, Refused] = {}
        self._readers: dict[StreamKey, list[Subscription]] = {}
        self._touched: dict[Subscription, None] = {}
        self._closed = False
        self._observers: list[Callable[[StreamKey, Event], None]] = []
        self._greetings: dict[str, Callable[[StreamKey], Iterable[Event]]] = {}

    @property
    def closed(self) -> bool:
        """Whether nothing more will be published."""
        return self._closed

    @property
    def freshness(self) -> Freshness:
        """Which streams are current."""
        return self._gate.freshness

    def publish(self, key: StreamKey, event: Event) -> None:
        """Publish what happened to the stream ``key``; readers run after :meth:`flush`."""
        self._gate.publish(key, event)

    def hold(self, key: StreamKey, why: str, *, now: float) -> None:
        """Withhold the values of a stream from its readers, since they come late."""
        self._gate.hold(key, why, now=now)

    def release(self, key: StreamKey, *, now: float) -> None:
        """End :meth:`hold`; readers get what was withheld, or the value they have once more, unless more is wrong."""
        self._gate.release(key, now=now)

    def end_hold(self, key: StreamKey) -> None:
        """Forget what was withheld: another source takes over, and this one is not late."""
        self._gate.end_hold(key)

    def suspect(self, key: StreamKey, why: str, *, now: float) -> None:
        """Mark a stream stale because its source went quiet."""
        self._gate.suspect(key, why, now=now)

    def lose(self, key: StreamKey, why: str, *, now: float) -> None:
        """Mark a stream stale because updates were, or may have been, lost."""
        self._gate.lose(key, why, now=now)

    def announce(self, notice: Notice) -> None:
        """Publish a notice that concerns no single stream (a line, the venue's state)."""
        self._tell(HEALTH_KEY, notice)

    def announce_at_once(self, notice: Notice) -> None:
        """Publish a notice and let readers run: for whoever has nothing else to tell."""
        self.announce(notice)
        self.flush()

    # -- accounts

    def host(self, account: str, greet: Callable[[StreamKey], Iterable[Event]]) -> Callable[[], None]:
        """Carry the streams of ``account`` until the returned function is called.

        Args:
            account: its name; one of that name at a time.
            greet: what a new reader of one of its streams is told first: whether the account is current, and what is
                true now.
        """
        self._greetings[account] = greet

        def leave() -> None:
            del self._greetings[account]

        return leave

    def hosts(self, account: str) -> bool:
        """Return whether the streams of ``account`` are carried here."""
        return account in self._greetings

    def tell(self, account: str, event: Event) -> None:
        """Publish what happened to ``account``; a notice concerns all of its streams, and is told once to each reader.

        Nothing of this is conflated or dropped: a reader that falls too far behind is ended instead.
        """
        if isinstance(event, AccountEvent):
            name = _STREAMS.get(type(event), "executions")
            self._tell((name, account), event)
            return
        for observer in self._observers:
            observer(("account", account), event)
        readers: dict[Subscription, StreamKey] = {}
        for key in (*((name, account) for name in ACCOUNT_STREAMS), HEALTH_KEY):
            for subscription in self._readers.get(key, ()):
                readers.setdefault(subscription, key)
        for subscription, key in readers.items():
            subscription.offer(key, event)
            self._touched[subscription] = None

    def flush(self) -> None:
        """Wake every reader that got something since the last flush: once per batch, not per event."""
        if self._touched:
            for subscription in self._touched:
                subscription.wake()
            self._touched.clear()

    def values(self) -> dict[StreamKey, MarketEvent]:
        """Return the newest value of every stream, current or not."""
        return dict(self._gate.latest)

    def restore(self, key: StreamKey, event: MarketEvent, stale: Stale) -> None:
        """Keep a value of an earlier process for whoever asks for stale ones, unless there is a newer one already."""
        if key not in self._gate.latest:
            self._gate.latest[key] = event
            self.freshness.restore(key, stale)

    def latest(self, key: StreamKey) -> MarketEvent | None:
        """Return the newest value of ``key``, current or not."""
        return self._gate.latest.get(key)

    def forget(self, key: StreamKey) -> None:
        """Drop the value of a stream that is not subscribed any more, so that nobody takes it for current."""
        self._refused.pop(key, None)
        self._gate.forget(key)

    def stale(self, key: StreamKey) -> Stale | None:
        """Return why values of ``key`` may not be trusted now; None: they may, or there are none yet."""
        return self.freshness.stale(key)

    def refused(self, key: StreamKey) -> Refused | None:
        """Return the venue's final refusal of ``key``, if that was its last word."""
        return self._refused.get(key)

    def observe(self, observer: Callable[[StreamKey, Event], None]) -> Callable[[], None]:
        """Call ``observer`` for everything published, before any reader sees it, until the returned function is called.

        For recorders and judges: an observer must not raise, and must be quick.
        """
        self._observers.append(observer)
        return lambda: self._observers.remove(observer)

    def attach(self, subscription: Subscription, key: StreamKey) -> None:
        """Let ``subscription`` read ``key`` from now on; it starts with what is true now."""
        readers = self._readers.setdefault(key, [])
        if subscription in readers:
            return
        readers.append(subscription)
        if key[0] in ACCOUNT_STREAMS:
            self._greet(subscription, key)
            return
        stale, live_s = self.freshness.stale(key), self.freshness.live_since(key)
        value = self._gate.latest.get(key)
        refused = self._refused.get(key)
        if stale is not None:
            subscription.offer(key, stale)
        elif refused is not None:
            subscription.offer(key, refused)
        elif live_s is not None and key[0] == "trade":  # each trade once: the last one is history to who comes now
            subscription.offer(key, Live(at_s=live_s, channel="trade", symbol=str(key[1])))
        elif live_s is not None and value is not None:
            subscription.offer(key, value)
        if self._closed:
            subscription.end()

    def _greet(self, subscription: Subscription, key: StreamKey) -> None:
        """Tell a new reader of an account's stream what is true now; a notice only if no other stream told it."""
        others = [(name, key[1]) for name in ACCOUNT_STREAMS if name != key[0]]
        greeted = any(subscription in self._readers.get(other, ()) for other in others)
        greet = self._greetings.get(str(key[1]))
        for event in () if greet is None else greet(key):
            if isinstance(event, AccountEvent) or not greeted:
                subscription.offer(key, event)
        if self._closed:
            subscription.end()

    def detach(self, subscription: Subscription) -> None:
        """Stop feeding ``subscription``."""
        for key in [key for key, readers in self._readers.items() if subscription in readers]:
            self._readers[key].remove(subscription)
            if not self._readers[key]:
                del self._readers[key]
        self._touched.pop(subscription, None)

    def close(self) -> None:
        """End every stream: readers get what is queued, then the end. No value is current from here on."""
        self._closed = True
        self.freshness.end("the market is closed")
        for readers in self._readers.values():
            for subscription in readers:
                subscription.end()

    def _tell(self, key: StreamKey, event: Event) -> None:
        if isinstance(event, MarketEvent):
            self.published += 1
        elif isinstance(event, Refused) and event.final:
            self._refused[key] = event
        elif isinstance(event, Live):
            self._refused.pop(key, None)
        for observer in self._observers:
            observer(key, event)
        readers = self._readers.get(key, [])
        for subscription in readers:
            subscription.offer(key, event)
            self._touched[subscription] = None
        if key != HEALTH_KEY and isinstance(event, (Notice, Stale)) and not isinstance(event, InstrumentUpdate):
            for subscription in self._readers.get(HEALTH_KEY, ()):
                if subscription not in readers:  # who reads both is told once
                    subscription.offer(HEALTH_KEY, event)
                    self._touched[subscription] = None
