"""Judges every published book against the venue.

I-1 (true and verified), I-3 (what is verified is said, and true), I-4 (time never goes back), I-8 (never silently
crossed), I-9 (the venue's digits).
"""

from __future__ import annotations

from typing import Any

import attrs
import trio

from kraken_engine.errors import UsageError
from kraken_engine.normalise.book_view import BookUpdate
from kraken_engine.sim.judges.evidence import checksum, microseconds, rows
from kraken_engine.sim.judges.verdict import Verdict
from kraken_engine.sim.world import World

__all__ = ["BookJudge"]

CROSSED_S = 2.25
"""How long a book may stay crossed, with a quarter of a second to notice."""


@attrs.define(kw_only=True)
class BookJudge:
    """Judges books as they are published."""

    world: World
    verdict: Verdict
    _shown_us: dict[str, int] = attrs.field(factory=dict[str, int], init=False)
    """Venue time of the last book, by symbol."""
    _deep: dict[str, tuple[BookUpdate, tuple[list[list[str]], list[list[str]]] | None]] = attrs.field(
        factory=dict[str, tuple[BookUpdate, tuple[list[list[str]], list[list[str]]] | None]], init=False
    )
    """The last book of each symbol, and the venue's of that moment; None: unknown, or no line could know it."""
    _crossed_since: dict[str, float] = attrs.field(factory=dict[str, float], init=False)

    def published(self, event: BookUpdate) -> None:
        """Judge one book."""
        book, symbol = event.book, event.symbol
        fail = self.verdict.fail
        top = book.top(10)
        bids, asks = rows(top.bids), rows(top.asks)
        found = checksum(bids, asks)
        if found != book.checksum:
            fail("I-1", f"{symbol}: expected a book with checksum {book.checksum}, got levels that have {found}")
        elif not self.world.exchange.ever_had(symbol, book.checksum, event.venue_time):
            fail("I-1", f"{symbol}: expected a book the venue had, got {book.checksum} of {event.venue_time}")
        else:
            self._check_digits(symbol, book.checksum, bids, asks)
        if book.verified_levels < 10:
            fail("I-3", f"{symbol}: expected 10 verified levels at least, got {book.verified_levels}")
        self._check_deep(symbol)
        truly = self.world.wellness.is_told_truly("book", symbol)
        self._deep[symbol] = (event, self._true_levels(event) if truly else None)
        if max(len(book.raw_bids), len(book.raw_asks)) > book.depth:
            fail("I-1", f"{symbol}: expected at most {book.depth} levels, got more")
        self._check_time(event)
        self._check_crossed(event)

    def check(self) -> None:
        """Judge what is said by now of the levels that no checksum covers."""
        for symbol in self._deep:
            self._check_deep(symbol)

    def _check_deep(self, symbol: str) -> None:
        """What is called verified beyond ten levels, at any time after it was shown, is the venue's."""
        event, true = self._deep.get(symbol, (None, None))
        if event is None or true is None or event.book.verified_levels <= 10:
            return
        count = event.book.verified_levels
        for side, levels, expected in (("bids", event.book.bids, true[0]), ("asks", event.book.asks, true[1])):
            shown = rows(levels)
            if shown[:count] != expected[:count]:
                place = next(n for n, pair in enumerate(zip(shown, expected, strict=False)) if pair[0] != pair[1])
                what = f"expected {expected[place]} as verified {side} level {place + 1}, got {shown[place]}"
                self.verdict.fail("I-3", f"{symbol}: {what}")

    def _true_levels(self, event: BookUpdate) -> tuple[list[list[str]], list[list[str]]] | None:
        """Return the venue's levels if it has this very book now; None: it went on, and of the past it keeps ten."""
        true: Any = self.world.exchange.book_state(event.symbol, event.book.depth)
        if (true["checksum"], true["timestamp"]) != (event.book.checksum, event.venue_time):
            return None
        return true["bids"], true["asks"]

    def _check_digits(self, symbol: str, crc: int, bids: list[list[str]], asks: list[list[str]]) -> None:
        try:
            true = self.world.exchange.past_book(symbol, crc)
        except UsageError:
            return  # too long ago for the venue to have kept it whole
        for side, shown in (("bids", bids), ("asks", asks)):
            if true[side] != shown:
                self.verdict.fail("I-9", f"{symbol}: expected {side} {true[side]}, got {shown}")

    def _check_time(self, event: BookUpdate) -> None:
        symbol = event.symbol
        if event.venue_time is None:
            self.verdict.fail("I-4", f"{symbol}: expected the venue's time, got none")
            return
        time_us = microseconds(event.venue_time)
        if time_us < self._shown_us.get(symbol, 0):
            self.verdict.fail("I-4", f"{symbol}: expected {self._shown_us[symbol]} us or later, got {time_us}")
        self._shown_us[symbol] = time_us

    def _check_crossed(self, event: BookUpdate) -> None:
        book, symbol, now = event.book, event.symbol, trio.current_time()
        if not (book.bids and book.asks and book.bids[0].price >= book.asks[0].price):
            self._crossed_since.pop(symbol, None)
            return
        since = self._crossed_since.setdefault(symbol, now)
        if not book.crossed:
            self.verdict.fail("I-8", f"{symbol}: expected bid below ask or a flag, got {book.bid} and {book.ask}")
        elif now - since > CROSSED_S:
            self.verdict.fail("I-8", f"{symbol}: expected crossed for {CROSSED_S} s at most, got {now - since:.2f} s")
