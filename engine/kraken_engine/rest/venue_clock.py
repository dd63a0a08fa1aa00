"""What time it is at the venue, from what it said and how long ago that was.

The wall clock of this machine may be wrong, and may be set while we run; the venue's word is anchored to the monotonic
clock instead. To the second: that is all it says. Sans-IO.
"""

from __future__ import annotations

import math
from typing import final

import attrs

__all__ = ["VenueClock"]

_NS_PER_S = 10**9


@final
@attrs.define
class VenueClock:
    """The venue's clock as far as it is known."""

    _anchor: tuple[int, float] | None = attrs.field(default=None, init=False)

    def learn(self, unix_s: int, *, at_s: float) -> None:
        """Take over what the venue said, as received at ``at_s`` (monotonic): the middle of the second it named."""
        self._anchor = (unix_s * _NS_PER_S + _NS_PER_S // 2, at_s)

    def now_ns(self, *, now: float) -> int | None:
        """Return the venue's time in nanoseconds since 1970 at ``now`` (monotonic); None if it never said."""
        if self._anchor is None:
            return None
        told_ns, at_s = self._anchor
        return told_ns + round((now - at_s) * _NS_PER_S)

    def age_s(self, *, now: float) -> float:
        """Return how many seconds ago it last said its time; infinity if it never did."""
        return math.inf if self._anchor is None else now - self._anchor[1]

    def offset_s(self, wall_ns: int, *, now: float) -> float | None:
        """Return by how many seconds the wall clock is ahead of the venue's; None if it never said."""
        venue_ns = self.now_ns(now=now)
        return None if venue_ns is None else (wall_ns - venue_ns) / _NS_PER_S
