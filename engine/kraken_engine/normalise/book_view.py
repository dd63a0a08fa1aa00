"""What an application sees of an order book: an immutable copy whose decimals are made when they are read.

Decides nothing. Of a WebSocket's book, a view is only ever made when the checksum matched
(:mod:`kraken_engine.state.order_book`); a book of the REST API has no checksum, and says so. This module knows nothing
of how a match was found out, nor of time.
"""

from __future__ import annotations

from decimal import Context, Decimal
from functools import cached_property

import attrs

from kraken_engine.codec.ws_v2 import Level
from kraken_engine.errors import UsageError
from kraken_engine.normalise.events import MarketEvent, PriceLevel

__all__ = ["VERIFIED_LEVELS", "BookUpdate", "BookView", "Witness"]

VERIFIED_LEVELS = 10
"""Levels of each side, from the best, that the venue's checksum covers (docs "Book Checksum")."""

_EXACT = Context(prec=100)
"""Sums of two prices never round, whatever the caller's own decimal context."""


@attrs.define(eq=False)
class Witness:
    """How far a second line has confirmed a sequence of books, level by level."""

    agreed_to: int = -1
    """The latest position of the sequence to which two lines agree; -1: to none."""


@attrs.frozen(kw_only=True)
class BookView:
    """One state of the order book of ``symbol``.

    Two views are equal when they show the same digits. Levels below the first :attr:`verified_levels` of a side
    are as the venue sent them, but neither a checksum nor a second line vouches for them.
    """

    symbol: str
    depth: int
    """Most levels a side has."""
    checksum: int
    """The venue's CRC-32 over the top ten levels of the book this view was taken from; it matched.

    0 where there was none to match: then :attr:`verified` is False.
    """
    verified: bool = True
    """Whether there was a checksum. A book of the REST API has none."""
    crossed: bool = False
    """Best bid at or above best ask: legal for moments (auctions, venue races), never to be traded on."""
    raw_bids: tuple[Level, ...] = attrs.field(repr=False)
    """Bids from the highest, number tokens as received."""
    raw_asks: tuple[Level, ...] = attrs.field(repr=False)
    """Asks from the lowest, number tokens as received."""
    _witness: Witness | None = attrs.field(default=None, alias="witness", repr=False, eq=False)
    _position: int = attrs.field(default=0, alias="position", repr=False, eq=False)

    @property
    def verified_levels(self) -> int:
        """How many levels of each side, from the best, are vouched for at the moment of asking.

        The checksum vouches for ten. For all :attr:`depth` of them a second line does, once it has brought this very
        state: usually a matter of milliseconds; with one line it never happens.
        """
        if self._witness is not None and self._witness.agreed_to >= self._position:
            return max(self.depth, VERIFIED_LEVELS)
        return VERIFIED_LEVELS if self.verified else 0

    @cached_property
    def bids(self) -> tuple[PriceLevel, ...]:
        """Bids from the highest, digits as the venue wrote them."""
        return tuple(PriceLevel(_decimal(level.price), _decimal(level.qty)) for level in self.raw_bids)

    @cached_property
    def asks(self) -> tuple[PriceLevel, ...]:
        """Asks from the lowest, digits as the venue wrote them."""
        return tuple(PriceLevel(_decimal(level.price), _decimal(level.qty)) for level in self.raw_asks)

    @property
    def bid(self) -> Decimal | None:
        """Highest bid, or None when nobody bids."""
        return _decimal(self.raw_bids[0].price) if self.raw_bids else None

    @property
    def bid_qty(self) -> Decimal | None:
        """Quantity at the highest bid."""
        return _decimal(self.raw_bids[0].qty) if self.raw_bids else None

    @property
    def ask(self) -> Decimal | None:
        """Lowest ask, or None when nobody offers."""
        return _decimal(self.raw_asks[0].price) if self.raw_asks else None

    @property
    def ask_qty(self) -> Decimal | None:
        """Quantity at the lowest ask."""
        return _decimal(self.raw_asks[0].qty) if self.raw_asks else None

    @property
    def spread(self) -> Decimal | None:
        """Lowest ask minus highest bid, or None when a side is empty; 0 or less while :attr:`crossed`."""
        bid, ask = self.bid, self.ask
        return None if bid is None or ask is None else _EXACT.subtract(ask, bid)

    @property
    def mid(self) -> Decimal | None:
        """Middle of best bid and ask, exact, or None when a side is empty."""
        bid, ask = self.bid, self.ask
        return None if bid is None or ask is None else _EXACT.divide(_EXACT.add(ask, bid), Decimal(2))

    def top(self, levels: int) -> BookView:
        """Return the view cut down to the best ``levels`` of each side; ``checksum`` stays that of the whole.

        Raises:
            UsageError: ``levels`` is not above 0.
        """
        if levels < 1:
            raise UsageError(f"top: expected 1 level or more, got {levels}")
        if levels >= self.depth:
            return self
        return attrs.evolve(self, depth=levels, raw_bids=self.raw_bids[:levels], raw_asks=self.raw_asks[:levels])


@attrs.frozen(kw_only=True)
class BookUpdate(MarketEvent):
    """A new state of a book: verified by its checksum (docs "Book (Level 2)"), unless its integrity says otherwise."""

    book: BookView
    snapshot: bool
    """Whether the book was made anew, rather than changed from the one before."""


def _decimal(token: object) -> Decimal:
    """Return a token that a book has accepted as a number (so the checks are behind us) as a decimal."""
    return Decimal(token.decode()) if isinstance(token, bytes) else Decimal(str(token))
