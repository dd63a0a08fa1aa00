"""What time it is at the venue, from what it said and how long ago that was (I-28).

The wall clock of this machine may be wrong, and may be set while we run; the venue's word is anchored to the monotonic
clock instead. Every answer of REST has one: its ``Date``, or what ``Time`` says, to the second. An answer that was long
on its way says little, so the best word is kept until a better one comes, or one that contradicts it. Sans-IO.
"""

from __future__ import annotations

import math
from typing import final

import attrs

__all__ = ["VenueClock"]

_NS_PER_S = 10**9
_DRIFT = 1e-4
"""So much a monotonic clock may gain or lose, a second in three hours: a word that old is as good as a new one."""


@attrs.frozen
class _Word:
    venue_ns: int
    """The middle of what it may have been when the answer arrived ..."""
    error_s: float
    """... and how far from that it may have been."""
    at_s: float

    def error_at(self, now: float) -> float:
        return self.error_s + (now - self.at_s) * _DRIFT

    def at(self, now: float) -> int:
        return self.venue_ns + round((now - self.at_s) * _NS_PER_S)


@final
@attrs.define
class VenueClock:
    """The venue's clock as far as it is known. Times are monotonic seconds, and never decrease."""

    _word: _Word | None = attrs.field(default=None, init=False)
    _heard_at: float = attrs.field(default=-math.inf, init=False)
    """When it last said what agrees with that."""

    def learn(self, unix_s: int, *, at_s: float, took_s: float = 0.0) -> None:
        """Take note of what the venue said in an answer.

        Args:
            unix_s: the second it named.
            at_s: when the answer was here.
            took_s: how long ago the question had left by then.
        """
        error_s = (1.0 + max(took_s, 0.0)) / 2
        heard = _Word(unix_s * _NS_PER_S + round(error_s * _NS_PER_S), error_s, at_s)
        self._heard_at = at_s
        known = self._word
        if known is not None:
            apart_s = abs(heard.venue_ns - known.at(at_s)) / _NS_PER_S
            if error_s >= known.error_at(at_s) and apart_s <= error_s + known.error_at(at_s):
                return
        self._word = heard

    def forget(self) -> None:
        """Believe nothing of it any more: the monotonic clock may have stood still, as while a machine sleeps."""
        self._word, self._heard_at = None, -math.inf

    def now_ns(self, *, now: float) -> int | None:
        """Return the venue's time in nanoseconds since 1970 at ``now`` (monotonic); None if it never said."""
        return None if self._word is None else self._word.at(now)

    def latest_ns(self, *, now: float) -> int | None:
        """Return what it may be at the latest, as :meth:`now_ns` does."""
        return None if self._word is None else self._word.at(now) + round(self._word.error_at(now) * _NS_PER_S)

    def error_s(self, *, now: float) -> float:
        """Return how far from :meth:`now_ns` the venue's clock may be; infinity if it never said its time."""
        return math.inf if self._word is None else self._word.error_at(now)

    def age_s(self, *, now: float) -> float:
        """Return how many seconds ago it last said its time; infinity if it never did."""
        return now - self._heard_at

    def offset_s(self, wall_ns: int, *, now: float) -> float | None:
        """Return by how many seconds the wall clock is ahead of the venue's; None if it never said."""
        venue_ns = self.now_ns(now=now)
        return None if venue_ns is None else (wall_ns - venue_ns) / _NS_PER_S
