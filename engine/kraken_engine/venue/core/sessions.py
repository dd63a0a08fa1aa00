"""One WebSocket session of the venue: what it is owed (the outbox) and what it asked for."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from kraken_engine.venue.core.ports import Out

if TYPE_CHECKING:
    from kraken_engine.venue.core.exchange import Exchange

__all__ = ["Session"]


class Session:
    """One connection as the venue sees it."""

    def __init__(self, exchange: Exchange, number: int, kind: str) -> None:
        self.id = number
        self.kind = kind
        self.outbox: deque[Out] = deque()
        """What the shell has to put on the wire, in order."""
        self.wake: Callable[[], None] = _nobody_waits
        """Set by the shell; called when the outbox becomes non-empty."""
        self._exchange = exchange

    def receive(self, text: bytes, now: float) -> None:
        """Take one text frame of the client."""
        self._exchange.advance(now)
        self.send(b'{"error":"Malformed request","method":"error","success":false}')

    def closed(self, now: float) -> None:
        """Forget the session: the connection is gone."""
        self._exchange.advance(now)
        self._exchange.sessions.pop(self.id, None)

    def send(self, out: Out) -> None:
        """Owe ``out`` to the client."""
        outbox = self.outbox
        outbox.append(out)
        if len(outbox) == 1:
            self.wake()


def _nobody_waits() -> None:
    """Do nothing: the shell has not said yet whom to wake."""
