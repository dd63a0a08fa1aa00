"""A line keeps its readers honest while it changes what it is subscribed to."""

from __future__ import annotations

import pytest
import trio

from kraken_engine import (
    Book,
    BookUpdate,
    Bounded,
    Candle,
    Candles,
    Config,
    Event,
    Gap,
    Live,
    Refused,
    Stale,
)
from kraken_engine.config import PoolSettings
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


def test_candles_of_one_interval_do_not_end_with_those_of_another() -> None:
    async def main() -> None:
        async with open_world(1, WorldSettings(symbols=1, rate=20.0)) as world, world.open_market() as market:
            symbol = world.exchange.symbols[0]
            async with market.feed.subscribe(Candles(symbol, 5)):
                async with market.feed.subscribe(Candles(symbol, 1)):
                    await trio.sleep(5)
                await trio.sleep(3)
            await trio.sleep(3)  # the grace period of one is over, that of the other is not
            async with market.feed.subscribe(Candles(symbol, 5)) as again:
                assert len(again) == 1, "it is still fed, and there is a candle to begin with"

    run(1, main, horizon_s=100)


def test_a_refusal_of_one_interval_is_not_told_to_readers_of_another() -> None:
    async def main() -> None:
        async with open_world(1, WorldSettings(symbols=1, rate=20.0)) as world, world.open_market() as market:
            symbol = world.exchange.symbols[0]
            async with market.feed.subscribe(Candles(symbol, 1), on_full=Bounded()) as one:
                await trio.sleep(5)
                world.exchange.faults.refuse_subscriptions(
                    now=trio.current_time(), symbol=symbol, error="Unsupported field: 'interval'"
                )
                async with market.feed.subscribe(Candles(symbol, 5)) as five:
                    await trio.sleep(3)
                    assert [type(event) for event in await five.take_batch(10, 0.0)] == [Refused]
                assert not [event for event in await one.take_batch(1000, 0.0) if isinstance(event, Refused)]
                async with market.feed.subscribe(Candles(symbol, 1)) as again:
                    assert [type(event) for event in await again.take_batch(1, 0.0)] == [Candle]

    run(1, main, horizon_s=100)


@pytest.mark.parametrize("connections", [1, 3])
def test_what_nobody_wants_any_more_is_forgotten_while_the_line_cannot_connect(connections: int) -> None:
    settings = WorldSettings(symbols=2, rate=20.0, config=Config(pool=PoolSettings(max_connections=connections)))

    async def main() -> None:
        async with open_world(1, settings) as world, world.open_market() as market:
            gone, kept = world.exchange.symbols
            async with market.feed.subscribe(Book(kept)):
                async with market.feed.subscribe(Book(gone)):
                    await trio.sleep(5)
                    world.network.take_down(world.venue_address)
                    await trio.sleep(1)
                await trio.sleep(100)
                assert not any(("book", gone) in line.stream_keys() for line in market.pool.lines)
                assert market.publisher.latest(("book", gone)) is None
                assert market.publisher.latest(("book", kept)) is not None

    run(1, main, horizon_s=200)


def test_what_the_venue_refused_is_forgotten_when_nobody_wants_it_any_more() -> None:
    async def main() -> None:
        async with open_world(1, WorldSettings(symbols=1, rate=20.0)) as world, world.open_market() as market:
            symbol = world.exchange.symbols[0]
            async with market.feed.subscribe(Book(symbol)):
                for n in range(3):
                    async with market.feed.subscribe(Book(f"X{n}/USD")):
                        await trio.sleep(5)
                        assert market.publisher.refused(("book", f"X{n}/USD")) is not None
                await trio.sleep(1)
                (line,) = market.pool.lines
                assert line.stream_keys() == [("instrument",), ("book", symbol)]
                assert market.publisher.refused(("book", "X0/USD")) is None

    run(1, main, horizon_s=100)


def test_a_stream_wanted_again_while_its_unsubscription_leaves_is_not_called_live() -> None:
    async def main() -> None:
        async with open_world(1, WorldSettings(symbols=1, rate=20.0)) as world, world.open_market() as market:
            symbol = world.exchange.symbols[0]
            (line,) = market.pool.lines
            async with market.feed.subscribe(Book(symbol)):
                await trio.sleep(5)
            await trio.sleep(4.9)
            # The writer has taken the request, and waits for the network to take it.
            grace_over = trio.current_time() + 0.2
            assert [request.method for request in line.subscriptions.due(now=grace_over)] == ["unsubscribe"]
            async with market.feed.subscribe(Book(symbol), on_full=Bounded()) as events:
                assert [type(event) for event in await events.take_batch(10, 0.0)] == [Stale]
                await trio.sleep(20)
                got = await events.take_batch(1000, 0.0)
                assert [type(event) for event in got[:3]] == [Gap, Live, BookUpdate]

    run(1, main, horizon_s=100)


def test_a_subscription_that_used_up_its_retries_comes_back_when_the_venue_answers_again() -> None:
    async def main() -> None:
        async with open_world(1, WorldSettings(symbols=1, rate=20.0)) as world, world.open_market() as market:
            symbol = world.exchange.symbols[0]
            world.exchange.faults.ignore_subscriptions(now=trio.current_time(), symbol=symbol, times=7)
            async with market.feed.subscribe(Book(symbol), on_full=Bounded()) as events:
                await trio.sleep(120)
                assert [event.final for event in await events.take_batch(1000, 0.0) if isinstance(event, Refused)] == [
                    *[False] * 5, True,
                ]  # fmt: skip
                await trio.sleep(60)
                assert market.publisher.freshness.is_live(("book", symbol))

    run(1, main, horizon_s=200)


def test_a_line_that_came_late_before_the_market_fell_silent_is_in_time_as_soon_as_a_ping_is_answered_in_time() -> None:
    async def main() -> None:
        async with open_world(1, WorldSettings(symbols=1, rate=20.0)) as world, world.open_market() as market:
            symbol = world.exchange.symbols[0]
            key = ("book", symbol)
            async with market.feed.subscribe(Book(symbol), on_full=Bounded()) as events:
                await trio.sleep(5)
                links = world.network.links_of(world.venue_address)
                for latency_s in (2.0, 4.0):
                    for link in links:
                        link.change(direction="down", latency_s=latency_s)
                    await trio.sleep(5)
                assert market.publisher.freshness.is_held(key)
                world.exchange.faults.silence(now=trio.current_time(), seconds=300.0, kind="data")
                await trio.sleep(10)
                assert market.publisher.freshness.is_held(key), "heartbeats say nothing of it"
                for link in links:
                    link.change(direction="down", latency_s=0.0)
                await trio.sleep(market.config.liveness.idle_ping_s + 1.0)
                assert market.publisher.freshness.is_live(key)
                assert [type(event) for event in await events.take_batch(1000, 0.0)][-2:] == [Live, BookUpdate]

    run(1, main, horizon_s=100)
