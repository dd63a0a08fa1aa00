"""Where a line publishes what it knows: straight to the readers, or to whoever decides between several lines.

A line tells the same things either way; it knows nothing of who listens, nor of other lines.
"""

from __future__ import annotations

from typing import Protocol

from kraken_engine.errors import Stale
from kraken_engine.normalise.events import Event, Notice
from kraken_engine.state.freshness import StreamKey

__all__ = ["Outlet"]


class Outlet(Protocol):
    """What a line can say. All of it is synchronous, in the order in which it is true."""

    def publish(self, key: StreamKey, event: Event) -> None:
        """Something happened to the stream ``key``: a value of it, or a notice about it."""
        ...

    def announce(self, notice: Notice) -> None:
        """Something happened that concerns no single stream."""
        ...

    def flush(self) -> None:
        """A batch is complete: whoever got something may run."""
        ...

    def hold(self, key: StreamKey, why: str, *, now: float) -> None:
        """Values of ``key`` come late from now on."""
        ...

    def release(self, key: StreamKey, *, now: float) -> None:
        """Values of ``key`` come in time again, and so did all that are here."""
        ...

    def suspect(self, key: StreamKey, why: str, *, now: float) -> None:
        """The source of ``key`` went quiet."""
        ...

    def lose(self, key: StreamKey, why: str, *, now: float) -> None:
        """Updates of ``key`` were, or may have been, lost."""
        ...

    def forget(self, key: StreamKey) -> None:
        """``key`` is not fed from here any more."""
        ...

    def stale(self, key: StreamKey) -> Stale | None:
        """Return why values of ``key`` from here may not be trusted now; None: they may, or there are none yet."""
        ...
