"""What one source tells of its streams, made fit for those who listen: notices where they belong, late values withheld.

A gate stands behind one source: the publisher has one for all that readers see, and where several lines feed the same
streams each line has one of its own, in front of who decides between them. It keeps the newest value of every stream.

Knows nothing of who listens: it calls ``tell``, in the order in which things are true.
"""

from __future__ import annotations

from collections.abc import Callable

from kraken_engine.model import Integrity
from kraken_engine.normalise.events import Candle, Event, MarketEvent
from kraken_engine.state.freshness import Freshness, StreamKey

__all__ = ["Gate"]


class Gate:
    """Passes on the events of one source.

    Args:
        tell: called for each event that passes.
    """

    def __init__(self, tell: Callable[[StreamKey, Event], None]) -> None:
        self.freshness = Freshness()
        self.latest: dict[StreamKey, MarketEvent] = {}
        """The newest value of each stream, passed on or withheld."""
        self._tell = tell
        self._withheld: dict[StreamKey, dict[str, MarketEvent]] = {}

    def publish(self, key: StreamKey, event: Event) -> None:
        """Pass on what happened to the stream ``key``, with the notices it implies."""
        if isinstance(event, MarketEvent):
            self.latest[key] = event
            if self.freshness.is_live(key):  # nearly always, and then there is nothing to add
                self._tell(key, event)
                return
            if self.freshness.is_held(key):
                # The newest is all that listeners miss, but for candles: of each the last state.
                self._withheld.setdefault(key, {})[event.interval_begin if isinstance(event, Candle) else ""] = event
        for told in self.freshness.receive(key, event):
            self._tell(key, told)

    def hold(self, key: StreamKey, why: str, *, now: float) -> None:
        """Withhold the values of a stream, since they come late."""
        for told in self.freshness.hold(key, why, now=now):
            self._tell(key, told)

    def release(self, key: StreamKey, *, now: float) -> None:
        """End :meth:`hold`: what was withheld is passed on, or the newest value once more, unless more is wrong.

        A stream of trades may be live before its first trade: then there is none, or one that was restored.
        """
        withheld = self._withheld.pop(key, {})
        live = list(self.freshness.release(key, now=now))
        if live:
            newest = self.latest.get(key)
            again = () if newest is None or newest.integrity is Integrity.RESYNCING else (newest,)
            for event in (*live, *(withheld.values() or again)):
                self._tell(key, event)

    def suspect(self, key: StreamKey, why: str, *, now: float) -> None:
        """Mark a stream stale because its source went quiet."""
        for told in self.freshness.suspect(key, why, now=now):
            self._tell(key, told)

    def end_hold(self, key: StreamKey) -> None:
        """Forget what was withheld: another source takes over, and this one is not late."""
        self._withheld.pop(key, None)
        self.freshness.end_hold(key)

    def lose(self, key: StreamKey, why: str, *, now: float) -> None:
        """Mark a stream stale because updates were, or may have been, lost."""
        for told in self.freshness.lose(key, why, now=now):
            self._tell(key, told)

    def forget(self, key: StreamKey) -> None:
        """Drop what is known of a stream that is not fed any more."""
        self.latest.pop(key, None)
        self._withheld.pop(key, None)
        self.freshness.forget(key)
