"""How many order requests the venue will take for a pair, from a model of its trading counters.

Each pair has a counter of its own, shared by every way in (WebSocket, REST, FIX). A request adds a fixed part, and
amends, edits and cancels one that is larger the younger the order is; time takes it away again. Above the threshold of
the tier the venue refuses (docs "Spot Trading Limits"):

============  =====  ====  =====  =====  =====  =====  ======
transaction   fixed  <5 s  <10 s  <15 s  <45 s  <90 s  <300 s
============  =====  ====  =====  =====  =====  =====  ======
add              +1
amend            +1    +3     +2     +1
edit             +1    +6     +5     +4     +2     +1
cancel                 +8     +6     +5     +4     +2      +1
batch add      +n/2
batch cancel          +8n    +6n    +5n    +4n    +2n      +n
============  =====  ====  =====  =====  =====  =====  ======

The age of an order counts from its creation or its last amend. The fixed part is charged even if the request is
refused. A batch of cancels is taken above the threshold, too; and no cancel is ever held here: only what adds risk
waits, and it waits at a share of the threshold, so that there is room for the cancels.

The venue tells the counter on request (``ratecounter``), which sets the model right. Knows nothing of the requests.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import final

import attrs

__all__ = [
    "ADD_COST",
    "TRADING_TIERS",
    "TradingRate",
    "TradingTier",
    "amend_cost",
    "batch_add_cost",
    "cancel_cost",
    "edit_cost",
]


@attrs.frozen
class TradingTier:
    """The counters of one tier: the threshold, what is forgotten in a second, and open orders for each pair."""

    threshold: float
    decay_per_s: float
    open_orders: int


TRADING_TIERS: Mapping[str, TradingTier] = {
    "starter": TradingTier(60.0, 1.0, 60),
    "intermediate": TradingTier(125.0, 2.34, 80),
    "pro": TradingTier(180.0, 3.75, 225),
}

ADD_COST = 1.0
"""What adding one order adds."""
_AMEND = ((5.0, 3), (10.0, 2), (15.0, 1))
_EDIT = ((5.0, 6), (10.0, 5), (15.0, 4), (45.0, 2), (90.0, 1))
_CANCEL = ((5.0, 8), (10.0, 6), (15.0, 5), (45.0, 4), (90.0, 2), (300.0, 1))
"""(age in seconds, what an order younger than that adds)."""

_ROUNDING = 1e-9
_ORDERS_KEPT = 10_000


def amend_cost(age_s: float) -> float:
    """Return what amending an order of this age adds."""
    return 1.0 + _by_age(_AMEND, age_s)


def edit_cost(age_s: float) -> float:
    """Return what editing (cancel and replace) an order of this age adds."""
    return 1.0 + _by_age(_EDIT, age_s)


def cancel_cost(age_s: float) -> float:
    """Return what cancelling an order of this age adds, alone or in a batch."""
    return float(_by_age(_CANCEL, age_s))


def batch_add_cost(orders: int) -> float:
    """Return what adding so many orders at once adds."""
    return orders / 2


def _by_age(table: tuple[tuple[float, int], ...], age_s: float) -> int:
    return next((cost for below_s, cost in table if age_s < below_s), 0)


@attrs.define
class _Counter:
    level: float = 0.0
    at: float = -math.inf


@attrs.define
class _Order:
    symbol: str
    since: float


@final
@attrs.define
class TradingRate:
    """The counters of one account, pair by pair, and the ages of its orders."""

    tier: TradingTier
    buffer: float = attrs.field(default=0.8, validator=[attrs.validators.gt(0), attrs.validators.le(1)])
    """Share of the threshold up to which requests other than cancels may fill a counter."""
    _counters: dict[str, _Counter] = attrs.field(factory=dict[str, _Counter], init=False, repr=False)
    """By symbol; there are no more than the account trades."""
    _orders: dict[str, _Order] = attrs.field(factory=dict[str, _Order], init=False, repr=False)
    """By the id the desk knows, oldest first."""
    _open: dict[str, int] = attrs.field(factory=dict[str, int], init=False, repr=False)
    """Orders by symbol."""

    # -- orders

    def opened(self, order: str, symbol: str, *, now: float) -> None:
        """An order is there since ``now``: its requests cost by its age from now on."""
        self.closed(order)
        if len(self._orders) >= _ORDERS_KEPT:
            self.closed(next(iter(self._orders)))
        self._orders[order] = _Order(symbol, now)
        self._open[symbol] = self.open_orders(symbol) + 1

    def amended(self, order: str, *, now: float) -> None:
        """An order was amended: it is young again."""
        if order in self._orders:
            self._orders[order].since = now

    def closed(self, order: str) -> None:
        """An order is gone."""
        known = self._orders.pop(order, None)
        if known is not None:
            self._open[known.symbol] -= 1

    def age_s(self, order: str, *, now: float) -> float:
        """Return the age of an order; 0.0, the dearest, for one that is not known."""
        known = self._orders.get(order)
        return 0.0 if known is None else max(0.0, now - known.since)

    def open_orders(self, symbol: str) -> int:
        """Return how many orders of this symbol are there."""
        return self._open.get(symbol, 0)

    def has_room(self, symbol: str, orders: int = 1) -> bool:
        """Return whether so many more orders stay within the venue's limit of open ones."""
        return self.open_orders(symbol) + orders <= self.tier.open_orders

    def batch_cancel_cost(self, orders: Iterable[str], *, now: float) -> float:
        """Return what cancelling these orders at once adds."""
        return sum(cancel_cost(self.age_s(order, now=now)) for order in orders)

    # -- counters

    def level(self, symbol: str, *, now: float) -> float:
        """Return where the counter of this symbol stands."""
        counter = self._counters.get(symbol)
        if counter is None:
            return 0.0
        return max(0.0, counter.level - max(0.0, now - counter.at) * self.tier.decay_per_s)

    def wait_s(self, symbol: str, cost: float, *, now: float) -> float:
        """Return the seconds until a request of ``cost`` that is no cancel may go out; 0.0 at once.

        One that costs more than the share waits for an empty counter.
        """
        room = max(self.tier.threshold * self.buffer, cost)
        too_many = self.level(symbol, now=now) + cost - room
        return too_many / self.tier.decay_per_s if too_many > _ROUNDING else 0.0

    def charge(self, symbol: str, cost: float, *, now: float) -> None:
        """Note that a request went out, or was answered: cancels, too, and refused ones."""
        self._set(symbol, self.level(symbol, now=now) + cost, now)

    def corrected(self, symbol: str, level: float, *, now: float) -> None:
        """The venue told where its counter stands (``ratecounter``): it knows better than the model."""
        self._set(symbol, max(0.0, level), now)

    def refused(self, symbol: str, *, now: float) -> None:
        """The venue refused a request for this limit: its counter is full. Other pairs are not concerned."""
        self._set(symbol, max(self.level(symbol, now=now), self.tier.threshold), now)

    def _set(self, symbol: str, level: float, now: float) -> None:
        counter = self._counters.setdefault(symbol, _Counter())
        counter.level, counter.at = level, max(now, counter.at)
