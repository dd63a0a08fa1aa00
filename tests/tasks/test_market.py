"""The market as an application meets it: ready or a reason, truth in band, an end that ends everything."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable
from typing import Any

import attrs
import pytest
import trio

from kraken_engine import (
    Book,
    BookUpdate,
    Bounded,
    Candle,
    Candles,
    Config,
    EngineFailed,
    Event,
    Gap,
    Instruments,
    InstrumentUpdate,
    LineDown,
    LineUp,
    Live,
    Refused,
    Resync,
    Stale,
    StartupError,
    Ticker,
    TickerUpdate,
    Trade,
    Trades,
    open_market,
)
from kraken_engine.sim.deterministic import run
from kraken_engine.sim.world import World, WorldSettings, open_world
from kraken_engine.store.database import open_store

SETTINGS = WorldSettings(symbols=3, rate=20.0)


def in_world(scenario: Callable[[World], Awaitable[Any]], settings: WorldSettings = SETTINGS) -> Any:
    """Run ``scenario`` in the world of seed 1 and demand that nothing is left of it."""

    async def main() -> Any:
        async with open_world(1, settings) as world:
            result = await scenario(world)
            await trio.sleep(5)
            assert world.network.open_streams("client") == []
            return result

    return run(1, main, horizon_s=600)


async def read_for(seconds: float, events: Any) -> list[Event]:
    got: list[Event] = []
    with trio.move_on_after(seconds):
        async for event in events:
            got.append(event)  # noqa: PERF401 - the comprehension would lose what was read when the time is up
    return got


def test_every_topic_delivers_its_events_from_the_venue_s_truth() -> None:
    async def scenario(world: World) -> None:
        async with world.open_market() as market:
            symbol = world.exchange.symbols[0]
            assert market.instruments[symbol].symbol == symbol
            topics = (Book(symbol), Ticker(symbol), Trades(symbol), Candles(symbol), market.health, Instruments())
            async with market.feed.subscribe(*topics, on_full=Bounded()) as events:
                got = await read_for(60, events)
            kinds = [type(event) for event in got]
            for kind in (BookUpdate, TickerUpdate, Trade, Candle, Live):
                assert kind in kinds, kind
            books = [event for event in got if isinstance(event, BookUpdate)]
            assert books[0].snapshot
            assert all(world.exchange.ever_had(symbol, b.book.checksum, b.venue_time) for b in books)
            ids = [event.trade_id for event in got if isinstance(event, Trade)]
            assert ids == list(range(ids[0], ids[0] + len(ids)))
            assert kinds.count(InstrumentUpdate) == 0, "nothing changed since the market opened"

    in_world(scenario)


def test_a_cut_line_is_told_as_stale_and_healed_with_a_gap_before_the_next_price() -> None:
    async def scenario(world: World) -> None:
        async with world.open_market() as market:
            symbol = world.exchange.symbols[0]
            async with market.feed.subscribe(Book(symbol), market.health, on_full=Bounded()) as events:
                await read_for(5, events)
                world.network.take_down("*")
                await trio.sleep(0.5)
                with pytest.raises(Stale, match="closed with 1006"):
                    market.feed.latest(Book(symbol))
                world.network.heal()
                got = await read_for(10, events)
            mine = [
                e for e in got if isinstance(e, (Stale, Gap, Live, BookUpdate)) and getattr(e, "symbol", 0) == symbol
            ]
            shown = [type(event) for event in mine]
            healed = shown.index(Gap)
            assert set(shown[:healed]) == {Stale}
            assert BookUpdate in shown[healed:]
            gap = mine[healed]
            assert isinstance(gap, Gap)
            assert gap.healed_by == "snapshot"
            assert 0.5 <= gap.end_s - gap.start_s < 5
            lines = [type(e) for e in got if isinstance(e, (LineDown, LineUp))]
            assert lines == [LineDown] * (len(lines) - 1) + [LineUp]
            assert market.feed.latest(Book(symbol)).stale is None
            statistics = market.statistics()
            assert statistics.errors["websocket_disconnect"] == lines.count(LineDown) > 0
            assert not statistics.unknown_errors

    in_world(scenario)


def test_a_refused_symbol_is_told_to_its_reader_and_touches_nobody_else() -> None:
    async def scenario(world: World) -> None:
        async with world.open_market() as market:
            good = world.exchange.symbols[0]
            async with (
                market.feed.subscribe(Book("NO/SUCH")) as refused,
                market.feed.subscribe(Book(good)) as fine,
            ):
                (told,) = await read_for(10, refused)
                assert isinstance(told, Refused)
                assert told.final
                assert told.error == "Currency pair not supported NO/SUCH"
                assert market.statistics().errors["other"] > 0
                assert not market.statistics().unknown_errors
                assert any(isinstance(event, BookUpdate) for event in await read_for(10, fine))

    in_world(scenario)


def test_words_of_the_venue_that_nobody_knows_are_counted_and_survived() -> None:
    async def scenario(world: World) -> None:
        async with world.open_market() as market:
            world.exchange.faults.refuse_subscriptions(now=trio.current_time(), error="EFuture:Never heard of", times=2)
            async with market.feed.subscribe(Book(world.exchange.symbols[0])) as fine:
                assert any(isinstance(event, BookUpdate) for event in await read_for(20, fine))
            assert market.statistics().unknown_errors == {"EFuture:Never heard of": 2}

    in_world(scenario)


def test_readers_come_and_go_and_the_venue_is_told_after_the_grace_period() -> None:
    async def scenario(world: World) -> None:
        def subscribed() -> int:
            return sum(len(listing._books.get(10, ())) for listing in world.exchange._listings.values())

        async with world.open_market() as market:
            symbol = world.exchange.symbols[0]
            for _ in range(2):
                async with market.feed.subscribe(Book(symbol)), market.feed.subscribe(Book(symbol)):
                    await trio.sleep(2)
                    assert subscribed() == 1
                await trio.sleep(1)
                assert subscribed() == 1, "within the grace period"
            await trio.sleep(10)
            assert subscribed() == 0
            with pytest.raises(Stale, match="no value yet"):
                market.feed.latest(Book(symbol))

    in_world(scenario)


def test_a_deeper_reader_widens_the_book_for_all_without_a_wrong_price() -> None:
    async def scenario(world: World) -> None:
        async with world.open_market() as market:
            symbol = world.exchange.symbols[0]
            async with market.feed.subscribe(Book(symbol), on_full=Bounded()) as shallow:
                await read_for(5, shallow)
                async with market.feed.subscribe(Book(symbol, 100), on_full=Bounded()) as deep:
                    got = await read_for(20, deep)
                    books = [event.book for event in got if isinstance(event, BookUpdate)]
                    assert len(books[-1].bids) > 10
                narrow = [e.book for e in await read_for(20, shallow) if isinstance(e, BookUpdate)]
                assert all(len(book.bids) <= 10 for book in narrow)
            statistics = market.statistics()
            assert statistics.books_mismatched == 0

    in_world(scenario)


def test_a_line_that_is_down_says_when_it_tries_again_and_does() -> None:
    async def scenario(world: World) -> None:
        dials: list[float] = []

        def note(kind: str, _: tuple[object, ...]) -> None:
            if kind == "dial":
                dials.append(trio.current_time())

        async with (
            world.open_market() as market,
            market.feed.subscribe(market.health, on_full=Bounded()) as events,
        ):
            world.trace.observe(note)
            world.network.take_down("*")
            downs = [event for event in await read_for(60, events) if isinstance(event, LineDown)]
        assert len(downs) > 10
        for down, dialled in zip(downs, dials, strict=False):
            assert dialled == pytest.approx(down.at_s + down.retry_in_s, abs=0.1)
        assert all(b - a >= 1.0 - 1e-6 for a, b in itertools.pairwise(dials[1:])), "the gap between attempts counts"

    in_world(scenario)


@pytest.mark.parametrize("checkpoints", range(0, 40, 3))
def test_whenever_a_book_gets_deeper_the_first_deep_book_is_whole(checkpoints: int) -> None:
    async def scenario(world: World) -> None:
        async with world.open_market() as market:
            symbol = world.exchange.symbols[0]
            async with market.feed.subscribe(Book(symbol)):
                for _ in range(checkpoints):
                    await trio.lowlevel.checkpoint()
                async with market.feed.subscribe(Book(symbol, 100), on_full=Bounded()) as deep:
                    books = [e.book for e in await read_for(20, deep) if isinstance(e, BookUpdate)]
            assert [len(book.bids) >= 50 for book in books if book.depth == 100] == [True] * len(books)
            assert books
            assert market.statistics().books_mismatched == 0

    in_world(scenario)


def test_a_venue_that_cannot_be_reached_is_a_startup_error_with_every_reason() -> None:
    async def scenario(world: World) -> None:
        world.network.take_down("*")
        with pytest.raises(StartupError) as caught:
            async with world.open_market():
                pytest.fail("opened")
        assert "no market data within 15 s" in caught.value.reasons[0]
        assert any("dial failed" in reason for reason in caught.value.reasons[1:])

    in_world(scenario)


def test_a_venue_that_is_mute_is_a_startup_error_that_says_so() -> None:
    async def scenario(world: World) -> None:
        world.exchange.faults.apply("ignore_subscriptions", {"times": 1000}, trio.current_time())
        with pytest.raises(StartupError) as caught:
            async with world.open_market():
                pytest.fail("opened")
        assert caught.value.reasons[1] == "connected, but the venue sent no instruments"

    in_world(scenario)


def test_a_start_that_may_not_connect_yet_says_when_it_may() -> None:
    async def scenario(world: World) -> None:
        async with open_store(world.runtime, "/state") as store:
            for _ in range(100):
                await store.connects.append(world.runtime.clock.wall_ns())
            with pytest.raises(StartupError) as caught:
                async with open_market(world.config, runtime=world.runtime, connect_log=store.connects):
                    pytest.fail("opened")
        assert caught.value.reasons[1].startswith(
            "100 attempts to connect were made within 600 s, 100 are allowed: the next one is due in 58"
        )

    in_world(scenario)


def test_a_bug_in_the_engine_ends_the_body_with_engine_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(world: World) -> None:
        from kraken_engine.state.channels import TickerChannel

        def broken(*_: object, **__: object) -> None:
            raise ZeroDivisionError("a planted bug")

        monkeypatch.setattr(TickerChannel, "receive", broken)
        with pytest.raises(EngineFailed, match="ZeroDivisionError: a planted bug"):
            async with world.open_market() as market, market.feed.subscribe(Ticker(world.exchange.symbols[0])):
                await trio.sleep_forever()

    in_world(scenario)


def test_a_resync_is_told_in_band_and_raises_an_alarm_when_it_keeps_happening() -> None:
    async def scenario(world: World) -> None:
        async with world.open_market() as market:
            symbol = world.exchange.symbols[0]
            async with market.feed.subscribe(Book(symbol), market.health, on_full=Bounded()) as events:
                await read_for(5, events)
                for _ in range(4):
                    world.exchange.faults.apply("corrupt_checksum", {"symbol": symbol}, trio.current_time())
                    await trio.sleep(8)
                got = await read_for(1, events)
            notices = [event for event in got if isinstance(event, (Stale, Resync, Gap))]
            assert [type(notice) for notice in notices] == [Stale, Resync, Gap] * 4
            resyncs = [notice for notice in notices if isinstance(notice, Resync)]
            assert all("checksum" in notice.reason for notice in resyncs)
            assert [notice.alarm for notice in resyncs] == [False, False, True, True]

    in_world(scenario)


def test_a_snapshot_that_never_comes_is_asked_for_again_though_nothing_else_happens() -> None:
    async def scenario(world: World) -> None:
        async with world.open_market() as market:
            symbol = world.exchange.symbols[0]
            # Longer than the run: the first subscription is confirmed, and then nothing follows on this channel.
            world.exchange.faults.apply("delay_snapshot", {"symbol": symbol, "seconds": 500.0}, trio.current_time())
            async with market.feed.subscribe(Book(symbol)):
                await trio.sleep(9)
                assert market.statistics().lines[0].resubscriptions == 0
                await trio.sleep(2)
                assert market.statistics().lines[0].resubscriptions == 1

    in_world(scenario, attrs.evolve(SETTINGS, rate=0.01))


def test_the_end_of_the_market_is_the_end_of_its_streams() -> None:
    async def scenario(world: World) -> None:
        ended = trio.Event()

        async def reader(events: Any) -> None:
            async for _ in events:
                pass
            ended.set()

        async with trio.open_nursery() as nursery:
            async with world.open_market() as market:
                subscription = await nursery.start(_hold, market, world.exchange.symbols[0])
                nursery.start_soon(reader, subscription)
                await trio.sleep(3)
            with trio.fail_after(1):
                await ended.wait()
            nursery.cancel_scope.cancel()

    async def _hold(market: Any, symbol: str, *, task_status: trio.TaskStatus[Any]) -> None:
        async with market.feed.subscribe(Book(symbol)) as subscription:
            task_status.started(subscription)
            await trio.sleep_forever()

    in_world(scenario)


def test_a_quiet_venue_keeps_its_line_and_nothing_is_called_stale() -> None:
    async def scenario(world: World) -> None:
        async with world.open_market() as market:
            symbol = world.exchange.symbols[0]
            async with market.feed.subscribe(Book(symbol), market.health, on_full=Bounded()) as events:
                got = await read_for(300, events)
            assert [event for event in got if isinstance(event, (Stale, LineDown))] == []
            assert market.statistics().lines[0].connections == 1

    in_world(scenario, attrs.evolve(SETTINGS, rate=0.01))


async def test_the_embedded_venue_needs_no_keys_no_network_and_no_configuration() -> None:
    async with open_market(Config.simulated(symbols=2, rate=200)) as market:
        symbol = next(iter(market.instruments))
        async with market.feed.subscribe(Book(symbol), on_full=Bounded()) as events:
            with trio.fail_after(10):
                async for event in events:
                    if isinstance(event, BookUpdate) and not event.snapshot:
                        break
        assert market.kpis()["websocket_uptime"] > 0
        assert market.venue is not None
