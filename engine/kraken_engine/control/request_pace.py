"""How fast requests may follow each other on one connection.

The venue limits messages without publishing a number; beyond it, it refuses with ``Exceeded msg rate``. So requests
keep well below a rate that is known to work, and a complaint halves it for a while. Knows nothing of the requests.
"""

from __future__ import annotations

import attrs

from kraken_engine.control.token_bucket import TokenBucket

__all__ = ["RequestPace"]

_SLOWEST = 16.0
"""Complaints slow the pace down to this fraction, and no further ..."""
_PARDON_S = 60.0
"""... and after so long without one it is the full pace again."""


@attrs.define
class RequestPace:
    """At most ``per_second`` requests in any second, about a quarter of them at once.

    With a ``burst`` of its own: ``per_second`` on average, and after a pause so many more at once.
    """

    per_second: float
    burst: int | None = None
    _bucket: TokenBucket = attrs.field(init=False)
    _slowed_at: float | None = attrs.field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self._bucket = TokenBucket(rate=self._full_rate, burst=self._most_at_once)

    def take(self, *, now: float) -> bool:
        """Say whether a request may go out now; if so it counts as sent."""
        self._pardon(now)
        return self._bucket.take(now=now)

    def wait_s(self, *, now: float) -> float:
        """Return the seconds until a request may go out."""
        self._pardon(now)
        return self._bucket.wait_s(now=now)

    def complained(self, *, sent_at: float, now: float) -> None:
        """Note that the venue complained about a request of ``sent_at``: halve the pace, once for all sent before."""
        if self._slowed_at is not None and sent_at <= self._slowed_at:
            return
        self._slowed_at = now
        self._bucket.set_rate(max(self._full_rate / _SLOWEST, self._bucket.rate / 2), now=now)
        self._bucket.drain(now=now)

    @property
    def _full_rate(self) -> float:
        return self.per_second if self.burst else self.per_second - (self._most_at_once - 1)

    @property
    def _most_at_once(self) -> int:
        return self.burst or max(1, int(self.per_second) // 4)

    def _pardon(self, now: float) -> None:
        if self._slowed_at is not None and now >= self._slowed_at + _PARDON_S:
            self._slowed_at = None
            self._bucket.set_rate(self._full_rate, now=now)
