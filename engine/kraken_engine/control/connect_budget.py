"""How often this process may try to connect, over all its lines.

The venue's edge bans an address after about 150 attempts in 10 minutes (docs "WebSocket rate limits"), so every
attempt, whichever line makes it, first gets its starting time here. Knows nothing of why a line connects.
"""

from __future__ import annotations

import bisect

import attrs

from kraken_engine.config import BackoffSettings

__all__ = ["ConnectBudget"]


@attrs.define
class ConnectBudget:
    """Starting times of connection attempts: ``min_gap_s`` apart, at most ``max_attempts`` in ``window_s``.

    A line that gives up before its time has still spent its attempt: the budget errs on the side of the ban.
    """

    settings: BackoffSettings
    _starts: list[float] = attrs.field(factory=list[float], init=False)
    """Sorted starting times, past and promised, that may still share a window with a new one."""

    def reserve(self, *, now: float, immediate: bool = False) -> float:
        """Book one attempt and return how many seconds it has to wait before it starts.

        Args:
            now: monotonic seconds.
            immediate: the one immediate retry of a healthy period (:meth:`Backoff.failed` returned 0.0): it need not
                keep the gap, but it does count in the window.
        """
        starts, settings = self._starts, self.settings
        del starts[: bisect.bisect_right(starts, now - settings.window_s)]
        if len(starts) < settings.max_attempts:
            start = now if immediate or not starts else max(now, starts[-1] + settings.min_gap_s)
        else:
            start = max(starts[-1] + settings.min_gap_s, starts[-settings.max_attempts] + settings.window_s)
        bisect.insort(starts, start)
        return start - now

    def attempts(self, *, now: float) -> int:
        """Return the attempts of the last ``window_s``, promised ones included."""
        return len(self._starts) - bisect.bisect_right(self._starts, now - self.settings.window_s)
