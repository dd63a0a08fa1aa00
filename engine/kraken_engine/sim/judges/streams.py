"""Judges the notices around the data.

I-2 and I-7 (no value between ``Stale`` and ``Live``, no ``Live`` without data), I-4 (time never goes back), I-6 (all is
live while all is well).
"""

from __future__ import annotations

import enum

import attrs
import trio

from kraken_engine.errors import Stale
from kraken_engine.normalise.book_view import BookUpdate
from kraken_engine.normalise.events import Event, LineDown, Live, MarketEvent, Refused, TickerUpdate
from kraken_engine.sim.judges.evidence import microseconds, name_of
from kraken_engine.sim.judges.verdict import Verdict
from kraken_engine.state.freshness import StreamKey

__all__ = ["Condition", "StreamJudge"]


class Condition(enum.Enum):
    """What readers of a stream have been told."""

    AWAITING = "awaiting its first data"
    LIVE = "live"
    STALE = "stale"


@attrs.define(eq=False)
class _Stream:
    condition: Condition = Condition.AWAITING
    last: MarketEvent | None = None
    given_up: bool = False
    live_without_data_since: float | None = None
    time_us: int = 0


@attrs.define(kw_only=True)
class StreamJudge:
    """Follows every stream through its notices."""

    reader: str
    verdict: Verdict
    calm: bool = True
    """While set, nothing may be called stale and no line may go down: nothing is wrong anywhere."""
    joins: bool = False
    """Whether the reader may find a stream already live when it begins: then its first value comes without ``Live``."""
    _streams: dict[StreamKey, _Stream] = attrs.field(factory=dict[StreamKey, _Stream], init=False)

    def condition(self, key: StreamKey) -> Condition:
        """Return what readers of ``key`` have been told last."""
        stream = self._streams.get(key)
        return Condition.AWAITING if stream is None else stream.condition

    def last(self, key: StreamKey) -> MarketEvent | None:
        """Return the newest value of ``key``."""
        stream = self._streams.get(key)
        return None if stream is None else stream.last

    def given_up(self, key: StreamKey) -> bool:
        """Return whether readers were told that the venue refuses this stream for good."""
        stream = self._streams.get(key)
        return stream is not None and stream.given_up

    def live(self) -> list[StreamKey]:
        """Return the streams whose readers believe that they are current."""
        return [key for key, stream in self._streams.items() if stream.condition is Condition.LIVE]

    def see(self, key: StreamKey, event: Event) -> None:
        """Judge the next event of ``key``."""
        stream = self._streams.setdefault(key, _Stream())
        if isinstance(event, MarketEvent):
            self._data(key, stream, event)
        elif isinstance(event, Stale):
            if self.calm:
                self.verdict.fail("I-6", f"{self._where(key)}: expected no Stale while all is well, got {event}")
            self._check_order(key, stream, event.since_s)
            stream.condition = Condition.STALE
            stream.live_without_data_since = None
        elif isinstance(event, Live):
            self._check_order(key, stream, event.at_s)
            stream.condition = Condition.LIVE
            stream.given_up = False
            if key[0] != "trade":  # a snapshot without trades proves a quiet market as well
                stream.live_without_data_since = trio.current_time()
        elif isinstance(event, Refused):
            stream.given_up = event.final
        elif isinstance(event, LineDown) and self.calm:
            self.verdict.fail("I-6", f"expected no line to end while all is well, got {event.reason}")

    def check(self) -> None:
        """Judge what has been published up to here, between two batches of the engine."""
        for key, stream in self._streams.items():
            if stream.live_without_data_since is not None:
                self.verdict.fail("I-7", f"{self._where(key)}: expected data after Live, got none")

    def _data(self, key: StreamKey, stream: _Stream, event: MarketEvent) -> None:
        if self.joins and stream.condition is Condition.AWAITING:
            stream.condition = Condition.LIVE
        if stream.condition is not Condition.LIVE:
            now = stream.condition.value
            self.verdict.fail("I-2", f"{self._where(key)}: expected Live before data while {now}, got {event!r:.80}")
        stream.live_without_data_since = None
        stream.last = event
        if isinstance(event, (TickerUpdate, BookUpdate)) and event.venue_time is not None:
            time_us = microseconds(event.venue_time)
            if time_us < stream.time_us:
                self.verdict.fail("I-4", f"{self._where(key)}: expected {stream.time_us} us or later, got {time_us}")
            stream.time_us = time_us

    def _check_order(self, key: StreamKey, stream: _Stream, notice_s: float | None) -> None:
        """A value that is newer than a notice must not be seen before it."""
        if notice_s is not None and stream.last is not None and stream.last.received_s > notice_s:
            what = f"expected the notice of {notice_s:.3f} s before the value of {stream.last.received_s:.3f} s"
            self.verdict.fail("I-2", f"{self._where(key)}: {what}, got it after")

    def _where(self, key: StreamKey) -> str:
        return f"{self.reader}: {name_of(key)}"
