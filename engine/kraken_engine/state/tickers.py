"""The latest ticker of one symbol: each one is complete, so the newest is the truth.

Decides only which of two is newer. Knows nothing of lines and their silence.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from kraken_engine.errors import Stale
from kraken_engine.normalise.events import Event, TickerUpdate
from kraken_engine.state.venue_time import WENT_BACK, VenueTimeFloor

__all__ = ["BEHIND_TOLERANCE_S", "LatestTicker"]

BEHIND_TOLERANCE_S = 2.0
"""For how long tickers older than the latest one are taken for late ones; then the venue's clock went back."""


@attrs.define
class LatestTicker:
    """Keeps the newest ticker and drops what arrives after something newer (I-4)."""

    symbol: str
    latest: TickerUpdate | None = attrs.field(default=None, init=False)
    outdated: int = attrs.field(default=0, init=False)
    """Tickers dropped because a newer one had been shown."""
    _floor: VenueTimeFloor = attrs.field(factory=VenueTimeFloor, init=False, repr=False)
    _behind_since: float | None = attrs.field(default=None, init=False)

    def receive(self, update: TickerUpdate, *, now: float) -> Sequence[Event]:
        """Return what consumers are to see of ``update``: itself, nothing, or a notice before it."""
        notices: tuple[Event, ...] = ()
        if self._floor.is_behind(update.venue_time):
            if self._behind_since is None:
                self._behind_since = now
            if now - self._behind_since < BEHIND_TOLERANCE_S:
                self.outdated += 1
                return ()
            notices = (Stale("ticker", self.symbol, WENT_BACK, since_s=self._behind_since),)
        self._behind_since = None
        self._floor.raise_to(update.venue_time)
        self.latest = update
        return (*notices, update)
