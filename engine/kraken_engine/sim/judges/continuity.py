"""Judges what redundancy promises: while one line is well, nobody notices what becomes of the others.

I-5 (no trade is announced as missing that a line had), I-6 (no stream is called stale that a line feeds), and a rule of
its own, C-1: every update of a book that was sent is shown, in order, once, unless readers were told of a loss.
"""

from __future__ import annotations

import math
from collections.abc import Collection

import attrs
import trio

from kraken_engine.errors import Stale
from kraken_engine.normalise.book_view import BookUpdate
from kraken_engine.normalise.events import Event, Gap, Live, Trade, TradeGap
from kraken_engine.sim.figures import Figures
from kraken_engine.sim.judges.evidence import microseconds, name_of
from kraken_engine.sim.judges.verdict import Verdict
from kraken_engine.sim.world import World
from kraken_engine.state.freshness import StreamKey

__all__ = ["ContinuityJudge"]

CHANGES = "the subscription changes"
"""Why a stream is stale that its own readers asked to be another: no line can help there."""

_Point = tuple[int, int]


@attrs.define(eq=False)
class _Book:
    depth: int = 0
    place: int | None = None
    """Number of the update shown last, among those the venue sent; None: the next one only has to be one of them."""
    last: _Point | None = None
    shown_s: float = 0.0
    """When that was."""


@attrs.define(kw_only=True)
class ContinuityJudge:
    """Compares what is published with what each line had."""

    world: World
    verdict: Verdict
    figures: Figures
    keys: Collection[StreamKey] | None = None
    """Streams that somebody always reads; of others lines may let go as they like. None: all are."""
    skipped: int = attrs.field(default=0, init=False)
    """Updates that were not shown, and that no line had while it was well: two in one, most of them."""
    _books: dict[StreamKey, _Book] = attrs.field(factory=dict[StreamKey, _Book], init=False)
    _traded_s: dict[StreamKey, float] = attrs.field(factory=dict[StreamKey, float], init=False)
    """When the last trade was shown."""

    def see(self, key: StreamKey, event: Event) -> None:
        """Judge what is published next."""
        if isinstance(event, BookUpdate):
            self._book(key, self._books.setdefault(key, _Book()), event)
            return
        if isinstance(event, (Stale, Gap, Live)) and key[0] == "book":
            self._books.pop(key, None)
        if isinstance(event, Stale) and CHANGES not in event.why:
            self._check_well("I-6", key, f"expected no Stale while a line is well, got {event}")
        elif isinstance(event, Trade):
            self._traded_s[key] = trio.current_time()
        elif isinstance(event, TradeGap) and self.world.wellness.well_since(key) <= self._traded_s.get(key, -math.inf):
            # One that no line brought shows with the next, however long after.
            what = f"expected no trade to be missing while a line is well, got {event.first} to {event.last}"
            self._check_well("I-5", key, what)

    def _check_well(self, invariant: str, key: StreamKey, what: str) -> None:
        if (self.keys is None or key in self.keys) and self.world.wellness.is_well(key):
            self.verdict.fail(invariant, f"{name_of(key)}: {what}")

    def _book(self, key: StreamKey, book: _Book, event: BookUpdate) -> None:
        now, depth = trio.current_time(), event.book.depth
        point = (microseconds(event.venue_time or ""), event.book.checksum)
        if depth != book.depth:
            book.depth, book.place = depth, None
        first, sent = self.world.exchange.told(event.symbol, depth, 0 if book.place is None else book.place)
        place = self._find(point, first, sent, book)
        if place is None:
            self._unsent(key, book, event, list(enumerate(sent, first)))
        elif book.place is not None and place > book.place + 1:
            between = [one for number, one in enumerate(sent, first) if book.place < number < place]
            self._hole(key, book, [one for one in between if one[0] < point[0]] if self._batched(key) else between)
        elif book.place is not None and place <= book.place and not self._lied(key):
            self._fail(key, f"expected update {book.place + 1}, got {place} again")
        if place is not None and (book.place is None or place > book.place):
            self._delay(key, event, point)
            book.place = place
        book.last, book.shown_s = point, now

    def _find(self, point: _Point, first: int, sent: list[_Point], book: _Book) -> int | None:
        """Return the number of ``point``: the first from the one shown last on, else the last there is."""
        places = [first + number for number, one in enumerate(sent) if one == point]
        if not places:
            return None
        if book.place is None:
            return places[-1]
        return next((place for place in places if place > book.place), places[-1])

    def _unsent(self, key: StreamKey, book: _Book, event: BookUpdate, sent: list[tuple[int, _Point]]) -> None:
        """A snapshot may be of a book that changed deeper than anybody of this depth was told; nothing else may."""
        time_us = microseconds(event.venue_time or "")
        if not event.snapshot:
            if book.place is not None or sent:
                self._fail(key, f"expected an update the venue sent, got {event.book.checksum} of {time_us}")
            return
        before = [(number, point) for number, point in sent if point[0] <= time_us]
        if book.place is not None and before and before[-1][0] > book.place:
            self._hole(key, book, [point for number, point in before if number > (book.place or 0)])
            book.place = before[-1][0]

    def _hole(self, key: StreamKey, book: _Book, missing: list[_Point]) -> None:
        if missing and self.world.wellness.well_since(key) <= book.shown_s:
            what = f"expected update {(book.place or 0) + 1} that a line had, got one {len(missing)} further on"
            self._fail(key, what)
        self.skipped += len(missing)

    def _batched(self, key: StreamKey) -> bool:
        """Whether a line may bring at once what happened within one microsecond, before another brings each."""
        return self.world.wellness.felt(str(key[1]), "batch_differently", "merge_updates")

    def _lied(self, key: StreamKey) -> bool:
        """Whether the venue may have told a line another book of the same time and checksum, or the same once more.

        A single line tells its readers what it is told; where several are compared, nothing is shown twice.
        """
        return self.world.config.pool.market_lines == 1 or self.world.wellness.felt(str(key[1]), "falsify_level")

    def _delay(self, key: StreamKey, event: BookUpdate, point: _Point) -> None:
        """Measure how long an update took that a line had all the while."""
        sent_s = (point[0] - self.world.clock.wall_start_ns // 1000) / 1e6
        if not event.snapshot and self.world.wellness.well_since(key) <= sent_s:
            self.figures.add("an update shown while a line is well", trio.current_time() - sent_s)

    def _fail(self, key: StreamKey, what: str) -> None:
        self.verdict.fail("C-1", f"{name_of(key)}: {what}")
