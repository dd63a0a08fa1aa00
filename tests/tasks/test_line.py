"""A line keeps its readers honest while it changes what it is subscribed to."""

from __future__ import annotations

import trio

from kraken_engine import Book, BookUpdate, Bounded, Event, Live, Stale
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
