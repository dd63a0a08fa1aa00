"""Whether a REST call may be made, from the results of the calls before it.

::

                    failures in a row, or a rate-limit answer
    CLOSED ──────────────────────────────────────────────────▶ OPEN ◀──────────┐
       ▲                                                         │ timeout_s    │ the probe fails or is late
       └──────────────────────── HALF_OPEN ◀─────────────────────┘              │
            the probe succeeds       └──────────────────────────────────────────┘

One breaker guards the public API of an address, another the private one of a key: the trouble of one does not blind
the other. Who may pass while it is not closed:

- ``STATUS`` (SystemStatus) and ``FAREWELL`` (cancels of the kill switch and of the end): always, and whatever becomes
  of them changes nothing.
- ``TOKEN`` and ``RECOVERY``: one call at a time, as a probe of an open breaker, so that a private line can come back
  before the timeout: some time after the last failure, and at once after a probe that succeeded. Such a success does
  not close the breaker; a rate-limit answer opens it anew.
- everything else: nobody while it is open; ``half_open_requests`` calls once the timeout is over.

A waiting token call goes first as a probe, since nothing private works without it. A probe that hangs counts as failed
at its deadline, and one that is cancelled gives its place back: neither can keep a breaker from closing for ever.

Each change of the state begins a new *generation*. Results of calls from an older one say nothing about the new one,
and change nothing. Knows nothing of queues, limits, or what an answer of the venue means.
"""

from __future__ import annotations

import enum
import math
from collections import deque
from typing import final

import attrs

from kraken_engine.config import BreakerSettings

__all__ = [
    "BreakerEvent",
    "BreakerState",
    "CallKind",
    "CircuitBreaker",
    "Closed",
    "Failure",
    "HalfOpened",
    "Opened",
    "Probed",
    "Refused",
    "Ticket",
]


class CallKind(enum.Enum):
    """What a call is for, as far as a breaker cares."""

    FAREWELL = "farewell"
    """A cancel of the kill switch or of the end of an account: never held up."""
    STATUS = "status"
    """SystemStatus: never held up, decides nothing."""
    TOKEN = "token"  # noqa: S105 - a word, no secret
    """GetWebSocketsToken: the preferred probe."""
    RECOVERY = "recovery"
    """The recovery group: may probe an open breaker."""
    ORDINARY = "ordinary"


class Failure(enum.Enum):
    """Failures that count: those of a venue that does not work, not those of a call that asks for nonsense."""

    TRANSPORT = "transport"
    """No connection, no answer in time, HTTP 5xx, EService, EGeneral:Internal error."""
    RATE_LIMIT = "rate_limit"
    """HTTP 429, EAPI:Rate limit exceeded, Throttled, Temporary lockout."""


