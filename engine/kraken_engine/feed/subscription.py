"""One consumer's end of the feed: an ordered stream with a bounded queue and a rule for when it is full.

The publisher offers events synchronously and never waits; the consumer reads at its own pace, and what it cannot
keep up with costs only itself. Order: an event never overtakes a notice, in either direction.

* :class:`Conflate` keeps the newest ticker, book and candle per symbol. A newer value takes the place of the
  unread older one, unless a notice came between them: then it queues behind the notice. Trades, changes of
  instruments and notices are queued; when there are more than ``capacity`` of these, the oldest trades and changes
  go, counted and announced by :class:`Lagged`.
* :class:`DropOldest` keeps every event up to ``capacity``; beyond it the oldest market data goes, announced by
  :class:`Lagged`.
* :class:`Bounded` keeps every event up to ``capacity``; beyond it the stream ends with
  :class:`~kraken_engine.errors.SlowConsumer`.

No notice is ever dropped, and no event of an account: a queue full of these alone ends the stream with
``SlowConsumer`` under every rule. A stream that ends so takes what was queued with it, and says how much that was.
"""

from __future__ import annotations

import collections
from collections.abc import Callable
from typing import final

import attrs
import trio

from kraken_engine.errors import SlowConsumer, Stale, UsageError, shown
from kraken_engine.normalise.events import AccountEvent, Event, Lagged, MarketEvent, Notice, Trade
from kraken_engine.state.freshness import StreamKey

__all__ = ["Batches", "Bounded", "Conflate", "DropOldest", "OnFull", "Subscription", "SubscriptionStatistics"]

_NEVER_DROPPED = (Notice, Stale, AccountEvent)
"""What is neither conflated nor dropped; a queue full of it ends the stream."""

_EMPTY_PLACES = 64
"""So many withdrawn entries may wait in a queue before it is made anew."""

_CHECKPOINT_EVERY = 64
"""A consumer that always finds something still lets others run, every so many events."""


