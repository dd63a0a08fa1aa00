"""A token bucket: how many actions may happen now, and how long the next one has to wait.

In any half-open window of one second it lets through fewer than ``burst + rate`` actions. Knows nothing of what
the actions are.
"""

from __future__ import annotations

import attrs

__all__ = ["TokenBucket"]


@attrs.define
class TokenBucket:
    """``rate`` tokens a second, at most ``burst`` saved up; full at first."""

    rate: float = attrs.field(validator=attrs.validators.gt(0))
    """Tokens a second; may be changed with :meth:`set_rate`."""
    burst: float = attrs.field(validator=attrs.validators.ge(1))
    _tokens: float = attrs.field(init=False)
    _at: float | None = attrs.field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self._tokens = float(self.burst)

    def take(self, n: float = 1.0, *, now: float) -> bool:
        """Take ``n`` tokens if they are there, and say whether they were."""
        if self.wait_s(n, now=now) > 0.0:
            return False
        self._tokens = max(0.0, self._tokens - n)
        return True

    def wait_s(self, n: float = 1.0, *, now: float) -> float:
        """Return the seconds until ``n`` tokens are there; 0.0 when they are.

        Raises:
            ValueError: ``n`` is more than the bucket ever holds.
        """
        if n > self.burst:
            raise ValueError(f"a bucket of {self.burst:g} tokens never holds {n:g}")
        self._refill(now)
        missing = n - self._tokens
        return missing / self.rate if missing > _ROUNDING else 0.0

    def set_rate(self, rate: float, *, now: float) -> None:
        """Go on at another rate; what was saved up so far stays."""
        self._refill(now)
        self.rate = rate

    def drain(self, *, now: float) -> None:
        """Throw away what was saved up: the next token is a full ``1 / rate`` away."""
        self._refill(now)
        self._tokens = 0.0

    def _refill(self, now: float) -> None:
        if self._at is not None and now > self._at:
            self._tokens = min(float(self.burst), self._tokens + (now - self._at) * self.rate)
        if self._at is None or now > self._at:
            self._at = now


_ROUNDING = 1e-6
"""Tokens forgiven to floating point: a wait of exactly ``wait_s`` has to be enough."""
