"""A call on its way through a queue, and what is told of it afterwards.

Records, counters, and what is checked: who changes them, and when, is up to :mod:`~kraken_engine.rest.queue`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import attrs
import trio

from kraken_engine.codec.venue_errors import BreakerEffect
from kraken_engine.control.circuit_breaker import Refused, Ticket
from kraken_engine.errors import EngineError, Rejected, UsageError, shown
from kraken_engine.rest.operations import Operation
from kraken_engine.rest.sending import Reply
from kraken_engine.rest.verdict import Verdict

__all__ = ["Attempt", "Call", "Counters", "RestStatistics", "check_fields", "check_names", "patience_s"]

LATENCIES_KEPT = 1000


@attrs.frozen(kw_only=True)
class RestStatistics:
    """What one queue did so far."""

    calls: int
    """Calls asked for."""
    attempts: int
    """Requests that left, retries included."""
    retries: int
    failures: int
    """Attempts without an answer of the venue that made sense."""
    rejections: int
    """Attempts the venue refused."""
    rate_limits: int
    """Attempts that were one too many."""
    refused_here: int
    """Calls that never left: the breaker was open, the queue full, the time over."""
    waiting: int
    latencies_s: tuple[float, ...]
    """Of the last answers, oldest first: from the attempt to the last byte."""


@attrs.define
class Counters:
    """The running totals behind :class:`RestStatistics`, where each is explained."""

    calls: int = 0
    attempts: int = 0
    retries: int = 0
    failures: int = 0
    rejections: int = 0
    rate_limits: int = 0
    refused_here: int = 0
    latencies: deque[float] = attrs.field(factory=lambda: deque[float](maxlen=LATENCIES_KEPT))

    def failed(self, found: Verdict) -> None:
        """Count an attempt that did not succeed."""
        if found.effect is BreakerEffect.RATE_LIMIT:
            self.rate_limits += 1
        if isinstance(found.error, Rejected):
            self.rejections += found.effect is not None
        elif found.effect is not None:
            self.failures += 1

    def statistics(self, *, waiting: int) -> RestStatistics:
        """Return how things stand, with so many calls waiting."""
        return RestStatistics(
            calls=self.calls,
            attempts=self.attempts,
            retries=self.retries,
            failures=self.failures,
            rejections=self.rejections,
            rate_limits=self.rate_limits,
            refused_here=self.refused_here,
            waiting=waiting,
            latencies_s=tuple(self.latencies),
        )


@attrs.frozen(kw_only=True)
class Attempt:
    """One request that left, and what became of it; for recorders and judges."""

    queue: str
    call: int
    """Number of the call; its retries have the same."""
    retry: bool
    """Whether an attempt before it failed; one that had to make way for a cancel did not."""
    what: Operation
    sent_at_s: float
    ended_at_s: float
    effect: BreakerEffect | None
    """What it said of the venue's health; None: nothing, for it was given up, or never got as far as the venue."""
    error: EngineError | None
    """None: it succeeded, or was given up."""
    given_up: bool = False


@attrs.define(eq=False)
class Call:
    """One call on its way."""

    number: int
    what: Operation
    fields: Mapping[str, str]
    finish: Callable[[Reply], Any]
    pair: str | None
    deadline_s: float
    done: trio.Event = attrs.field(factory=trio.Event)
    value: Any = None
    error: EngineError | None = None
    """What the caller gets; while it is not done, what became of the attempt before."""
    ticket: Ticket | None = None
    refused: Refused | None = None
    attempts: int = 0
    retry: bool = False
    """Whether the present attempt is one, which has to be paid for."""
    sent_at: float = 0.0
    scope: trio.CancelScope | None = None
    """Around the attempt that is on its way, and was not answered yet."""
    withdrawn: bool = False
    """Nobody waits for it any more."""
    preempted: bool = False
    """An urgent call took its place; it goes again."""
    orphaned: bool = False
    """The task ended before it; whoever asked for it sends it."""

    def succeed(self, value: Any) -> None:
        """Let the caller have ``value``."""
        self.value, self.error = value, None
        self.done.set()

    def fail(self, error: EngineError) -> None:
        """Let the caller have ``error``."""
        self.error = error
        self.done.set()


def check_fields(fields: Mapping[str, str]) -> None:
    """Check that a call can be sent as it is.

    Raises:
        UsageError: a field is no text that can be encoded.
    """
    for name, value in fields.items():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise UsageError(f"{name}: expected a text that can be sent, got {shown(value)}") from None


def patience_s(timeout_s: object, default_s: float) -> float:
    """Return how many seconds a caller waits; ``default_s`` for one who does not say.

    Raises:
        UsageError: ``timeout_s`` is no number of seconds.
    """
    if timeout_s is None:
        return default_s
    if isinstance(timeout_s, bool) or not isinstance(timeout_s, (int, float)) or not timeout_s >= 0:
        raise UsageError(f"timeout_s: expected seconds, 0 or more, got {shown(timeout_s)}")
    return float(timeout_s)


def check_names(name: str, values: object) -> None:
    """Refuse a text in the place of a list of texts: it would be taken letter by letter.

    Raises:
        UsageError: it is one.
    """
    if isinstance(values, str):
        raise UsageError(f"{name}: expected a list of texts, got {shown(repr(values))}")
