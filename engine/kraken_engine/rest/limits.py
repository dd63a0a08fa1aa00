"""The venue's limits as a queue of calls meets them: the counter of a key, or the pace of an address.

Thin: the models are in :mod:`~kraken_engine.control.rest_limits`; here is which of a call's traits each looks at.
"""

from __future__ import annotations

import math
from typing import Protocol, final

import attrs

from kraken_engine.control.call_queue import Urgency
from kraken_engine.control.rest_limits import CallCounter, PublicPace, RestTier
from kraken_engine.rest.operations import Operation

__all__ = ["AddressLimits", "KeyLimits", "Limits", "assumed_level"]


class Limits(Protocol):
    """When a call may leave, as far as the venue's limits go. ``pair`` is what a public call asks about."""

    def wait_s(self, what: Operation, pair: str | None, *, now: float) -> float:
        """Return for how many seconds the call has to wait; 0.0: not at all."""
        ...

    def sent(self, what: Operation, pair: str | None, *, now: float) -> None:
        """Note that the call leaves."""
        ...

    def answered(self, what: Operation, *, now: float) -> None:
        """Note that the call is over."""
        ...

    def refused(self, what: Operation, pair: str | None, *, sent_at: float, now: float) -> float:
        """Note that the venue found it one too many; return when another makes sense (monotonic)."""
        ...


def assumed_level(tier: RestTier, buffer: float, idle_s: float) -> int:
    """Return where to take the counter of a key to stand whose last call, by another process, was ``idle_s`` ago.

    That process kept it below ``buffer``. What is left above, a restart may use at once: the calls that bring an
    account back in step should not wait for a counter to drain that was perhaps never full.
    """
    usable = tier.limit * buffer
    return max(0, math.ceil(2 * usable - tier.limit - idle_s * tier.decay_per_s))


@final
@attrs.frozen(eq=False)
class KeyLimits:
    """The counter of one key. What ends an account is never held up here."""

    counter: CallCounter

    def wait_s(self, what: Operation, pair: str | None, *, now: float) -> float:  # noqa: ARG002
        """See :class:`Limits`."""
        if what.urgency is Urgency.FAREWELL:
            return 0.0
        return self.counter.wait_s(what.cost, now=now, urgent=what.urgency is Urgency.CANCEL)

    def sent(self, what: Operation, pair: str | None, *, now: float) -> None:  # noqa: ARG002
        """See :class:`Limits`."""
        self.counter.spend(what.cost, now=now)

    def answered(self, what: Operation, *, now: float) -> None:
        """See :class:`Limits`."""
        self.counter.answered(what.cost, now=now)

    def refused(self, what: Operation, pair: str | None, *, sent_at: float, now: float) -> float:  # noqa: ARG002
        """See :class:`Limits`."""
        self.counter.refused(what.cost, now=now)
        return self.counter.drained_at(now=now)


@final
@attrs.frozen(eq=False)
class AddressLimits:
    """The pace of public calls. The venue's status may always be asked for."""

    pace: PublicPace

    def wait_s(self, what: Operation, pair: str | None, *, now: float) -> float:
        """See :class:`Limits`."""
        return 0.0 if what.name == "SystemStatus" else self.pace.wait_s(what.name, pair, now=now)

    def sent(self, what: Operation, pair: str | None, *, now: float) -> None:
        """See :class:`Limits`."""
        self.pace.take(what.name, pair, now=now)

    def answered(self, what: Operation, *, now: float) -> None:
        """See :class:`Limits`."""

    def refused(self, what: Operation, pair: str | None, *, sent_at: float, now: float) -> float:
        """See :class:`Limits`."""
        self.pace.refused(what.name, pair, sent_at=sent_at, now=now)
        return now + self.pace.wait_s(what.name, pair, now=now)