class BreakerState(enum.Enum):
    """What the breaker lets through."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@attrs.frozen
class Ticket:
    """Leave to make one call; to be given back, with what became of it, exactly once."""

    number: int
    """Of the attempt."""
    call: int
    """Number of the first attempt at this call."""
    generation: int
    kind: CallKind
    counts: bool = True
    """False for a call that was let past a breaker that is not closed."""
    deadline_s: float = math.inf
    """A probe that is not back by then (monotonic) has failed; infinity for other calls."""

    @property
    def is_probe(self) -> bool:
        """Whether the breaker waits for this call."""
        return self.deadline_s != math.inf


@attrs.frozen
class Refused:
    """The call may not be made before ``wait_s`` seconds are over, and perhaps not then."""

    wait_s: float


@attrs.frozen
class Opened:
    """From ``at_s`` to ``until_s`` (monotonic) next to nothing passes."""

    at_s: float
    cause: Failure
    until_s: float


@attrs.frozen
class HalfOpened:
    """From ``at_s`` on a probe is let through."""

    at_s: float


@attrs.frozen
class Closed:
    """From ``at_s`` on everything passes."""

    at_s: float


@attrs.frozen
class Probed:
    """A probe was let through at ``at_s``."""

    at_s: float
    kind: CallKind


BreakerEvent = Opened | HalfOpened | Closed | Probed

_ALWAYS = frozenset({CallKind.FAREWELL, CallKind.STATUS})
_RECOVERY = frozenset({CallKind.TOKEN, CallKind.RECOVERY})
_EVENTS_KEPT = 256


@final
@attrs.define
class CircuitBreaker:
    """The breaker of one address or one key. All times are monotonic seconds, and never decrease."""

    settings: BreakerSettings = attrs.field(factory=BreakerSettings)
    state: BreakerState = attrs.field(default=BreakerState.CLOSED, init=False)
    """As of the last call of a method; :meth:`look` brings it up to date."""
    open_until: float = attrs.field(default=-math.inf, init=False)
    """When an open breaker becomes half open."""
    _generation: int = attrs.field(default=0, init=False)
    _tickets: int = attrs.field(default=0, init=False)
    _probes: dict[int, Ticket] = attrs.field(factory=dict[int, Ticket], init=False, repr=False)
    """Probes that are out, by their number; few, and none for longer than its deadline."""
    _next_probe_at: float = attrs.field(default=-math.inf, init=False)
    """When the recovery group may probe an open breaker."""
    _throttled_pause_s: float = attrs.field(default=0.0, init=False)
    _failed: set[int] = attrs.field(factory=set[int], init=False, repr=False)
    """Calls that failed since the last success. Never iterated; at most ``failure_threshold``."""
    _throttled: set[int] = attrs.field(factory=set[int], init=False, repr=False)
    _proven: int = attrs.field(default=0, init=False)
    """Probes of this half-open period that succeeded."""
    _events: deque[BreakerEvent] = attrs.field(
        factory=lambda: deque[BreakerEvent](maxlen=_EVENTS_KEPT), init=False, repr=False
    )

    def look(self, *, now: float) -> BreakerState:
        """Return the state at ``now``: lets time pass, changes nothing else."""
        while True:
            late = min(self._probes.values(), key=lambda ticket: ticket.deadline_s, default=None)
            open_until = self.open_until if self.state is BreakerState.OPEN else math.inf
            if late is not None and late.deadline_s <= min(now, open_until):
                self._settle(late, Failure.TRANSPORT, now=late.deadline_s)
            elif open_until <= now:
                self._become(BreakerState.HALF_OPEN)
                self._events.append(HalfOpened(open_until))
            else:
                return self.state

    def admit(self, kind: CallKind, *, now: float, token_waits: bool = False) -> Ticket | Refused:
        """Ask to make a call.

        Args:
            kind: what the call is for.
            now: monotonic seconds.
            token_waits: whether a token call stands in the same queue; any other probe then leaves it the place.
        """
        return self._admit(None, kind, now, token_waits)

    def retry(self, ticket: Ticket, *, now: float, token_waits: bool = False) -> Ticket | Refused:
        """Ask to make the call of ``ticket`` again, whose failure was reported; more failures of it count as one."""
        return self._admit(ticket.call, ticket.kind, now, token_waits)

    def succeeded(self, ticket: Ticket, *, now: float) -> None:
        """The venue did its work: it answered, if only to say that the call made no sense."""
        self.look(now=now)
        if not self._is_current(ticket):
            return
        self._probes.pop(ticket.number, None)
        if self.state is BreakerState.CLOSED:
            self._failed.clear()
            self._throttled.clear()
        elif self.state is BreakerState.OPEN:
            self._next_probe_at = now
        else:
            self._proven += 1
            if self._proven >= self.settings.half_open_requests:
                self._become(BreakerState.CLOSED)
                self._throttled_pause_s = 0.0
                self._events.append(Closed(now))

    def failed(self, ticket: Ticket, failure: Failure, *, now: float, not_before: float = -math.inf) -> None:
        """The venue did not do its work.

        Args:
            ticket: the call.
            failure: how.
            now: monotonic seconds.
            not_before: when another call makes sense at the earliest, if the venue or a modelled counter says so
                (monotonic). Believed for ``longest_hold_s``.
        """
        self.look(now=now)
        if self._is_current(ticket):
            self._settle(ticket, failure, now=now, not_before=not_before)

    def cancelled(self, ticket: Ticket, *, now: float) -> None:
        """Nobody waits for the result any more: it counts neither way, and the place of a probe is free."""
        self.look(now=now)
        if ticket.is_probe and self._probes.get(ticket.number) == ticket:
            del self._probes[ticket.number]

    def trip(self, cause: Failure, *, now: float, not_before: float = -math.inf) -> None:
        """Open, or open anew, for a reason that no call of this breaker gave."""
        self.look(now=now)
        self._open(cause, now, not_before)

    def take_events(self) -> list[BreakerEvent]:
        """Return what happened since the last call of this; the newest, if they are many."""
        taken = list(self._events)
        self._events.clear()
        return taken

    def _admit(self, call: int | None, kind: CallKind, now: float, token_waits: bool) -> Ticket | Refused:
        state = self.look(now=now)
        self._tickets += 1
        number = self._tickets
        ticket = Ticket(number, number if call is None else call, self._generation, kind)
        if state is BreakerState.CLOSED:
            return ticket
        if kind in _ALWAYS:
            return attrs.evolve(ticket, counts=False)
        wait_s = self._wait_s(kind, now, token_waits)
        if wait_s > 0.0:
            return Refused(wait_s)
        probe = attrs.evolve(ticket, deadline_s=now + self.settings.probe_timeout_s)
        self._probes[number] = probe
        self._events.append(Probed(now, kind))
        return probe

    def _wait_s(self, kind: CallKind, now: float, token_waits: bool) -> float:
        """Return for how long a call that would be a probe is to wait; 0.0 if it may go."""
        is_open = self.state is BreakerState.OPEN
        places = 1 if is_open else self.settings.half_open_requests - self._proven
        start = now
        if is_open:
            start = min(self.open_until, self._next_probe_at) if kind in _RECOVERY else self.open_until
        if len(self._probes) >= places:
            start = max(start, min(probe.deadline_s for probe in self._probes.values()))
        elif token_waits and kind is not CallKind.TOKEN:
            start = max(start, now + self.settings.probe_timeout_s)
        return max(0.0, start - now)

    def _is_current(self, ticket: Ticket) -> bool:
        """Return whether the result of this call says anything about the present state."""
        if ticket.is_probe and self._probes.get(ticket.number) != ticket:
            return False
        if ticket.is_probe and ticket.generation != self._generation:
            del self._probes[ticket.number]
        return ticket.counts and ticket.generation == self._generation

    def _settle(self, ticket: Ticket, failure: Failure, *, now: float, not_before: float = -math.inf) -> None:
        self._probes.pop(ticket.number, None)
        if ticket.generation != self._generation:
            return
        if self.state is BreakerState.CLOSED:
            self._failed.add(ticket.call)
            if failure is Failure.RATE_LIMIT:
                self._throttled.add(ticket.call)
            few = len(self._failed) < self.settings.failure_threshold
            if few and len(self._throttled) < self.settings.rate_limit_threshold:
                return
        elif self.state is BreakerState.OPEN and failure is Failure.TRANSPORT:
            self._next_probe_at = max(now + self.settings.probe_pause_s, self._believed(not_before, now))
            return
        self._open(failure, now, not_before)

    def _open(self, cause: Failure, now: float, not_before: float) -> None:
        settings, pause_s = self.settings, self.settings.probe_pause_s
        if cause is Failure.RATE_LIMIT:
            pause_s = 2 * self._throttled_pause_s or settings.throttled_probe_pause_s
            pause_s = self._throttled_pause_s = min(pause_s, settings.longest_probe_pause_s)
        believed = self._believed(not_before, now)
        self._become(BreakerState.OPEN)
        self.open_until = max(now + settings.timeout_s, believed)
        self._next_probe_at = max(now + pause_s, believed)
        self._events.append(Opened(now, cause, self.open_until))

    def _believed(self, not_before: float, now: float) -> float:
        return min(not_before, now + self.settings.longest_hold_s)

    def _become(self, state: BreakerState) -> None:
        self.state = state
        self._generation += 1
        self._proven = 0
        self._failed.clear()
        self._throttled.clear()
