"""Whether one more retry is affordable, over all calls of the process (I-25).

When the venue is in trouble, every call fails, and clients that try each of them again multiply its load just then. So
retries come out of one budget: in *every* window of a minute they are at most ten, and a fifth of the first attempts in
that same window. Knows nothing of the calls.
"""

from __future__ import annotations

import bisect
from typing import final

import attrs

from kraken_engine.config import RetrySettings

__all__ = ["RetryBudget"]

_FIRSTS_KEPT = 4096
"""More first attempts than that in a window earn nothing."""
_ROUNDING = 1e-9


@final
@attrs.define
class RetryBudget:
    """The budget of one process; ``now`` never decreases."""

    settings: RetrySettings = attrs.field(factory=RetrySettings)
    _firsts: list[float] = attrs.field(factory=list[float], init=False, repr=False)
    _retries: list[float] = attrs.field(factory=list[float], init=False, repr=False)
    """Times, rising."""

    def first(self, *, now: float) -> None:
        """Note the first attempt of a call."""
        self._forget(now)
        self._firsts.append(now)

    def retry(self, *, now: float) -> bool:
        """Say whether one more retry is affordable now; if so it is spent.

        Any window with this retry in it has begun at one of the retries before it, or later: it is enough to look at
        those. What comes later only adds to what is allowed.
        """
        self._forget(now)
        retries = [*self._retries, now]
        for at, begin in enumerate(retries):
            firsts = len(self._firsts) - bisect.bisect_left(self._firsts, begin)
            allowed = self.settings.free_retries + self.settings.retry_share * firsts
            if len(retries) - at > allowed + _ROUNDING:
                return False
        self._retries = retries
        return True

    def _forget(self, now: float) -> None:
        # What rounding may have put outside the window is kept: a retry too few is better than one too many.
        begin = now - self.settings.window_s - _ROUNDING
        del self._firsts[: max(bisect.bisect_left(self._firsts, begin), len(self._firsts) - _FIRSTS_KEPT + 1)]
        del self._retries[: bisect.bisect_left(self._retries, begin)]
