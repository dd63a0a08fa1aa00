"""Price-time-priority matching of one market, in integers. It knows nothing of text, time, channels or who trades.

Each side is a ladder of levels ordered from the best price outwards. Ladder *keys* are prices, negated for bids,
so that on both sides the best key is the smallest and one ``bisect`` finds the place of a level. A listener per
ladder learns of every change of a level together with the place where it happened, which is all that a depth window
needs. Of whose an order is it knows one thing: orders with an ``owner`` are not the crowd's, and never trade with an
incoming order of the same owner.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import Protocol

import attrs

from kraken_engine.errors import UsageError

__all__ = ["ASK", "BID", "Fill", "Ladder", "Level", "LevelListener", "MatchingBook", "Order", "Preview"]

BID = 0
ASK = 1


class LevelListener(Protocol):
    """Learns how the levels of one ladder change. ``index`` counts from the best level."""

    def inserted(self, index: int, key: int, total: int) -> None:
        """Hear of a new level at ``index``."""
        ...

    def changed(self, index: int, key: int, total: int) -> None:
        """Hear of a level whose total quantity is now ``total``."""
        ...

    def removing(self, index: int, key: int) -> None:
        """Hear of a level that is about to leave the ladder; ``keys`` still has it."""
        ...


@attrs.define(eq=False)
class Order:
    """One resting order; ``qty`` is what is left of it."""

    id: int
    side: int
    key: int
    qty: int
    owner: str | None = None
    """None: one of the crowd."""


@attrs.define(eq=False)
class Level:
    """The orders at one price, first come first."""

    total: int = 0
    orders: dict[int, Order] = attrs.field(factory=dict[int, Order])

    def newest_of_crowd(self) -> Order | None:
        """Return the last order here that has no owner."""
        for order in reversed(self.orders.values()):
            if order.owner is None:
                return order
        return None

    def oldest_of_crowd(self) -> Order | None:
        """Return the first order here that has no owner."""
        for order in self.orders.values():
            if order.owner is None:
                return order
        return None


@attrs.frozen
class Preview:
    """What an incoming order would meet."""

    turnover: int
    """Price times quantity over all that it would take."""
    left: int
    """What it would not find."""
    meets_own: bool
    """Whether an order of its own owner stands in its way."""


@attrs.frozen
class Fill:
    """A resting order gave ``qty`` at its own price to an incoming one."""

    maker_id: int
    price: int
    qty: int


class Ladder:
    """One side of the book."""

    def __init__(self) -> None:
        self.keys: list[int] = []
        """Ascending: the best first."""
        self.levels: dict[int, Level] = {}
        self.listeners: list[LevelListener] = []
        self.owned = 0
        """Resting orders that have an owner."""

    def total(self, index: int) -> int:
        """Return the quantity at the level ``index`` places from the best."""
        return self.levels[self.keys[index]].total

    def add(self, order: Order) -> None:
        """Queue ``order`` last at its price."""
        key = order.key
        self.owned += order.owner is not None
        index = bisect_left(self.keys, key)
        level = self.levels.get(key)
        if level is None:
            self.keys.insert(index, key)
            level = self.levels[key] = Level()
            level.orders[order.id] = order
            level.total = order.qty
            for listener in self.listeners:
                listener.inserted(index, key, order.qty)
            return
        level.orders[order.id] = order
        level.total += order.qty
        for listener in self.listeners:
            listener.changed(index, key, level.total)

    def take_off(self, order: Order, qty: int) -> None:
        """Take ``qty`` off ``order``; nothing left ends the order, no order left ends the level."""
        level = self.levels[order.key]
        order.qty -= qty
        level.total -= qty
        if not order.qty:
            self._end(level, order)
        self._tell(bisect_left(self.keys, order.key), order.key)

    def fill_best(self, wanted: int, avoiding: str | None = None) -> list[tuple[Order, int]]:
        """Take up to ``wanted`` off the best level, oldest order first: one change of the level in all.

        Stops before an order of the owner ``avoiding``.
        """
        level = self.levels[self.keys[0]]
        filled: list[tuple[Order, int]] = []
        while wanted and level.orders:
            order = next(iter(level.orders.values()))
            if avoiding is not None and order.owner == avoiding:
                break
            part = min(wanted, order.qty)
            wanted -= part
            order.qty -= part
            level.total -= part
            if not order.qty:
                self._end(level, order)
            filled.append((order, part))
        if filled:
            self._tell(0, self.keys[0])
        return filled

    def _end(self, level: Level, order: Order) -> None:
        del level.orders[order.id]
        self.owned -= order.owner is not None

    def _tell(self, index: int, key: int) -> None:
        level = self.levels[key]
        if level.orders:
            for listener in self.listeners:
                listener.changed(index, key, level.total)
            return
        for listener in self.listeners:
            listener.removing(index, key)
        del self.keys[index]
        del self.levels[key]


class MatchingBook:
    """All resting orders of one market. The book is never crossed."""

    def __init__(self) -> None:
        self.bids = Ladder()
        self.asks = Ladder()
        self.ladders = (self.bids, self.asks)
        self.orders: dict[int, Order] = {}
        self._next_id = 1

    def best(self, side: int) -> int | None:
        """Return the best price of ``side``, or None when nobody is there."""
        keys = self.ladders[side].keys
        return abs(keys[0]) if keys else None

    def take(
        self, side: int, qty: int, *, limit: int | None = None, avoiding: str | None = None
    ) -> tuple[list[Fill], int]:
        """Match an incoming order of ``side`` against the other side, best price first, oldest first.

        Args:
            side: ``BID`` buys.
            qty: wanted, above 0.
            limit: worst acceptable price; None for a market order.
            avoiding: owner of the incoming order: matching ends at the first resting order of the same owner.

        Returns:
            The fills in order, and the quantity that found nobody.
        """
        _positive("qty", qty)
        ladder = self.ladders[1 - side]
        worst = None if limit is None else (limit if side == BID else -limit)
        fills: list[Fill] = []
        while qty and ladder.keys:
            key = ladder.keys[0]
            if worst is not None and key > worst:
                break
            filled = ladder.fill_best(qty, avoiding)
            if not filled:
                break
            for order, part in filled:
                qty -= part
                fills.append(Fill(order.id, abs(key), part))
                if not order.qty:
                    del self.orders[order.id]
        return fills, qty

    def preview(self, side: int, qty: int, *, limit: int | None, avoiding: str | None) -> Preview:
        """Return what :meth:`take` would do, without doing it."""
        ladder = self.ladders[1 - side]
        worst = None if limit is None else (limit if side == BID else -limit)
        turnover, left = 0, qty
        for key in ladder.keys:
            if not left or (worst is not None and key > worst):
                break
            for order in ladder.levels[key].orders.values():
                if not left:
                    break
                if avoiding is not None and order.owner == avoiding:
                    return Preview(turnover, left, meets_own=True)
                part = min(left, order.qty)
                turnover += abs(key) * part
                left -= part
        return Preview(turnover, left, meets_own=False)

    def fill(self, order_id: int, qty: int) -> Fill:
        """Fill ``qty`` of one resting order at its own price, out of turn.

        Raises:
            UsageError: no such order, or ``qty`` is not between 1 and what it has.
        """
        order = self._resting(order_id)
        if not 0 < qty <= order.qty:
            raise UsageError(f"fill: expected a quantity from 1 to {order.qty}, got {qty}")
        self.ladders[order.side].take_off(order, qty)
        if not order.qty:
            del self.orders[order_id]
        return Fill(order_id, abs(order.key), qty)

    def rest(self, side: int, price: int, qty: int, owner: str | None = None) -> int:
        """Queue an order that does not cross, and return its id.

        Raises:
            UsageError: it would trade (``take`` first), or a number is not above 0.
        """
        _positive("price", price)
        _positive("qty", qty)
        other = self.best(1 - side)
        if other is not None and (price >= other if side == BID else price <= other):
            raise UsageError(f"rest: expected a price that does not cross {other}, got {price}")
        order = Order(self._next_id, side, price if side == ASK else -price, qty, owner)
        self._next_id += 1
        self.orders[order.id] = order
        self.ladders[side].add(order)
        return order.id

    def cancel(self, order_id: int) -> int:
        """Take an order out and return the quantity it still had.

        Raises:
            UsageError: no such order rests here.
        """
        order = self._resting(order_id)
        left = order.qty
        del self.orders[order_id]
        self.ladders[order.side].take_off(order, left)
        return left

    def reduce(self, order_id: int, qty: int) -> None:
        """Lower an order to ``qty``; it keeps its place in the queue.

        Raises:
            UsageError: no such order, or ``qty`` is not between 0 and what it has.
        """
        order = self._resting(order_id)
        if not 0 < qty < order.qty:
            raise UsageError(f"reduce: expected a quantity between 0 and {order.qty}, got {qty}")
        self.ladders[order.side].take_off(order, order.qty - qty)

    def _resting(self, order_id: int) -> Order:
        order = self.orders.get(order_id)
        if order is None:
            raise UsageError(f"order {order_id}: expected a resting order, got none")
        return order


def _positive(name: str, value: int) -> None:
    if value <= 0:
        raise UsageError(f"{name}: expected a number above 0, got {value}")
