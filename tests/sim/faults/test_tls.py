"""Rows 18 to 20 of the fault matrix as the engine lives through them: real TLS over streams in memory, virtual time.

Not part of the seeded campaigns: signatures are not of the same length twice, so no two traces would be alike.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import attrs
import pytest
import trio
import trio.testing
from tests.sim.faults.harness import gaps_between
from tests.wire.tls_edge import CERTIFICATES, Edge, EdgeState

from kraken_engine import Book, Bounded
from kraken_engine.errors import CircuitOpen, RestFailed
from kraken_engine.normalise.events import CircuitChanged, Event, LineDown, Notice
from kraken_engine.runtime import Address, Listener, Network, Stream
from kraken_engine.sim.deterministic import run
from kraken_engine.sim.world import VENUE_NAME, World, WorldSettings, open_world
from kraken_engine.tasks.rest import open_rest

SETTINGS = WorldSettings(symbols=1, rate=2.0)
BROKEN = [EdgeState.EXPIRED, EdgeState.WRONG_HOST, EdgeState.STALLS, EdgeState.TLS_1_1]
"""Each state that is treated differently; tests/wire has them all."""
CA_FILE = "/ca.pem"


@attrs.define(eq=False)
class SecuredNetwork:
    """A network whose every connection ends TLS at the edge before it goes on."""

    inner: Network
    nursery: trio.Nursery
    edge: Edge
    dials: list[float] = attrs.field(factory=list[float])
    held: list[Stream] = attrs.field(factory=list[Stream])

    async def resolve(self, host: str, port: int) -> Sequence[Address]:
        return await self.inner.resolve(host, port)

    async def listen(self, host: str, port: int) -> tuple[Listener, Address]:
        return await self.inner.listen(host, port)

    async def dial(self, address: Address) -> Stream:
        self.dials.append(trio.current_time())
        beyond = await self.inner.dial(address)
        ours, theirs = trio.testing.memory_stream_pair()
        self.held.append(theirs)
        self.nursery.start_soon(self._serve, theirs, beyond)
        return ours

    async def _serve(self, theirs: Stream, beyond: Stream) -> None:
        try:
            await self.edge.accept(theirs, lambda secured: _pump(secured, beyond))
        finally:
            await trio.aclose_forcefully(beyond)

    async def cut(self) -> None:
        """End every connection."""
        while self.held:
            await trio.aclose_forcefully(self.held.pop())


async def _pump(secured: Stream, beyond: Stream) -> None:
    """Carry bytes both ways until one side ends."""

    async def carry(source: Stream, target: Stream) -> None:
        try:
            while data := await source.receive_some():
                await target.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(carry, secured, beyond)
        nursery.start_soon(carry, beyond, secured)


def behind_tls(scenario: Callable[[World, SecuredNetwork], Awaitable[Any]]) -> None:
    """Run ``scenario`` in a world whose venue is reached over TLS alone; nothing may be left of it."""

    async def main() -> None:
        async with open_world(1, SETTINGS) as world, trio.open_nursery() as nursery:
            edge = Edge(VENUE_NAME)
            network = SecuredNetwork(world.runtime.network, nursery, edge)
            world.disk.write_private(CA_FILE, edge.authority.cert_pem.bytes())
            config = world.config
            world.runtime = attrs.evolve(world.runtime, network=network)
            world.config = attrs.evolve(
                config,
                public_url=config.public_url.replace("ws:", "wss:"),
                rest=attrs.evolve(config.rest, base_url=config.rest.base_url.replace("http:", "https:")),
                wire=attrs.evolve(config.wire, ca_file=CA_FILE),
            )
            await scenario(world, network)
            await trio.sleep(5)
            assert world.network.open_streams("client") == []
            nursery.cancel_scope.cancel()

    run(1, main, horizon_s=3600)


@pytest.mark.parametrize("state", BROKEN)
def test_fault_18_to_20_a_line_keeps_trying_within_its_budget_and_comes_back(state: EdgeState) -> None:
    """Refuse, typed error, long backoff, no downgrade; a stalled handshake costs 5 s; fine when it is right again."""

    async def scenario(world: World, network: SecuredNetwork) -> None:
        async with world.open_market() as market:
            told: list[tuple[float, Event]] = []
            market.publisher.observe(lambda _, event: told.append((trio.current_time(), event)))
            book = world.exchange.symbols[0]
            async with market.feed.subscribe(Book(book), on_full=Bounded(100_000)):
                await trio.sleep(10)
                assert market.publisher.freshness.is_live(("book", book))
                behind, network.edge.state = network.edge.behind, state
                broken_at = trio.current_time()
                await network.cut()
                await trio.sleep(200)
                assert market.publisher.stale(("book", book)) is not None
                assert network.edge.behind == behind
                assert set(network.edge.met[behind:]) == {state}
                downs = [(at, event) for at, event in told if isinstance(event, LineDown) and at > broken_at + 0.1]
                assert downs
                assert all("tls failed: expected" in down.reason and state.value in down.reason for _, down in downs)
                dials = [at for at in network.dials if at > broken_at]
                assert len(dials) >= 4
                if state in CERTIFICATES:
                    assert min(gaps_between(dials[1:])) >= 30.0
                if state is EdgeState.STALLS:
                    ends = [at for at, _ in downs]
                    took_s = min(end - dial for end, dial in zip(ends, dials, strict=False))
                    assert took_s == pytest.approx(5.0, abs=0.1)
                network.edge.state = EdgeState.GOOD
                await trio.sleep(70)
                assert market.publisher.freshness.is_live(("book", book))

    behind_tls(scenario)


@pytest.mark.parametrize("state", BROKEN)
def test_fault_18_to_20_calls_are_refused_until_the_breaker_opens_and_pass_when_it_is_right_again(
    state: EdgeState,
) -> None:
    """Each failure counts, no request gets through; the call after the pause finds what was put right."""

    async def scenario(world: World, network: SecuredNetwork) -> None:
        notices: list[Notice] = []
        async with open_rest(world.config, runtime=world.runtime, notify=notices.append) as rest:
            await rest.public.time()
            behind, network.edge.state = network.edge.behind, state
            await network.cut()
            failures: list[RestFailed] = []
            for _ in range(5):
                try:
                    await rest.public.time()
                except RestFailed as error:
                    failures.append(error)
                except CircuitOpen:
                    break
            assert failures
            assert all(state.value in str(error) and not error.maybe_executed for error in failures)
            assert network.edge.behind == behind
            assert [notice.state for notice in notices if isinstance(notice, CircuitChanged)] == ["open"]
            network.edge.state = EdgeState.GOOD
            await trio.sleep(301)
            await rest.public.time()
            assert rest.public.statistics().failures >= 3

    behind_tls(scenario)
