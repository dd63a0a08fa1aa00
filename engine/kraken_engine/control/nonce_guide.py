"""When the nonces of a key have to go above the venue's own time, and whose word about that time counts (I-20).

A refused nonce means that somebody used a higher one: the next has to be above the venue's clock. That is known from
the dates of its answers; a date that is far from the wall clock may be of an edge whose clock is wrong, and there is no
way back from a nonce of another year. Then the venue itself has to say its time, and until it has, the need stays: the
next call may come after a long rest of the key.

Knows nothing of calls, or of how the venue is asked. Times are monotonic seconds, and nanoseconds since 1970.
"""

from __future__ import annotations

from typing import Final, final

import attrs

from kraken_engine.control.nonce import NonceSource
from kraken_engine.control.venue_clock import VenueClock

__all__ = ["NonceGuide"]

TIME_KEEPS_S: Final = 60.0
"""So long the venue's time is taken to be known: a machine that sleeps does not count on."""


@final
@attrs.define
class NonceGuide:
    """Guides the nonces of one key."""

    nonces: NonceSource
    venue_clock: VenueClock
    _refused: bool = attrs.field(default=False, init=False)
    """Whether a nonce was, and the next one has to go above the venue's time, which was not known yet."""
    _compared: bool = attrs.field(default=False, init=False)
    """Whether the wall clock was compared with the venue's: one that is wrong from the beginning has no steps."""

    def has_to_ask(self, wall_ns: int, *, now: float, urgent: bool) -> bool:
        """Return whether the venue should be asked for its time before the next call.

        While the key rests only an ``urgent`` call leaves, and nothing is asked for any other.
        """
        if self.nonces.is_held(now=now) and not urgent:
            return False
        if not self._refused and not self._doubts(wall_ns, now):
            return False
        if self.venue_clock.age_s(now=now) < TIME_KEEPS_S and self._credible_ns(wall_ns, now) is not None:
            self._refused = False
            return False
        self._compared = True
        return True

    def told(self, *, now: float) -> None:
        """The venue was asked, and said its time: go above it."""
        venue_ns = self.venue_clock.latest_ns(now=now)
        if venue_ns is not None:
            self._refused = False
            self.nonces.told(venue_ns, now=now)
            self.nonces.reset_above(venue_ns)

    def accepted(self) -> None:
        """The venue took a nonce."""
        self._refused = False
        self.nonces.accepted()

    def not_accepted(self, wall_ns: int, *, now: float, reset: bool) -> bool:
        """The venue, or the rest of the key, refused a call; ``reset`` if its nonce is to blame.

        Returns:
            Whether to try the call again, with a higher one.
        """
        self._refused = self._refused or reset
        return reset and self.nonces.refused(now=now, venue_ns=self._credible_ns(wall_ns, now) or 0)

    def _doubts(self, wall_ns: int, now: float) -> bool:
        """Return, once, whether the wall clock is far from what is known of the venue's."""
        if self._compared or self.venue_clock.now_ns(now=now) is None:
            return False
        self._compared = True
        return self._credible_ns(wall_ns, now) is None

    def _credible_ns(self, wall_ns: int, now: float) -> int | None:
        """Return the venue's time, at the latest, unless it is far from the wall clock's, or not known."""
        venue_ns = self.venue_clock.latest_ns(now=now)
        if venue_ns is None or abs(venue_ns - wall_ns) > self.nonces.settings.max_step_s * 1e9:
            return None
        return venue_ns
