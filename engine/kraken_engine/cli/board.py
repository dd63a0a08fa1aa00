"""The live table that ``demo`` and ``watch`` draw: one row a market, redrawn by a Trio task, without threads."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from decimal import Decimal
from typing import IO, cast

import attrs
import trio
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from kraken_engine.cli.demo_ledger import Ledger
from kraken_engine.cli.output import print_while_others_run
from kraken_engine.errors import Stale
from kraken_engine.feed.topics import Book
from kraken_engine.runtime import Clock
from kraken_engine.tasks.market import Market

__all__ = ["Board", "table_that_fits"]

_REDRAW_S = 0.25
_ROWS = 40
"""Markets shown; the rest are counted in the caption."""
_COLUMNS = ("symbol", "source", "bid", "ask", "spread", "age", "books", "gaps", "state")
_FIRST_TO_GO = ("source", "books", "gaps", "spread", "age", "state", "ask", "bid")
"""What a narrow terminal does without: a price is shown whole or not at all, since half of one is a wrong one."""
_WORDS = {"symbol", "source", "state"}
_STATE_WIDTH = 8
"""The one column that may be cut: "verified" fits, and the rest is in the events."""
_BETWEEN = 2
"""Blanks that a column costs besides its own width; the edges of the table are in it."""
_WRITE_TIMEOUT_S = 1.0
"""How long a stopped terminal may hold up the end of the command."""


def table_that_fits(rows: Sequence[Sequence[str]], width: int, *, title: str = "", caption: str = "") -> Table:
    """Return the table of the columns that have room in ``width`` characters, whole.

    Args:
        rows: one a market, the marked-up cells of all columns.
        width: of the terminal.
        title: above the table.
        caption: below it.
    """
    table = Table(title=title, caption=caption, box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    shown = _columns_that_fit([_COLUMNS, *rows], width)
    for name in shown:
        if name == "state":
            table.add_column(name, overflow="ellipsis", no_wrap=True, min_width=_STATE_WIDTH, max_width=40)
        else:
            table.add_column(name, justify="left" if name in _WORDS else "right", no_wrap=True)
    for row in rows:
        table.add_row(*(cell for name, cell in zip(_COLUMNS, row, strict=True) if name in shown))
    return table


def _columns_that_fit(rows: Sequence[Sequence[str]], width: int) -> list[str]:
    needed = {name: max(Text.from_markup(row[n]).cell_len for row in rows) for n, name in enumerate(_COLUMNS)}
    needed["state"] = _STATE_WIDTH
    for name in _FIRST_TO_GO:
        if sum(needed.values()) + _BETWEEN * len(needed) <= width:
            break
        del needed[name]
    return list(needed)


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
        """Redraw four times a second until cancelled.

        Raises:
            OutputFailed: standard output takes nothing more.
        """
        page = _Page()
        console = Console(file=cast("IO[str]", page))
        try:
            with Live(console=console, auto_refresh=False, redirect_stdout=False, redirect_stderr=False) as screen:
                while True:
                    screen.update(self._table(console.width), refresh=True)
                    await print_while_others_run(page.take())
                    await trio.sleep(_REDRAW_S)
        finally:
            if not console.is_terminal:  # a file gets the last table only, and without the end of its last line
                console.line()
            with trio.move_on_after(_WRITE_TIMEOUT_S, shield=True):
                await print_while_others_run(page.take())  # gives the cursor back

    def _table(self, width: int) -> Table:
        rows = [self._row(symbol) for symbol in self.ledger.symbols[:_ROWS]]
        return table_that_fits(rows, width, title=self.title, caption=self._caption())

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


@attrs.define
class _Page:
    """Stands where the drawing library expects a file; what was drawn is written without holding up the market."""

    _drawn: list[str] = attrs.field(factory=list[str], init=False)

    def write(self, text: str) -> int:
        """Take a piece of the drawing."""
        self._drawn.append(text)
        return len(text)

    def flush(self) -> None:
        """Do nothing: a page is shown when it is complete."""

    def isatty(self) -> bool:
        """Return whether there is a terminal to draw on."""
        return sys.stdout.isatty()

    def take(self) -> str:
        """Return what was drawn since the last call."""
        text = "".join(self._drawn)
        self._drawn.clear()
        return text
