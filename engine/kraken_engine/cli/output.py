"""What the commands print: events and books as JSON, numbers with the digits of the wire.

Whatever standard output refuses becomes one :class:`OutputFailed`. Knows nothing of the market's tasks.
"""

from __future__ import annotations

import collections
import enum
import json
import sys
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

import attrs

from kraken_engine.errors import EngineError, Stale
from kraken_engine.normalise.book_view import BookUpdate, BookView
from kraken_engine.normalise.events import Event, InstrumentUpdate, TickerUpdate
from kraken_engine.runtime import write_output

__all__ = [
    "EventCounts",
    "OutputFailed",
    "book_json",
    "event_json",
    "json_line",
    "print_json",
    "print_text",
    "print_while_others_run",
]

_TICKER_FIELDS = ("bid", "bid_qty", "ask", "ask_qty", "last", "volume", "vwap", "low", "high", "change", "change_pct")
_ENVELOPE = ("symbol", "source", "integrity", "received_s", "venue_time")


class OutputFailed(EngineError):
    """Standard output takes nothing more."""

    def __init__(self, error: OSError) -> None:
        super().__init__(f"standard output: {error.strerror or error}")
        self.reader_left = isinstance(error, BrokenPipeError)
        """Whether that is because its reader closed it (``| head``), which is nobody's fault."""


def print_json(document: Mapping[str, Any]) -> None:
    """Print one document on one line, at once."""
    print_text(json_line(document))


def print_text(text: str) -> None:
    """Print ``text`` at once; everything else waits, so this is for before and after the market.

    Raises:
        OutputFailed: the disk is full, the reader has left, ...
    """
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError as error:
        raise OutputFailed(error) from None


async def print_while_others_run(text: str) -> None:
    """Print ``text`` with a single write while the other tasks go on; see :func:`write_output` for cancelling it.

    Raises:
        OutputFailed: as :func:`print_text`.
    """
    try:
        await write_output(text)
    except OSError as error:
        raise OutputFailed(error) from None


def json_line(document: Mapping[str, Any]) -> str:
    """Return one document as one line."""
    return json.dumps(document, separators=(",", ":"), default=_plain) + "\n"


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