def _capacity(_: object, __: attrs.Attribute[int], value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise UsageError(f"capacity: expected a whole number of 1 or more, got {shown(value)}")


@attrs.frozen
class Conflate:
    """Keep the newest value per stream; ``capacity`` is for what cannot be conflated, see the module."""

    capacity: int = attrs.field(default=10_000, validator=_capacity)


@attrs.frozen
class DropOldest:
    """Keep every event; when full, drop the oldest market data and say so."""

    capacity: int = attrs.field(default=10_000, validator=_capacity)


@attrs.frozen
class Bounded:
    """Keep every event; when full, end the stream with ``SlowConsumer``."""

    capacity: int = attrs.field(default=10_000, validator=_capacity)


OnFull = Conflate | DropOldest | Bounded


@attrs.frozen(kw_only=True)
class SubscriptionStatistics:
    """What a subscription did so far."""

    delivered: int
    conflated: int
    """Values replaced by a newer one before they were read."""
    lost: int
    """Events dropped because the queue was full."""
    queued: int


@attrs.define(eq=False)
class _Entry:
    key: StreamKey
    event: Event | None
    """None: withdrawn, skip it."""
    after_notice: int
    """How many notices had been queued before it."""


@final
class Subscription:
    """An ordered stream of events over the topics it was opened for.

    Iterate it (one event at a time) or its :meth:`batches`; one task at a time. The stream ends when the engine
    closes. Cancelling a wait loses nothing.
    """

    def __init__(self, name: str, on_full: OnFull, *, batch_size: int = 100) -> None:
        self.name = name
        self._on_full = on_full
        self._batch_size = batch_size
        self._conflates = isinstance(on_full, Conflate)
        self._transforms: dict[StreamKey, Callable[[Event], Event]] = {}
        self._queue: collections.deque[_Entry] = collections.deque()
        self._droppable: collections.deque[_Entry] = collections.deque()
        """What piles up and may be dropped when the queue is full, oldest first."""
        self._slots: dict[StreamKey, _Entry] = {}
        """The unread value of each stream that conflates."""
        self._withdrawn = 0
        self._notices_seen = 0
        self._notices_queued = 0
        self._lagged = 0
        self._delivered = 0
        self._conflated = 0
        self._lost = 0
        self._since_checkpoint = 0
        self._closed = False
        self._failure: tuple[int, int] | None = None
        """Capacity and events lost, once the stream has ended for being too slow."""
        self._reading = False
        self._lot = trio.lowlevel.ParkingLot()

    def __repr__(self) -> str:
        state = "failed" if self._failure else "closed" if self._closed else "open"
        return f"<Subscription {self.name} {state}, {len(self)} queued>"

    def __len__(self) -> int:
        return len(self._queue) - self._withdrawn

    def statistics(self) -> SubscriptionStatistics:
        """Return the counters of this subscription."""
        return SubscriptionStatistics(
            delivered=self._delivered, conflated=self._conflated, lost=self._lost, queued=len(self)
        )

    # -- the publisher's side: synchronous, never waits

    def transform(self, key: StreamKey, function: Callable[[Event], Event]) -> None:
        """Pass market data of ``key`` through ``function`` when it is read (a narrower book, say)."""
        self._transforms[key] = function

    def offer(self, key: StreamKey, event: Event) -> None:
        """Queue ``event`` of stream ``key`` by the rule of this subscription; :meth:`wake` follows after the batch."""
        if self._closed or self._failure is not None:
            return
        if isinstance(event, _NEVER_DROPPED):
            self._offer_notice(key, event)
        elif self._conflates and isinstance(event, MarketEvent) and not isinstance(event, Trade):
            self._offer_state(key, event)
        else:
            entry = _Entry(key, event, self._notices_seen)
            self._queue.append(entry)
            self._droppable.append(entry)
        if len(self._droppable) + self._notices_queued > self._on_full.capacity:
            self._make_room()

    def wake(self) -> None:
        """Let the reader run, if it waits and there is something for it."""
        if self._queue or self._closed or self._failure is not None:
            self._lot.unpark_all()

    def end(self) -> None:
        """Close the stream: what is queued is still delivered, then the iteration ends."""
        self._closed = True
        self._lot.unpark_all()

    def _offer_state(self, key: StreamKey, event: Event) -> None:
        entry = self._slots.get(key)
        if entry is not None:
            self._conflated += 1
            if entry.after_notice == self._notices_seen:
                entry.event = event
                return
            self._withdraw(entry)
        self._slots[key] = entry = _Entry(key, event, self._notices_seen)
        self._queue.append(entry)

    def _offer_notice(self, key: StreamKey, event: Event) -> None:
        """Queue what is never dropped; no value overtakes it."""
        self._notices_seen += 1
        self._notices_queued += 1
        if isinstance(event, Stale):
            # A price that is known to be stale by now is not worth delivering any more.
            pending = self._slots.pop(key, None)
            if pending is not None:
                self._withdraw(pending)
        self._queue.append(_Entry(key, event, self._notices_seen))

    def _withdraw(self, entry: _Entry) -> None:
        """Leave ``entry`` out; its place in the queue goes when it comes to the front, or when many are empty."""
        entry.event = None
        self._withdrawn += 1
        if self._withdrawn > _EMPTY_PLACES and self._withdrawn * 2 > len(self._queue):
            self._queue = collections.deque(e for e in self._queue if e.event is not None)
            self._withdrawn = 0

    def _make_room(self) -> None:
        """Drop the oldest of what piles up; where nothing may be dropped, the stream is over."""
        if isinstance(self._on_full, Bounded) or not self._droppable:
            self._fail()
            return
        self._withdraw(self._droppable.popleft())
        self._lost += 1
        self._lagged += 1

    def _fail(self) -> None:
        self._lost += len(self)
        self._queue.clear()
        self._droppable.clear()
        self._slots.clear()
        self._withdrawn = self._notices_queued = 0
        self._failure = (self._on_full.capacity, self._lost)
        self._lot.unpark_all()

    # -- the consumer's side

    def __aiter__(self) -> Subscription:
        return self

    async def __anext__(self) -> Event:
        """Return the next event.

        Raises:
            StopAsyncIteration: the engine or this subscription was closed and everything has been delivered.
            SlowConsumer: the queue was full; the stream is over.
            trio.BusyResourceError: another task reads this subscription.
        """
        batch = await self.take_batch(1, 0.0)
        if not batch:
            raise StopAsyncIteration
        return batch[0]

    def batches(self, *, max_events: int | None = None, linger_s: float = 0.0) -> Batches:
        """Return an iterator over lists of up to ``max_events`` events: everything queued at that moment.

        Without ``max_events`` they are as large as ``performance.batch_size`` allows.
        With ``linger_s`` the first event of a batch waits up to so long for company.
        """
        return Batches(self, max_events=self._batch_size if max_events is None else max_events, linger_s=linger_s)

    async def take_batch(self, max_events: int, linger_s: float) -> list[Event]:
        """Wait for something, then return up to ``max_events`` events; an empty list when the stream is over.

        Raises:
            SlowConsumer: the queue was full; the stream is over.
            trio.BusyResourceError: another task reads this subscription.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        if self._reading:
            raise trio.BusyResourceError("another task reads this subscription")
        self._reading = True
        try:
            if self._since_checkpoint >= _CHECKPOINT_EVERY:
                self._since_checkpoint = 0
                await trio.lowlevel.checkpoint()
            await self._wait()
            if linger_s > 0 and len(self) < max_events and not self._closed:
                await trio.sleep(linger_s)
                await self._wait()  # the queue may have overrun meanwhile
        finally:
            self._reading = False
        batch: list[Event] = []
        while len(batch) < max_events:
            event = self._take()
            if event is None:
                break
            batch.append(event)
        self._since_checkpoint += len(batch)
        return batch

    async def _wait(self) -> None:
        """Wait until something can be taken, or nothing ever will."""
        while not len(self):
            if self._failure is not None:
                capacity, lost = self._failure
                raise SlowConsumer(self.name, capacity, lost)
            if self._closed:
                return
            self._since_checkpoint = 0
            await self._lot.park()

    def _take(self) -> Event | None:
        """Return the next event without waiting, or None."""
        if self._lagged and len(self):
            lost, self._lagged = self._lagged, 0
            return Lagged(at_s=trio.current_time(), lost=lost)
        queue = self._queue
        while queue:
            entry = queue.popleft()
            event = entry.event
            if event is None:
                self._withdrawn -= 1
                continue
            if self._slots.get(entry.key) is entry:
                del self._slots[entry.key]
            self._delivered += 1
            if isinstance(event, _NEVER_DROPPED):
                self._notices_queued -= 1
                return event
            if self._droppable and self._droppable[0] is entry:
                self._droppable.popleft()
            transform = self._transforms.get(entry.key)
            return event if transform is None else transform(event)
        return None


@final
class Batches:
    """Iterates over a subscription in lists; made by :meth:`Subscription.batches`."""

    def __init__(self, subscription: Subscription, *, max_events: int, linger_s: float) -> None:
        if max_events < 1:
            raise UsageError(f"max_events: expected 1 or more, got {max_events}")
        if linger_s < 0:
            raise UsageError(f"linger_s: expected 0 or more, got {linger_s}")
        self._subscription = subscription
        self._max_events = max_events
        self._linger_s = linger_s

    def __aiter__(self) -> Batches:
        return self

    async def __anext__(self) -> list[Event]:
        """Return the next batch; raises as :meth:`Subscription.__anext__` does."""
        batch = await self._subscription.take_batch(self._max_events, self._linger_s)
        if not batch:
            raise StopAsyncIteration
        return batch
