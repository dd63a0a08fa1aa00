"""The hard cases of several lines: which of them a run reached, recognised from outside."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import attrs
import trio

from kraken_engine.errors import Stale
from kraken_engine.normalise.book_view import BookUpdate
from kraken_engine.normalise.events import Event, LineDown, Resync, Rotated
from kraken_engine.sim.judges.evidence import microseconds
from kraken_engine.sim.trace import Fact
from kraken_engine.sim.world import World
from kraken_engine.venue.core.journal import Entry
from kraken_engine.venue.core.records import FaultRecord

__all__ = ["SOMETIMES_OF_LINES", "LineCoverage"]

SOMETIMES_OF_LINES: Final = (
    "a line was lost and no reader noticed",
    "a line joined ahead of what was shown",
    "a line joined behind what was shown",
    "lines batched differently",
    "lines worded differently",
    "a mute subscription was asked for anew",
    "a mute line was replaced",
    "a line was replaced while it worked",
    "trades that one line lacked came from another",
    "levels beyond ten were vouched for by two lines",
    "levels beyond ten differed between lines",
)

UNNOTICED_S = 1.0
"""Readers who were told nothing for so long after the loss of a line did not notice it."""
SLOW_S = 0.02


@attrs.define(kw_only=True)
class LineCoverage:
    """Recognises the situations of :data:`SOMETIMES_OF_LINES` in one run."""

    world: World
    reach: Callable[[str], None]
    _lost_at: list[float] = attrs.field(factory=list[float], init=False)
    _stale_at: float = attrs.field(default=-1.0, init=False)
    _shown_us: dict[str, int] = attrs.field(factory=dict[str, int], init=False)
    _last: dict[str, BookUpdate] = attrs.field(factory=dict[str, BookUpdate], init=False)
    _records: list[FaultRecord] = attrs.field(factory=list[FaultRecord], init=False)
    """Faults of single lines whose effect is still to be seen."""

    def __attrs_post_init__(self) -> None:
        self.world.sometimes.register(*SOMETIMES_OF_LINES)
        self.world.exchange.journal.observers.append(self._entry)

    def published(self, event: Event) -> None:
        """Look at what is published."""
        match event:
            case Stale():
                self._stale_at = trio.current_time()
            case LineDown():
                self._lost_at.append(trio.current_time())
            case Rotated():
                self.reach("a line was replaced while it worked")
            case Resync() if "levels beyond" in event.reason:
                self.reach("levels beyond ten differed between lines")
            case BookUpdate():
                self._shown_us[event.symbol] = microseconds(event.venue_time or "")
                self._last[event.symbol] = event
            case _:
                pass

    def trace(self, kind: str, facts: tuple[Fact, ...]) -> None:
        """Look at the faults."""
        if kind == "fault" and str(facts[0]) in _OF_ONE_LINE:
            self._records.append(self.world.exchange.faults.newest())

    def sample(self) -> None:
        """Look at what only time shows."""
        now = trio.current_time()
        for at in list(self._lost_at):
            if now - at > UNNOTICED_S:
                self._lost_at.remove(at)
                if self._stale_at < at and self._last:
                    self.reach("a line was lost and no reader noticed")
        for record in list(self._records):
            self._look_at(record, now)
        if any(event.book.verified_levels > 10 for event in self._last.values()):
            self.reach("levels beyond ten were vouched for by two lines")

    def _look_at(self, record: FaultRecord, now: float) -> None:
        name = _OF_ONE_LINE.get(record.name)
        muted_trades = record.name == "silence" and record.params["channel"] == "trade"
        if record.hits and (name is not None or muted_trades):
            self._records.remove(record)
            self.reach(name or "trades that one line lacked came from another")
        elif record.until_s is not None and now > record.until_s:
            self._records.remove(record)

    def _entry(self, entry: Entry) -> None:
        for record in self._records:
            if record.name == "silence" and record.hits and record.params["session_id"] == entry.session:
                self._answered(entry, record)
        link = self.world.wellness.links.get(entry.session)
        if entry.what != "subscribe" or entry.channel != "book" or link is None:
            return
        for symbol in entry.symbols:
            if symbol in self._shown_us:
                true = str(self.world.exchange.book_state(symbol, 1)["timestamp"])
                if link.down.conditions.latency_s > SLOW_S:
                    self.reach("a line joined behind what was shown")
                elif microseconds(true) > self._shown_us[symbol]:
                    self.reach("a line joined ahead of what was shown")

    def _answered(self, entry: Entry, record: FaultRecord) -> None:
        if entry.what == "end":
            self.reach("a mute line was replaced")
        elif record.params["symbol"] in entry.symbols and record.params["channel"] == entry.channel:
            self.reach("a mute subscription was asked for anew")


_OF_ONE_LINE: Mapping[str, str | None] = {
    "batch_differently": "lines batched differently",
    "word_differently": "lines worded differently",
    "silence": None,
    "silence_subscription": None,
}
