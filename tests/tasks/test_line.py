"""A line keeps its readers honest while it changes what it is subscribed to."""

from __future__ import annotations

import trio

from kraken_engine import Book, BookUpdate, Bounded, Event, Gap, Live, Stale
from kraken_engine.sim.deterministic import run
from kraken_engine.sim.world import WorldSettings, open_world


def test_a_book_is_not_live_between_two_depths_not_even_when_the_line_is_lost_then() -> None:
    async def main() -> None:
        async with open_world(1, WorldSettings(symbols=1, rate=20.0)) as world, world.open_market() as market:
            symbol = world.exchange.symbols[0]
            got: list[Event] = []

            def newest() -> type[Event]:
                return type(got[-1])

            async def read() -> None:
                async with market.feed.subscribe(Book(symbol), on_full=Bounded()) as events:
                    async for event in events:
                        got.append(event)  # noqa: PERF401 - it has to be seen while it grows

            async with trio.open_nursery() as nursery:
                nursery.start_soon(read)
                await trio.sleep(5)
                assert newest() is BookUpdate
                world.exchange.faults.ignore_subscriptions(now=trio.current_time())
                async with market.feed.subscribe(Book(symbol, 25)):
                    await trio.sleep(1)
                    assert newest() is Stale, "the old book is not kept up to date any more"
                    world.network.take_down(world.venue_address)
                    await trio.sleep(1)
                    assert newest() is Stale
                    world.network.heal()
                    await trio.sleep(20)
                    assert newest() is BookUpdate
                    assert [type(e) for e in got if isinstance(e, (Stale, Live))] == [Live, Stale, Live]
                nursery.cancel_scope.cancel()

    run(1, main, horizon_s=100)


def test_a_stream_asked_for_while_the_line_is_late_begins_stale_and_a_new_connection_is_not_late() -> None:
    async def main() -> None:
        async with open_world(1, WorldSettings(symbols=2, rate=20.0)) as world, world.open_market() as market:
            first, second = world.exchange.symbols
            got: list[Event] = []

            async def read() -> None:
                async with market.feed.subscribe(Book(second), on_full=Bounded()) as events:
                    async for event in events:
                        got.append(event)  # noqa: PERF401 - it has to be seen while it grows

            async with market.feed.subscribe(Book(first)), trio.open_nursery() as nursery:
                await trio.sleep(5)
                for latency_s in (2.0, 4.0):
                    for link in world.network.links_of(world.venue_address):
                        link.change(direction="down", latency_s=latency_s)
                    await trio.sleep(5)
                nursery.start_soon(read)
                await trio.sleep(8)
                assert [type(event) for event in got] == [Stale]
                assert market.publisher.latest(("book", second)) is not None
                world.network.reset(world.venue_address)
                await trio.sleep(5)
                assert [type(event) for event in got[:4]] == [Stale, Gap, Live, BookUpdate]
                assert not [
                    key for key in (("book", first), ("book", second)) if market.publisher.freshness.is_held(key)
                ]
                nursery.cancel_scope.cancel()

    run(1, main, horizon_s=100)
