"""``open_market``: market data of one venue, as a scope.

::

    open_market()                          leaving the block ends everything below it
    ├─ embedded venue (only simulated)     the exchange, on an in-memory network
    └─ background (nursery)
       └─ pool                             places streams on lines, compares lines, replaces them
          └─ market line A, B (supervisor) connect, run, back off, again
             └─ session (per connection)
                ├─ reader · writer · liveness
                └─ channel: book · ticker · trade · ohlc · instrument

State and publisher are plain synchronous objects that live here; the publisher outlives its sources, so consumers see
the last notice and then the end of their stream.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from types import MappingProxyType
from typing import final

import attrs
import structlog
import trio

from kraken_engine.config import Config, must_be_config
from kraken_engine.control.connect_budget import ConnectBudget, ConnectLog
from kraken_engine.control.error_actions import Command, ErrorDesk, LogAndContinue
from kraken_engine.control.venue_mode import OrderShape, Permit, VenueModes
from kraken_engine.errors import StartupError, shown
from kraken_engine.feed.chronicle import Chronicle
from kraken_engine.feed.current import CurrentValues
from kraken_engine.feed.demand import Demand
from kraken_engine.feed.feed import Feed
from kraken_engine.feed.publisher import Publisher
from kraken_engine.feed.topics import Health
from kraken_engine.model import Instrument
from kraken_engine.monitor.kpis import Kpis
from kraken_engine.monitor.log import log_event, logger
from kraken_engine.normalise.events import Event, LineDown, LineUp
from kraken_engine.rest.public import PublicRest
from kraken_engine.runtime import Clock, Runtime, real_runtime
from kraken_engine.state.freshness import StreamKey
from kraken_engine.state.history import History
from kraken_engine.state.subscriptions import SubscriptionKey
from kraken_engine.tasks.continuity import Continuity
from kraken_engine.tasks.failover import Failover, open_failover
from kraken_engine.tasks.line_statistics import LineStatistics
from kraken_engine.tasks.pool import Pool
from kraken_engine.tasks.scope import open_background
from kraken_engine.tasks.urgent import UrgentSymbols
from kraken_engine.venue.shells.memory import MemoryNetwork
from kraken_engine.venue.shells.server import VenueServer, VenueSettings, open_venue
from kraken_engine.wire.endpoints import parse_endpoint
from kraken_engine.wire.tls import client_context

__all__ = ["Market", "MarketStatistics", "open_market"]


@attrs.frozen(kw_only=True)
class MarketStatistics:
    """What a market did so far."""

    lines: tuple[LineStatistics, ...]
    published: int
    """Market data events handed to the feed."""
    errors: Mapping[str, int]
    """Errors by kind, in the words of ``kraken-engine errors``: of all lines, of REST, of accounts, of checkpoints."""
    unknown_errors: Mapping[str, int]
    """Those of them that are in no table, by name; each was told and survived."""

    @property
    def frames(self) -> int:
        """Text frames received."""
        return sum(line.frames for line in self.lines)

    @property
    def frames_per_read(self) -> float:
        """Text frames cut from one socket read, on average."""
        reads = sum(line.reads for line in self.lines)
        return self.frames / reads if reads else 0.0

    @property
    def books_verified(self) -> int:
        """Checksums that matched."""
        return sum(line.books_verified for line in self.lines)

    @property
    def books_mismatched(self) -> int:
        """Checksums that did not; each dropped its book at once."""
        return sum(line.books_mismatched for line in self.lines)


@final
class Market:
    """An open market; made by :func:`open_market`."""

    def __init__(
        self,
        *,
        feed: Feed,
        publisher: Publisher,
        pool: Pool,
        failover: Failover,
        rest: PublicRest | None,
        kpis: Kpis,
        config: Config,
        runtime: Runtime,
        budget: ConnectBudget,
        connect_log: ConnectLog | None,
        urgent: UrgentSymbols,
        desk: ErrorDesk,
        history: History,
        venue: VenueServer | None,
    ) -> None:
        self.feed = feed
        """Streams and current values."""
        self.health = Health()
        """The topic of every notice: lines, venue status, gaps, resyncs."""
        self.venue = venue
        """The embedded venue of a simulated configuration, with its faults and its own truth; else None."""
        self.failover = failover
        """Which source feeds what, and the history of that."""
        self.rest = rest
        """Public REST operations of the same venue: one breaker and one pace for all who ask; None: there are none."""
        self.config = config
        """The settings it was opened with, at the venue it talks to."""
        self.runtime = runtime
        """The world it runs in."""
        self.budget = budget
        """Attempts to connect, over all lines: those of accounts, too ..."""
        self.connect_log = connect_log
        """... and across restarts, if they are remembered."""
        self.urgent = urgent
        """The symbols with open orders, which come first; whoever opens an account adds it."""
        self.counted = kpis
        """What all lines report to."""
        self.history = history
        """What changed, and when: lines, the venue's state, sources, accounts, the top of each book that is read.

        Asked by lane: ``history.changes(book_lane("BTC/USD"), last=100)``; the lanes are in
        :mod:`kraken_engine.state.history`.
        """
        self.desk = desk
        """Decides about the errors of all lines, of REST, accounts and checkpoints, and counts them."""
        self._publisher = publisher
        self._pool = pool

    @property
    def instruments(self) -> Mapping[str, Instrument]:
        """Every tradable pair by symbol, kept up to date."""
        return MappingProxyType(self._pool.instruments)

    @property
    def modes(self) -> VenueModes:
        """The state of the venue and its markets, and what it means for orders and data."""
        return self.failover.modes

    def allows(self, symbol: str, order: OrderShape) -> Permit:
        """Say whether the venue would take a new order of this shape now, as far as its announced states go.

        Args:
            symbol: such as ``BTC/USD``.
            order: what of it decides: ``OrderShape(limit=True, post_only=True)``.

        Returns:
            A true value, or a false one whose ``refusal`` says which state stands in the way. A symbol the venue does
            not list is refused, too.
        """
        if symbol not in self._pool.instruments:
            return Permit(f"{shown(symbol)}: the venue lists no such symbol")
        return Permit(self.modes.refuses_order(symbol, order))

    def allows_cancel(self, symbol: str) -> Permit:
        """Say whether the venue would take a cancel now; only maintenance stands in its way."""
        return Permit(self.modes.refuses_cancel(symbol))

    @property
    def pool(self) -> Pool:
        """The lines; for judges and tests."""
        return self._pool

    @property
    def publisher(self) -> Publisher:
        """What recorders and judges attach to; applications use :attr:`feed`."""
        return self._publisher

    async def rotate(self, line: str) -> None:
        """Replace the connection of ``line`` (``market A``) without a gap: connect, bring everything, end the old one.

        Raises:
            UsageError: there is no such line, it is being replaced already, or it is the only one.
            LineError: the new connection did not bring everything in time; the old one stays.
        """
        await self._pool.rotate(line)

    def statistics(self) -> MarketStatistics:
        """Return the counters of all lines."""
        return MarketStatistics(
            lines=self._pool.statistics(),
            published=self._publisher.published,
            errors={str(kind): count for kind, count in self.desk.counts.items()},
            unknown_errors=dict(self.desk.unknown),
        )

    def kpis(self) -> dict[str, float]:
        """Return the six key figures by name (percent, per second, per minute, milliseconds, counts)."""
        return self.counted.values(now=self.runtime.clock.now())


@asynccontextmanager
async def open_market(
    config: Config, *, runtime: Runtime | None = None, connect_log: ConnectLog | None = None
) -> AsyncGenerator[Market]:
    """Open the market data of ``config`` for as long as the block lasts. Needs no keys and no REST.

    Args:
        config: The settings; ``Config.simulated()`` brings a venue of its own.
        runtime: The world to run in; the real one when not given.
        connect_log: Remembers attempts to connect across restarts; none are remembered when not given.

    Raises:
        StartupError: not ready within ``config.startup_timeout_s``; every reason is listed.
        UsageError: ``config`` is no Config.
        ConfigError: the settings cannot work.
        EngineFailed: a background task failed later; the body was cancelled.
    """
    must_be_config(config)
    runtime = runtime or real_runtime()
    if config.venue is None:
        async with _open_market(config, runtime, None, connect_log) as market:
            yield market
        return
    memory = attrs.evolve(runtime, network=MemoryNetwork())
    simulated = config.venue
    settings = VenueSettings(symbols=simulated.symbols, rate=simulated.rate, seed=simulated.seed)
    async with open_venue(memory, settings) as venue:
        at_venue = attrs.evolve(
            config,
            public_url=venue.ws_url,
            private_url=venue.ws_auth_url,
            rest=attrs.evolve(config.rest, base_url=venue.rest_url),
        )
        async with _open_market(at_venue, memory, venue, connect_log) as market:
            yield market


@asynccontextmanager
async def _open_market(
    config: Config, runtime: Runtime, venue: VenueServer | None, connect_log: ConnectLog | None
) -> AsyncGenerator[Market]:
    endpoint = parse_endpoint(config.public_url)
    if endpoint.tls:
        client_context(config.wire, runtime.files)  # an unusable certificate is a mistake now, not a failing line later
    publisher = Publisher()
    log = logger("market")
    if log.isEnabledFor(logging.WARNING):  # else nobody pays for it: market data passes here as well
        publisher.observe(lambda _, event: log_event(log, event))
    kpis = Kpis(now=runtime.clock.now())
    continuity = Continuity(settings=config.failover, publisher=publisher, clock=runtime.clock, kpis=kpis)
    budget = ConnectBudget(config.backoff)
    history = History()
    publisher.observe(Chronicle(history, runtime.clock.now).note)
    desk = ErrorDesk(on_decided=partial(_log_command, log))
    pool = Pool(
        config=config,
        runtime=runtime,
        endpoint=endpoint,
        publisher=continuity.sources,
        kpis=kpis,
        budget=budget,
        log=connect_log,
        desk=desk,
        modes=continuity.modes,
    )
    urgent = UrgentSymbols()
    pool.urgent = continuity.open_orders = urgent
    continuity.last_frame_s = pool.last_frame_s
    continuity.ask_again = pool.refresh
    continuity.doubt = pool.doubt

    def want(key: StreamKey, subscription: SubscriptionKey) -> None:
        pool.want(key, subscription)
        continuity.want(key, subscription)

    def drop(key: StreamKey, subscription: SubscriptionKey) -> None:
        continuity.drop(key)
        pool.drop(key, subscription)

    def change(key: StreamKey, before: SubscriptionKey, after: SubscriptionKey) -> None:
        pool.drop(key, before)
        pool.want(key, after)
        continuity.change(key, after)

    try:
        async with (
            open_failover(config, runtime, continuity, desk=desk) as rest,
            open_background("the market") as nursery,
        ):
            current = CurrentValues(
                publisher,
                rest,
                runtime.clock,
                cache_ttl_s=config.performance.cache_ttl_s,
                fresh_s=config.failover.slowest_s,
            )
            feed = Feed(
                publisher,
                Demand(want=want, drop=drop, change=change),
                runtime.clock,
                current,
                batch_size=config.performance.batch_size,
            )
            nursery.start_soon(pool.run)
            await _wait_ready(pool, publisher, runtime.clock, budget, config)
            yield Market(
                feed=feed,
                publisher=publisher,
                pool=pool,
                failover=Failover(continuity, rest),
                rest=rest,
                kpis=kpis,
                config=config,
                runtime=runtime,
                budget=budget,
                connect_log=connect_log,
                urgent=urgent,
                desk=desk,
                history=history,
                venue=venue,
            )
    finally:
        publisher.close()


def _log_command(log: structlog.stdlib.BoundLogger, command: Command) -> None:
    """Write down what is done about an error; one that is in no table is worth a warning."""
    where = {name: value for name, value in attrs.asdict(command.where).items() if value is not None}
    if isinstance(command, LogAndContinue) and not command.known:
        log.warning("unknown error", why=command.why, **where)
    else:
        log.debug("error", action=type(command).__name__, why=command.why, **where)


async def _wait_ready(pool: Pool, publisher: Publisher, clock: Clock, budget: ConnectBudget, config: Config) -> None:
    """Wait for the first list of instruments, which proves connection, subscription and decoding at once.

    Raises:
        StartupError: it did not come in time.
    """
    failures: dict[str, None] = {}
    connected: dict[str, None] = {}

    def note(_: StreamKey, event: Event) -> None:
        if isinstance(event, LineDown):
            failures[event.reason] = None
        elif isinstance(event, LineUp):
            connected[event.line] = None

    stop = publisher.observe(note)
    try:
        with trio.move_on_after(config.startup_timeout_s):
            await pool.ready.wait()
    finally:
        stop()
    if not pool.ready.is_set():
        now = clock.now()
        due_s = budget.next_start(now=now)
        if failures:
            seen = list(failures)
        elif connected or due_s is None:
            seen = ["connected, but the venue sent no instruments"]
        else:
            most, window_s = config.backoff.max_attempts, config.backoff.window_s
            made = f"{len(budget.history(now=now))} attempts to connect were made within {window_s:g} s"
            seen = [f"{made}, {most} are allowed: the next one is due in {due_s - now:.0f} s"]
        raise StartupError([f"no market data within {config.startup_timeout_s:g} s", *seen[-10:]])
