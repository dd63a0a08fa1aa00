"""So many faults in so short a time: enough to give up on the one who makes them."""

from __future__ import annotations

import collections

import attrs

__all__ = ["Tripwire"]


@attrs.define
class Tripwire:
    """Trips when ``limit`` faults happened within ``window_s``."""

    limit: int
    window_s: float
    _faults: collections.deque[float] = attrs.field(factory=collections.deque[float], init=False)

    def fault(self, *, now: float) -> bool:
        """Note one fault; return whether it was one too many."""
        faults = self._faults
        faults.append(now)
        while faults[0] <= now - self.window_s or len(faults) > self.limit:
            faults.popleft()
        return len(faults) >= self.limit
