"""How long one line waits before its next connection attempt.

Decides from failures and connections alone, and knows nothing of the other lines: the limits of the whole
process are the :mod:`connect budget <kraken_engine.control.connect_budget>`'s.

Full jitter (AWS SDK reference, "Retry behavior"): ``uniform(0, min(cap, base * 2**n))``, so that many clients cut
off at once do not come back at once. Full jitter may collapse to nothing, which is wrong after a throttling
answer: above a floor the jitter is equal (half fixed, half drawn).
"""

from __future__ import annotations

import attrs

from kraken_engine.config import BackoffSettings
from kraken_engine.errors import ConnectFailed, LineClosed, LineError, UpgradeRejected
from kraken_engine.runtime import Rng

__all__ = ["Backoff"]

_THROTTLED = frozenset({403, 429})
"""HTTP statuses with which the venue's edge asks for distance (docs "WebSocket rate limits")."""
_ASKED_FOR_A_PAUSE = frozenset({1012, 1013})
"""Close codes (IANA registry: service restart, try again later) after which a client waits a random while."""
_MAX_DOUBLINGS = 60


@attrs.define
class Backoff:
    """Pauses between the connection attempts of one line."""

    settings: BackoffSettings
    rng: Rng = attrs.field(repr=False)
    failures: int = attrs.field(default=0, init=False)
    """Failures in a row; only health resets it, a mere connection does not."""
    _connected_at: float | None = attrs.field(default=None, init=False)
    _immediate: bool = attrs.field(default=True, init=False)
    """Whether the immediate retry of this healthy period is still to be had."""

    @property
    def down(self) -> bool:
        """Whether the line counts as down: ``down_after`` failures in a row."""
        return self.failures >= self.settings.down_after

    def connected(self, *, now: float) -> None:
        """Note that a connection is up; call it once per connection."""
        self._connected_at = now

    def healthy(self, *, now: float) -> bool:
        """Return whether the current connection has lived ``healthy_s``; if so the failures are forgotten."""
        if self._connected_at is None or now - self._connected_at < self.settings.healthy_s:
            return False
        self.failures = 0
        self._immediate = True
        return True

    def failed(self, *, now: float, floor_s: float = 0.0, excused: bool = False) -> float:
        """Note that an attempt failed or a connection ended, and return the pause before the next attempt.

        Args:
            now: monotonic seconds.
            floor_s: shortest sensible pause, see :meth:`floor_s`; above 0 the retry is never immediate.
            excused: the venue is away on purpose. It is no failure then: nothing is counted and no pause grows, but
                none is short either, since there is nothing to be had in a hurry.

        Returns:
            Seconds; exactly 0.0 for the one immediate retry of a healthy period.
        """
        self.healthy(now=now)
        self._connected_at = None
        if excused:
            return floor_s + self.rng.uniform(self.settings.cap_s / 2, self.settings.cap_s)
        self.failures += 1
        if self._immediate and not floor_s:
            self._immediate = False
            return 0.0
        self._immediate = False
        if self.down:
            return floor_s + self.settings.cap_s
        bound_s = min(self.settings.cap_s, self.settings.base_s * 2.0 ** min(self.failures - 1, _MAX_DOUBLINGS))
        if floor_s:
            return floor_s + self.rng.uniform(bound_s / 2, bound_s)
        return self.rng.uniform(0.0, bound_s)

    def floor_s(self, error: LineError) -> float:
        """Return the shortest pause that makes sense after ``error``, in seconds; 0 when nothing is known."""
        floor_s = error.retry_floor_s if isinstance(error, ConnectFailed) else 0.0
        if isinstance(error, UpgradeRejected) and error.status in _THROTTLED:
            floor_s = max(floor_s, self.settings.rejected_floor_s)
        if isinstance(error, LineClosed) and error.code in _ASKED_FOR_A_PAUSE:
            floor_s = self.rng.uniform(self.settings.asked_pause_s / 4, self.settings.asked_pause_s)
        return floor_s
