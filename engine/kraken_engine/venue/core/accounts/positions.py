"""Positions on margin of one account: what its executions opened, and what later ones closed of it, oldest first.

Each execution of a margin order that opens something makes a position with an id of its own. One on the other side
closes the oldest positions of its pair first, and opens one with what is left of it; so a pair is long or short, never
both. Nothing is charged for the time a position is open, and nothing is liquidated, whatever it has lost: accounts of
this venue are given the money they need.
"""

from __future__ import annotations

import attrs

from kraken_engine.venue.core.accounts.ledger import ceiled
from kraken_engine.venue.core.accounts.orders import AccountOrder
from kraken_engine.venue.core.instruments import Pair

__all__ = ["Positions", "Traded", "VenuePosition", "margin_for"]


def margin_for(pair: Pair, turnover: int, leverage: int) -> int:
    """Return what a turnover on margin ties up, in units of the quote asset."""
    return ceiled(-(-turnover // leverage), pair.price_decimals + pair.qty_decimals, pair.quote.decimals)


@attrs.define(eq=False, kw_only=True)
class VenuePosition:
    """What one execution opened."""

    id: str
    order: AccountOrder
    price: int
    """In ticks."""
    qty: int
    """In lots, as it was opened."""
    fee: int
    """Of the opening, in units of the quote asset."""
    wall_ns: int
    closed: int = 0
    """How much of it was closed, in lots."""

    @property
    def left(self) -> int:
        """What is open of it, in lots."""
        return self.qty - self.closed

    @property
    def margin(self) -> int:
        """What it ties up, in units of the quote asset."""
        return margin_for(self.order.pair, self.price * self.left, self.order.request.leverage)


@attrs.frozen(kw_only=True)
class Traded:
    """What an execution did to positions."""

    status: str
    """``opened``, ``closing`` or ``closed``, in the words of WebSocket v2."""
    gain: int
    """Earned by closing, signed, in ticks times lots."""
    opened: int
    """In lots."""


@attrs.define(eq=False)
class Positions:
    """The open positions of one account."""

    _open: dict[str, list[VenuePosition]] = attrs.field(factory=dict[str, "list[VenuePosition]"], init=False)

    def all(self) -> list[VenuePosition]:
        """Return every open position, pair by pair, oldest first."""
        return [position for positions in self._open.values() for position in positions]

    def against(self, symbol: str, *, buys: bool) -> int:
        """Return how much an execution on this side could close, in lots."""
        return sum(position.left for position in self._open.get(symbol, ()) if position.order.buys != buys)

    def margin(self, code: str) -> int:
        """Return what all positions of pairs quoted in this asset tie up of it."""
        return sum(position.margin for position in self.all() if position.order.pair.quote.code == code)

    def trade(self, order: AccountOrder, *, price: int, qty: int, fee: int, position_id: str, wall_ns: int) -> Traded:
        """Close what one execution closes, and open a position with the rest of it."""
        positions = self._open.setdefault(order.pair.symbol, [])
        left, gain = qty, 0
        while left and positions and positions[0].order.buys != order.buys:
            oldest = positions[0]
            closed = min(left, oldest.left)
            gain += closed * (price - oldest.price) * (1 if oldest.order.buys else -1)
            oldest.closed += closed
            left -= closed
            if not oldest.left:
                del positions[0]
        if left:
            positions.append(
                VenuePosition(id=position_id, order=order, price=price, qty=left, fee=fee, wall_ns=wall_ns)
            )
        if not positions:
            del self._open[order.pair.symbol]
        status = "opened" if left else "closing" if positions else "closed"
        return Traded(status=status, gain=gain, opened=left)
