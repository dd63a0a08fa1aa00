"""What changed, and when: a bounded memory of account and connection state, and of the top of every book.

Changes are kept by *lane*: one for connections, one for each account, one for the book of each symbol. All lanes
together hold at most ``max_entries``. Once they are full, a lane with more than an equal share pays for its own news,
and one with less is paid for by the longest: a busy book cannot push out what happened to the account last night.

Knows nothing of who asks, of disks, or what an account's change means.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterable, Iterator
from typing import Any

import attrs

from kraken_engine.codec.numbers import decimal_of
from kraken_engine.codec.ws_v2 import Level
from kraken_engine.errors import UsageError
from kraken_engine.model import Integrity, Source
from kraken_engine.normalise.book_view import BookUpdate
from kraken_engine.normalise.events import PriceLevel

__all__ = ["CONNECTIONS", "MAX_ENTRIES", "Change", "History", "Lane", "TopOfBook", "account_lane", "book_lane"]

MAX_ENTRIES = 10_000

Lane = tuple[Hashable, ...]

CONNECTIONS: Lane = ("connections",)
"""Lines coming and going, the venue's announced state, changes of the source."""


def account_lane(name: str) -> Lane:
    """Return the lane of an account's balances and orders."""
    return ("account", name)


def book_lane(symbol: str) -> Lane:
    """Return the lane of the best bid and offer of a symbol."""
    return ("top", symbol)


@attrs.frozen
class TopOfBook:
    """The best level of each side at one moment; None: nobody is on that side."""

    raw_bid: Level | None = attrs.field(repr=False)
    raw_ask: Level | None = attrs.field(repr=False)
    source: Source
    integrity: Integrity
    venue_time: str | None

    @property
    def bid(self) -> PriceLevel | None:
        """Highest bid, digits as the venue wrote them."""
        return _level(self.raw_bid)

    @property
    def ask(self) -> PriceLevel | None:
        """Lowest ask, digits as the venue wrote them."""
        return _level(self.raw_ask)


@attrs.frozen
class Change:
    """One change: what was true from ``at_s`` (monotonic) on."""

    lane: Lane
    at_s: float
    value: Any
    restored: bool = False
    """Whether an earlier process saw it. What held at its end need not hold now."""


@attrs.define
class History:
    """The memory of one engine."""

    max_entries: int = attrs.field(default=MAX_ENTRIES, validator=attrs.validators.ge(1))
    forgotten: int = attrs.field(default=0, init=False)
    """Changes that had to make room."""
    _lanes: dict[Lane, deque[Change]] = attrs.field(factory=dict[Lane, deque[Change]], init=False)
    _size: int = attrs.field(default=0, init=False)

    def __len__(self) -> int:
        return self._size

    def add(self, lane: Lane, value: Any, *, at_s: float) -> bool:
        """Remember that ``value`` holds from ``at_s`` on; what is as it was is no change. Return whether it was one."""
        changes = self._lanes.get(lane)
        if changes is None:
            changes = self._lanes[lane] = deque()
        elif changes and not changes[-1].restored and changes[-1].value == value:
            return False
        if self._size >= self.max_entries:
            self._make_room(changes)
        changes.append(Change(lane, at_s, value))
        self._size += 1
        return True

    def book(self, update: BookUpdate) -> bool:
        """Remember the top of a book, if it changed or comes from elsewhere; return whether it did."""
        view = update.book
        bid = view.raw_bids[0] if view.raw_bids else None
        ask = view.raw_asks[0] if view.raw_asks else None
        changes = self._lanes.get(("top", update.symbol))
        if changes and not changes[-1].restored:
            last = changes[-1].value
            if last.raw_bid == bid and last.raw_ask == ask and last.source is update.source:
                return False
        top = TopOfBook(bid, ask, update.source, update.integrity, update.venue_time)
        return self.add(book_lane(update.symbol), top, at_s=update.received_s)

    def restore(self, changes: Iterable[Change]) -> None:
        """Put what an earlier process remembered before everything else; what finds no room goes first."""
        before: dict[Lane, list[Change]] = {}
        for change in changes:
            before.setdefault(change.lane, []).append(change)
            self._size += 1
        for lane, older in before.items():
            self._lanes[lane] = deque([*older, *self._lanes.get(lane, ())])
        while self._size > self.max_entries:
            self._make_room(max(self._lanes.values(), key=len))

    @property
    def lanes(self) -> tuple[Lane, ...]:
        """The lanes something is remembered of."""
        return tuple(lane for lane, changes in self._lanes.items() if changes)

    def changes(self, lane: Lane, *, since_s: float | None = None, last: int | None = None) -> tuple[Change, ...]:
        """Return what is remembered of a lane, oldest first.

        Args:
            lane: such as :data:`CONNECTIONS`, :func:`account_lane` or :func:`book_lane`.
            since_s: only changes at or after this moment.
            last: only the latest so many.

        Raises:
            UsageError: ``last`` is negative.
        """
        if last is not None and last < 0:
            raise UsageError(f"last: expected 0 or more, got {last}")
        found = [change for change in self._lanes.get(lane, ()) if since_s is None or change.at_s >= since_s]
        return tuple(found if last is None else found[len(found) - min(last, len(found)) :])

    def at(self, lane: Lane, at_s: float) -> Change | None:
        """Return what held in a lane at ``at_s``; None: nothing is remembered of that time."""
        for change in reversed(self._lanes.get(lane, deque[Change]())):
            if change.at_s <= at_s:
                return change
        return None

    def __iter__(self) -> Iterator[Change]:
        """Go through everything remembered, lane by lane."""
        for changes in self._lanes.values():
            yield from changes

    def _make_room(self, wanting: deque[Change]) -> None:
        if len(wanting) * len(self._lanes) < self.max_entries or not wanting:
            wanting = max(self._lanes.values(), key=len)
        wanting.popleft()
        self._size -= 1
        self.forgotten += 1


def _level(raw: Level | None) -> PriceLevel | None:
    return None if raw is None else PriceLevel(decimal_of(raw.price, "price"), decimal_of(raw.qty, "qty"))
