"""A whole world from one seed: clock, network, disk and venue, ready for an engine to be opened in it.

::

    async def main() -> None:
        async with open_world(7) as world, world.open_market() as market:
            ...


    run(7, main, horizon_s=600)

Everything random is derived from the seed, each part from a generator of its own, so that one part's draws do not move
another's. The engine reaches the venue by name, through the simulated network; it is the product as shipped, with the
product's own settings.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Literal, final

import attrs
import trio

from kraken_engine.config import Config, PoolSettings
from kraken_engine.runtime import Address, Listener, Runtime, Stream, seeded_rng
from kraken_engine.sim.clock import SimClock
from kraken_engine.sim.disk import SimDisk
from kraken_engine.sim.link import Link
from kraken_engine.sim.network import Resolver, SimNetwork
from kraken_engine.sim.plan import Fault
from kraken_engine.sim.trace import Fact, Sometimes, Trace
from kraken_engine.sim.wellness import Wellness
from kraken_engine.sim.workers import SimWorkers
from kraken_engine.tasks.market import Market, open_market
from kraken_engine.venue.core.exchange import Exchange
from kraken_engine.venue.core.records import FaultRecord
from kraken_engine.venue.shells.server import VenueServer, VenueSettings, open_venue
from kraken_engine.wire.endpoints import parse_endpoint

__all__ = ["VENUE_NAME", "Corrupted", "World", "WorldSettings", "open_world"]

VENUE_NAME = "ws.venue.test"
"""The name under which the engine knows the venue."""

_PUBLIC_ADDRESS = "100.128.0.10"
"""Public, but nothing leaves this process: the venue listens on loopback, which a name must not resolve to."""
_LOOPBACK = "127.0.0.1"


@attrs.frozen(kw_only=True)
class WorldSettings:
    """What a world is like when all is well."""

    symbols: int = 5
    rate: float = 4.0
    """Messages a second over all symbols."""
    levels: int = 60
    """Levels a side of every book of the venue."""
    backup: bool = False
    """Whether REST stands in for lines that are down."""
    door: Literal["ws", "rest"] = "ws"
    """Which of the venue's doors faults of the network are about."""
    config: Config = attrs.field(factory=lambda: Config(pool=PoolSettings(max_connections=1)))
    """The engine's settings, by default with a single line; the venue's addresses are filled in."""


@attrs.frozen(kw_only=True)
class Corrupted:
    """A book update of ``symbol`` whose checksum the venue falsified, or will, for one session."""

    symbol: str
    session: int
    record: FaultRecord


@final
@attrs.define(kw_only=True, eq=False)
class World:
    """One simulated world; :func:`open_world` makes it."""

    seed: str
    settings: WorldSettings
    trace: Trace
    sometimes: Sometimes
    clock: SimClock
    network: SimNetwork
    """Links are labelled by the venue's loopback address; the engine sees it through :attr:`runtime`."""
    disk: SimDisk
    runtime: Runtime
    """What the engine gets."""
    venue: VenueServer
    config: Config
    """What the engine is opened with."""
    wellness: Wellness
    """Which lines are well."""
    hits: Counter[str] = attrs.field(factory=Counter[str], init=False)
    """Faults that found something to hit, by kind."""
    corrupted: list[Corrupted] = attrs.field(factory=list[Corrupted], init=False)
    """Falsified checksums that no judge has seen the end of yet."""
    consumers_sleep_until: float = attrs.field(default=0.0, init=False)
    """Until when those consumers that may be slow do not read."""
    slept_until: float = attrs.field(default=-math.inf, init=False)
    """When the machine last woke from sleep; what was due meanwhile could not be done."""
    slept_s: float = attrs.field(default=0.0, init=False)
    """How long it slept in all."""
    aims_at_accounts: bool = attrs.field(default=False, init=False)
    """Whether faults of the network are meant for the private lines rather than for those of the market."""

    @property
    def exchange(self) -> Exchange:
        """The venue's own truth, and its faults."""
        return self.venue.exchange

    @property
    def venue_address(self) -> str:
        """``address:port`` of the venue's door that faults of the network are meant for."""
        if self.settings.door == "rest":
            return self.rest_address
        endpoint = parse_endpoint(self.venue.ws_auth_url if self.aims_at_accounts else self.venue.ws_url)
        return f"{endpoint.host}:{endpoint.port}"

    @property
    def rest_address(self) -> str:
        """``address:port`` of the venue's REST API, as a target of network faults."""
        endpoint = parse_endpoint(self.venue.rest_url, "http")
        return f"{endpoint.host}:{endpoint.port}"

    def engine_links(self) -> list[Link]:
        """Return the connections the engine has to the venue, oldest first."""
        return [link for link in self.network.links_of(self.venue_address) if not link.client.closed]

    def hit(self, fault: Fault, *facts: Fact) -> None:
        """Note that ``fault`` takes effect, on the things that ``facts`` name."""
        self.hits[fault.kind] += 1
        self.trace("fault", fault.kind, *facts)

    def suspend(self, seconds: float) -> None:
        """Let the machine sleep, the venue with it."""
        self.clock.suspend(seconds)
        self.wellness.disturbed()
        self.slept_until = trio.current_time()
        self.slept_s += seconds

    def open_market(self) -> AbstractAsyncContextManager[Market]:
        """Open the product's market in this world."""
        return open_market(self.config, runtime=self.runtime)


