"""The nonces of one key: nanoseconds since 1970 that always rise, whatever the clock, the process or the venue does.

No nonce is handed out at or above the *mark*, which is on disk before the first nonce below it is used. After a crash
the next process begins at the mark, so it never matters whether a nonce was sent or not. Marks are set a block ahead,
hence one write is enough for many calls.

The wall clock only says how far to rise. Set back, it is waited for: each nonce is one more than the last. Set far
ahead (by an hour and more, against the monotonic clock), it is not followed: a nonce from another year would shut every
other program out of the key for good. ``told`` makes the venue's time the one to be believed.

A refused nonce means that the venue has seen a higher one. The answer is to go up, never down; after a few refusals in
a row somebody else is using the key, and more attempts would only get it locked out.

Knows nothing of signing, disks or calls: signed calls are serial per key, and draw their nonce when they leave.
"""

from __future__ import annotations

import math
from typing import final

import attrs

from kraken_engine.config import NonceSettings

__all__ = ["LATEST_NONCE", "ClockStepped", "Held", "NeedsMark", "NonceSource"]

LATEST_NONCE = 2**63 - 1
"""The venue takes 64 bits without a sign; a database keeps 64 bits with one."""

_LATEST_WALL_NS = 4_102_444_800 * 10**9
"""2100-01-01: a clock that says so or more is wrong."""
_NOTICED_NS = 10**9
"""A clock that differs by less from what was expected was merely adjusted."""


@attrs.frozen
class NeedsMark:
    """Put ``up_to`` on disk as the new mark, call :meth:`NonceSource.marked`, and ask again."""

    up_to: int


@attrs.frozen
class Held:
    """Too many nonces were refused: nothing but an urgent call for ``wait_s`` seconds."""

    wait_s: float


@attrs.frozen
class ClockStepped:
    """The wall clock moved by ``by_s`` against the monotonic clock; ``followed`` says whether nonces go along."""

    by_s: float
    followed: bool


@final
@attrs.define
class NonceSource:
    """The source of one key; ``mark`` is what the disk says, 0 if it knows nothing."""

    mark: int
    """Every nonce ever handed out is below it, by this process and by those before it."""
    settings: NonceSettings = attrs.field(factory=NonceSettings)
    refusals: int = attrs.field(default=0, init=False)
    """Nonces refused since one was accepted."""
    clock_step: ClockStepped | None = attrs.field(default=None, init=False)
    """The last step of the wall clock that a call met, for whoever tells of it; to be set to None by them."""
    _last: int = attrs.field(init=False)
    _just_marked: bool = attrs.field(default=False, init=False)
    _anchor: tuple[int, float] | None = attrs.field(default=None, init=False)
    """A wall time that is believed, and the monotonic time of it."""
    _astray: bool = attrs.field(default=False, init=False)
    """Whether the wall clock is too far ahead to be followed."""
    _held_until: float = attrs.field(default=-math.inf, init=False)

    def __attrs_post_init__(self) -> None:
        self._last = self.mark - 1

    def next(self, wall_ns: int, *, now: float, urgent: bool = False) -> int | NeedsMark | Held:
        """Return the next nonce, or what has to happen first.

        Args:
            wall_ns: nanoseconds since 1970 by the wall clock.
            now: monotonic seconds.
            urgent: whether to try although nonces are being refused: for cancels.

        Raises:
            OverflowError: there is no higher nonce any more (in the year 2262).
        """
        if self.is_held(now=now) and not urgent:
            return Held(self._held_until - now)
        believed_ns = self._believed(wall_ns, now)
        nonce = max(self._last + 1, min(believed_ns, self.mark - 1) if self._just_marked else believed_ns)
        if nonce >= self.mark:
            return NeedsMark(self._up_to(nonce))
        self._just_marked = False
        self._last = nonce
        return nonce

    def is_held(self, *, now: float) -> bool:
        """Return whether too many nonces were refused for any but an urgent call to be made now."""
        return now < self._held_until

    def marked(self, up_to: int) -> None:
        """The mark is on disk. The next nonce is drawn below it, however long the writing took."""
        if up_to > self.mark:
            self.mark = up_to
            self._just_marked = True

    def told(self, venue_ns: int, *, now: float) -> None:
        """The venue said what time it is: a wall clock too far ahead of that is not followed."""
        self._anchor = (venue_ns, now)

    def reset_above(self, at_least: int) -> None:
        """Go on above ``at_least`` (if that is a time of this century) and everything reserved so far; never down."""
        above = at_least if at_least < _LATEST_WALL_NS else 0
        self._last = max(self._last, self._up_to(self.mark) - 1, above - 1)

    def refused(self, *, now: float, venue_ns: int = 0) -> bool:
        """The venue refused a nonce: go up, and say whether to try the call again.

        Args:
            now: monotonic seconds.
            venue_ns: nanoseconds since 1970 by the venue's clock, as far as it is known.
        """
        self.refusals += 1
        self.reset_above(venue_ns)
        if self.refusals <= self.settings.max_retries:
            return True
        self._held_until = now + self.settings.hold_s
        return False

    def accepted(self) -> None:
        """The venue took a nonce: earlier refusals are forgotten."""
        self.refusals = 0
        self._held_until = -math.inf

    def _up_to(self, nonce: int) -> int:
        if nonce >= LATEST_NONCE:
            raise OverflowError(f"nonce: expected one below {LATEST_NONCE}, got {nonce}")
        return min(nonce + self.settings.block_ns, LATEST_NONCE)

    def _believed(self, wall_ns: int, now: float) -> int:
        """Return the wall time, or what it should be if it is astray; notes its steps."""
        plausible = wall_ns < _LATEST_WALL_NS
        if self._anchor is not None:
            expected_ns = self._anchor[0] + round((now - self._anchor[1]) * 1e9)
        else:
            expected_ns = wall_ns if plausible else 0
        step_ns = wall_ns - expected_ns
        followed = plausible and step_ns <= self.settings.max_step_s * 1e9
        if abs(step_ns) > _NOTICED_NS and (followed or not self._astray):
            self.clock_step = ClockStepped(step_ns / 1e9, followed)
        self._astray = not followed
        if not followed:
            return expected_ns
        self._anchor = (wall_ns, now)
        return wall_ns
