"""The hard cases a campaign has to reach now and then, or it proves nothing about them: one registry for all.

Each is recognised from outside: by events, by the engine's public statistics, by the network's trace.
"""

from __future__ import annotations

import math
from typing import Final

import attrs
import trio

from kraken_engine.errors import Stale
from kraken_engine.model import VenueMode
from kraken_engine.normalise.book_view import BookUpdate
from kraken_engine.normalise.events import Event, Gap, Lagged, LineDown, Live, Refused, Resync, TradeGap, VenueStatus
from kraken_engine.sim.judges.coverage_of_lines import SOMETIMES_OF_LINES, LineCoverage
from kraken_engine.sim.trace import Fact
from kraken_engine.sim.world import World
from kraken_engine.state.freshness import StreamKey
from kraken_engine.tasks.market import Market

__all__ = ["SOMETIMES", "Coverage"]

_WORDS_OF_LINE_DOWN: Final = {
    "a silent line was replaced": "no frame for",
    "the upgrade got no answer": "upgrade",
    "the name was not resolved": "resolve",
    "a private address was refused": "not public",
    "a connection was refused": "refuse",
    "the dial got no answer": "within 5",
    "three undecodable frames ended a line": "undecodable frames within",
    "the venue said it restarts": "1012",
    "a connection was reset": "reset",
}
"""By what the reason of a lost line says."""

SOMETIMES: Final = (
    *_WORDS_OF_LINE_DOWN,
    "a gap was healed by a snapshot",
    "a wrong checksum was healed",
    "resyncs of one book were spaced out",
    "late data was called stale",
    "a quiet line recovered without a reconnect",
    "a retry was immediate",
    "the backoff reached its cap",
    "an attempt waited for the budget",
    "a subscription was refused and asked for again",
    "a snapshot was overdue",
    "trades were announced as missing",
    "the depth of a book changed",
    "an undecodable frame was skipped",
    "a cached address was used",
    "the venue restricted trading",
    "a stale value was not handed out",
    "a reader's values were conflated",
    "a reader lagged",
    "a slow reader was ended",
    "the machine slept",
    "the wall clock stepped",
    *SOMETIMES_OF_LINES,
)

_STORM_S = 60.0
_SNAPSHOT_TIMEOUT_S = 10.0


@attrs.define(kw_only=True)
class Coverage:
    """Recognises the situations of :data:`SOMETIMES` in one run."""

    world: World
    _alarms: dict[str, float] = attrs.field(factory=dict[str, float], init=False)
    """When a book was last asked for anew with an alarm, by symbol."""
    _depths: dict[StreamKey, int] = attrs.field(factory=dict[StreamKey, int], init=False)
    _quiet: dict[StreamKey, None] = attrs.field(factory=dict[StreamKey, None], init=False)
    """Streams called stale because their line went quiet, and the line is still there."""
    _due_at: float = attrs.field(default=math.inf, init=False)
    """When the next attempt would begin if only the backoff counted."""
    _resolving_without_answer: bool = attrs.field(default=False, init=False)
    _delayed: list[float] = attrs.field(factory=list[float], init=False)
    """When the venue held back a snapshot."""
    _delays: int = attrs.field(default=0, init=False)
    _resubscriptions: int = attrs.field(default=0, init=False)
    _undecodable: int = attrs.field(default=0, init=False)

    _lines: LineCoverage = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.world.sometimes.register(*SOMETIMES)
        self._lines = LineCoverage(world=self.world, reach=self.reach)

    def reach(self, name: str) -> None:
        """Count a situation."""
        self.world.sometimes.reach(name)

    def published(self, key: StreamKey, event: Event) -> None:
        """Look at what is published."""
        self._lines.published(event)
        match event:
            case Gap():
                self._gap(key, event)
            case LineDown():
                self._line_down(event)
            case Stale() if "no frame for" in event.why:
                self._quiet[key] = None
            case Stale() if "behind the venue" in event.why:
                self.reach("late data was called stale")
            case Live() if key in self._quiet:
                del self._quiet[key]
                self.reach("a quiet line recovered without a reconnect")
            case Resync():
                self._resync(event)
            case TradeGap():
                self.reach("trades were announced as missing")
            case Refused(final=False):
                self.reach("a subscription was refused and asked for again")
            case VenueStatus() if event.mode is not VenueMode.ONLINE:
                self.reach("the venue restricted trading")
            case BookUpdate():
                if self._depths.setdefault(key, event.book.depth) != event.book.depth:
                    self._depths[key] = event.book.depth
                    self.reach("the depth of a book changed")
            case _:
                pass

    def delivered(self, event: Event) -> None:
        """Look at what a reader got."""
        if isinstance(event, Lagged):
            self.reach("a reader lagged")

    def trace(self, kind: str, facts: tuple[Fact, ...]) -> None:
        """Look at what the network and the faults do."""
        self._lines.trace(kind, facts)
        now = trio.current_time()
        if kind == "fault":
            self._fault(str(facts[0]))
        elif kind == "resolve":
            if now > self._due_at + 0.2:
                self.reach("an attempt waited for the budget")
            self._due_at = math.inf
            self._resolving_without_answer = self.world.network.resolver.fault is not None
        elif kind == "dial" and self._resolving_without_answer:
            self._resolving_without_answer = False
            self.reach("a cached address was used")

    def sample(self, market: Market) -> None:
        """Look at the engine's own figures."""
        self._lines.sample()
        now = trio.current_time()
        statistics = market.statistics()
        undecodable = sum(line.undecodable for line in statistics.lines)
        if undecodable > self._undecodable and all(line.up for line in statistics.lines):
            self.reach("an undecodable frame was skipped")
        self._undecodable = undecodable
        resubscriptions = sum(line.resubscriptions for line in statistics.lines)
        delayed = self.world.exchange.faults.hits().get("delay_snapshot", 0)
        if delayed > self._delays:
            self._delayed.append(now)
        self._delays = delayed
        for at in list(self._delayed):
            if now > at + _SNAPSHOT_TIMEOUT_S - 1.0 and resubscriptions > self._resubscriptions:
                self.reach("a snapshot was overdue")
                self._delayed.remove(at)
            elif now > at + _SNAPSHOT_TIMEOUT_S + 1.0:
                self._delayed.remove(at)
        self._resubscriptions = resubscriptions

    def _fault(self, kind: str) -> None:
        if kind == "suspend":
            self.reach("the machine slept")
        elif kind == "clock_step":
            self.reach("the wall clock stepped")

    def _gap(self, key: StreamKey, gap: Gap) -> None:
        if gap.healed_by == "snapshot":
            self.reach("a gap was healed by a snapshot")
        if "checksum" not in gap.reason or key[0] != "book":
            return
        self.reach("a wrong checksum was healed")

    def _resync(self, event: Resync) -> None:
        """Two of one book that are both told with an alarm: there were enough before, and the latter had to wait."""
        before = self._alarms.get(event.symbol, -math.inf)
        if event.alarm and event.at_s - before < _STORM_S:
            self.reach("resyncs of one book were spaced out")
        if event.alarm:
            self._alarms[event.symbol] = event.at_s

    def _line_down(self, event: LineDown) -> None:
        self._quiet.clear()
        for name, words in _WORDS_OF_LINE_DOWN.items():
            if words in event.reason:
                self.reach(name)
        if event.retry_in_s == 0:
            self.reach("a retry was immediate")
        if event.failures >= 6:
            self.reach("the backoff reached its cap")
        self._due_at = event.at_s + event.retry_in_s
