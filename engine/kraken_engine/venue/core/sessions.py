"""One WebSocket session of the venue: what it is owed (the outbox) and what it is subscribed to.

What a client asks is queued with its time and answered by ``gateway`` in that order, so the shell's way of calling
makes no difference. A client that does not read is cut off: the outbox is bounded.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Protocol

import attrs

from kraken_engine.venue.core.ports import Abort, Close, Out

__all__ = ["Session", "SessionOwner", "Subscription"]

MOST_OUT = 20_000
"""Frames owed to one client before it is cut off."""


@attrs.frozen(kw_only=True)
class Subscription:
    """One thing a session is subscribed to; ``symbol`` is None for the instrument channel."""

    channel: str
    symbol: str | None
    depth: int | None = None
    interval: int | None = None
    event_trigger: str | None = None

    @property
    def place(self) -> tuple[str, str | None, int | None]:
        """What a session may have only once: candles of several intervals may be, books of several depths not."""
        return self.channel, self.symbol, self.interval


class SessionOwner(Protocol):
    """The exchange, as a session needs it."""

    def receive(self, session: Session, text: bytes, now: float) -> None:
        """Queue a frame of the client."""
        ...

    def ended(self, session: Session) -> None:
        """Forget a session that will never be owed anything again."""
        ...

    def advance(self, now: float) -> None:
        """Let time pass."""
        ...


class Session:
    """One connection as the venue sees it. ``Exchange.connect`` makes them."""

    def __init__(self, owner: SessionOwner, number: int, kind: str, connection_id: int) -> None:
        self.id = number
        self.kind = kind
        """``public`` or ``auth``: which host the client believes it talks to."""
        self.connection_id = connection_id
        self.outbox: deque[Out] = deque()
        """What the shell has to put on the wire, in order."""
        self.wake: Callable[[], None] = _nobody_waits
        """Set by the shell; called when the outbox becomes non-empty."""
        self.open = True
        """False once the venue has ended the session or was told that the connection is gone."""
        self.subscriptions: dict[tuple[str, str | None, int | None], Subscription] = {}
        self.heartbeats = False
        self.waiting = 0
        """Frames of the client that are queued and not yet answered."""
        self.heard_ns = 0
        """When the client last sent a text frame."""
        self._owner = owner

    def receive(self, text: bytes, now: float) -> None:
        """Take one text frame of the client; whatever it is, the answer is a frame, never an exception."""
        self._owner.receive(self, text, now)

    def closed(self, now: float) -> None:
        """Forget the session: the connection is gone. Calling it twice is harmless."""
        self._owner.advance(now)
        if self.open:
            self.open = False
            self.outbox.clear()
            self._owner.ended(self)

    def send(self, out: Out) -> None:
        """Owe ``out`` to the client; nothing more is owed after a ``Close`` or an ``Abort``."""
        if not self.open:
            return
        outbox = self.outbox
        outbox.append(out)
        if len(outbox) == 1:
            self.wake()
        elif len(outbox) > MOST_OUT:
            outbox.clear()
            self.end(Abort())

    def end(self, how: Close | Abort) -> None:
        """End the connection from the venue's side, after what is already owed."""
        if self.open:
            self.send(how)
            self.open = False
            self._owner.ended(self)


def _nobody_waits() -> None:
    """Do nothing: the shell has not said yet whom to wake."""
