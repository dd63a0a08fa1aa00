"""The live table that ``demo`` and ``watch`` draw: one row a market, redrawn by a Trio task, without threads."""

from __future__ import annotations

from decimal import Decimal

import attrs
import trio
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.live import Live
from rich.table import Table

from kraken_engine.cli.demo_ledger import Ledger
from kraken_engine.errors import Stale
from kraken_engine.feed.topics import Book
from kraken_engine.runtime import Clock
from kraken_engine.tasks.market import Market

__all__ = ["Board"]

_REDRAW_S = 0.25
_ROWS = 40
"""Markets shown; the rest are counted in the caption."""


@attrs.define(kw_only=True)
class Board:
    """Draws what the feed says about the books of ``ledger``."""

    title: str
    market: Market
    ledger: Ledger
    clock: Clock
    _frames: int = attrs.field(default=0, init=False)
    _drawn_s: float = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._drawn_s = self.clock.now()

    async def run(self) -> None:
        """Redraw four times a second until cancelled."""
        console = Console()
        try:
            with Live(console=console, auto_refresh=False) as screen:
                while True:
                    screen.update(self._table(), refresh=True)
                    await trio.sleep(_REDRAW_S)
        finally:
            if not console.is_terminal:  # a file gets the last table only, and without the end of its last line
                console.line()

    def _table(self) -> Table:
        table = Table(title=self.title, caption=self._caption(), box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
        for name in ("symbol", "source"):
            table.add_column(name, no_wrap=True)
        for name in ("bid", "ask", "spread", "age", "books", "gaps"):
            table.add_column(name, justify="right", no_wrap=True)
        table.add_column("state", overflow="ellipsis", min_width=8, max_width=40)
        for symbol in self.ledger.symbols[:_ROWS]:
            table.add_row(*self._row(symbol))
        return table

    def _row(self, symbol: str) -> list[str]:
        counts = [str(self.ledger.updates[symbol]), str(self.ledger.gaps[symbol])]
        try:
            reading = self.market.feed.latest(Book(symbol), allow_stale=True)
        except Stale as stale:
            return [symbol, "", "", "", "", "", *counts, f"[yellow]{stale.why}"]
        book = reading.value.book
        prices = [_text(price) for price in (book.bid, book.ask, book.spread)]
        state = "[green]verified" if reading.stale is None else f"[red]stale: {reading.stale.why}"
        return [symbol, str(reading.source), *prices, f"{reading.age_s:.2f}s", *counts, state]

    def _caption(self) -> str:
        statistics = self.market.statistics()
        now = self.clock.now()
        passed_s, new = now - self._drawn_s, statistics.frames - self._frames
        self._drawn_s, self._frames = now, statistics.frames
        rate = new / passed_s if passed_s > 0 else 0.0
        hidden = max(0, len(self.ledger.symbols) - _ROWS)
        return (
            f"{rate:,.0f} messages/s · {statistics.books_verified:,} checksums verified, "
            f"{statistics.books_mismatched} failed · {sum(self.ledger.gaps.values())} gaps healed"
            + (f" · {hidden} more markets" if hidden else "")
        )


def _text(price: Decimal | None) -> str:
    return "-" if price is None else f"{price:f}"
