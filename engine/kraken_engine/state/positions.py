"""Positions on margin: what fills opened, reduced and closed, first in first out, exactly.

A position is a list of lots, each with the price it was opened at, so that nothing is ever divided: the cost of what
is left, and what was earned by what was closed, are sums of products. Fills without margin make no position.

Knows nothing of the order or the connection a fill came by, nor of prices now.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from decimal import Decimal

import attrs

from kraken_engine.model import Side, minus, plus, times
from kraken_engine.normalise.account_events import Fill

__all__ = ["Lot", "Position", "Positions"]

_ZERO = Decimal(0)


@attrs.frozen
class Lot:
    """A part of a position, all opened at one price."""

    qty: Decimal
    price: Decimal


@attrs.frozen(kw_only=True)
class Position:
    """What is open in one symbol."""

    symbol: str
    side: Side
    """``buy``: long."""
    lots: tuple[Lot, ...]
    """Oldest first."""
    realised: Decimal
    """What closing earned so far, in the quote asset, before fees."""

    @property
    def qty(self) -> Decimal:
        """Quantity open, in the base asset."""
        return _total(lot.qty for lot in self.lots)

    @property
    def cost(self) -> Decimal:
        """What the open quantity was opened for, in the quote asset."""
        return _total(times(lot.qty, lot.price) for lot in self.lots)


@attrs.define
class _Open:
    side: Side
    lots: deque[Lot] = attrs.field(factory=deque[Lot])


@attrs.define
class Positions:
    """The positions of one account."""

    _open: dict[str, _Open] = attrs.field(factory=dict[str, _Open], init=False)
    _realised: dict[str, Decimal] = attrs.field(factory=dict[str, Decimal], init=False)

    def get(self, symbol: str) -> Position | None:
        """Return the position in ``symbol``, if one is open."""
        known = self._open.get(symbol)
        if known is None:
            return None
        realised = self._realised.get(symbol, _ZERO)
        return Position(symbol=symbol, side=known.side, lots=tuple(known.lots), realised=realised)

    def all(self) -> dict[str, Position]:
        """Return every open position by symbol."""
        return {symbol: position for symbol in self._open if (position := self.get(symbol)) is not None}

    def realised(self, symbol: str) -> Decimal:
        """Return what closing positions in ``symbol`` earned so far, in the quote asset, before fees."""
        return self._realised.get(symbol, _ZERO)

    def snapshot(self, symbol: str, side: Side, lots: Iterable[Lot]) -> None:
        """Take over what the venue says is open in ``symbol``."""
        known = [lot for lot in lots if lot.qty > 0]
        self._open.pop(symbol, None)
        if known:
            self._open[symbol] = _Open(side, deque(known))

    def apply(self, fill: Fill) -> Position | None:
        """Take one fill; return the position after it, None when none is open (or the fill made none)."""
        if not fill.margin:
            return self.get(fill.symbol)
        known = self._open.get(fill.symbol)
        left = fill.qty
        if known is not None and known.side is not fill.side:
            left = self._reduce(fill, known, left)
            if not known.lots:
                del self._open[fill.symbol]
                known = None
        if left > 0:
            if known is None:
                known = self._open[fill.symbol] = _Open(fill.side)
            known.lots.append(Lot(left, fill.price))
        return self.get(fill.symbol)

    def _reduce(self, fill: Fill, known: _Open, left: Decimal) -> Decimal:
        """Close lots with ``left`` of ``fill``, oldest first; return what is left of it."""
        while left > 0 and known.lots:
            lot = known.lots.popleft()
            closed = min(lot.qty, left)
            gain = minus(fill.price, lot.price) if known.side is Side.BUY else minus(lot.price, fill.price)
            earned = plus(self._realised.get(fill.symbol, _ZERO), times(gain, closed))
            self._realised[fill.symbol] = earned
            left = minus(left, closed)
            if closed < lot.qty:
                known.lots.appendleft(Lot(minus(lot.qty, closed), lot.price))
        return left


def _total(numbers: Iterable[Decimal]) -> Decimal:
    total = _ZERO
    for number in numbers:
        total = plus(total, number)
    return total
