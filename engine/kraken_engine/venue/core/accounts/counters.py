"""Counters that fill by use and drain by time, exactly: the REST call counter and the trading counter of a pair.

Integers throughout. A level counts units of ``10 ** -11``, so that a drain of so many hundredths a second over so many
nanoseconds is a whole number.
"""

from __future__ import annotations

import attrs

__all__ = ["UNIT", "LeakyCounter", "amend_cost", "cancel_cost"]

UNIT = 10**11
"""One call."""

_S = 1_000_000_000

_CANCEL = ((5, 8), (10, 6), (15, 5), (45, 4), (90, 2), (300, 1))
_AMEND = ((5, 3), (10, 2), (15, 1))
"""Age of the order in seconds below which so much is added (docs "Spot Trading Limits")."""


@attrs.define
class LeakyCounter:
    """One counter."""

    most: int
    """What it may reach, in calls."""
    decay: int
    """Hundredths of a call a second."""
    _level: int = attrs.field(default=0, init=False)
    _at_ns: int = attrs.field(default=0, init=False)

    def level(self, now_ns: int) -> int:
        """Return where the counter stands, in units."""
        return max(0, self._level - (now_ns - self._at_ns) * self.decay)

    def value(self, now_ns: int) -> float:
        """Return where the counter stands, in calls."""
        return self.level(now_ns) / UNIT

    def add(self, cost: int, now_ns: int) -> bool:
        """Count ``cost`` calls; return whether the counter stays within its limit.

        What is over the limit counts as well, up to twice the limit: who goes on hammering waits longer.
        """
        level = self.level(now_ns) + cost * UNIT
        self._level = min(level, 2 * self.most * UNIT)
        self._at_ns = now_ns
        return level <= self.most * UNIT

    def fill(self, now_ns: int) -> None:
        """Bring the counter to its limit."""
        self._level, self._at_ns = self.most * UNIT, now_ns


def cancel_cost(age_ns: int) -> int:
    """Return what cancelling an order of this age adds to the counter of its pair."""
    return _by_age(_CANCEL, age_ns)


def amend_cost(age_ns: int) -> int:
    """Return what amending an order of this age adds to the counter of its pair."""
    return 1 + _by_age(_AMEND, age_ns)


def _by_age(table: tuple[tuple[int, int], ...], age_ns: int) -> int:
    for below_s, cost in table:
        if age_ns < below_s * _S:
            return cost
    return 0
