"""Judges the way from publisher to readers: I-30 (nothing lost, nothing late), I-31 (queues and sizes are bounded)."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection

import attrs
import trio

from kraken_engine.feed.subscription import Subscription
from kraken_engine.normalise.book_view import BookUpdate
from kraken_engine.normalise.events import Event
from kraken_engine.sim.judges.verdict import Verdict
from kraken_engine.sim.world import World
from kraken_engine.state.freshness import StreamKey

__all__ = ["DeliveryJudge", "check_sizes"]

LATE_S = 0.05
AWAKE_S = 5.0
MOST_TASKS = 100
MOST_BYTES_UNREAD = 65_536


@attrs.define(kw_only=True)
class DeliveryJudge:
    """Judges one reader that reads everything at once, and never misses anything."""

    reader: str
    keys: Collection[StreamKey]
    world: World
    verdict: Verdict
    _owed: deque[tuple[float, Event]] = attrs.field(factory=deque[tuple[float, Event]], init=False)

    def published(self, key: StreamKey, event: Event) -> None:
        """Note what the reader has to get."""
        if key in self.keys:
            self._owed.append((trio.current_time(), event))

    def delivered(self, event: Event) -> None:
        """Judge what it got."""
        if not self._owed:
            self.verdict.fail("I-30", f"{self.reader}: expected nothing, got {event!r:.80}")
            return
        at, expected = self._owed.popleft()
        if not _same(expected, event):
            self.verdict.fail("I-30", f"{self.reader}: expected {expected!r:.80}, got {event!r:.80}")
        self._check_late(at)

    def check(self) -> None:
        """Judge what it has not got yet."""
        if self._owed:
            self._check_late(self._owed[0][0])

    def _check_late(self, at: float) -> None:
        now = trio.current_time()
        if now - at > LATE_S and now - self.world.slept_until > AWAKE_S:
            self.verdict.fail("I-30", f"{self.reader}: expected delivery within {LATE_S} s, got {now - at:.2f} s")


def check_sizes(world: World, verdict: Verdict, subscriptions: dict[str, tuple[Subscription, int]]) -> None:
    """Judge what must not grow: queues of readers (with their capacities), tasks, bytes nobody has read."""
    for reader, (subscription, capacity) in subscriptions.items():
        if len(subscription) > capacity:
            verdict.fail("I-31", f"{reader}: expected at most {capacity} queued events, got {len(subscription)}")
    tasks = trio.lowlevel.current_statistics().tasks_living
    if tasks > MOST_TASKS:
        verdict.fail("I-31", f"expected at most {MOST_TASKS} tasks in the world, got {tasks}")
    for link in world.engine_links():
        for way in (link.up, link.down):
            if way.held_bytes > MOST_BYTES_UNREAD:
                verdict.fail("I-31", f"{way.label}: expected at most {MOST_BYTES_UNREAD} bytes, got {way.held_bytes}")


def _same(published: Event, delivered: Event) -> bool:
    if isinstance(published, BookUpdate) and isinstance(delivered, BookUpdate):
        return (published.book.checksum, published.venue_time) == (delivered.book.checksum, delivered.venue_time)
    return published is delivered
