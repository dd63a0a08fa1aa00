"""What is true in the venue, for judges: tests, the control port, the simulation's checker. Clients never see it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta

from kraken_engine.errors import UsageError
from kraken_engine.venue.core.book_channel import BookHistory, RecentBook
from kraken_engine.venue.core.candles import TradePrint
from kraken_engine.venue.core.listing import Listing
from kraken_engine.venue.core.matching import ASK, BID
from kraken_engine.venue.core.timestamps import Stamps

__all__ = ["Oracle"]

_NEVER = BookHistory(1)
"""Of a depth that nobody ever subscribed to."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Oracle:
    """Answers questions about the listings. Everything returned is JSON-ready."""

    def __init__(self, listings: Mapping[str, Listing]) -> None:
        self._listings = listings
        self._stamps = Stamps()

    def book_state(self, symbol: str, depth: int) -> dict[str, object]:
        """Return the true book.

        Returns:
            ``symbol``, ``bids`` and ``asks`` (rows of price and quantity text, best first, at most ``depth``),
            ``checksum`` (over the top ten) and ``timestamp`` (of the last change, as sent on the wire).

        Raises:
            UsageError: the symbol is not listed.
        """
        listing = self._listing(symbol)
        return {
            "symbol": symbol,
            "bids": [_row(text) for text in listing.book.levels(BID, depth)],
            "asks": [_row(text) for text in listing.book.levels(ASK, depth)],
            "checksum": listing.book.checksum,
            "timestamp": self._stamps.micros(listing.book.changed_ns).decode(),
        }

    def past_book(self, symbol: str, checksum: int) -> dict[str, object]:
        """Return the latest book that had ``checksum``, ten levels a side; shaped like :meth:`book_state`.

        Raises:
            UsageError: the symbol is not listed, or none of its last books had it (2,048 are kept, fewer when more
                than 48 symbols are listed).
        """
        listing = self._listing(symbol)
        for book in reversed(listing.book.recent):
            if book.checksum == checksum:
                return self._past(symbol, book)
        raise UsageError(f"checksum: expected that of a recent book of {symbol}, got {checksum}")

    def recent_books(self, symbol: str) -> Iterator[dict[str, object]]:
        """Yield the last books, the latest one first; each shaped like :meth:`book_state`, ten levels a side.

        Raises:
            UsageError: the symbol is not listed.
        """
        for book in reversed(self._listing(symbol).book.recent):
            yield self._past(symbol, book)

    def ever_had(self, symbol: str, checksum: int, timestamp: str | None) -> bool:
        """Return whether that book existed among the last 16,384 or more of this symbol.

        Raises:
            UsageError: the symbol is not listed, or the timestamp is no text such as ``2026-07-07T23:00:03.947173Z``.
        """
        time_us = None if timestamp is None else _microseconds(timestamp)
        return self._listing(symbol).book.history.had(checksum, time_us)

    def trades(self, symbol: str, last: int) -> list[dict[str, object]]:
        """Return the last trades, oldest first. UsageError: the symbol is not listed."""
        listing = self._listing(symbol)
        return [self._trade(listing, trade) for trade in (list(listing.tape.trades)[-last:] if last > 0 else [])]

    def trades_after(self, symbol: str, trade_id: int) -> list[dict[str, object]]:
        """Return the trades after the one called ``trade_id``, oldest first, as far as they are kept: the last 1,000.

        Raises:
            UsageError: the symbol is not listed.
        """
        listing = self._listing(symbol)
        newer = itertools.takewhile(lambda trade: trade.id > trade_id, reversed(listing.tape.trades))
        return [self._trade(listing, trade) for trade in reversed(list(newer))]

    def told(self, symbol: str, depth: int, since: int) -> tuple[int, list[tuple[int, int]]]:
        """Return the updates of one depth from number ``since`` on: the number of the first, time and checksum of each.

        Raises:
            UsageError: the symbol is not listed.
        """
        history = self._listing(symbol).book.told.get(depth, _NEVER)
        books = history.since(since)
        return history.forgotten + len(history) - len(books), books

    def _past(self, symbol: str, book: RecentBook) -> dict[str, object]:
        return {
            "symbol": symbol,
            "bids": [_row(text) for text in book.bids],
            "asks": [_row(text) for text in book.asks],
            "checksum": book.checksum,
            "timestamp": self._stamps.micros(book.time_us * 1000).decode(),
        }

    def _trade(self, listing: Listing, trade: TradePrint) -> dict[str, object]:
        return {
            "trade_id": trade.id,
            "side": "buy" if trade.taker_buys else "sell",
            "price": listing.pair.price_text(trade.price),
            "qty": listing.pair.qty_text(trade.qty),
            "timestamp": self._stamps.micros(trade.wall_ns).decode(),
        }

    def _listing(self, symbol: str) -> Listing:
        listing = self._listings.get(symbol)
        if listing is None:
            raise UsageError(f"symbol: expected a listed one such as {next(iter(self._listings))}, got {symbol!r}")
        return listing


def _row(level: bytes) -> list[str]:
    price, _, qty = level.removeprefix(b'{"price":').removesuffix(b"}").partition(b',"qty":')
    return [price.decode(), qty.decode()]


def _microseconds(timestamp: str) -> int:
    try:
        at = datetime.fromisoformat(timestamp)
        return (at - _EPOCH) // timedelta(microseconds=1)
    except (ValueError, TypeError):
        raise UsageError(f"timestamp: expected a time such as 2026-07-07T23:00:03.947173Z, got {timestamp!r}") from None
