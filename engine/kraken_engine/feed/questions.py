"""What can be asked of REST about market data, as the feed and the backup see it: questions in, events out.

The public part of the REST client (:class:`kraken_engine.rest.public.PublicRest`) is one; it keeps the venue's pace and
the rules of the circuit breaker.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from kraken_engine.normalise.book_view import BookUpdate
from kraken_engine.normalise.events import TickerUpdate, VenueStatus
from kraken_engine.normalise.rest_market import CandleHistory, TradeHistory

__all__ = ["REST_BOOK_DEPTH", "Questions", "ValueQuestions"]

REST_BOOK_DEPTH = 500
"""Most levels a side that ``Depth`` gives."""


class ValueQuestions(Protocol):
    """Questions about what is true now: one call each.

    All raise ``RestFailed``, ``CircuitOpen``, ``Rejected``, ``DecodeError``, and ``UsageError`` for a symbol the venue
    does not have.
    """

    async def ticker(
        self, symbols: Sequence[str] = (), *, timeout_s: float | None = None
    ) -> Mapping[str, TickerUpdate]:
        """Return the tickers of ``symbols``, by symbol; without any, of all there are."""
        ...

    async def depth(self, symbol: str, depth: int = 100, *, timeout_s: float | None = None) -> BookUpdate:
        """Return the book of ``symbol``, at most ``depth`` levels a side; rounded, unverified."""
        ...

    async def ohlc(
        self, symbol: str, interval_min: int = 1, *, since: int | None = None, timeout_s: float | None = None
    ) -> CandleHistory:
        """Return candles after ``since`` (the ``last`` of an earlier answer), oldest first; None: the latest."""
        ...


class Questions(ValueQuestions, Protocol):
    """And what it takes to go on with streams; raises as the others do."""

    async def trades(self, symbol: str, *, since: int | None = None, timeout_s: float | None = None) -> TradeHistory:
        """Return trades after ``since`` (the ``last`` of an earlier answer), oldest first; None: the latest."""
        ...

    async def symbols(self, *, timeout_s: float | None = None) -> object:
        """Get ready to name symbols as REST names them, which takes a question of its own the first time."""
        ...

    async def system_status(self, *, timeout_s: float | None = None) -> VenueStatus:
        """Return the venue's announced state."""
        ...
