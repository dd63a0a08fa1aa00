"""How long to wait before a REST call is tried again.

After a failure of the transport: full jitter (AWS SDK reference, "Retry behavior"), so that many who failed together
do not come back together. After an answer that asks for distance full jitter would be wrong, for it may collapse to
nothing: there is a floor, and above it the jitter is equal (half fixed, half drawn). A time the venue names is
honoured.
Knows nothing of whether a retry is allowed at all.
"""

from __future__ import annotations

from typing import final

import attrs

from kraken_engine.config import RetrySettings
from kraken_engine.runtime import Rng

__all__ = ["RetryPause", "until_s"]

_MAX_DOUBLINGS = 30


@final
@attrs.define
class RetryPause:
    """Pauses between the attempts of any call."""

    settings: RetrySettings
    rng: Rng = attrs.field(repr=False)

    def transport_s(self, retry: int) -> float:
        """Return the pause before retry number ``retry`` (the first is 1) after a failure of the transport."""
        return self.rng.uniform(0.0, self._bound_s(retry))

    def throttled_s(self, retry: int, *, at_least_s: float = 0.0) -> float:
        """Return the pause before retry number ``retry`` after an answer that asks for distance.

        Args:
            retry: its number; the first is 1.
            at_least_s: what the answer itself asks for, see :func:`until_s`.
        """
        bound_s = self._bound_s(retry)
        return max(self.settings.throttled_floor_s, at_least_s) + self.rng.uniform(bound_s / 2, bound_s)

    def _bound_s(self, retry: int) -> float:
        return min(self.settings.cap_s, self.settings.base_s * 2.0 ** min(retry - 1, _MAX_DOUBLINGS))


def until_s(unix_s: float, *, venue_ns: int) -> float:
    """Return how many seconds it is until ``unix_s`` (``EService: Throttled: <unix time>``) by the venue's clock.

    Args:
        unix_s: the time the venue named, seconds since 1970.
        venue_ns: the venue's present time as well as it is known, nanoseconds since 1970.
    """
    return max(0.0, unix_s - venue_ns / 1e9)
