"""What the commands print: events and books as JSON, numbers with the digits of the wire. Knows nothing of tasks."""

from __future__ import annotations

import collections
import enum
import json
import sys
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

import attrs

from kraken_engine.errors import Stale
from kraken_engine.normalise.book_view import BookUpdate, BookView
from kraken_engine.normalise.events import Event, InstrumentUpdate, TickerUpdate

__all__ = ["EventCounts", "book_json", "event_json", "print_json"]

_TICKER_FIELDS = ("bid", "bid_qty", "ask", "ask_qty", "last", "volume", "vwap", "low", "high", "change", "change_pct")
_ENVELOPE = ("symbol", "source", "integrity", "received_s", "venue_time")


def print_json(document: Mapping[str, Any]) -> None:
    """Print one document on one line, at once."""
    sys.stdout.write(json.dumps(document, separators=(",", ":"), default=_plain) + "\n")
    sys.stdout.flush()


def event_json(event: Event) -> dict[str, Any]:
    """Return what an event says, its kind first."""
    kind = {"event": type(event).__name__}
    match event:
        case BookUpdate(book=book):
            top = {name: getattr(book, name) for name in ("bid", "bid_qty", "ask", "ask_qty", "checksum")}
            return kind | _envelope(event) | {"snapshot": event.snapshot, "depth": book.depth} | top
        case TickerUpdate():
            return kind | _envelope(event) | {name: getattr(event, name) for name in _TICKER_FIELDS}
        case InstrumentUpdate():
            symbols = [instrument.symbol for instrument in event.instruments]
            return kind | {"snapshot": event.snapshot, "symbols": symbols, "received_s": event.received_s}
        case Stale():
            return kind | {"channel": event.channel, "symbol": event.symbol, "why": event.why, "since_s": event.since_s}
        case _:
            return kind | attrs.asdict(event, recurse=False)


def book_json(view: BookView) -> dict[str, Any]:
    """Return a book as text levels, best first, and its checksum."""
    return {
        "bids": [[level.price, level.qty] for level in view.bids],
        "asks": [[level.price, level.qty] for level in view.asks],
        "checksum": view.checksum,
    }


@attrs.define
class EventCounts:
    """How many events of each kind there were, and the newest book of each symbol."""

    by_kind: collections.Counter[str] = attrs.field(factory=collections.Counter[str], init=False)
    books: dict[str, BookView] = attrs.field(factory=dict[str, BookView], init=False)

    def add(self, events: Iterable[Event]) -> None:
        """Count ``events``."""
        for event in events:
            self.by_kind[type(event).__name__] += 1
            if isinstance(event, BookUpdate):
                self.books[event.symbol] = event.book


def _envelope(event: BookUpdate | TickerUpdate) -> dict[str, Any]:
    return {name: getattr(event, name) for name in _ENVELOPE}


def _plain(value: object) -> object:
    match value:
        case Decimal():
            return f"{value:f}"
        case enum.Enum():
            return value.value
        case _:
            return str(value)
