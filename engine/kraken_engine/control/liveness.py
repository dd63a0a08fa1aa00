"""Whether a connection still lives, from the times of its frames alone.

Silence has three answers: a ping (the pong is evidence), then *stale* (cheap and early: consumers stop trusting
what the line feeds), then replacement (late, for a reconnect costs a resync). Any frame counts, a heartbeat or a
pong as much as data, so a quiet market is not a dead line.

Heartbeats come about once a second, but only after the first subscription (docs "Heartbeat"). A line on which
nothing was asked for yet is therefore only pinged, never marked stale; it is replaced when the ping stays unanswered.

Frames prove one direction only. Every ``idle_ping_s`` a ping asks for the other, however much else is sent: one that
no pong has answered within ``pong_timeout_s`` means that the peer does not hear us, or that all it sends is as old as
that. Such a connection is replaced.

A check that comes late means that this process was blocked or asleep, and that frames may lie unread in the
socket. The time nobody looked is no silence of the peer, and is left out of the account. But when it was as long as a
silence that kills, what waits in the socket is as old, and no frame tells: that connection is replaced unread. Call
:meth:`Liveness.check` before frames that were read after :attr:`Liveness.next_check`.
"""

from __future__ import annotations

import math

import attrs

from kraken_engine.config import LivenessSettings

__all__ = ["Liveness", "LivenessAction", "MarkStale", "Replace", "SendPing"]


@attrs.frozen
class SendPing:
    """Send the venue's own ``ping`` request (docs "Ping"): unlike a protocol pong, its answer is a text frame."""


@attrs.frozen
class MarkStale:
    """What this line feeds may not be trusted until it is verified again."""

    reason: str


@attrs.frozen
class Replace:
    """The connection is dead: end it and make another. The last action of a connection."""

    reason: str


LivenessAction = SendPing | MarkStale | Replace

_LAG_TOLERANCE_S = 0.1
"""A check that is late by less is ordinary scheduling, and no reason to be patient with the peer."""


@attrs.define
class Liveness:
    """The judge of one connection at a time; :meth:`connected` starts it on the next one."""

    settings: LivenessSettings
    stale: bool = attrs.field(default=False, init=False)
    """Whether :class:`MarkStale` was the last word; the next frame ends it."""
    lag_s: float = attrs.field(default=0.0, init=False)
    """How late the last check came."""
    next_check: float = attrs.field(default=math.inf, init=False)
    """When :meth:`check` is wanted next (monotonic); infinity while there is no connection to judge."""
    _silent_since: float = attrs.field(default=0.0, init=False)
    _last_ping: float = attrs.field(default=0.0, init=False)
    _greeted: bool = attrs.field(default=False, init=False)
    _asked_at: float | None = attrs.field(default=None, init=False)
    """When the first request went out: heartbeats are due from then on."""
    _pinged: bool = attrs.field(default=False, init=False)
    """Whether this silence was probed."""
    _pong_due: float = attrs.field(default=math.inf, init=False)
    """When the oldest unanswered ping has waited long enough."""

    def connected(self, *, now: float) -> None:
        """Start to judge a new connection, whose upgrade has just succeeded."""
        self.stale = self._greeted = self._pinged = False
        self.lag_s = 0.0
        self._asked_at = None
        self._pong_due = math.inf
        self._silent_since = self._last_ping = now
        self.next_check = min(now + self.settings.check_s, self._dead_at())

    def disconnected(self) -> None:
        """Stop judging: the connection has ended, whoever ended it."""
        self.next_check = math.inf

    def frame(self, *, now: float) -> bool:
        """Note that bytes of the peer were read, and return whether that ended a stale period.

        Frames again does not mean values are current again: that takes verified data.
        """
        ended = self.stale
        self._silent_since = now
        self._greeted = True
        self._pinged = self.stale = False
        return ended

    def pong(self) -> None:
        """Note that a ping was answered: the peer hears us. Its frame counts by itself, see :meth:`frame`."""
        self._pong_due = math.inf

    def sent(self, *, now: float) -> None:
        """Note that a request went out: heartbeats are due from now on. Pings asked for here need no note."""
        if self._asked_at is None:
            self._asked_at = now

    def check(self, *, now: float) -> list[LivenessAction]:
        """Judge the silence so far; each action of a silence is returned once."""
        if self.next_check == math.inf:
            return []
        self._forgive_lag(now)
        if self.lag_s >= self.settings.dead_after_s and self._asked_at is not None:
            self.next_check = math.inf
            return [Replace(f"nobody looked for {self.lag_s:.1f} s, what came meanwhile is too old")]
        if now >= self._dead_at():
            self.next_check = math.inf
            return [Replace(self._death(now - self._silent_since))]
        if now >= self._pong_due:
            self.next_check = math.inf
            return [Replace(f"no answer to a ping for {self.settings.pong_timeout_s:.1f} s, it does not hear us")]
        actions: list[LivenessAction] = []
        probe = now >= self._probe_at()
        if probe or now >= self._last_ping + self.settings.idle_ping_s:
            self._pinged = self._pinged or probe
            self._last_ping = now
            self._pong_due = min(self._pong_due, now + self.settings.pong_timeout_s)
            actions.append(SendPing())
        if now >= self._stale_at():
            self.stale = True
            actions.append(MarkStale(_silence(now - self._silent_since)))
        self.next_check = min(
            now + self.settings.check_s,
            self._last_ping + self.settings.idle_ping_s,
            self._probe_at(),
            self._stale_at(),
            self._dead_at(),
            self._pong_due,
        )
        return actions

    def _forgive_lag(self, now: float) -> None:
        """Leave the time nobody looked out of the silence."""
        self.lag_s = max(0.0, now - self.next_check)
        if self.lag_s > _LAG_TOLERANCE_S:
            self._silent_since = min(now, self._silent_since + self.lag_s)
            self._pong_due += self.lag_s

    def _probe_at(self) -> float:
        if self._pinged or not self._greeted:
            return math.inf
        return self._silent_since + self.settings.stale_after_s

    def _stale_at(self) -> float:
        if self.stale or not self._greeted or self._asked_at is None:
            return math.inf
        return max(self._silent_since, self._asked_at) + self.settings.stale_after_s

    def _dead_at(self) -> float:
        return self._silent_since + (self.settings.dead_after_s if self._greeted else self.settings.first_frame_s)

    def _death(self, silence_s: float) -> str:
        if not self._greeted:
            return f"no frame within {silence_s:.1f} s of the upgrade"
        return f"{_silence(silence_s)}, the ping included" if self._pinged else _silence(silence_s)


def _silence(silence_s: float) -> str:
    return f"no frame for {silence_s:.1f} s"