@asynccontextmanager
async def open_world(seed: object, settings: WorldSettings | None = None) -> AsyncGenerator[World, None]:
    """Open the world of ``seed``; the block runs inside :func:`~kraken_engine.sim.deterministic.run`."""
    settings = settings or WorldSettings()
    trace = Trace()
    clock = SimClock()
    network = SimNetwork(
        rng=seeded_rng(f"{seed}:network"), trace=trace, resolver=Resolver(names={VENUE_NAME: (_PUBLIC_ADDRESS,)})
    )
    disk = SimDisk()
    venue_runtime = Runtime(clock=SimClock(), network=network, files=disk, rng=seeded_rng(f"{seed}:venue shell"))
    engine_runtime = Runtime(
        clock=clock,
        network=_Internet(network),
        files=disk,
        rng=seeded_rng(f"{seed}:engine"),
        workers=SimWorkers(seeded_rng(f"{seed}:workers")),
    )
    venue_settings = VenueSettings(
        symbols=settings.symbols,
        rate=settings.rate,
        seed=seeded_rng(f"{seed}:venue").getrandbits(32),
        levels=settings.levels,
    )
    async with open_venue(venue_runtime, venue_settings) as venue:
        port = parse_endpoint(venue.ws_url).port
        yield World(
            seed=str(seed),
            settings=settings,
            trace=trace,
            sometimes=Sometimes(),
            clock=clock,
            network=network,
            disk=disk,
            runtime=engine_runtime,
            venue=venue,
            wellness=Wellness(exchange=venue.exchange, well=network.conditions),
            config=attrs.evolve(
                settings.config,
                venue=None,
                public_url=f"ws://{VENUE_NAME}:{port}/v2",
                private_url=f"ws://{VENUE_NAME}:{parse_endpoint(venue.ws_auth_url).port}/v2",
                rest=attrs.evolve(
                    settings.config.rest,
                    base_url=f"http://{VENUE_NAME}:{parse_endpoint(venue.rest_url, 'http').port}",
                ),
                failover=attrs.evolve(settings.config.failover, enabled=settings.backup),
            ),
        )


@attrs.frozen
class _Internet:
    """The network as the engine sees it: the venue has a public address."""

    _inner: SimNetwork

    async def resolve(self, host: str, port: int) -> Sequence[Address]:
        return await self._inner.resolve(host, port)

    async def dial(self, address: Address) -> Stream:
        if address.host == _PUBLIC_ADDRESS:
            address = Address(_LOOPBACK, address.port)
        return await self._inner.dial(address)

    async def listen(self, host: str, port: int) -> tuple[Listener, Address]:
        return await self._inner.listen(host, port)
