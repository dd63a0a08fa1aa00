"""The candles of one symbol and interval: which one is still forming, and which are closed for good.

The venue never says that a candle is closed; it just begins the next one (docs "Candles"). So a candle is closed
when its successor arrives and nothing was lost in between. One that was forming when updates were lost is
forgotten: its last state is not known, unless a snapshot tells it anew.

Knows nothing of the clock: in an interval without trades no candle comes, and none is made up.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import attrs

from kraken_engine.normalise.events import Candle

__all__ = ["CLOSED_CANDLES", "CandleSeries"]

CLOSED_CANDLES = 720
"""Closed candles kept, the newest; as many as the venue itself gives at once."""


@attrs.define
class CandleSeries:
    """The forming candle, and the closed ones before it."""

    symbol: str
    interval_min: int
    forming: Candle | None = attrs.field(default=None, init=False)
    """The latest state of the newest candle; None before the first, and after a loss."""
    outdated: int = attrs.field(default=0, init=False)
    """Candles dropped because a later state, or a later candle, was known."""
    _closed: deque[Candle] = attrs.field(factory=lambda: deque(maxlen=CLOSED_CANDLES), init=False, repr=False)

    @property
    def closed(self) -> tuple[Candle, ...]:
        """Closed candles in the order of their begin; where one is missing, updates were lost or nothing traded."""
        return tuple(self._closed)

    def receive(self, candle: Candle) -> Sequence[Candle]:
        """Return ``candle`` if it is news to consumers, else nothing.

        Candles of a snapshot are to be given in its order, oldest first.
        """
        forming = self.forming
        if self._is_outdated(candle):
            self.outdated += 1
            return ()
        if forming is not None and forming.interval_begin < candle.interval_begin:
            self._closed.append(forming)
        self.forming = candle
        return (candle,)

    def lose(self) -> None:
        """Updates were, or may have been, lost: the forming candle's end will not be seen."""
        self.forming = None

    def _is_outdated(self, candle: Candle) -> bool:
        if self._closed and candle.interval_begin <= self._closed[-1].interval_begin:
            return True
        forming = self.forming
        if forming is None or candle.interval_begin > forming.interval_begin:
            return False
        # Within one candle the count of trades only grows: fewer means an older state, in whatever order it came.
        return candle.interval_begin < forming.interval_begin or candle.trades < forming.trades
