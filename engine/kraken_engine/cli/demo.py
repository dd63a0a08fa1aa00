"""``kraken-engine demo``: engine and venue in one process over real sockets, broken three times on purpose, and healed.

The venue's own books are the judge: at the end each of ours must equal what the venue's was at one and the same moment,
level for level and checksum for checksum.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import attrs
import trio

from kraken_engine.cli.board import Board
from kraken_engine.cli.demo_ledger import Ledger
from kraken_engine.cli.interruption import open_interruption
from kraken_engine.cli.output import book_json, print_json, print_text
from kraken_engine.cli.parameters import Flag, Rate, Seconds, Seed, Symbols
from kraken_engine.config import Config
from kraken_engine.errors import Stale
from kraken_engine.feed.subscription import Bounded, Subscription
from kraken_engine.feed.topics import Book
from kraken_engine.normalise.book_view import BookUpdate
from kraken_engine.runtime import Runtime, real_runtime
from kraken_engine.tasks.market import Market, open_market
from kraken_engine.tasks.scope import open_background
from kraken_engine.venue.core.records import FaultRecord
from kraken_engine.venue.shells.server import VenueServer, VenueSettings, open_venue

__all__ = ["demo"]

_LOSE_ONE_AT = 0.2
_CUT_AT = 0.45
_CORRUPT_AT = 0.7
"""When the faults are made, as parts of the run."""
_PATIENCE_S = 15.0
_LOOK_S = 0.01


async def demo(
    *, seconds: Seconds = 20.0, symbols: Symbols = 5, rate: Rate = 50.0, seed: Seed = 1, json: Flag = False
) -> int:
    """Run the engine on a simulated venue, break it three times, and show that it heals.

    Parameters
    ----------
    seconds
        How long to run before the books are compared.
    symbols
        How many markets there are.
    rate
        Book updates a second over all markets.
    seed
        What the markets do follows from it.
    json
        Print one line of JSON at the end instead of a live table.
    """
    runtime = real_runtime()
    shows: list[_Show] = []  # empty: interrupted before it could begin
    async with (
        open_interruption() as interruption,
        open_venue(runtime, VenueSettings(symbols=symbols, rate=rate, seed=seed)) as venue,
        open_market(Config(public_url=venue.ws_url), runtime=runtime) as market,
    ):
        show = _Show(runtime=runtime, venue=venue, market=market, seconds=seconds)
        shows.append(show)
        books = [Book(symbol) for symbol in show.symbols]
        async with market.feed.subscribe(*books, market.health, on_full=Bounded(100_000)) as events:
            await show.run(events, table=not json)
    summary = shows[0].summary() if shows else {}
    if interruption.name is not None:
        summary |= {"ok": False, "interrupted": interruption.name}
    if json:
        print_json(summary)
    elif shows:
        _report(shows[0], summary)
    return interruption.code or (0 if summary["ok"] else 1)


@attrs.define(kw_only=True)
class _Show:
    """One run of the demo."""

    runtime: Runtime
    venue: VenueServer
    market: Market
    seconds: float
    symbols: list[str] = attrs.field(init=False)
    ledger: Ledger = attrs.field(init=False)
    began_s: float = attrs.field(init=False)
    unequal: dict[str, list[Any] | None] = attrs.field(init=False)
    """The venue's book of each symbol at one moment after the last fault (before: None), until ours was that book."""
    corrupted: FaultRecord | None = attrs.field(default=None, init=False)
    """What the venue knows of the wrong checksum: how many lines it was told on."""
    _ended_s: float = attrs.field(default=0.0, init=False)

    def __attrs_post_init__(self) -> None:
        self.symbols = list(self.venue.exchange.symbols)
        self.ledger = Ledger(self.symbols)
        self.unequal = dict.fromkeys(self.symbols)
        self.began_s = self.runtime.clock.now()

    async def run(self, events: Subscription, *, table: bool) -> None:
        """Run until the books have been compared, or could not be made equal in time."""
        async with open_background("the demo") as nursery:
            nursery.start_soon(self._follow, events)
            if table:
                title = f"kraken-engine on a simulated venue ({self.venue.ws_url})"
                board = Board(title=title, market=self.market, ledger=self.ledger, clock=self.runtime.clock)
                nursery.start_soon(board.run)
            try:
                await self._break_and_wait()
                self._begin_comparing()
                await self._until(lambda: not self.unequal)
            finally:
                self._ended_s = self.runtime.clock.now()

    async def _follow(self, events: Subscription) -> None:
        async for batch in events.batches():
            for event in batch:
                self.ledger.receive(event)
                if isinstance(event, BookUpdate):
                    self._compare(event)

    async def _break_and_wait(self) -> None:
        faults = self.venue.exchange.faults
        every_book_seen = len(self.symbols)
        await self._until(lambda: len(self.ledger.updates) == every_book_seen and self._all_lines_bring_books())
        await trio.sleep_until(self.began_s + _LOSE_ONE_AT * self.seconds)
        self.ledger.fault("line", self.symbols, at_s=self.runtime.clock.now())
        faults.apply("drop_connection", {"session": min(self.venue.exchange.sessions)}, self.runtime.clock.now())
        await self._until(lambda: self.ledger.whole and self._all_lines_bring_books())
        await trio.sleep_until(self.began_s + _CUT_AT * self.seconds)
        self.ledger.fault("cut", self.symbols, at_s=self.runtime.clock.now())
        faults.apply("drop_connection", {}, self.runtime.clock.now())
        await self._until(lambda: self.ledger.whole)
        await trio.sleep_until(self.began_s + _CORRUPT_AT * self.seconds)
        victim = self.symbols[0]
        self.ledger.fault("corruption", [victim], at_s=self.runtime.clock.now())
        given = faults.apply("corrupt_checksum", {"symbol": victim}, self.runtime.clock.now())
        self.corrupted = faults.record(int(str(given["id"])))
        await self._until(lambda: self.ledger.whole)
        await trio.sleep_until(self.began_s + self.seconds)

    def _all_lines_bring_books(self) -> bool:
        arbiter = self.market.pool.arbiter
        feeds = [] if arbiter is None else [arbiter.feeds(Book(symbol).key) for symbol in self.symbols]
        return all(len(lines) > 1 and all(lines.values()) for lines in feeds)

    async def _until(self, done: Callable[[], bool]) -> None:
        """Wait for ``done``; when it takes too long, go on: the summary says what is missing."""
        with trio.move_on_after(_PATIENCE_S):
            while not done():  # noqa: ASYNC110  # the venue's books tell nobody when they change
                await trio.sleep(_LOOK_S)

    def _begin_comparing(self) -> None:
        """Take the venue's books of this moment, all of them; each of ours has to be, or soon become, that very book.

        Ours arrive over a socket, so that at no single moment all of them need to be as new as the venue's.
        """
        self.unequal = {symbol: _texts(self.venue.exchange.book_state(symbol, 10)) for symbol in self.symbols}
        for symbol in self.symbols:
            with contextlib.suppress(Stale):
                self._compare(self.market.feed.latest(Book(symbol)).value)

    def _compare(self, update: BookUpdate) -> None:
        """Strike off a book of ours that is the one the venue had."""
        wanted = self.unequal.get(update.symbol)
        if wanted is not None and wanted == _texts(book_json(update.book)):
            del self.unequal[update.symbol]

    def summary(self) -> dict[str, Any]:
        """Return what the run came to."""
        statistics = self.market.statistics()
        ledger = self.ledger
        ok = (
            not self.unequal
            and not ledger.stale
            and ledger.whole
            and ledger.made("line") == ledger.made("cut") == ledger.made("corruption") == 1
            and ledger.healed("line") == 1
            and self.corrupted is not None
            and statistics.books_mismatched == self.corrupted.hits  # on every line that got it, and not one false alarm
        )
        return {
            "ok": ok,
            "interrupted": None,
            "seconds": round(self._ended_s - self.began_s, 3),
            "frames": statistics.frames,
            "frames_per_read": round(statistics.frames_per_read, 3),
            "books_verified": statistics.books_verified,
            "mismatches_seen": statistics.books_mismatched,
            "lines_lost": ledger.made("line"),
            "lines_lost_unnoticed": ledger.healed("line"),
            "cuts": ledger.made("cut"),
            "cuts_healed": ledger.healed("cut"),
            "corruptions": ledger.made("corruption"),
            "corruptions_healed": ledger.healed("corruption"),
            "books_equal_venue": not self.unequal,
            "kpis": self.market.kpis(),
        }


def _texts(book: dict[str, Any]) -> list[Any]:
    """Return levels and checksum of a book, prices and quantities as text."""
    sides = [[[str(price), str(qty)] for price, qty in book[side]] for side in ("bids", "asks")]
    return [*sides, book["checksum"]]


def _report(show: _Show, summary: dict[str, Any]) -> None:
    signal = summary["interrupted"]
    outcome = "ok" if summary["ok"] else "NOT OK" if signal is None else f"interrupted ({signal})"
    lines = [
        *show.ledger.story(),
        f"{summary['frames']:,} frames, {summary['frames_per_read']} a read",
        f"{summary['books_verified']:,} checksums verified, {summary['mismatches_seen']} failed",
        f"every book equals the venue's: {'yes' if not show.unequal else 'NO: ' + ', '.join(show.unequal)}",
        f"{outcome} after {summary['seconds']} s",
    ]
    print_text("\n".join(lines) + "\n")
