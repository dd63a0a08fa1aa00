"""How often this process may try to connect, over all its lines.

The venue's edge bans an address after about 150 attempts in 10 minutes (docs "WebSocket rate limits"), so every
attempt, whichever line makes it, first gets its starting time here. Knows nothing of why a line connects.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Iterator, Sequence
from typing import Protocol

import attrs

from kraken_engine.config import BackoffSettings

__all__ = ["ConnectBudget", "ConnectLog"]


class ConnectLog(Protocol):
    """Remembers attempts across restarts: the venue's edge counts them by address, not by process."""

    async def load(self) -> Sequence[int]:
        """Return when earlier attempts were made, wall-clock nanoseconds; older ones than the window may be missing."""
        ...

    async def append(self, wall_ns: int) -> None:
        """Remember an attempt that is about to be made. To fail is its own business: the attempt is made anyway."""
        ...


_ROUNDING_S = 1e-6
"""A start is found again although it was told as a pause, and added to another moment."""


@attrs.define
class ConnectBudget:
    """Starting times of connection attempts: ``min_gap_s`` apart, at most ``max_attempts`` in ``window_s``.

    A line that gives up before its time gives its attempt back (:meth:`give_back`).
    """

    settings: BackoffSettings
    _starts: list[float] = attrs.field(factory=list[float], init=False)
    """Sorted starting times, past and promised. As a line waits for its promise, they are few."""
    _at_once_from: float = attrs.field(default=-math.inf, init=False)
    """From when on an attempt may come closer to another than the gap."""

    def reserve(self, *, now: float, after_s: float = 0.0, immediate: bool = False) -> float:
        """Book one attempt at the first time that fits, and return how many seconds that is after the earliest start.

        Args:
            now: monotonic seconds.
            after_s: the earliest start, in seconds from now; delays nobody until then.
            immediate: the one immediate retry of a healthy period (:meth:`Backoff.failed` returned 0.0): it need not
                keep the gap, once in ``immediate_every_s`` whichever line it is; it does count in the window.
        """
        del self._starts[: bisect.bisect_right(self._starts, now - 2 * self.settings.window_s)]
        min_gap_s = self.settings.min_gap_s
        earliest = now + after_s
        # One that came too close before and after it would be two.
        following = bisect.bisect_right(self._starts, earliest)
        room = following == len(self._starts) or self._starts[following] >= earliest + min_gap_s
        gap_s = 0.0 if immediate and room and earliest >= self._at_once_from else min_gap_s
        start = next(start for start in self._candidates(earliest, gap_s) if self._fits(start, gap_s))
        if not self._fits(start, min_gap_s):
            self._at_once_from = start + self.settings.immediate_every_s
        bisect.insort(self._starts, start)
        return start - earliest

    def give_back(self, start: float) -> None:
        """Strike out an attempt booked for ``start`` that is not going to be made."""
        place = bisect.bisect_left(self._starts, start - _ROUNDING_S)
        if place < len(self._starts) and self._starts[place] <= start + _ROUNDING_S:
            del self._starts[place]

    def next_start(self, *, now: float) -> float | None:
        """Return when the next attempt is due that was promised to a line; None: none waits."""
        place = bisect.bisect_right(self._starts, now)
        return self._starts[place] if place < len(self._starts) else None

    def history(self, *, now: float) -> list[float]:
        """Return how many seconds ago each attempt of the window was made; promised ones are left out."""
        return [now - start for start in self._starts if now - self.settings.window_s < start <= now]

    def restore(self, ages_s: Sequence[float], *, now: float) -> None:
        """Count attempts that an earlier process made ``ages_s`` seconds ago; one in the future counts as made now."""
        for age_s in ages_s:
            if age_s < self.settings.window_s:
                bisect.insort(self._starts, now - max(0.0, age_s))

    def attempts(self, *, now: float) -> int:
        """Return the attempts since ``window_s`` ago, promised ones included."""
        return len(self._starts) - bisect.bisect_right(self._starts, now - self.settings.window_s)

    def _candidates(self, now: float, gap_s: float) -> Iterator[float]:
        """Return the times worth a try, in order: the first that fits is the first of all, and the last always fits."""
        yield now
        window_s = self.settings.window_s
        later = {start + pause_s: None for start in self._starts for pause_s in (gap_s, window_s)}
        yield from sorted(time for time in later if time > now)
        yield max(now, self._starts[-1]) + gap_s + window_s

    def _fits(self, start: float, gap_s: float) -> bool:
        starts, most = self._starts, self.settings.max_attempts
        place = bisect.bisect_right(starts, start)
        if place > 0 and start < starts[place - 1] + gap_s:
            return False
        if place < len(starts) and starts[place] < start + gap_s:
            return False
        around = [*starts[max(0, place - most) : place], start, *starts[place : place + most]]
        return all(late >= early + self.settings.window_s for early, late in zip(around, around[most:], strict=False))
