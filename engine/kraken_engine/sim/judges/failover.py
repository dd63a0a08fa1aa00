"""Judges failover as readers see it: in time, marked, never backwards, back after the hold (I-4, I-5, I-6, I-7, I-26).

While the venue is away on purpose nobody may go over to REST, and no line may count failures.

Keeps books of its own about lines, REST and streams, from what is published and from what the world does to REST; of
the engine's own account only the history of changes is compared with them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import attrs
import trio

from kraken_engine.control.failover import Feeder, Switch
from kraken_engine.errors import Stale
from kraken_engine.model import Integrity, Source
from kraken_engine.normalise.book_view import BookUpdate
from kraken_engine.normalise.events import (
    Candle,
    CircuitChanged,
    Event,
    LineDown,
    LineUp,
    Live,
    MarketEvent,
    SourceChanged,
    TickerUpdate,
    Trade,
    TradeGap,
    VenueStatus,
)
from kraken_engine.sim.judges.evidence import microseconds, name_of
from kraken_engine.sim.judges.trades import Tape
from kraken_engine.sim.judges.verdict import Verdict
from kraken_engine.sim.world import World
from kraken_engine.state.freshness import StreamKey
from kraken_engine.tasks.market import Market

__all__ = ["OVER_S", "FailoverJudge"]

OVER_S = 5.0 + 1.25 + 0.5
"""The deadline; waiting for the pace of one call that another question may have taken; a round trip and a look."""
REST_WELL_S = 20.0
"""How long nothing may have been wrong with REST for it to be expected to answer."""
BACKUP_LOST_S = 12.0

HOLD_S, WINDOW_S, LONGEST_HOLD_S = 30.0, 600.0, 600.0
"""A return that does not last for the window doubles the hold of the next one, up to the longest."""

_HELD = "the primary has been well for"


@attrs.define(eq=False)
class _Stream:
    live: bool = False
    down_s: float = 0.0
    """Since when it is not live."""
    source: Source | None = None
    last: MarketEvent | None = None
    backup_s: float = -math.inf
    """When a value of REST was shown."""
    gap: TradeGap | None = None
    shown_us: int = 0
    """Venue time of the last book that a line brought."""
    hold_s: float = HOLD_S
    """How long the lines have to be well before they have the word again."""
    returned_s: float = -math.inf
    """When they last had it again after a hold."""


@attrs.define(kw_only=True)
class FailoverJudge:
    """Judges the streams of one market."""

    world: World
    verdict: Verdict
    market: Market
    keys: Sequence[StreamKey]
    """Streams with readers, few enough for the budget of REST to reach them all."""
    tape: Tape
    rest_bad_s: float = -math.inf
    """When something was wrong with REST, or might have been, for the last time."""
    over_s: list[float] = attrs.field(factory=list[float], init=False)
    """How long streams were not live before REST had them, each time."""
    _streams: dict[StreamKey, _Stream] = attrs.field(init=False)
    _began_s: float = attrs.field(factory=trio.current_time, init=False)
    _up: dict[str, None] = attrs.field(init=False)
    """Lines that are up."""
    _line_up_s: float | None = attrs.field(factory=trio.current_time, init=False)
    _last_up: tuple[float, float] = attrs.field(default=(math.inf, -math.inf), init=False)
    """When the connection before was up, from and to."""
    _circuit: str = attrs.field(default="closed", init=False)
    _failures: int = attrs.field(default=0, init=False)
    _away: bool = attrs.field(default=False, init=False)
    _away_times: list[tuple[float, float]] = attrs.field(factory=list[tuple[float, float]], init=False)
    """From when to when the venue was away on purpose, as far as the lines and REST have told."""
    _line_failures: dict[str, int] = attrs.field(factory=dict[str, int], init=False)
    _judged: int = attrs.field(default=0, init=False)
    """The last switch looked at, and when it was."""
    _judged_s: float = attrs.field(default=-math.inf, init=False)

    def __attrs_post_init__(self) -> None:
        self._up = {line.name: None for line in self.market.statistics().lines if line.up}
        if not self._up:  # an engine that was started again may have lost its lines before anybody looked
            self._line_up_s = None
        self._streams = {key: _Stream(down_s=self._began_s) for key in self.keys}
        self._venue(self.market.modes.state == "maintenance", self._began_s)

    def rest_is_bad(self) -> None:
        """Something is being done to REST at this moment."""
        self.rest_bad_s = trio.current_time()

    def see(self, key: StreamKey, event: Event) -> None:
        """Judge what is published next."""
        now = trio.current_time()
        if isinstance(event, LineUp):
            if not self._up:  # with several lines, since one of them is
                self._line_up_s = now
            self._up[event.line] = None
        elif isinstance(event, LineDown):
            self._up.pop(event.line, None)
            self._line_failed(event)
            if not self._up and self._line_up_s is not None:
                self._last_up, self._line_up_s = (self._line_up_s, now), None
        elif isinstance(event, CircuitChanged):
            self._circuit = event.state
            self.rest_is_bad()
        elif isinstance(event, VenueStatus):
            self._venue(event.text == "maintenance", now)
            self.rest_is_bad()
            if self.market.modes.state != event.text:
                self.verdict.fail("I-15", f"expected to go by what the venue says, {event}, got {self.market.modes}")
        stream = self._streams.get(key)
        if stream is None:
            return
        if isinstance(event, MarketEvent):
            self._value(key, stream, event, now)
        elif isinstance(event, Stale):
            if stream.live:
                stream.live, stream.down_s = False, now
        elif isinstance(event, Live):
            if not stream.live and stream.source is Source.REST:
                self.over_s.append(now - stream.down_s)
            stream.live = True
        elif isinstance(event, SourceChanged):
            stream.source = event.source
        elif isinstance(event, TradeGap):
            stream.gap = event

    def check(self) -> None:
        """Judge this moment, between two batches of the engine."""
        now = trio.current_time()
        failures = self.market.failover.statistics().failures
        if failures != self._failures or self._circuit != "closed" or self._away:
            self.rest_is_bad()
        self._failures = failures
        for record in self.world.exchange.faults.log:  # a fault that waits for a call hits long after it was given
            if str(record["name"]).startswith("rest_") and isinstance(record["last_hit_s"], float):
                self.rest_bad_s = max(self.rest_bad_s, record["last_hit_s"])
        for switch in self.market.failover.switches(since_s=self._judged_s):
            if switch.number > self._judged:
                self._judged, self._judged_s = switch.number, switch.at_s
                self._switch(switch)
        for key, stream in self._streams.items():
            since = max(stream.down_s, self.rest_bad_s + REST_WELL_S, self._began_s, self.world.slept_until)
            if not stream.live and now - since > OVER_S:
                what = f"expected data within {OVER_S:g} s, REST being well, got none for {now - stream.down_s:.2f} s"
                self.verdict.fail("I-26", f"{name_of(key)}: {what}")

    def _venue(self, away: bool, now: float) -> None:
        if away and not self._away:
            self._away_times.append((now, math.inf))
        elif self._away and not away:
            self._away_times[-1] = (self._away_times[-1][0], now)
        self._away = away

    def _line_failed(self, event: LineDown) -> None:
        # Failures from before the engine was open were told to nobody: the first one told is where counting begins.
        if self._away and event.failures > self._line_failures.get(event.line, event.failures):
            what = f"expected no failure to count while the venue is away, got {event.failures} of {event.line}"
            self.verdict.fail("I-26", what)
        self._line_failures[event.line] = event.failures

    def unrecovered(self) -> list[str]:
        """Return what is not live though nothing is wrong any more."""
        return [name_of(key) for key, stream in self._streams.items() if not stream.live]

    def _value(self, key: StreamKey, stream: _Stream, event: MarketEvent, now: float) -> None:
        where, last = name_of(key), stream.last
        if not stream.live:
            self.verdict.fail("I-7", f"{where}: expected Live before a value")
        if stream.source is not None and event.source is not stream.source:
            self.verdict.fail("I-26", f"{where}: expected a value of {stream.source}, got one of {event.source} untold")
        stream.source = event.source
        if event.source is Source.REST:
            stream.backup_s = now
            claims = event.book.verified_levels if isinstance(event, BookUpdate) else 0
            if event.integrity is not Integrity.UNVERIFIED or claims:
                self.verdict.fail(
                    "I-9", f"{where}: expected REST to be unverified, got {event.integrity}, {claims} levels"
                )
        if isinstance(event, BookUpdate):
            self._book(where, stream, event)
        if isinstance(event, Trade):
            self._trade(where, stream, event)
        elif isinstance(event, Candle):
            if isinstance(last, Candle) and _state(last) > _state(event):
                self.verdict.fail("I-4", f"{where}: expected {_state(last)} or later, got {_state(event)}")
        elif isinstance(event, (TickerUpdate, BookUpdate)) and last is not None:
            times = last.venue_time is not None and event.venue_time is not None and event.venue_time < last.venue_time
            if event.received_s < last.received_s or times:
                self.verdict.fail("I-4", f"{where}: expected a value not older than the one before, got {event!r:.100}")
        stream.last = event

    def _book(self, where: str, stream: _Stream, event: BookUpdate) -> None:
        """A book of REST does not say of when it is, but the venue knows: not older than what the lines have shown."""
        if event.source is not Source.REST:
            if event.venue_time is not None:
                stream.shown_us = microseconds(event.venue_time)
            return
        times = (
            str(true["timestamp"]) for true in self.world.exchange.recent_books(event.symbol) if _alike(event, true)
        )
        latest = next(times, None)  # too long ago for the venue to have kept it whole, if there is none
        if latest is not None and microseconds(latest) < stream.shown_us:
            self.verdict.fail("I-4", f"{where}: expected none older than what was shown, got REST's of {latest}")

    def _trade(self, where: str, stream: _Stream, event: Trade) -> None:
        last, gap = stream.last, stream.gap
        stream.gap = None
        if isinstance(last, Trade) and event.trade_id != last.trade_id + 1:
            told = gap is not None and (gap.first, gap.last) == (last.trade_id + 1, event.trade_id - 1)
            if event.trade_id <= last.trade_id or not told:
                self.verdict.fail("I-5", f"{where}: expected {last.trade_id + 1} or its gap, got {event.trade_id}")
        true = self.tape.find(event.symbol, event.trade_id)
        if true is None or (float(str(true["price"])), float(str(true["qty"]))) != (
            float(event.price),
            float(event.qty),
        ):
            self.verdict.fail("I-5", f"{where}: expected {true}, got {event}")

    def _switch(self, switch: Switch) -> None:
        """Judge one change of the source by the judge's own account of the lines."""
        if switch.to is not Feeder.PRIMARY:
            if any(begin < switch.at_s < end for begin, end in self._away_times):
                self.verdict.fail("I-26", f"expected nobody to go over while the venue is away, got {switch}")
            for stream in (self._streams[key] for key in switch.streams if key in self._streams):
                lasted = switch.at_s - stream.returned_s >= WINDOW_S
                stream.hold_s = HOLD_S if lasted else min(2 * stream.hold_s, LONGEST_HOLD_S)
            return
        if not switch.reason.startswith(_HELD):
            late = [key for key in switch.streams if switch.at_s - self._streams[key].backup_s < BACKUP_LOST_S - 0.5]
            shown = [key for key in late if self._streams[key].live and self._streams[key].source is Source.REST]
            if shown:
                self.verdict.fail("I-26", f"expected a hold for {name_of(shown[0])}, which REST was feeding")
            return
        up_s = math.inf if self._line_up_s is None else self._line_up_s
        if self._last_up[0] <= switch.at_s <= self._last_up[1]:  # it ended since
            up_s = self._last_up[0]
        if self.world.slept_until <= switch.at_s:  # nobody saw how it was meanwhile
            up_s = max(up_s, self.world.slept_until)
        hold_s = max((self._streams[key].hold_s for key in switch.streams), default=HOLD_S)
        if switch.at_s - up_s < hold_s - 0.01:
            waited = f"the return at {switch.at_s:.2f}, got {switch.at_s - up_s:.2f}"
            self.verdict.fail("I-26", f"expected the line up for {hold_s:g} s before {waited}")
        for key in switch.streams:
            self._streams[key].returned_s = switch.at_s
        before = self.market.failover.switches(since_s=switch.at_s - 600.0 + 0.01)
        held = [one for one in before if one.to is Feeder.PRIMARY and one.reason.startswith(_HELD)]
        for key in switch.streams:
            returns = sum(key in one.streams for one in held)
            if returns > 4:
                self.verdict.fail("I-26", f"{name_of(key)}: expected at most 4 returns in 10 minutes, got {returns}")


def _alike(event: BookUpdate, true: Mapping[str, Any]) -> bool:
    """Return whether a book of REST, which tells quantities with few digits, is this one of the venue."""
    top = event.book.top(10)
    for shown, levels in ((top.bids, true["bids"]), (top.asks, true["asks"])):
        if len(shown) != len(levels):
            return False
        for level, (price, qty) in zip(shown, levels, strict=True):
            unit = Decimal(1).scaleb(int(level.qty.as_tuple().exponent))
            if level.price != Decimal(price) or abs(level.qty - Decimal(qty)) >= unit:
                return False
    return True


def _state(candle: Candle) -> tuple[str, int]:
    return candle.interval_begin[:19], candle.trades
