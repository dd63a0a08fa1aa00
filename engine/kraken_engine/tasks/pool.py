"""The pool: several lines bring the same market data, so that losing any one of them loses nothing.

Each line is kept connected by a supervisor of its own, restores its own subscriptions in its own order, and knows
nothing of the others. Which line carries which stream is placed here (:mod:`~kraken_engine.control.placement`), and
what readers see of it is decided by the arbiter (:mod:`~kraken_engine.state.arbitration`); a pool of one line has
neither, and publishes straight away.

A line can be replaced while it works (*rotation*): another line takes its streams, and only when that has brought them
all does the old one end.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from typing import final

import attrs
import trio

from kraken_engine.config import Config
from kraken_engine.control.connect_budget import ConnectBudget, ConnectLog
from kraken_engine.control.error_actions import ErrorDesk
from kraken_engine.control.maintenance import Maintenance
from kraken_engine.control.placement import Placement
from kraken_engine.control.venue_mode import VenueModes
from kraken_engine.errors import LineError, UsageError
from kraken_engine.model import Instrument
from kraken_engine.monitor.kpis import Kpis
from kraken_engine.normalise.events import Candle, Rotated, Silent, VenueStatus
from kraken_engine.runtime import Runtime
from kraken_engine.state.arbitration import Arbiter
from kraken_engine.state.channels import Shared
from kraken_engine.state.freshness import StreamKey
from kraken_engine.state.member import Member
from kraken_engine.state.outlet import Outlet
from kraken_engine.state.stream_watch import Mute, Remedy, Report, StreamWatch
from kraken_engine.state.subscriptions import SubscriptionKey
from kraken_engine.tasks.line_statistics import LineStatistics
from kraken_engine.tasks.market_line import MarketLine
from kraken_engine.tasks.supervisor import run_line
from kraken_engine.wire.endpoints import Endpoint

__all__ = ["INSTRUMENTS", "Pool"]

INSTRUMENTS: StreamKey = ("instrument",)
"""The stream that every line carries: no book can be read without it."""

_LOOK_S = 0.05
"""How often a rotation looks whether the new line has brought everything."""

_SHORTEST_S = 0.001
"""Sleeps that are shorter may end before what they wait for, by the last digit of a clock."""


@attrs.define(eq=False)
class _Place:
    """One place in the pool, and who has it."""

    name: str
    line: MarketLine
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    """Around the supervisor of :attr:`line`."""
    coming: MarketLine | None = None
    """Who is to have the place next, while it prepares."""
    before: LineStatistics | None = None
    """What the lines that had the place did."""

    def lines(self) -> list[MarketLine]:
        return [self.line] if self.coming is None else [self.line, self.coming]


@final
class Pool:
    """The market lines of one venue; :meth:`run` keeps them connected."""

    def __init__(
        self, *, config: Config, runtime: Runtime, endpoint: Endpoint, publisher: Outlet, kpis: Kpis,
        budget: ConnectBudget, log: ConnectLog | None = None, desk: ErrorDesk | None = None,
        modes: VenueModes | None = None,
    ) -> None:  # fmt: skip
        self.instruments: dict[str, Instrument] = {}
        """Every tradable pair by symbol."""
        self.desk = desk or ErrorDesk()
        """Decides about the errors of all lines, and counts them."""
        self.ready = trio.Event()
        """Some line has brought the list of instruments."""
        self.urgent: Callable[[], Collection[str]] = tuple
        """Names the symbols with open orders, which every connection subscribes to first."""
        self._config = config
        self._runtime = runtime
        self._endpoint = endpoint
        self._publisher = publisher
        self._kpis = kpis
        self._budget = budget
        self._log = log
        self._modes = VenueModes() if modes is None else modes
        self._nursery: trio.Nursery | None = None
        self._maintenance = Maintenance()
        self._moving = trio.Event()
        """Set when all lines are to be replaced."""
        self._why_moving = ""
        names = [f"market {chr(ord('A') + n)}" for n in range(config.pool.market_lines)]
        self._waiting = trio.Event()
        """Set when something waits for another line."""
        self.arbiter = Arbiter(publisher, self._hurry) if len(names) > 1 else None
        """Decides between the lines; None: there is one only."""
        self._shared = Shared() if len(names) > 1 else None
        self._placement: Placement[StreamKey] = Placement(names, config.pool.redundancy)
        self._places = {name: _Place(name, self._make_line(name, 1)) for name in names}

    @property
    def lines(self) -> tuple[MarketLine, ...]:
        """The lines that have the places now."""
        return tuple(place.line for place in self._places.values())

    def statistics(self) -> tuple[LineStatistics, ...]:
        """Return what each place did so far, whoever had it."""
        return tuple(
            place.line.statistics() if place.before is None else place.before + place.line.statistics()
            for place in self._places.values()
        )

    # -- wishes

    def want(self, key: StreamKey, subscription: SubscriptionKey) -> None:
        """Subscribe to a stream on as many lines as there is redundancy."""
        for name in self._placement.place(key, everywhere=key == INSTRUMENTS):
            for line in self._places[name].lines():
                self._want(line, key, subscription)
        for place in self._places.values():
            for line in place.lines():
                line.supersede(key, subscription)  # a book of another depth would get among these for a while

    def drop(self, key: StreamKey, subscription: SubscriptionKey) -> None:
        """Give up a stream."""
        for name in self._placement.drop(key):
            for line in self._places[name].lines():
                line.drop(key, subscription)

    def last_frame_s(self, key: StreamKey) -> float:
        """Return when the last frame was read on any line that carries ``key`` (monotonic)."""
        lines = [line for place in self._places.values() for line in place.lines() if key in line.wanted()]
        return max((line.last_frame_s for line in lines), default=-math.inf)

    def closed_candles(self, key: StreamKey) -> tuple[Candle, ...]:
        """Return the closed candles of a series, oldest first, of the line that knows most of them."""
        return max((line.closed_candles(key) for line in self.lines), key=len, default=())

    def refresh(self, key: StreamKey) -> None:
        """Ask for a fresh snapshot of a stream, on every line that carries it; readers are shown one in any case."""
        if self.arbiter is not None:
            self.arbiter.show_again(key, now=self._runtime.clock.now())
        for place in self._places.values():
            for line in place.lines():
                line.refresh(key)

    def doubt(self, key: StreamKey, why: str) -> None:
        """Trust no line with a stream any more, until a fresh snapshot of it is there."""
        for place in self._places.values():
            for line in place.lines():
                if key in line.wanted():
                    line.outlet.lose(key, why, now=line.now())
        self.refresh(key)
        self._publisher.flush()

    # -- tasks

    async def run(self) -> None:
        """Keep every line connected until cancelled. Only bugs end it."""
        now, wall_ns = self._runtime.clock.now(), self._runtime.clock.wall_ns()
        if self._log is not None:
            self._budget.restore([(wall_ns - at) / 1e9 for at in await self._log.load()], now=now)
        async with trio.open_nursery() as self._nursery:
            self.want(INSTRUMENTS, SubscriptionKey(channel="instrument"))
            for place in self._places.values():
                self._nursery.start_soon(self._run_line, place.line, place.scope)
            if self.arbiter is not None:
                self._nursery.start_soon(self._run_watch, self.arbiter)
                self._nursery.start_soon(self._run_waits, self.arbiter)
                self._nursery.start_soon(self._run_moves)

    async def rotate(self, name: str, *, why: str = "as asked for") -> None:
        """Replace the connection of one line: connect anew, bring everything, and only then end the old one.

        Raises:
            UsageError: there is no such line, it is being replaced already, or it is the only one.
            LineError: the new connection did not bring everything in time; the old one stays.
        """
        place = self._places.get(name)
        if place is None:
            raise UsageError(f"line: expected one of {', '.join(self._places)}, got {name!r}")
        if self.arbiter is None or self._nursery is None:
            raise UsageError("rotation takes a pool of two market lines or more (pool.max_connections)")
        if place.coming is not None:
            raise UsageError(f"{name} is being replaced already")
        new = place.coming = self._make_line(name, place.line.generation + 1)
        scope = trio.CancelScope()
        for key, subscription in place.line.wanted().items():
            self._want(new, key, subscription)
        self._nursery.start_soon(self._run_line, new, scope)
        limit_s = self._config.pool.rotation_timeout_s
        complete = False
        try:
            with trio.move_on_after(limit_s):
                while not self._brings_all(new, place.line):  # noqa: ASYNC110 - many streams of two lines decide it
                    await trio.sleep(_LOOK_S)
                complete = True
        finally:
            place.coming = None
            if not complete:
                scope.cancel()
        if not complete:
            raise LineError(f"{name}: the new connection did not bring everything within {limit_s:g} s")
        before = place.line.statistics()
        place.before = before if place.before is None else place.before + before
        place.scope.cancel()
        place.line, place.scope = new, scope
        self._publisher.announce(Rotated(at_s=new.now(), line=name, generation=new.generation, reason=why))
        self._publisher.flush()

    async def _run_line(self, line: MarketLine, scope: trio.CancelScope) -> None:
        with scope:
            await run_line(line, self._budget, self._log)
        line.retire("another line has its place")  # only a rotation cancels the scope of a line

    async def _run_watch(self, arbiter: Arbiter) -> None:
        """Do what time alone decides between lines."""
        watch = StreamWatch(self._config.pool)
        while True:
            await trio.sleep(self._config.pool.watch_s)
            now = self._runtime.clock.now()
            arbiter.tick(now=now)
            for mute in watch.look(self._reports(), now=now):
                self._heal(mute, now)
            self._publisher.flush()

    def _hurry(self) -> None:
        self._waiting.set()

    async def _run_waits(self, arbiter: Arbiter) -> None:
        """Show in time what waited for another line, if that did not come."""
        while True:
            await self._waiting.wait()
            self._waiting = trio.Event()
            while arbiter.due_s < math.inf:
                await trio.sleep(max(arbiter.due_s - self._runtime.clock.now(), _SHORTEST_S))
                arbiter.tick(now=self._runtime.clock.now())
                self._publisher.flush()

    async def _run_moves(self) -> None:
        """Replace every line, one after the other, when maintenance is announced that will end connections."""
        while True:
            await self._moving.wait()
            self._moving = trio.Event()
            for name, place in self._places.items():
                if not place.line.up:
                    continue  # its next connection is a new one anyway
                try:
                    await self.rotate(name, why=self._why_moving)
                except (LineError, UsageError):
                    continue  # the old connection stays, and is replaced in the ordinary way when it ends

    def _announced(self, status: VenueStatus) -> None:
        why = self._maintenance.announced(status.maintenance, now=status.at_s)
        if why is not None:
            self._why_moving = why
            self._moving.set()

    def _reports(self) -> dict[StreamKey, dict[str, Report]]:
        """Return how each line stands with each stream that has one; instruments are too quiet to compare.

        A stream of which the venue's state lets nothing be expected is not compared: silence there is no fault.
        """
        reports: dict[StreamKey, dict[str, Report]] = {}
        for name, place in self._places.items():
            line = place.line
            for key in line.wanted():
                expected = key != INSTRUMENTS and self._modes.expects(str(key[0]), str(key[1]))
                report = line.report(key) if expected else None
                if report is not None:
                    reports.setdefault(key, {})[name] = report
        return reports

    def _heal(self, mute: Mute, now: float) -> None:
        place, key = self._places[mute.line], mute.key
        place.line.outlet.lose(key, mute.why, now=now)  # readers must not be left with it when the other line ends
        remedy = mute.remedy
        if remedy is Remedy.REPLACE:
            place.line.replace_connection(mute.why)
        elif remedy is Remedy.RESUBSCRIBE or not self._move(mute.line, key):
            remedy = Remedy.RESUBSCRIBE
            place.line.ask_anew(key)
        channel = str(key[0])
        symbol = str(key[1]) if len(key) > 1 else None
        self._publisher.announce(
            Silent(at_s=now, line=mute.line, channel=channel, symbol=symbol, reason=mute.why, remedy=remedy.value)
        )

    def _move(self, away_from: str, key: StreamKey) -> bool:
        """Bring a stream on another line instead of the one where it is mute; return whether there was one."""
        subscription = self._places[away_from].line.wanted().get(key)
        name = None if subscription is None else self._placement.move(key, away_from)
        if subscription is None or name is None:
            return False
        for line in self._places[name].lines():
            self._want(line, key, subscription)
        for line in self._places[away_from].lines():
            line.drop(key, subscription)
        return True

    # -- lines

    def _make_line(self, name: str, generation: int) -> MarketLine:
        member = None if self.arbiter is None else self.arbiter.member(name)
        outlet: Outlet = self._publisher if member is None else member
        line = MarketLine(
            name=name,
            generation=generation,
            endpoint=self._endpoint,
            runtime=self._runtime,
            config=self._config,
            outlet=outlet,
            kpis=self._kpis,
            desk=self.desk,
            modes=self._modes,
            instruments=self.instruments,
            shared=self._shared,
            urgent=self._urgent_symbols,
            on_instruments=self.ready.set,
            on_status=self._announced,
        )
        if member is not None:
            member.views = line
        return line

    def _urgent_symbols(self) -> Collection[str]:
        return self.urgent()

    def _want(self, line: MarketLine, key: StreamKey, subscription: SubscriptionKey) -> None:
        if isinstance(line.outlet, Member):
            line.outlet.begin(key)
        line.want(key, subscription)

    def _brings_all(self, new: MarketLine, old: MarketLine) -> bool:
        """Return whether the new line may be trusted with all that the old one may be trusted with."""
        assert isinstance(new.outlet, Member)
        assert isinstance(old.outlet, Member)
        wanted = new.wanted()
        return new.up and all(new.outlet.is_live(key) for key in wanted if old.outlet.is_live(key))

    def places(self) -> Mapping[str, tuple[StreamKey, ...]]:
        """Return which streams each line carries."""
        return {name: tuple(place.line.wanted()) for name, place in self._places.items()}
