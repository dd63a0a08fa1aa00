"""Who is let through to REST at all: how often an address may ask for public data, and how much at the same time.

Public calls count by address, ``Trades`` and ``OHLC`` by address and pair (docs "Spot REST Rate Limits"; its numbers
are not published). More requests at a time than :data:`MOST_CONCURRENT` are throttled, with the second from which on
they may come again. Private calls have counters of their own.
"""

from __future__ import annotations

import attrs

from kraken_engine.errors import ConfigError
from kraken_engine.venue.core.accounts.counters import LeakyCounter
from kraken_engine.venue.core.ports import RestRequest
from kraken_engine.venue.core.timestamps import NS_PER_S

__all__ = ["MOST_CONCURRENT", "PublicPace", "RestGate"]

MOST_CONCURRENT = 20
"""Requests of one address that may be in work at the same time."""

THROTTLE_S = 2

PUBLIC = "/0/public/"
BY_PAIR = ("Trades", "OHLC")

MOST_ADDRESSES = 10_000
"""Counters that are kept; with more, all of them begin anew."""


@attrs.frozen(kw_only=True)
class PublicPace:
    """How often one address may ask for public data."""

    most: int = 60
    """Calls at once."""
    decay: int = 200
    """Hundredths of a call a second."""

    def __attrs_post_init__(self) -> None:
        """Check both numbers."""
        if self.most < 1 or self.decay < 1:
            raise ConfigError(f"public_pace: expected numbers above 0, got {self.most} and {self.decay}")


class RestGate:
    """Counts calls by address."""

    def __init__(self, pace: PublicPace | None) -> None:
        """Let everything public through when ``pace`` is None."""
        self._pace = pace
        self._counters: dict[tuple[str, str], LeakyCounter] = {}

    def refuses(self, request: RestRequest, wall_ns: int) -> str | None:
        """Return the words with which a request is refused, or None."""
        if request.concurrent >= MOST_CONCURRENT:
            return f"EService: Throttled: {wall_ns // NS_PER_S + THROTTLE_S}"
        if self._pace is None or not request.path.startswith(PUBLIC):
            return None
        name = request.path.removeprefix(PUBLIC)
        what = f"{name}:{request.query.get('pair', '')}" if name in BY_PAIR else ""
        counter = self._counters.get((request.client, what))
        if counter is None:
            if len(self._counters) >= MOST_ADDRESSES:
                self._counters.clear()
            counter = self._counters[request.client, what] = LeakyCounter(self._pace.most, self._pace.decay)
        return None if counter.add(1, wall_ns) else "EAPI:Rate limit exceeded"
