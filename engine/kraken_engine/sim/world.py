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

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import final

import attrs

from kraken_engine.config import Config
from kraken_engine.runtime import Address, Listener, Runtime, Stream, seeded_rng
from kraken_engine.sim.clock import SimClock
from kraken_engine.sim.disk import SimDisk
from kraken_engine.sim.network import Resolver, SimNetwork
from kraken_engine.sim.trace import Sometimes, Trace
from kraken_engine.tasks.market import Market, open_market
from kraken_engine.venue.core.exchange import Exchange
from kraken_engine.venue.shells.server import VenueServer, VenueSettings, open_venue
from kraken_engine.wire.endpoints import parse_endpoint

__all__ = ["VENUE_NAME", "World", "WorldSettings", "open_world"]

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
    config: Config = attrs.field(factory=Config)
    """The engine's settings; the venue's address is filled in."""


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

    @property
    def exchange(self) -> Exchange:
        """The venue's own truth, and its faults."""
        return self.venue.exchange

    @property
    def venue_address(self) -> str:
        """``address:port`` of the venue's public WebSocket, as a target of network faults."""
        endpoint = parse_endpoint(self.venue.ws_url)
        return f"{endpoint.host}:{endpoint.port}"

    def open_market(self) -> AbstractAsyncContextManager[Market]:
        """Open the product's market in this world."""
        return open_market(self.config, runtime=self.runtime)


@asynccontextmanager
async def open_world(seed: object, settings: WorldSettings | None = None) -> AsyncIterator[World]:
    """Open the world of ``seed``; the block runs inside :func:`~kraken_engine.sim.deterministic.run`."""
    settings = settings or WorldSettings()
    trace = Trace()
    clock = SimClock()
    network = SimNetwork(
        rng=seeded_rng(f"{seed}:network"), trace=trace, resolver=Resolver(names={VENUE_NAME: (_PUBLIC_ADDRESS,)})
    )
    disk = SimDisk()
    venue_runtime = Runtime(clock=SimClock(), network=network, files=disk, rng=seeded_rng(f"{seed}:venue shell"))
    engine_runtime = Runtime(clock=clock, network=_Internet(network), files=disk, rng=seeded_rng(f"{seed}:engine"))
    venue_settings = VenueSettings(
        symbols=settings.symbols, rate=settings.rate, seed=seeded_rng(f"{seed}:venue").getrandbits(32)
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
            config=attrs.evolve(settings.config, venue=None, public_url=f"ws://{VENUE_NAME}:{port}/v2"),
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
