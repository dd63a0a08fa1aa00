"""Kill the WebSocket again and again: data goes on from REST in time, marked, never backwards, and comes back.

Over real sockets, a venue with a proxy in front of its WebSocket that is cut or frozen:

- ``--full`` cycles with the product's default settings, waiting for the whole hold each time;
- ``--short`` cycles with short configured holds;
- ``--virtual`` cycles of the simulated world, in virtual time.

For each cycle and stream: seconds from the last byte of the WebSocket to the first value of REST, which has to be at
most the deadline and one round trip (the longest one measured), and seconds from the proxy being mended to the first
value of the WebSocket, which has to be the hold at least. Values without a change of the source before them, values
received before the one shown last, trades twice or missing without a word: each is a violation.

::

    python -m tests.drills.failover [--full 2] [--short 20] [--virtual 200]
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from typing import Any

import attrs
import trio
from tests.drills._proxy import Proxy, open_proxy

from kraken_engine import (
    Book,
    BookUpdate,
    Bounded,
    Candle,
    Candles,
    Config,
    Event,
    MarketEvent,
    Source,
    SourceChanged,
    Ticker,
    TickerUpdate,
    Trade,
    TradeGap,
    Trades,
    open_market,
)
from kraken_engine.config import BackoffSettings, FailoverSettings, PoolSettings
from kraken_engine.runtime import real_runtime
from kraken_engine.sim.deterministic import run
from kraken_engine.sim.network import Dialing
from kraken_engine.sim.world import WorldSettings, open_world
from kraken_engine.tasks.market import Market
from kraken_engine.venue.shells.server import VenueSettings, open_venue
from kraken_engine.wire.endpoints import parse_endpoint

CHANNELS: dict[type[MarketEvent], str] = {TickerUpdate: "ticker", BookUpdate: "book", Trade: "trade", Candle: "ohlc"}
SCHEDULING_S = 0.25
"""Allowed to the machine: everything here, venue and proxy included, shares one event loop."""
SHORT = FailoverSettings(hold_s=1.5, longest_hold_s=1.5, most_returns=1000)


@attrs.define
class Watcher:
    """Judges everything a reader is told, and remembers when each source first spoke."""

    problems: list[str] = attrs.field(factory=list)
    values: int = 0
    first: dict[tuple[str, Source], float] = attrs.field(factory=dict)
    _source: dict[str, Source] = attrs.field(factory=dict)
    _last: dict[str, MarketEvent] = attrs.field(factory=dict)
    _next_trade: int | None = None

    def begin(self) -> None:
        """Forget who spoke when: another phase begins."""
        self.first.clear()

    def see(self, event: Event) -> None:
        if isinstance(event, SourceChanged):
            self._source[event.channel] = event.source
            if event.channel == "trade":  # with the word that there is no new one, a quiet market is current
                self.first.setdefault((event.channel, event.source), trio.current_time())
        elif isinstance(event, TradeGap):
            self._next_trade = event.last + 1
        elif isinstance(event, MarketEvent):
            self._judge(CHANNELS[type(event)], event)

    def _judge(self, channel: str, event: MarketEvent) -> None:
        self.values += 1
        self.first.setdefault((channel, event.source), trio.current_time())
        if self._source.setdefault(channel, event.source) is not event.source:
            self.problems.append(f"{channel}: a value of {event.source} without a change of the source")
        last = self._last.get(channel)
        if isinstance(event, Trade):
            if self._next_trade not in (None, event.trade_id):
                self.problems.append(f"trade {event.trade_id}, expected {self._next_trade}")
            self._next_trade = event.trade_id + 1
        elif isinstance(event, Candle):
            if isinstance(last, Candle) and (last.interval_begin[:19], last.trades) > (
                event.interval_begin[:19], event.trades,
            ):  # fmt: skip
                self.problems.append("a candle went back")
        elif last is not None and (
            event.received_s < last.received_s
            or (event.venue_time is not None and last.venue_time is not None and event.venue_time < last.venue_time)
        ):
            self.problems.append(f"{channel}: a value went back")
        self._last[channel] = event


@attrs.define
class Times:
    """What was measured."""

    over: list[float] = attrs.field(factory=list)
    back: list[float] = attrs.field(factory=list)
    rtt: list[float] = attrs.field(factory=list)

    def tell(self, name: str, deadline_s: float, hold_s: float, watcher: Watcher) -> bool:
        """Print it all; return whether every promise was kept."""
        allowed = deadline_s + max(self.rtt) + SCHEDULING_S
        late = sum(seconds > allowed for seconds in self.over)
        early = sum(seconds < hold_s - SCHEDULING_S for seconds in self.back)
        print(f"{name}: {len(self.over)} streams over, {len(self.back)} back, {watcher.values} values")
        print(f"  last good frame to data of REST: {spread(self.over)}, allowed {allowed:.2f} s, {late} late")
        print(f"  health to data of the WebSocket: {spread(self.back)}, hold {hold_s:g} s, {early} early")
        print(f"  round trip of REST: {spread(self.rtt)}")
        for problem in watcher.problems[:10]:
            print(f"  VIOLATION {problem}")
        print(f"  {len(watcher.problems)} violations", flush=True)
        return not (late or early or watcher.problems)


def spread(values: Sequence[float]) -> str:
    """Return a distribution in words."""
    ordered = sorted(values)
    if not ordered:
        return "none"
    p50, p99 = ordered[len(ordered) // 2], ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
    return f"min {ordered[0]:.3f} p50 {p50:.3f} p99 {p99:.3f} max {ordered[-1]:.3f} s"


async def read(market: Market, watcher: Watcher, symbol: str) -> None:
    """Read every channel of one symbol."""
    topics = (Ticker(symbol), Book(symbol), Trades(symbol), Candles(symbol))
    async with market.feed.subscribe(*topics, on_full=Bounded()) as events:
        async for event in events:
            watcher.see(event)


async def until(watcher: Watcher, source: Source, limit_s: float) -> None:
    """Wait until every channel has spoken from ``source``."""
    with trio.move_on_after(limit_s):
        while not all((channel, source) in watcher.first for channel in CHANNELS.values()):  # noqa: ASYNC110 - one reader
            await trio.sleep(0.05)


async def cycles(count: int, config: Config, name: str) -> bool:
    """Run cycles over real sockets."""
    watcher, times, failover = Watcher(), Times(), config.failover
    async with open_venue(real_runtime(), VenueSettings(symbols=2, rate=40.0, seed=11)) as venue:
        at = parse_endpoint(venue.ws_url)
        async with open_proxy(at.host, at.port) as proxy:
            rest = attrs.evolve(config.rest, base_url=venue.rest_url)
            config = attrs.evolve(config, public_url=f"ws://127.0.0.1:{proxy.port}{at.path}", rest=rest)
            async with open_market(config) as market, trio.open_nursery() as nursery:
                symbol, other = venue.exchange.symbols
                nursery.start_soon(read, market, watcher, symbol)
                for number in range(count):
                    watcher.begin()
                    await until(watcher, Source.WEBSOCKET_V2, 60.0)
                    await trio.sleep(3.0)
                    times.rtt.append(await round_trip(market, other))
                    await trio.sleep(1.3)
                    await one_cycle(proxy, watcher, times, failover, number)
                print(f"  {market.failover.statistics()}")
                nursery.cancel_scope.cancel()
    return times.tell(name, failover.deadline_s, failover.hold_s, watcher)


async def books(count: int) -> bool:
    """Cut the lines of three books over real sockets, with the default settings: each has to be there in time."""
    over: list[float] = []
    async with open_venue(real_runtime(), VenueSettings(symbols=5, rate=40.0, seed=12)) as venue:
        at = parse_endpoint(venue.ws_url)
        async with open_proxy(at.host, at.port) as proxy:
            config = Config(public_url=f"ws://127.0.0.1:{proxy.port}{at.path}")
            config = attrs.evolve(config, rest=attrs.evolve(config.rest, base_url=venue.rest_url))
            symbols = venue.exchange.symbols[:3]
            for _ in range(count):
                async with open_market(config) as market:
                    first: dict[str, float] = {}
                    topics: list[Any] = [Ticker(symbols[0]), *map(Book, symbols)]
                    async with market.feed.subscribe(*topics, on_full=Bounded()) as events:
                        with trio.move_on_after(5.0):
                            async for _ in events:
                                pass
                        proxy.cut()
                        with trio.move_on_after(15.0):
                            async for event in events:
                                if isinstance(event, BookUpdate) and event.source is Source.REST:
                                    first.setdefault(event.symbol, trio.current_time())
                                if len(first) == len(symbols):
                                    break
                    over += [first.get(symbol, math.inf) - proxy.last_byte_s for symbol in symbols]
                proxy.mend()
    allowed = Config().failover.deadline_s + SCHEDULING_S
    late = sum(seconds > allowed for seconds in over)
    print(f"{len(over)} books at once, default settings")
    print(f"  last good frame to the book of REST: {spread(over)}, allowed {allowed:.2f} s, {late} late", flush=True)
    return not late


async def round_trip(market: Market, symbol: str) -> float:
    """Return how long one question to REST takes, its queue included."""
    began = trio.current_time()
    await market.feed.get_ticker(symbol, max_age_s=0.0)
    return trio.current_time() - began


async def one_cycle(proxy: Proxy, watcher: Watcher, times: Times, failover: FailoverSettings, number: int) -> None:
    """Kill the WebSocket, wait for REST, mend, wait for the WebSocket."""
    watcher.begin()
    if number % 2:
        proxy.freeze()
    else:
        proxy.cut()
    await until(watcher, Source.REST, failover.deadline_s + 10.0)
    last_good = proxy.last_byte_s
    times.over += [at - last_good for (_, source), at in watcher.first.items() if source is Source.REST]
    await trio.sleep(2.0)
    watcher.begin()
    proxy.mend()
    mended = trio.current_time()
    await until(watcher, Source.WEBSOCKET_V2, failover.hold_s + 60.0)
    times.back += [at - mended for (_, source), at in watcher.first.items() if source is Source.WEBSOCKET_V2]


def virtual(count: int) -> bool:
    """Run cycles of the simulated world."""
    watcher, times = Watcher(), Times(rtt=[0.0])
    config = Config(failover=SHORT, pool=PoolSettings(max_connections=1), backoff=BackoffSettings(max_attempts=100_000))
    settings = WorldSettings(symbols=1, rate=4.0, backup=True, config=config)

    async def main() -> None:
        async with open_world(3, settings) as world, world.open_market() as market, trio.open_nursery() as nursery:
            nursery.start_soon(read, market, watcher, world.exchange.symbols[0])
            for _ in range(count):
                watcher.begin()
                await until(watcher, Source.WEBSOCKET_V2, 60.0)
                await trio.sleep(1.3)
                watcher.begin()
                world.network.take_down(world.venue_address)
                cut = trio.current_time()
                await until(watcher, Source.REST, 20.0)
                times.over += [at - cut for (_, source), at in watcher.first.items() if source is Source.REST]
                watcher.begin()
                world.network.set_dialing(world.venue_address, Dialing.ACCEPT)
                mended = trio.current_time()
                await until(watcher, Source.WEBSOCKET_V2, 60.0)
                times.back += [at - mended for (_, s), at in watcher.first.items() if s is Source.WEBSOCKET_V2]
            nursery.cancel_scope.cancel()

    run(3, main, horizon_s=count * 60.0 + 60.0, real_limit_s=1200.0)
    return times.tell(f"{count} cycles in virtual time", SHORT.deadline_s, SHORT.hold_s, watcher)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the drill; return 0 if every promise was kept."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--full", type=int, default=2)
    parser.add_argument("--short", type=int, default=20)
    parser.add_argument("--virtual", type=int, default=200)
    parser.add_argument("--books", type=int, default=2)
    asked = parser.parse_args(arguments)
    fine: list[Any] = []
    if asked.full:
        fine.append(trio.run(cycles, asked.full, Config(), f"{asked.full} full cycles, default settings"))
    if asked.short:
        backoff = BackoffSettings(max_attempts=10_000, cap_s=0.5, min_gap_s=0.1)
        config = Config(failover=SHORT, backoff=backoff, pool=PoolSettings(max_connections=1))
        fine.append(trio.run(cycles, asked.short, config, f"{asked.short} cycles with short holds"))
    if asked.books:
        fine.append(trio.run(books, asked.books))
    if asked.virtual:
        fine.append(virtual(asked.virtual))
    return 0 if all(fine) else 1


if __name__ == "__main__":
    sys.exit(main())
