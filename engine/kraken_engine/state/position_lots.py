"""What is open on margin in one symbol, as lots, and what one fill makes of it: first in first out, exactly.

Each lot keeps the price it was opened at, so that nothing is ever divided: the cost of what is left, and what was
earned by what was closed, are sums of products. The exception is a lot the venue tells of: ``OpenPositions`` gives what
it cost, rounded, and its price is worked out from that. Positions were opened at prices of the market, so it is the
nearest tick wherever that explains the cost.

Knows nothing of time, and of who says what is open. Source: docs "Get Open Positions".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import ROUND_HALF_EVEN, Context, Decimal

import attrs

from kraken_engine.errors import DecodeError
from kraken_engine.model import Instrument, Side, minus, plus, times
from kraken_engine.normalise.account_events import Fill
from kraken_engine.normalise.rest_account import RestPosition

__all__ = ["Lot", "OpenLots", "open_lots", "traded"]

_ZERO = Decimal(0)
_DIVIDING = Context(prec=40, rounding=ROUND_HALF_EVEN)


@attrs.frozen
class Lot:
    """A part of a position, all opened at one price."""

    qty: Decimal
    price: Decimal


@attrs.frozen
class OpenLots:
    """What is open in one symbol; never nothing."""

    side: Side
    """``buy``: long."""
    lots: tuple[Lot, ...]
    """Oldest first."""

    @property
    def net(self) -> Decimal:
        """Quantity open, below 0 when short."""
        total = _ZERO
        for lot in self.lots:
            total = plus(total, lot.qty)
        return total if self.side is Side.BUY else total.copy_negate()


def traded(before: OpenLots | None, fill: Fill) -> tuple[OpenLots | None, Decimal]:
    """Return what is open after ``fill`` (None: nothing), and what it earned by closing, before fees."""
    if not fill.margin:
        return before, _ZERO
    left, earned = fill.qty, _ZERO
    side, lots = (fill.side, ()) if before is None else (before.side, before.lots)
    while lots and side is not fill.side and left > 0:
        oldest = lots[0]
        closed = min(oldest.qty, left)
        gain = minus(fill.price, oldest.price) if side is Side.BUY else minus(oldest.price, fill.price)
        earned = plus(earned, times(gain, closed))
        left = minus(left, closed)
        rest = (Lot(minus(oldest.qty, closed), oldest.price),) if closed < oldest.qty else ()
        lots = (*rest, *lots[1:])
    if left > 0:
        side, lots = fill.side, (*lots, Lot(left, fill.price))
    return (OpenLots(side, lots) if lots else None), earned


def open_lots(rows: Iterable[RestPosition], instruments: Mapping[str, Instrument]) -> dict[str, OpenLots]:
    """Return what ``OpenPositions`` says is open, by symbol.

    Raises:
        DecodeError: a row makes no sense, or a symbol is long and short at once.
    """
    by_symbol: dict[str, list[RestPosition]] = {}
    for row in sorted(rows, key=lambda position: position.row.time):
        by_symbol.setdefault(row.symbol, []).append(row)
    found: dict[str, OpenLots] = {}
    for symbol, positions in by_symbol.items():
        lots = tuple(lot for position in positions if (lot := _lot(position, instruments.get(symbol))).qty > 0)
        sides = {position.side for position in positions}
        if len(sides) > 1:
            raise DecodeError(f"$.result.{positions[-1].position_id}.type", "one side for a pair", "both")
        if lots:
            found[symbol] = OpenLots(sides.pop(), lots)
    return found


def _lot(position: RestPosition, instrument: Instrument | None) -> Lot:
    row, path = position.row, f"$.result.{position.position_id}"
    vol, cost = Decimal(row.vol), Decimal(row.cost)
    if vol <= 0 or cost < 0:
        raise DecodeError(path, "a quantity above 0 and its cost", f"vol {vol:f}, cost {cost:f}")
    left = minus(vol, Decimal(row.vol_closed))
    if not 0 <= left <= vol:
        raise DecodeError(f"{path}.vol_closed", f"a number from 0 to {vol:f}", format(row.vol_closed, "f"))
    price = _DIVIDING.divide(cost, vol)
    if instrument is not None:
        ticks = _DIVIDING.divide(price, instrument.price_increment).to_integral_value(ROUND_HALF_EVEN)
        on_tick = times(ticks, instrument.price_increment)
        if abs(minus(times(on_tick, vol), cost)) <= _unit(cost):
            price = on_tick
    return Lot(left, price)


def _unit(number: Decimal) -> Decimal:
    """Return one unit of the last digit of ``number``: how far rounding may have moved it."""
    exponent = number.as_tuple().exponent
    return Decimal(1).scaleb(exponent) if isinstance(exponent, int) else _ZERO
