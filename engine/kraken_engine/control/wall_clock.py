"""Whether the wall clock of this machine can be believed: by the monotonic one and the venue's (I-28).

Nothing that matters goes by the wall clock alone: timers are monotonic, nonces rise whatever it says, deadlines of
orders are reckoned by the venue's time. But whoever runs the machine has to know when it was set, or is wrong: ages of
what was saved, and what other programs do with the same key, depend on it. Each step is told once, and so is a
difference from the venue's clock, and its end.

Knows nothing of clocks, but what they show; a word about a key's nonces is :mod:`~kraken_engine.control.nonce`'s.
"""

from __future__ import annotations

from typing import final

import attrs

from kraken_engine.config import ClockSettings

__all__ = ["Agrees", "ClockNews", "Differs", "Stepped", "WallClock"]

_NS_PER_S = 10**9


@attrs.frozen
class Stepped:
    """It moved by ``by_s`` against the monotonic clock: somebody set it, or the machine slept.

    What the venue said of its time rests on the monotonic clock, which may have stood still: it is to be forgotten.
    """

    by_s: float


@attrs.frozen
class Differs:
    """It is ``by_s`` ahead of the venue's (behind it where that is below 0), and was not before."""

    by_s: float


@attrs.frozen
class Agrees:
    """It differs from the venue's no more."""

    by_s: float


ClockNews = Stepped | Differs | Agrees


@final
@attrs.define
class WallClock:
    """Watches one wall clock."""

    settings: ClockSettings = attrs.field(factory=ClockSettings)
    _last: tuple[int, float] | None = attrs.field(default=None, init=False)
    _differs: bool = attrs.field(default=False, init=False)

    def look(self, wall_ns: int, *, now: float, offset_s: float | None = None, error_s: float = 0.0) -> list[ClockNews]:
        """Return what is to be told.

        Args:
            wall_ns: what it shows, nanoseconds since 1970.
            now: monotonic seconds.
            offset_s: by how much it is ahead of the venue's, as far as that is known.
            error_s: by how much that may be wrong.
        """
        last, self._last = self._last, (wall_ns, now)
        if last is not None:
            by_s = (wall_ns - last[0]) / _NS_PER_S - (now - last[1])
            if abs(by_s) > self.settings.step_s:
                return [Stepped(by_s)]  # what is known of the venue's clock is so no more
        if offset_s is None:
            return []
        surely_s = max(0.0, abs(offset_s) - error_s)
        if not self._differs and surely_s >= self.settings.offset_s:
            self._differs = True
            return [Differs(offset_s)]
        if self._differs and surely_s < self.settings.offset_s / 2:
            self._differs = False
            return [Agrees(offset_s)]
        return []
